package registry_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

const doorWord = "a long enough door"

// admin is a user with a role and a password.
func (d *desk) admin(name string, role access.Role) access.User {
	d.t.Helper()
	u := access.User{Username: name, Active: true}
	if role != access.None {
		u.Roles = []access.RoleGrant{{Role: role}}
	}
	return must(d.CreateUser(d.t.Context(), clerk, u, registry.Password{Plain: doorWord}))(d.t)
}

func (d *desk) signIn(name string) string {
	d.t.Helper()
	secret, _, err := d.SignIn(d.t.Context(), access.Actor{Kind: "user", Address: "192.0.2.7"}, name, doorWord, "Browser/1.0", "")
	if err != nil {
		d.t.Fatal(err)
	}
	return secret
}

func (d *desk) open(secret string) bool {
	d.t.Helper()
	_, _, err := d.Session(d.t.Context(), secret)
	if err != nil {
		wantKind(d.t, "a session that is over", err, access.ErrBadToken)
	}
	return err == nil
}

func TestSessionsLastAsTheyShould(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann := d.admin("ann", access.Viewer)
		secret := d.signIn("ann")
		if d.open("") || d.open("x"+secret) {
			t.Error("a secret that is none opens a session")
		}
		d.advance(registry.SessionIdle - time.Second)
		if !d.open(secret) {
			t.Error("a session ended before it idled")
		}
		d.advance(registry.SessionIdle - time.Second)
		if !d.open(secret) {
			t.Error("a use did not count")
		}
		d.advance(registry.SessionIdle)
		if d.open(secret) {
			t.Error("an idle session is open")
		}
		secret = d.signIn("ann")
		if list := must(d.Sessions(ctx, ann.ID))(t); len(list) != 1 || list[0].Agent != "Browser/1.0" || list[0].Address != "192.0.2.7" {
			t.Errorf("the sessions are %+v, want the one of now", list)
		}
		for end := d.micros.Load() + registry.SessionLife.Microseconds(); d.micros.Load() < end; d.advance(registry.SessionIdle / 2) {
			if !d.open(secret) {
				t.Fatal("a session that is used ended before its life")
			}
		}
		if d.open(secret) {
			t.Error("a session outlives its life")
		}
	})
}

func TestSignInRefuses(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		d.admin("ann", access.Viewer)
		d.admin("bob", access.None)
		for _, tc := range []struct {
			user, password string
			want           error
		}{
			{"ann", "no", access.ErrBadLogin},
			{"bob", "no", access.ErrBadLogin},
			{"bob", doorWord, registry.ErrNoRole},
			{"eve", doorWord, access.ErrBadLogin},
		} {
			secret, _, err := d.SignIn(t.Context(), clerk, tc.user, tc.password, "", "")
			wantKind(t, tc.user+" with "+tc.password, err, tc.want)
			if secret != "" {
				t.Errorf("%s with %s got a secret", tc.user, tc.password)
			}
		}
		if got, want := d.Logins(), (registry.LoginStats{Failed: 4}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	})
}

func TestSessionsAreEnded(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann, bob := d.admin("ann", access.Viewer), d.admin("bob", access.Viewer)
		first, second, other := d.signIn("ann"), d.signIn("ann"), d.signIn("bob")
		id := must(d.Sessions(ctx, bob.ID))(t)[0].ID
		if err := d.SignOut(ctx, clerk, ann.ID, id); err != nil || !d.open(other) {
			t.Errorf("one user ended another's session (%v)", err)
		}
		third, _, err := d.SignIn(ctx, clerk, "ann", doorWord, "", first)
		if err != nil || d.open(first) || !d.open(second) || !d.open(third) {
			t.Errorf("signing in again: the session at hand must be replaced, and it alone (%v)", err)
		}
		if _, err := d.ChangeOwnPassword(ctx, clerk, ann.ID, "no", "another long door", ""); err == nil || !d.open(second) {
			t.Errorf("the password was changed by a wrong one (%v)", err)
		} else {
			wantKind(t, "a wrong present password", err, access.ErrBadLogin)
		}
		fourth, err := d.ChangeOwnPassword(ctx, clerk, ann.ID, doorWord, "another long door", "")
		if err != nil || d.open(second) || d.open(third) || !d.open(fourth) || !d.open(other) {
			t.Errorf("a changed password must end the user's sessions but the new one (%v)", err)
		}
		if n, err := d.SignOutEverywhere(ctx, clerk, ann.ID); n != 1 || err != nil || d.open(fourth) {
			t.Errorf("sign out everywhere: %d, %v", n, err)
		}
		if err := d.SetLanguage(ctx, clerk, bob.ID, "ru"); err != nil || must(d.User(ctx, bob.ID))(t).Language != "ru" {
			t.Errorf("set the language: %v", err)
		}
		d.follow("sessions")
	})
}

func TestWaysThroughAGate(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		g := must(d.CreateGate(ctx, clerk, access.Gate{Code: "g"}))(t)
		far := must(d.CreateGate(ctx, clerk, access.Gate{Code: "far"}))(t)
		staff := must(d.CreateGroup(ctx, clerk, access.Group{Name: "Staff"}))(t)
		guests := must(d.CreateGroup(ctx, clerk, access.Group{Name: "Guests"}))(t)
		ann, bob := d.user("ann"), d.user("bob")
		if err := d.AddMember(ctx, clerk, staff.ID, ann.ID); err != nil {
			t.Fatal(err)
		}
		for _, p := range []access.Permission{
			{GateID: g.ID, GroupID: staff.ID}, {GateID: g.ID, GroupID: guests.ID}, {GateID: g.ID, UserID: ann.ID}, {GateID: g.ID, UserID: bob.ID}, {GateID: far.ID, UserID: ann.ID},
		} {
			must(d.GrantPermission(ctx, clerk, p))(t)
		}
		names := func(list []registry.Grant) (all string) {
			for _, p := range list {
				all += p.Group.Name
				if p.UserID == ann.ID {
					all += "own"
				}
				all += " "
			}
			return all
		}
		if got := names(must(d.Ways(ctx, g.ID, ann.ID))(t)); got != "own Staff " {
			t.Errorf("ways of ann: %q", got)
		}
		if got := names(must(d.GroupWays(ctx, g.ID, []int64{guests.ID, 99}))(t)); got != "Guests " {
			t.Errorf("ways of groups: %q", got)
		}
		if members, permissions, err := d.GroupSize(ctx, staff.ID); err != nil || members != 1 || permissions != 1 {
			t.Errorf("the group has %d members and %d permissions (%v), want 1 and 1", members, permissions, err)
		}
		if n := must(d.CountPermissions(ctx, g.ID))(t); n != 4 {
			t.Errorf("%d permissions, want 4", n)
		}
	})
}

// Whoever knows the old password cannot undo what an owner did about that meanwhile: at whatever moment the owner sets another one, that one holds.
func TestAnOwnPasswordGivesWayToAReset(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		const taken, reset = "a password of a thief", "a password of the owner"
		hash := must(credential.HashPassword(reset))(t)
		probe := must(sql.Open("sqlite", d.db.DSN))(t)
		defer probe.Close()
		probe.SetMaxOpenConns(1)
		// On SQLite nobody can change anything inside the change itself.
		free := func() bool {
			if d.db.Engine == store.Postgres {
				return true
			}
			if _, err := probe.Exec(`BEGIN IMMEDIATE`); err != nil {
				return false
			}
			must(probe.Exec(`ROLLBACK`))(t)
			return true
		}
		resets := 0
		for moment := range 5 {
			ann := d.admin(fmt.Sprint("ann", moment), access.Manager)
			looks, done := -1, false // -1: not yet
			s := storetest.OpenWith(t, store.Options{Database: d.db.DSN, Now: func() time.Time {
				if looks == moment && free() {
					if err := d.SetPassword(t.Context(), clerk, ann.ID, registry.Password{Hash: hash}); err != nil {
						t.Error(err)
					}
					done = true
					resets++
				}
				if looks >= 0 {
					looks++
				}
				return time.UnixMicro(d.micros.Load())
			}})
			looks = 0
			other := registry.New(registry.Config{Store: s, Keys: keys(t, oldKey), LoginFloor: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
			secret, err := other.ChangeOwnPassword(t.Context(), clerk, ann.ID, doorWord, taken, "")
			looks = -1
			if done {
				if _, _, err := d.SignIn(t.Context(), clerk, ann.Username, reset, "", ""); err != nil {
					t.Errorf("reset at look %d: the owner's password does not hold: %v", moment+1, err)
				}
				if err == nil || d.open(secret) {
					t.Errorf("reset at look %d: the old password was good for another one, or a session (%v)", moment+1, err)
				}
			}
			if err := other.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if resets == 0 {
			t.Error("no password was reset in the middle of a change")
		}
	})
}
