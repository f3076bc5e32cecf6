package gatekeeper_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/gatekeeper"
)

// TestLateRequestIsItsOwn: a request that was answered before its batch came to its end stands in the log as it was asked, whoever asks meanwhile.
func TestLateRequestIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		m.disk = make(chan struct{})
		g := m.guard(t, nil)
		defer leave(t, g)
		verify := func(id string) {
			r := ask("north", ann)
			r.RequestID = id
			if a := g.Verify(t.Context(), r); a.Reason != access.Unavailable {
				t.Errorf("%s is answered %+v, want UNAVAILABLE", id, a)
			}
		}
		for _, id := range []string{"a", "b", "c"} {
			verify(id) // until its time is up
		}
		disk := m.disk
		m.with(func() { m.disk = nil })
		close(disk)
		pass(2 * time.Second)
		synctest.Wait()
		var ids []string
		for _, e := range m.recorded() {
			if e.Kind == access.DecisionEvent {
				ids = append(ids, e.RequestID)
			}
		}
		slices.Sort(ids)
		if len(ids) == 0 || len(slices.Compact(slices.Clone(ids))) != len(ids) || ids[0] != "a" {
			t.Errorf("the decisions recorded are %q, want a, and none twice", ids)
		}
	})
}

func TestVerifyRecordsWhatItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, nil)
		defer leave(t, g)
		at := time.Now().UTC().Truncate(time.Microsecond)
		fingerprint := func(token string) string {
			m.recorded()
			g.Verify(t.Context(), ask("north", token))
			return m.recorded()[0].Fingerprint
		}
		annPrint, strangerPrint := fingerprint(ann), fingerprint("a stranger's token")
		if annPrint == strangerPrint || len(annPrint) != 12 {
			t.Errorf("fingerprints %q and %q, want two different ones of 12 digits", annPrint, strangerPrint)
		}
		long := strings.Repeat("ф", 100)
		for _, c := range []struct {
			name  string
			ask   gatekeeper.Request
			want  gatekeeper.Answer
			event access.Event
		}{
			{
				"ann at north", ask("north", ann),
				gatekeeper.Answer{Outcome: access.Allow, Reason: access.OK, ReleaseMS: 1200, UserID: 1},
				access.Event{GateID: north, UserID: 1, CredentialID: 1, PermissionID: 101, Fingerprint: annPrint},
			},
			{
				"ann at south", ask("south", ann),
				gatekeeper.Answer{Outcome: access.Deny, Reason: access.NoPermission, UserID: 1},
				access.Event{GateID: south, UserID: 1, CredentialID: 1, Fingerprint: annPrint},
			},
			{
				"a stranger", ask("north", "a stranger's token"),
				gatekeeper.Answer{Outcome: access.Deny, Reason: access.TokenInvalid},
				access.Event{GateID: north, Fingerprint: strangerPrint},
			},
			{
				"an unknown gate", ask("west", ann),
				gatekeeper.Answer{Outcome: access.Deny, Reason: access.UnknownGate},
				access.Event{PresentedGate: "west", Fingerprint: annPrint},
			},
			{
				"an unknown gate with a long name", ask(long, ann),
				gatekeeper.Answer{Outcome: access.Deny, Reason: access.UnknownGate},
				access.Event{PresentedGate: long[:128], Fingerprint: annPrint},
			},
			{
				"a token in place of the gate", ask(strings.Repeat("d2", 20), ann),
				gatekeeper.Answer{Outcome: access.Deny, Reason: access.UnknownGate},
				access.Event{PresentedGate: "d2d2…d2d2", Fingerprint: annPrint},
			},
			{
				"a token that somebody chose in place of the gate", ask(bob, ann),
				gatekeeper.Answer{Outcome: access.Deny, Reason: access.UnknownGate},
				access.Event{PresentedGate: "bob'…word", Fingerprint: annPrint},
			},
			{
				"malformed",
				gatekeeper.Request{Malformed: true, Address: netip.MustParseAddr("192.0.2.7"), RequestID: "r"},
				gatekeeper.Answer{Outcome: access.Deny, Reason: access.InvalidRequest},
				access.Event{},
			},
			{
				"malformed, the gate is known",
				gatekeeper.Request{Malformed: true, Presented: "south", Address: netip.MustParseAddr("192.0.2.7"), RequestID: "r"},
				gatekeeper.Answer{Outcome: access.Deny, Reason: access.InvalidRequest},
				access.Event{GateID: south},
			},
			{
				"malformed, the gate is not known",
				gatekeeper.Request{Malformed: true, Presented: "x\x00y", Address: netip.MustParseAddr("192.0.2.7"), RequestID: "r"},
				gatekeeper.Answer{Outcome: access.Deny, Reason: access.InvalidRequest},
				access.Event{PresentedGate: "x\uFFFDy"},
			},
		} {
			c.want.Gate = c.ask.Gate + c.ask.Presented
			if c.event.PresentedGate != "" && !strings.Contains(c.want.Gate, "\x00") { // the log escapes what events replace
				c.want.Gate = c.event.PresentedGate
			}
			if got := g.Verify(t.Context(), c.ask); got != c.want {
				t.Errorf("%s: answer %+v, want %+v", c.name, got, c.want)
			}
			want := c.event
			want.Kind, want.Decision, want.Reason, want.At, want.Count, want.PolicyVersion = access.DecisionEvent, c.want.Outcome, c.want.Reason, at, 1, 1
			want.Address, want.RequestID = "192.0.2.7", "r"
			if got := m.recorded(); len(got) != 1 || got[0] != want {
				t.Errorf("%s: recorded %+v, want only %+v", c.name, got, want)
			}
		}
	})
}

func TestAddressesAsEventsShowThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, nil)
		defer leave(t, g)
		for in, want := range map[string]string{"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8::1": "2001:db8::1", "fe80::1%eth0": "fe80::1"} {
			r := ask("north", ann)
			r.Address = netip.MustParseAddr(in)
			g.Verify(t.Context(), r)
			if got := m.recorded()[0].Address; got != want {
				t.Errorf("address %s is recorded as %q, want %q", in, got, want)
			}
		}
		r := ask("north", ann)
		r.Address = netip.Addr{}
		if a := g.Verify(t.Context(), r); a.Outcome != access.Allow {
			t.Errorf("without an address: %+v, want ALLOW", a)
		}
	})
}

// TestRevocationHolds: no poll, no word of the change, and yet the next request is decided by it.
func TestRevocationHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, func(c *gatekeeper.Config) { c.Poll = -1 })
		defer leave(t, g)
		for i := range 20 {
			may := i%2 == 0
			m.change(func() {
				if may {
					m.grants[[2]int64{south, 2}] = true
				} else {
					delete(m.grants, [2]int64{south, 2})
				}
			})
			if a := g.Verify(t.Context(), ask("south", bob)); (a.Outcome == access.Allow) != may || a.Outcome == access.Allow && a.ReleaseMS != 800 {
				t.Errorf("round %d: %+v, want allowed = %v", i, a, may)
			}
			if e := m.recorded(); len(e) != 1 || (e[0].Decision == access.Allow) != may || e[0].PolicyVersion != int64(2+i) || (e[0].PermissionID == 202) != may {
				t.Errorf("round %d: recorded %+v, want one event of policy %d", i, e, 2+i)
			}
		}
	})
}

// TestFreshness: the poll, and word of a change, move the snapshot without any request.
func TestFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, nil)
		defer leave(t, g)
		version := func() int64 { mark, _ := g.Policy(); return mark.Version }
		m.change(func() {})
		pass(240 * time.Millisecond)
		synctest.Wait()
		if v := version(); v != 1 {
			t.Errorf("policy %d before the poll, want 1", v)
		}
		pass(20 * time.Millisecond)
		synctest.Wait()
		if v := version(); v != 2 {
			t.Errorf("policy %d after the poll, want 2", v)
		}
		m.change(func() {})
		g.Changed()
		synctest.Wait()
		if v := version(); v != 3 {
			t.Errorf("policy %d after word of the change, want 3", v)
		}
		m.with(func() { m.down = true })
		m.change(func() {})
		pass(time.Minute)
		m.with(func() { m.down = false })
		pass(250 * time.Millisecond)
		synctest.Wait()
		if v := version(); v != 4 {
			t.Errorf("policy %d after an outage, want 4", v)
		}
	})
}

func TestUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := gatekeeper.New(gatekeeper.Config{Source: m, Keys: m.keys})
		want := gatekeeper.Answer{Outcome: access.Deny, Reason: access.Unavailable, RetryAfter: gatekeeper.RetryAfter, Gate: "north"}
		if a := g.Verify(t.Context(), ask("north", ann)); a != want {
			t.Errorf("before Start: %+v, want %+v", a, want)
		}
		g = m.guard(t, nil)
		m.with(func() { m.down = true })
		began := time.Now()
		if a := g.Verify(t.Context(), ask("north", ann)); a != want {
			t.Errorf("without a database: %+v, want %+v", a, want)
		}
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("without a database the answer took %v, want a little over 3s", took)
		}
		m.with(func() { m.down = false })
		pass(2 * time.Second)
		synctest.Wait()
		e := m.recorded()
		if len(e) != 1 || e[0].Kind != access.SystemEvent || e[0].Reason != access.NoteUnavailable || e[0].GateID != north || e[0].Count != 1 {
			t.Errorf("recorded %+v, want word of one refusal at north", e)
		}
		if a := g.Verify(t.Context(), ask("north", ann)); a.Outcome != access.Allow {
			t.Errorf("when the database is back: %+v, want ALLOW", a)
		}
		leave(t, g)
		if a := g.Verify(t.Context(), ask("north", ann)); a != want {
			t.Errorf("after Close: %+v, want %+v", a, want)
		}
	})
}

// TestKeysThatAreNotHere: while tokens are under a key that this process lacks, it cannot tell a good token from a bad one.
func TestKeysThatAreNotHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, func(c *gatekeeper.Config) { c.Poll = -1 })
		defer leave(t, g)
		other, err := credential.NewKeyring([]byte("other other other other other other"))
		if err != nil {
			t.Fatal(err)
		}
		want := gatekeeper.Answer{Outcome: access.Deny, Reason: access.Unavailable, RetryAfter: gatekeeper.RetryAfter, Gate: "north"}
		for range 2 { // decided by the policy before, and by that one
			m.change(func() { m.keyCheck = other.CheckWith(m.keys.Check()) })
			began := time.Now()
			if a := g.Verify(t.Context(), ask("north", "a stranger's token")); a != want || time.Since(began) > time.Second {
				t.Errorf("answer %+v after %v, want %+v at once", a, time.Since(began), want)
			}
			if err := g.Ready(); !errors.Is(err, credential.ErrOtherKey) {
				t.Errorf("Ready = %v, want %v", err, credential.ErrOtherKey)
			}
		}
		pass(2 * time.Second)
		synctest.Wait()
		if e := m.recorded(); len(e) != 1 || e[0].Reason != access.NoteUnavailable || e[0].Count != 2 {
			t.Errorf("recorded %+v, want word of two refusals", e)
		}
		m.change(func() { m.keyCheck = m.keys.Check() })
		g.Changed()
		synctest.Wait()
		if a := g.Verify(t.Context(), ask("north", ann)); a.Outcome != access.Allow || g.Ready() != nil {
			t.Errorf("when the keys are known again: %+v, Ready = %v, want ALLOW", a, g.Ready())
		}
	})
}

func TestStartWithoutDatabase(t *testing.T) {
	m := newTown(t)
	m.down = true
	if err := gatekeeper.New(gatekeeper.Config{Source: m, Keys: m.keys}).Start(t.Context()); err == nil {
		t.Error("Start without a database succeeded")
	}
}
