package gatekeeper_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
)

// counts are the counts of events, single ones first.
func counts(events []access.Event) []int {
	var out []int
	for _, e := range events {
		out = append(out, e.Count)
	}
	slices.Sort(out)
	return out
}

func TestDenialsFold(t *testing.T) {
	ones := func(n int, more ...int) []int { return append(slices.Repeat([]int{1}, n), more...) }
	malformed := gatekeeper.Request{Malformed: true, Address: netip.MustParseAddr("192.0.2.7")}
	for _, c := range []struct {
		name string
		asks func(i int) gatekeeper.Request
		n    int
		gap  time.Duration // between two requests
		want []int         // counts of the events
	}{
		{name: "ten unknown tokens", asks: func(int) gatekeeper.Request { return ask("north", "stranger") }, n: 10, want: ones(10)},
		{name: "eleven", asks: func(int) gatekeeper.Request { return ask("north", "stranger") }, n: 11, want: ones(11)},
		{name: "thirty", asks: func(int) gatekeeper.Request { return ask("north", "stranger") }, n: 30, want: ones(10, 20)},
		{name: "thirty different tokens", asks: func(i int) gatekeeper.Request { return ask("north", fmt.Sprint("stranger", i)) }, n: 30, want: ones(10, 20)},
		{name: "thirty malformed ones", asks: func(int) gatekeeper.Request { return malformed }, n: 30, want: ones(10, 20)},
		{name: "thirty at one unknown gate", asks: func(int) gatekeeper.Request { return ask("west", ann) }, n: 30, want: ones(10, 20)},
		{name: "thirty at thirty unknown gates", asks: func(i int) gatekeeper.Request { return ask(fmt.Sprint("west", i), ann) }, n: 30, want: ones(10, 20)},
		{name: "twenty at two gates", asks: func(i int) gatekeeper.Request { return ask([]string{"north", "south"}[i%2], "stranger") }, n: 20, want: ones(20)},
		{name: "of two kinds", asks: func(i int) gatekeeper.Request { return ask([]string{"north", "west"}[i%2], "stranger") }, n: 30, want: ones(20, 5, 5)},
		{name: "from two addresses", asks: func(i int) gatekeeper.Request {
			r := ask("north", "stranger")
			r.Address = netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 2)})
			return r
		}, n: 30, want: ones(20, 5, 5)},
		{name: "from one /64", asks: func(i int) gatekeeper.Request {
			r := ask("north", "stranger")
			r.Address = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1))
			return r
		}, n: 30, want: ones(10, 20)},
		{name: "ten a second for three seconds", asks: func(int) gatekeeper.Request { return ask("north", "stranger") }, n: 30, gap: 100 * time.Millisecond, want: ones(30)},
		// The eleventh comes after 470 ms; a second later, at the next look (1500 ms), 22 are folded; then the others.
		{name: "some twenty a second for two seconds", asks: func(int) gatekeeper.Request { return ask("north", "stranger") }, n: 40, gap: 47 * time.Millisecond, want: ones(10, 8, 22)},
		{name: "allowed", asks: func(int) gatekeeper.Request { return ask("north", ann) }, n: 50, want: ones(50)},
		{name: "no permission", asks: func(int) gatekeeper.Request { return ask("south", ann) }, n: 50, want: ones(50)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTown(t)
				g := m.guard(t, nil)
				defer leave(t, g)
				began := time.Now().UTC().Truncate(time.Microsecond)
				for i := range c.n {
					if i > 0 && c.gap > 0 {
						pass(c.gap)
					}
					g.Verify(t.Context(), c.asks(i))
				}
				ended := time.Now().UTC().Truncate(time.Microsecond)
				pass(1200 * time.Millisecond)
				synctest.Wait()
				events := m.recorded()
				if got := counts(events); !slices.Equal(got, c.want) {
					t.Errorf("counts of the events %v, want %v", got, c.want)
				}
				for _, e := range events {
					if e.Count > 1 && (e.At.Before(began) || e.Until.After(ended) || e.Until.Before(e.At) || e.Decision != access.Deny) {
						t.Errorf("folded %+v, want it between %v and %v", e, began, ended)
					}
					if e.Count == 1 && e.Until != e.At && !e.Until.IsZero() {
						t.Errorf("single event %+v, want no Until or its own At", e)
					}
				}
			})
		})
	}
}

// TestFoldedEventHoldsWhatAllShare: what differs among the folded denials is left out.
func TestFoldedEventHoldsWhatAllShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, nil)
		defer leave(t, g)
		folded := func(asks func(i int) gatekeeper.Request) access.Event {
			for i := range 15 {
				g.Verify(t.Context(), asks(i))
			}
			pass(2 * time.Second)
			synctest.Wait()
			return slices.MaxFunc(m.recorded(), func(a, b access.Event) int { return cmp.Compare(a.Count, b.Count) })
		}
		same := folded(func(int) gatekeeper.Request { return ask("west", ann) })
		if same.Count != 5 || same.PresentedGate != "west" || same.Fingerprint == "" {
			t.Errorf("equal denials folded into %+v, want the gate and the fingerprint kept", same)
		}
		mixed := folded(func(i int) gatekeeper.Request { return ask(fmt.Sprint("west", i), fmt.Sprint("stranger", i)) })
		if mixed.Count != 5 || mixed.PresentedGate != "" || mixed.Fingerprint != "" || mixed.Address != "192.0.2.7" {
			t.Errorf("different denials folded into %+v, want neither gate nor fingerprint", mixed)
		}
		m.change(func() { m.users = map[int64]bool{1: false, 2: false} })
		g.Changed()
		synctest.Wait()
		if e := folded(func(int) gatekeeper.Request { return ask("north", ann) }); e.Reason != access.TokenInvalid || e.UserID != 1 || e.CredentialID != 1 {
			t.Errorf("denials of one inactive user folded into %+v, want the user and the credential kept", e)
		}
		if e := folded(func(i int) gatekeeper.Request { return ask("north", []string{ann, bob}[i%2]) }); e.GateID != north || e.UserID != 0 || e.CredentialID != 0 {
			t.Errorf("denials of two inactive users folded into %+v, want neither user nor credential", e)
		}
	})
}

// TestFoldedDenialIsAnsweredAtOnce, also while the database is away.
func TestFoldedDenialIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, nil)
		defer leave(t, g)
		for range 10 {
			g.Verify(t.Context(), ask("north", "stranger"))
		}
		m.with(func() { m.down = true })
		began := time.Now()
		if a := g.Verify(t.Context(), ask("north", "stranger")); a.Reason != access.TokenInvalid || time.Since(began) != 0 {
			t.Errorf("%+v after %v, want TOKEN_INVALID at once", a, time.Since(began))
		}
		m.with(func() { m.down = false })
	})
}

// TestFoldTableIsBounded: a flood from more addresses than the table holds leaves few events all the same.
func TestFoldTableIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, nil)
		defer leave(t, g)
		const flood = 15_000
		for i := range flood {
			r := ask([]string{"north", "south"}[i%2], "stranger")
			r.Address = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			g.Verify(t.Context(), r)
		}
		pass(1200 * time.Millisecond)
		synctest.Wait()
		events, total := m.recorded(), 0
		for _, e := range events {
			total += e.Count
			if e.Count > 1 && (e.Address != "" || e.GateID != 0 || e.PresentedGate != "") {
				t.Errorf("folded %+v, want no address and no gate", e)
			}
		}
		if len(events) != 10_001 || total != flood {
			t.Errorf("%d events of %d denials, want 10001 of %d", len(events), total, flood)
		}
	})
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, func(c *gatekeeper.Config) { c.VerifyRate = perSecond(30) })
		defer leave(t, g)
		one := netip.MustParseAddr("192.0.2.7")
		began := time.Now().UTC().Truncate(time.Microsecond)
		refused := 0
		for range 5 { // a hundred requests in each of five seconds
			for i := range 100 {
				a, ok := g.Admit(one, "r")
				if want := i < 30; ok != want {
					t.Fatalf("request %d: admitted = %v, want %v", i, ok, want)
				}
				if !ok {
					refused++
					if a.Outcome != access.Deny || a.Reason != access.RateLimit || a.RetryAfter <= 0 || a.RetryAfter > time.Second {
						t.Fatalf("refused with %+v, want RATE_LIMIT and a wait of at most a second", a)
					}
				}
			}
			for i := range 31 { // an IPv6 network counts as one address
				if _, ok := g.Admit(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)), "r"); ok != (i < 30) {
					t.Errorf("request %d of a network: admitted = %v", i, ok)
				}
			}
			pass(time.Second)
		}
		if e := m.recorded(); len(e) != 0 {
			t.Errorf("recorded %+v before the minute has ended", e)
		}
		pass(time.Minute)
		synctest.Wait()
		e := m.recorded()
		slices.SortFunc(e, func(a, b access.Event) int { return cmp.Compare(b.Count, a.Count) })
		if len(e) != 2 || e[1].Count != 5 || e[0].Reason != access.RateLimit || e[0].Count != refused || e[0].Address != "192.0.2.7" || e[0].At != began || e[0].Until.Sub(began) != 4*time.Second {
			t.Errorf("recorded %+v, want one event of %d refusals between %v and 4s later, and one of 5", e, refused, began)
		}
		for range 40 {
			g.Admit(one, "r")
		}
		leave(t, g) // writes what is folded
		if e := m.recorded(); len(e) != 1 || e[0].Count != 10 {
			t.Errorf("recorded %+v at the end, want one event of 10 refusals", e)
		}
	})
}
