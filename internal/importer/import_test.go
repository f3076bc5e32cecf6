package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/decide"
	"github.com/openway-access/openway/internal/djangotest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestImport looks at everything that an import makes.
func TestImport(t *testing.T) {
	dump := dumpOf(t, odd(t))
	live := storetest.Empty(t, store.Postgres).DSN
	djangotest.Load(t, live, dump)
	for name, o := range map[string]Options{"dump": {Dump: dump}, "live": {From: live}} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, st *store.Store) { checkImport(t, st, o) })
		})
	}
}

func checkImport(t *testing.T, st *store.Store, o Options) {
	im := moveIn(t, st, o)
	keys := testKeys(t)

	// People, with their ids, names, flags, days and passwords.
	users := view(t, st, func(tx *store.Tx) ([]access.User, error) { return tx.Users(store.UserFilter{Limit: store.All}) })
	mustEqual(t, "users", len(users), 20)
	admin := users[0]
	admin.Version = 0
	if diff := cmp.Diff(access.User{
		ID: 1, Username: "admin", Email: "user1@example.com", Active: true, Staff: true, Superuser: true, CreatedAt: djangotest.Founded,
	}, admin); diff != "" {
		t.Errorf("admin (-want +got):\n%s", diff)
	}
	mustEqual(t, "an inactive user", users[4].Active, false)
	hash := view(t, st, func(tx *store.Tx) (string, error) { return tx.PasswordHash(2) })
	mustEqual(t, "the password of demo", hash, djangotest.Password("StrongPass_123", "salt02", djangotest.Rounds))
	former := view(t, st, func(tx *store.Tx) ([]string, error) { return tx.PasswordHashes(4, 5) })
	if len(former) != 2 || former[0] != "!" || former[1] != djangotest.Password("StrongPass_123", "salt04", djangotest.Rounds) {
		t.Errorf("the passwords of bob, who has none now: %q", former)
	}
	mustEqual(t, "groups of dave", fmt.Sprint(view(t, st, func(tx *store.Tx) ([]int64, error) { return tx.GroupIDs(6) })), "[2 3]")

	// Gates and rights.
	gate := view(t, st, func(tx *store.Tx) (access.Gate, error) { return tx.GateByCode("gate-sp") })
	mustEqual(t, "the gate with spaces", gate.ID, 7)
	permissions := view(t, st, func(tx *store.Tx) ([]access.Permission, error) {
		return tx.Permissions(store.PermissionFilter{GateID: 13, Limit: store.All})
	})
	if len(permissions) != 2 || permissions[0].ID != 18 || permissions[0].UserID != 4 || permissions[1].GroupID != 5 || permissions[1].ID != 28 {
		t.Errorf("the row that named both: %+v", permissions)
	}

	// Tokens: found by their digest, never there in clear, to be opened with the key.
	for _, c := range []struct {
		token  string
		kind   access.CredentialKind
		user   int64
		device int64
		state  access.CredentialState
	}{
		{strings.Repeat("d2", 20), access.UserToken, 2, 1, access.CredentialActive},
		{strings.Repeat("a3", 20), access.UserToken, 3, 0, access.CredentialActive}, // two phones share it
		{"tok8char", access.UserToken, 13, 0, access.CredentialActive},
		{strings.Repeat("a", 64), access.DeviceToken, 2, 1, access.CredentialActive},
		{strings.Repeat("91", 32), access.DeviceToken, 18, 9, access.CredentialInactive},
	} {
		got, err := byToken(t, st, c.token)
		if err != nil || got.Kind != c.kind || got.UserID != c.user || got.DeviceID != c.device || got.State != c.state {
			t.Errorf("%s: %v, %+v", c.token, err, got)
			continue
		}
		if open, err := keys.Open(got.ID, got.Sealed); err != nil || open != c.token {
			t.Errorf("the sealed copy of %s: %q, %v", c.token, open, err)
		}
		if got.IdleExpires || !got.ValidUntil.IsZero() {
			t.Errorf("%s ends by itself: %+v", c.token, got)
		}
	}
	if _, err := byToken(t, st, "tok7chr"); err == nil {
		t.Error("a token of 7 characters was carried over")
	}
	devices := view(t, st, func(tx *store.Tx) ([]access.Device, error) { return tx.Devices(store.DeviceFilter{Limit: store.All}) })
	mustEqual(t, "devices", len(devices), 11)
	for _, d := range devices {
		if d.TokenPreview == "" {
			t.Errorf("device %d has no token", d.ID)
		}
	}

	// The log, newest first.
	events, err := st.Events(t.Context(), access.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var p credential.Presented
	keys.Present(strings.Repeat("a3", 20), &p)
	demoToken, _ := byToken(t, st, strings.Repeat("d2", 20))
	var lines []string
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%d %s %s %s gate %d user %d with %t code %q known %t", e.ID, e.At.Format("15:04:05"), e.Decision, e.Reason,
			e.GateID, e.UserID, e.CredentialID == demoToken.ID, e.PresentedGate, e.Fingerprint == string(p.Fingerprint[:])))
	}
	want := []string{
		`9 08:00:00 ALLOW OK gate 0 user 2 with false code "gone" known false`,
		`5 08:00:03 DENY NO_PERMISSION gate 2 user 3 with false code "" known true`,
		`3 08:00:02 DENY INVALID_REQUEST gate 0 user 0 with false code "" known false`,
		`2 08:00:01 DENY UNKNOWN_GATE gate 0 user 0 with false code "gate-99" known true`,
		`1 08:00:00 ALLOW OK gate 1 user 2 with true code "" known false`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for _, f := range []access.EventFilter{{GateID: 1}, {UserID: 3}, {From: djangotest.Founded, To: djangotest.Founded.Add(time.Minute)}} {
		if found, err := st.Events(t.Context(), f); err != nil || len(found) != 1 {
			t.Errorf("events of %+v: %d, %v", f, len(found), err)
		}
	}

	// The audit: what Django's admin log told, and the import itself.
	changes, err := st.Changes(t.Context(), store.ChangeFilter{Limit: 4})
	if err != nil {
		t.Fatal(err)
	}
	lines = nil
	for _, c := range changes {
		lines = append(lines, fmt.Sprint(c.Actor.Label, " ", c.Object, " ", c.ObjectID, " ", c.Action, " ", map[string]string(c.Before), " ", map[string]string(c.After)))
	}
	want = []string{
		"root@test site 1 import map[] map[audit lines:3 devices:11 events:5 former passwords:20 gates:14 groups:5 memberships:10 permissions:25 source:" + im.from.label() + " user tokens:18 users:20]",
		"admin gate 99 delete map[name:gone] map[]",
		"admin credential 0 create map[] map[]",
		"admin user 2 change map[] map[fields:Email address, Active name:demo]",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}

	// What is made next gets ids of its own.
	_, _, err = st.Change(t.Context(), operator, func(tx *store.Tx) error {
		u, g, d := access.User{Username: "new"}, access.Gate{Code: "new"}, access.Device{UserID: 1}
		if err := tx.InsertUser(&u, "!"); err != nil {
			return err
		}
		if err := tx.InsertGate(&g); err != nil {
			return err
		}
		if err := tx.InsertDevice(&d); err != nil {
			return err
		}
		pm := access.Permission{GateID: g.ID, UserID: u.ID, Allow: true}
		if err := tx.InsertPermission(&pm); err != nil {
			return err
		}
		mustEqual(t, "the next ids", fmt.Sprint(u.ID, g.ID, d.ID, pm.ID), "21 15 12 29")
		c := access.Credential{UserID: u.ID, Kind: access.UserToken, State: access.CredentialActive}
		if err := tx.InsertCredential(&c, nil); err != nil {
			return err
		}
		return tx.Record(access.ObjectUser, u.ID, "create", nil, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	checkProof(t, im)
	noSecretStands(t, st, im)
}

func byToken(t testing.TB, st *store.Store, token string) (c access.Credential, err error) {
	t.Helper()
	var p credential.Presented
	testKeys(t).Present(token, &p)
	err = st.View(t.Context(), func(tx *store.Tx) (err error) {
		c, err = tx.CredentialByLookup(p.Lookups[:p.N])
		return err
	})
	return c, err
}

// checkProof: nothing differs but what the notes announce.
func checkProof(t *testing.T, im *Import) {
	t.Helper()
	p := im.Report.Proof
	if p == nil || p.Pairs != p.Of || p.Pairs == 0 || len(p.Faults) > 0 {
		t.Fatalf("the proof: %+v", p)
	}
	n := p.Equal
	for _, d := range p.Changed {
		n += d.Count
	}
	mustEqual(t, "decisions told", n, p.Pairs)
	if _, err := json.Marshal(im.Report); err != nil {
		t.Error(err)
	}
}

// noSecretStands looks through every text of every table for tokens in clear.
func noSecretStands(t *testing.T, st *store.Store, im *Import) {
	t.Helper()
	text := strings.Builder{}
	for before := int64(0); ; {
		events, err := st.Events(t.Context(), access.EventFilter{Before: before, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			fmt.Fprintln(&text, e.PresentedGate, e.Fingerprint, e.RequestID, e.Address)
			before = e.ID
		}
		if len(events) == 0 {
			break
		}
	}
	changes, err := st.Changes(t.Context(), store.ChangeFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		fmt.Fprintln(&text, c.Before, c.After, c.Actor.Label)
	}
	list := view(t, st, func(tx *store.Tx) ([]access.Credential, error) {
		return tx.Credentials(store.CredentialFilter{Limit: store.All})
	})
	for _, c := range list {
		fmt.Fprintln(&text, string(c.Sealed), string(c.Lookup[:]), c.Preview, c.Label)
	}
	for _, s := range secretsOf(im) {
		if strings.Contains(text.String(), s) {
			t.Errorf("the database holds %q in clear", s)
		}
	}
}

func TestTokensThatExpire(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	st := storetest.Open(t, store.SQLite)
	moveIn(t, st, Options{Dump: dumpOf(t, odd(t)), ExpireTokensAfter: 90 * 24 * time.Hour, Now: func() time.Time { return now }})
	c, err := byToken(t, st, strings.Repeat("d2", 20))
	if err != nil || !c.ValidUntil.Equal(now.Add(90*24*time.Hour)) {
		t.Errorf("the token ends %s, %v", c.ValidUntil, err)
	}
	if c, err := byToken(t, st, strings.Repeat("a", 64)); err != nil || !c.ValidUntil.IsZero() {
		t.Errorf("the device's token ends %s, %v", c.ValidUntil, err)
	}
}

// TestSnapshotsAreLoadedAnew: whoever knows the policy from before is told to load it all, and from then on follows again.
func TestSnapshotsAreLoadedAnew(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		before, err := st.PolicyMark(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		moveIn(t, st, Options{Dump: dumpOf(t, djangotest.Of(djangotest.GoldenSite(t)))})
		if delta, err := st.PolicyChanges(t.Context(), before); err != nil || !delta.Rebuild {
			t.Errorf("before the import: rebuild %t, %v", delta.Rebuild, err)
		}
		mark, err := st.LoadPolicy(t.Context(), decide.NewBuilder(0))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = st.Change(t.Context(), operator, func(tx *store.Tx) error {
			g := access.Gate{Code: "new"}
			if err := tx.InsertGate(&g); err != nil {
				return err
			}
			return tx.Record(access.ObjectGate, g.ID, "create", nil, nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		if delta, err := st.PolicyChanges(t.Context(), mark); err != nil || delta.Rebuild || len(delta.Gates) != 1 {
			t.Errorf("after the import: %+v, %v", delta, err)
		}
	})
}

func TestReplace(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		d := djangotest.Of(djangotest.GoldenSite(t))
		o := Options{Dump: dumpOf(t, d)}
		moveIn(t, st, o)
		into := func(o Options) error {
			im := read(t, o)
			rehearsed := im.Rehearse(t.Context(), holdings(t, st))
			err := im.Into(t.Context(), st, testKeys(t), operator)
			if fmt.Sprint(rehearsed) != fmt.Sprint(err) {
				t.Errorf("the rehearsal said %v, the import %v", rehearsed, err)
			}
			return err
		}
		want := "the database is not empty (20 users, 14 gates, 25 permissions, 11 devices, 4 events): import into an empty one, or wipe that with --replace: conflict"
		if err := into(o); err == nil || err.Error() != want {
			t.Errorf("a second import: got %v, want %s", err, want)
		}

		// The site has moved on; a phone has signed in here meanwhile.
		d.Set("auth_group", append(d.Rows("auth_group"), []any{6, "New"})...)
		d.Set("access_accessevent", append(d.Rows("access_accessevent"), []any{6, nil, "DENY", "INVALID_REQUEST", nil, djangotest.Founded, nil, nil})...)
		o.Dump, o.Replace = dumpOf(t, d), true
		change(t, st, access.ObjectCredential, func(tx *store.Tx) error {
			c := access.Credential{UserID: 2, Kind: access.UserToken, State: access.CredentialActive}
			return tx.InsertCredential(&c, nil)
		})
		if err := into(o); err != nil {
			t.Fatalf("replace: %v", err)
		}
		if h := holdings(t, st); h.Rows["user_group"] != 6 || h.Rows["events"] != 5 || h.Rows["users"] != 20 || h.Rows["credential"] != 29 {
			t.Errorf("after replacing: %v", h.Rows)
		}
		past, err := st.Changes(t.Context(), store.ChangeFilter{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "audit lines: the making, three from Django, two imports, one sign-in", len(past), 7)

		change(t, st, access.ObjectGate, func(tx *store.Tx) error {
			g := access.Gate{Code: "made here"}
			return tx.InsertGate(&g)
		})
		want = "people, gates or rights were made or changed here since the last import (1 gate), and --replace would wipe them: give --force as well if that is meant: conflict"
		if err := into(o); err == nil || err.Error() != want {
			t.Errorf("replace after a change: got %v, want %s", err, want)
		}
		if h := holdings(t, st); h.Rows["gate"] != 15 {
			t.Errorf("the refusal left %v", h.Rows)
		}
		o.Force = true
		if err := into(o); err != nil {
			t.Fatalf("replace by force: %v", err)
		}
		if h := holdings(t, st); h.Rows["gate"] != 14 || h.Since[access.ObjectGate] != 0 {
			t.Errorf("after force: %v", h)
		}
	})
}

// change makes a change of one line.
func change(t testing.TB, st *store.Store, object string, fn func(tx *store.Tx) error) {
	t.Helper()
	_, _, err := st.Change(t.Context(), operator, func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Record(object, 1, "create", nil, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestReplaceOfAnInstallationThatNeverImported is refused: all in it was made there.
func TestReplaceOfAnInstallationThatNeverImported(t *testing.T) {
	st := storetest.Open(t, store.SQLite)
	change(t, st, access.ObjectUser, func(tx *store.Tx) error {
		u := access.User{Username: "root"}
		return tx.InsertUser(&u, "!")
	})
	im := read(t, Options{Dump: dumpOf(t, odd(t)), Replace: true})
	err := im.Into(t.Context(), st, testKeys(t), operator)
	want := "people, gates or rights were made or changed here (nothing was imported before) (1 user), and --replace would wipe them: give --force as well if that is meant: conflict"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestConflictsRefuse: nothing is written while people have something to decide.
func TestConflictsRefuse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		d := djangotest.Of(djangotest.GoldenSite(t))
		rows := d.Rows("access_accesspoint")
		rows[1][1] = "gate-01 "
		d.Set("access_accesspoint", rows...)
		im := read(t, Options{Dump: dumpOf(t, d)})
		err := im.Into(t.Context(), st, testKeys(t), operator)
		if err == nil || err.Error() != "1 conflict is to be resolved in Django first; nothing was changed" {
			t.Errorf("got %v", err)
		}
		if h := holdings(t, st); !h.Empty() {
			t.Errorf("it left %v", h.Rows)
		}
	})
}

// TestAFaultOfOursIsFound: a right too many, or one too few, and nothing is written.
func TestAFaultOfOursIsFound(t *testing.T) {
	for name, spoil := range map[string]func(p *plan){
		"a right too few":        func(p *plan) { p.permissions = p.permissions[1:] },
		"a right too many":       func(p *plan) { p.permissions[6].Allow = true },
		"a device of another":    func(p *plan) { p.credentials[18].UserID = 3 },
		"a lost device":          func(p *plan) { p.credentials[21].State = access.CredentialActive },
		"a user who is let back": func(p *plan) { p.users[4].Active = true },
		"a token of another":     func(p *plan) { p.credentials[1].UserID = 3 },
		"a token that ended":     func(p *plan) { p.credentials[1].ValidUntil = djangotest.Founded },
	} {
		t.Run(name, func(t *testing.T) {
			im := read(t, Options{Dump: dumpOf(t, djangotest.Of(djangotest.GoldenSite(t)))})
			spoil(im.plan)
			var unequal ErrUnequal
			if err := im.Rehearse(t.Context(), store.Holdings{}); !errors.As(err, &unequal) {
				t.Errorf("got %v", err)
			}
			if len(im.Report.Proof.Faults) == 0 || im.Report.Proof.Faults[0].Examples[0] == "" {
				t.Errorf("the report does not say where: %+v", im.Report.Proof)
			}
		})
	}
	storetest.Each(t, func(t *testing.T, st *store.Store) { // and what was written is what is looked at
		im := read(t, Options{Dump: dumpOf(t, djangotest.Of(djangotest.GoldenSite(t)))})
		im.plan.users[4].Active = true
		err := im.Into(t.Context(), st, testKeys(t), operator)
		if err == nil || err.Error() != "14 decisions would differ from the original's for no reason that is known: this is a fault of the import; nothing was changed" {
			t.Errorf("got %v", err)
		}
		if h := holdings(t, st); !h.Empty() {
			t.Errorf("it left %v", h.Rows)
		}
	})
}

// TestTheSampleIsEven: beyond the limit every token and every gate still gets its turn.
func TestTheSampleIsEven(t *testing.T) {
	im := read(t, Options{Dump: dumpOf(t, djangotest.Great(300, 40, 0)), SkipEvents: true})
	keys := testKeys(t)
	im.plan.number(1, 1, im.site)
	b := decide.NewBuilder(0)
	im.plan.tell(b, keys)
	snapshot := b.Snapshot(access.PolicyMark{})
	for _, most := range []int64{100, 600, 5000, 1_000_000} {
		p, err := prove(im.site, snapshot, keys, time.Now().UnixMicro(), most, func(int64, int64) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if want := min(most, 600*40); p.Pairs < want*3/4 || p.Pairs > want || p.Of != 600*40 || len(p.Faults) > 0 {
			t.Errorf("at most %d: %d of %d pairs, faults %v", most, p.Pairs, p.Of, p.Faults)
		}
	}
}

// TestRehearsalWritesNothing on a database that is there.
func TestRehearsalWritesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		im := read(t, Options{Dump: dumpOf(t, odd(t))})
		before := view(t, st, func(tx *store.Tx) (any, error) { return tx.Mark, nil })
		if err := im.Rehearse(t.Context(), holdings(t, st)); err != nil {
			t.Fatal(err)
		}
		checkProof(t, im)
		if !im.Report.DryRun || im.Report.Imported {
			t.Errorf("the report: %+v", im.Report)
		}
		if h := holdings(t, st); !h.Empty() {
			t.Errorf("it left %v", h.Rows)
		}
		if after := view(t, st, func(tx *store.Tx) (any, error) { return tx.Mark, nil }); after != before {
			t.Error("the policy moved")
		}
	})
}

// TestInterrupted: a signal in the middle leaves nothing.
func TestInterrupted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		ctx, cancel := context.WithCancel(within(t))
		im := read(t, Options{Dump: dumpOf(t, djangotest.Great(50, 5, 20_000)), Progress: func(p Progress) {
			if p.Step == stepEvents && p.Done > 5000 {
				cancel()
			}
		}})
		if err := im.Into(ctx, st, testKeys(t), operator); err == nil {
			t.Fatal("it went on")
		}
		if h := holdings(t, st); !h.Empty() {
			t.Errorf("it left %v", h.Rows)
		}
	})
}

// TestImportedEventsAreCounted: the overview's sums have them, once, also after the site was imported anew.
func TestImportedEventsAreCounted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		o := Options{Dump: dumpOf(t, djangotest.Great(50, 5, 3500)), Replace: true}
		for range 2 {
			moveIn(t, st, o)
			for more := true; more; {
				var err error
				if _, more, err = st.CountEvents(within(t)); err != nil {
					t.Fatal(err)
				}
			}
			if err := st.IndexEvents(within(t)); err != nil {
				t.Fatal(err)
			}
			hours := view(t, st, func(tx *store.Tx) ([]store.HourCount, error) {
				return tx.HourCounts(0, djangotest.Founded, djangotest.Founded.AddDate(1, 0, 0))
			})
			n := int64(0)
			for _, h := range hours {
				n += h.Count
			}
			mustEqual(t, "decisions counted", n, 3500)
			events, err := st.Events(t.Context(), access.EventFilter{GateID: 3, Limit: store.All})
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "events of a gate", len(events), 700)
		}
	})
}
