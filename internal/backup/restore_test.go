package backup_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/backup"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
)

func TestWhatWasRevokedStaysRevoked(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		ctx := t.Context()
		x.addGates("front", "back", "cellar")
		x.addUsers("stays", "deactivated", "deleted", "erased", "loses-token", "loses-permission", "suspended", "shortened", "leaves-group", "loses-device", "of-dead-group", "renamed")
		x.addGroup("staff", "leaves-group", "stays")
		x.addGroup("dead", "of-dead-group")
		for name := range x.users {
			if name != "leaves-group" && name != "of-dead-group" {
				x.grant("front", name, "")
			}
		}
		x.grant("back", "", "staff")
		x.grant("front", "", "dead")
		x.grant("cellar", "stays", "")
		boss := made[access.User](t)(x.desk.CreateUser(ctx, clerk, access.User{Username: "boss", Active: true, Superuser: true, Staff: true}, registry.Password{Plain: "first-Password-1"}))
		aide := made[access.User](t)(x.desk.CreateUser(ctx, clerk, access.User{Username: "aide", Active: true}, registry.Password{}))
		x.must(x.desk.GrantRole(ctx, clerk, aide.ID, access.Owner, 0))
		phone, _, err := x.desk.CreateDevice(ctx, clerk, access.Device{UserID: x.users["loses-device"].ID, Name: "phone", Active: true}, tokenOf("the phone"))
		x.must(err)
		x.must(x.s.Note(ctx, clerk, func(tx *store.Tx) error {
			return tx.InsertSession(&store.Session{UserID: boss.ID, ExpiresAt: tx.Now.Add(time.Hour)})
		}))
		lane := made[int64](t)(x.s.ClaimWriter(ctx))
		x.record(lane, 1, 3)
		before := x.allowed()
		taken := x.take()

		perm := func(user string) access.Permission {
			list := made[[]access.Permission](t)(x.desk.Permissions(ctx, registry.PermissionFilter{UserID: x.users[user].ID}))
			return list[0]
		}
		_, err = x.desk.SetUserActive(ctx, clerk, x.users["deactivated"].ID, false)
		x.must(err)
		x.must(x.desk.DeleteUser(ctx, clerk, x.users["deleted"].ID, 0))
		x.must(x.desk.DeleteUser(ctx, clerk, x.users["erased"].ID, 0))
		x.must(x.desk.EraseUser(ctx, clerk, x.users["erased"].ID))
		x.must(x.desk.RevokeToken(ctx, clerk, x.tokens["loses-token"].ID))
		x.must(x.desk.RevokePermission(ctx, clerk, perm("loses-permission").ID))
		_, err = x.desk.SuspendPermission(ctx, clerk, perm("suspended"))
		x.must(err)
		short := perm("shortened")
		short.ValidUntil = time.Now().Add(-time.Minute)
		_, err = x.desk.UpdatePermission(ctx, clerk, short)
		x.must(err)
		x.must(x.desk.RemoveMember(ctx, clerk, x.groups["staff"].ID, x.users["leaves-group"].ID))
		x.must(x.desk.DeleteGroup(ctx, clerk, x.groups["dead"].ID, 0))
		x.must(x.desk.DeleteGate(ctx, clerk, x.gates["cellar"].ID, 0))
		_, err = x.desk.SetDeviceActive(ctx, clerk, phone.ID, false)
		x.must(err)
		x.must(x.desk.SetPassword(ctx, clerk, boss.ID, registry.Password{Plain: "second-Password-2"}))
		x.must(x.desk.GrantRole(ctx, clerk, aide.ID, access.Viewer, 0))
		_, err = x.desk.UpdateUser(ctx, clerk, access.User{ID: x.users["renamed"].ID, Username: "has-a-new-name", Active: true})
		x.must(err)
		x.addUsers("new")
		x.grant("front", "new", "")
		x.record(lane, 2, 5)
		other := made[int64](t)(x.s.ClaimWriter(ctx))
		x.record(other, 1, 2)
		replaced, marked := x.allowed(), made[access.PolicyMark](t)(x.s.PolicyMark(ctx))
		ids := x.facts()
		_ = ids

		r := x.restore(taken.Path)
		after := x.allowed()
		want := map[string]bool{"stays@front": true, "stays@back": true, "renamed@front": true, "loses-device@front": true}
		if d := cmp.Diff(want, after); d != "" {
			t.Errorf("who passes after the restore (-want +got):\n%s\nin the backup: %v\nin the replaced: %v", d, before, replaced)
		}
		wantEnded := map[string]int64{
			"users deactivated": 1, "users deleted": 2, "people erased": 1, "groups deleted": 1, "gates deleted": 1, "permissions suspended": 1, "permissions shortened": 1,
			"memberships ended": 2, "devices revoked": 1, "passwords replaced": 1, "roles lowered": 1,
		}
		got := maps.Clone(r.Carried.Ended)
		for _, some := range []string{"permissions deleted", "credentials deleted", "credentials revoked"} { // how many depends on what the desk does at once
			if got[some] == 0 && some != "credentials deleted" {
				t.Errorf("no %s were carried over", some)
			}
			delete(got, some)
		}
		if d := cmp.Diff(wantEnded, got); d != "" {
			t.Errorf("what was carried over (-want +got):\n%s", d)
		}
		if d := cmp.Diff(map[string]int64{"users": 1, "permission": 1, "credential": 1}, r.Carried.Lost); d != "" {
			t.Errorf("what was lost (-want +got):\n%s", d)
		}
		if r.Carried.Events != 7 || r.Carried.Stranger || len(r.Carried.Unread) != 0 || r.Carried.NoOwner {
			t.Errorf("carried over: %+v; want 7 events, and all of it read", r.Carried)
		}
		if r.Carried.Mark.Version <= marked.Version || r.Carried.Mark.Stamp == marked.Stamp {
			t.Errorf("the restored policy has the mark %v; the replaced one had %v", r.Carried.Mark, marked)
		}
		// A replica at any state before it loads everything.
		for _, since := range []access.PolicyMark{marked, {Version: taken.Manifest.Policy, Stamp: taken.Manifest.PolicyStamp}} {
			if delta := made[access.PolicyDelta](t)(x.s.PolicyChanges(ctx, since)); !delta.Rebuild || delta.Mark != r.Carried.Mark {
				t.Errorf("changes since %v: rebuild %v, mark %v; want a rebuild to %v", since, delta.Rebuild, delta.Mark, r.Carried.Mark)
			}
		}
		x.checkAfterwards(t, lane, other, boss, aide)
	})
}

// checkAfterwards looks at what the gates do not see.
func (x *site) checkAfterwards(t *testing.T, lane, other int64, boss, aide access.User) {
	ctx := t.Context()
	if rows := x.facts().Rows; rows["session"] != 0 {
		t.Errorf("%d sessions are left after the restore, want none", rows["session"])
	}
	if _, _, err := x.desk.Login(ctx, clerk, "boss", "first-Password-1", ""); !errors.Is(err, access.ErrBadLogin) {
		t.Errorf("signing in with the password that was replaced since the backup = %v, want it refused", err)
	}
	if _, _, err := x.desk.Login(ctx, clerk, "boss", "second-Password-2", ""); err != nil {
		t.Errorf("signing in with the newest password = %v", err)
	}
	if u := made[access.User](t)(x.desk.User(ctx, aide.ID)); u.Role() != access.Viewer {
		t.Errorf("who was made a viewer since the backup is %q after the restore", u.Role())
	}
	var erased string
	x.must(x.s.View(ctx, func(tx *store.Tx) error {
		users, err := tx.Users(store.UserFilter{Limit: store.All})
		for _, u := range users {
			erased += u.Username + " "
		}
		return err
	}))
	lines := made[[]access.Change](t)(x.desk.Changes(ctx, registry.ChangeFilter{Limit: 1000}))
	for _, l := range lines {
		if l.After["username"] == "erased" {
			t.Errorf("line %d of the audit has the name of somebody who was erased", l.ID)
		}
	}
	if l := lines[0]; lines[0].Object != access.ObjectUser && !slices.ContainsFunc(lines, func(l access.Change) bool {
		return l.Object == access.ObjectRestore && l.After["users deactivated"] == "1"
	}) {
		t.Errorf("the audit has no line of the restore; its newest is %+v", l)
	}
	// Ids go on where the replaced database was, and lanes too.
	if u := made[access.User](t)(x.desk.CreateUser(ctx, clerk, access.User{Username: "next", Active: true}, registry.Password{})); u.ID <= x.users["new"].ID {
		t.Errorf("the next user has the id %d; %d was given before", u.ID, x.users["new"].ID)
	}
	if l := made[int64](t)(x.s.ClaimWriter(ctx)); l <= other {
		t.Errorf("the next lane is %d; %d was given before", l, other)
	}
	x.record(lane, 3, 1) // as a server would that has run all the time
	events := made[[]access.Event](t)(x.s.Events(ctx, access.EventFilter{Limit: 1000}))
	ids := map[int64]bool{}
	for _, e := range events {
		ids[e.ID] = true
	}
	if len(events) != 11 || len(ids) != 11 {
		t.Errorf("the log has %d events with %d ids after the restore, want all 11", len(events), len(ids))
	}
}

func TestBringBack(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		x.addGates("front")
		x.addUsers("ann", "ben", "carl", "dora")
		x.addGroup("staff", "ben")
		x.grant("front", "ann", "")
		x.grant("front", "dora", "")
		x.grant("front", "", "staff")
		before := x.allowed()
		taken := x.take()
		_, err := x.desk.SetUserActive(t.Context(), clerk, x.users["ann"].ID, false)
		x.must(err)
		x.must(x.desk.RemoveMember(t.Context(), clerk, x.groups["staff"].ID, x.users["ben"].ID))
		x.must(x.desk.DeleteUser(t.Context(), clerk, x.users["dora"].ID, 0))
		x.must(x.desk.EraseUser(t.Context(), clerk, x.users["dora"].ID))
		var asked *backup.Prepared
		r := x.restore(taken.Path, func(r *backup.Restoring) {
			r.BringBack = true
			r.Confirm = func(p *backup.Prepared) error { asked = p; return nil }
		})
		delete(before, "dora@front") // who was erased does not come back
		if d := cmp.Diff(before, x.allowed()); d != "" {
			t.Errorf("who passes after everybody was brought back (-want +got):\n%s", d)
		}
		if got, want := fmt.Sprint(asked.Carried.Returned), "[ann ben dora]"; got != want {
			t.Errorf("before anything was done, %s were named as coming back, want %s", got, want)
		}
		if r.Carried.Ended["users deactivated"] != 1 || r.Carried.Ended["memberships ended"] != 2-1 {
			t.Errorf("brought back: %v", r.Carried.Ended)
		}
	})
}

// After a restore nobody passes who did not pass both in the backup and at the last moment before, whatever was edited in between.
func TestNobodyComesBackUnseen(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		ctx := t.Context()
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		dice := rand.New(rand.NewPCG(seed, 0))
		x.addGates("a", "b", "c")
		x.addUsers("u1", "u2", "u3", "u4", "u5", "u6")
		x.addGroup("g1", "u1", "u2", "u3")
		x.addGroup("g2", "u3", "u4")
		for range 8 {
			x.edit(ctx, dice)
		}
		for range 4 {
			backedUp := x.allowed()
			taken := x.take()
			for range 12 {
				x.edit(ctx, dice)
			}
			replaced := x.allowed()
			x.restore(taken.Path)
			for pass := range x.allowed() {
				if !backedUp[pass] || !replaced[pass] {
					t.Fatalf("seed %d: %s after the restore; in the backup %v, in the replaced database %v", seed, pass, backedUp[pass], replaced[pass])
				}
			}
			x.edit(ctx, dice) // it goes on from there
		}
	})
}

// edit makes one change at random. What cannot be done in the present state is no matter.
func (x *site) edit(ctx context.Context, dice *rand.Rand) {
	x.t.Helper()
	pick := func(m map[string]int64) int64 { // by name, so that a seed tells the same story again
		keys := slices.Sorted(maps.Keys(m))
		return m[keys[dice.IntN(len(keys))]]
	}
	users, gates, groups := map[string]int64{}, map[string]int64{}, map[string]int64{}
	for n, u := range x.users {
		users[n] = u.ID
	}
	for n, g := range x.gates {
		gates[n] = g.ID
	}
	for n, g := range x.groups {
		groups[n] = g.ID
	}
	user, gate, group := pick(users), pick(gates), pick(groups)
	p := access.Permission{GateID: gate, UserID: user, Allow: true}
	if dice.IntN(2) == 0 {
		p.UserID, p.GroupID = 0, group
	}
	var err error
	switch dice.IntN(9) {
	case 0, 1, 2:
		_, err = x.desk.GrantPermission(ctx, clerk, p)
	case 3:
		_, err = x.desk.SuspendPermission(ctx, clerk, p)
	case 4:
		_, err = x.desk.RevokePermissions(ctx, clerk, p.GateID, p.UserID, p.GroupID)
	case 5:
		err = x.desk.AddMember(ctx, clerk, group, user)
	case 6:
		err = x.desk.RemoveMember(ctx, clerk, group, user)
	case 7:
		_, err = x.desk.SetUserActive(ctx, clerk, user, dice.IntN(3) > 0)
	case 8:
		p.ValidFrom, p.ValidUntil = time.Now().Add(-time.Hour), time.Now().Add(time.Duration(dice.IntN(3)-1)*time.Hour+time.Minute)
		_, err = x.desk.GrantPermission(ctx, clerk, p)
	}
	var invalid access.Invalid
	if err != nil && !errors.Is(err, access.ErrNotFound) && !errors.Is(err, access.ErrConflict) && !errors.As(err, &invalid) {
		x.t.Fatal(err)
	}
}

// A database of which a part is lost keeps what can be read of it, and the rest is named.
func TestWhatCannotBeReadIsNamed(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		x.addGates("front")
		x.addUsers("ann", "ben")
		x.grant("front", "ann", "")
		x.grant("front", "ben", "")
		taken := x.take()
		_, err := x.desk.SetUserActive(t.Context(), clerk, x.users["ann"].ID, false)
		x.must(err)
		x.raw(`DROP TABLE membership`, map[string]string{store.SQLite: `DROP TABLE credential`, store.Postgres: `DROP TABLE credential CASCADE`}[x.db.Engine])
		r := x.restore(taken.Path, func(r *backup.Restoring) { r.WithoutSafety = true })
		if got, want := strings.Join(r.Carried.Unread, " "), "credential membership"; got != want {
			t.Errorf("unread: %q, want %q", got, want)
		}
		if got := x.allowed(); got["ann@front"] || !got["ben@front"] {
			t.Errorf("who passes: %v; want ben, and not ann who was deactivated since", got)
		}
	})
}

func TestOfAnotherInstallation(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		x.addUsers("ann")
		taken := x.take()
		x.raw(`UPDATE instance SET uuid = 'another'`, `UPDATE users SET is_active = FALSE`)
		r := x.restore(taken.Path)
		if !r.Carried.Stranger || len(r.Carried.Ended) != 0 || r.Safety == nil {
			t.Errorf("restored over another installation: %+v, safety backup %v; want nothing taken from it, but a backup of it", r.Carried, r.Safety)
		}
		if u := made[access.User](t)(x.desk.User(t.Context(), x.users["ann"].ID)); !u.Active {
			t.Error("ann is inactive as her namesake in the other installation")
		}
	})
}
