package drill

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
	"github.com/openway-access/openway/internal/throttle"
)

// clock is one machine's clock, which can be set. Like a clock that was set it has no monotonic reading.
type clock struct{ at atomic.Int64 }

func clockAt(t time.Time) *clock {
	c := &clock{}
	c.at.Store(t.UnixMicro())
	return c
}

func (c *clock) now() time.Time           { return time.UnixMicro(c.at.Load()).UTC() }
func (c *clock) set(t time.Time)          { c.at.Store(t.UnixMicro()) }
func (c *clock) forward(by time.Duration) { c.at.Add(by.Microseconds()) }

// replica is a gatekeeper on a clock of its own, with connections of its own: the parts of a server that know the time, in this process, because
// a static binary asks the kernel and cannot be given another clock.
type replica struct {
	t      *testing.T
	keeper *gatekeeper.Gatekeeper
	serial atomic.Uint32
}

func newReplica(t *testing.T, database string, c *clock) *replica {
	t.Helper()
	s := storetest.OpenWith(t, store.Options{Database: database, Now: c.now})
	keys, err := credential.NewKeyring([]byte(processtest.SecretKey))
	if err != nil {
		t.Fatal(err)
	}
	k := gatekeeper.New(gatekeeper.Config{
		Source: s, Keys: keys, IdleDays: 90, VerifyRate: throttle.Rate{N: 1000, Per: time.Minute}, Now: c.now,
		Events: eventlog.Config{Appender: s},
	})
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &replica{t: t, keeper: k}
}

// ask asks for somebody at the door, as a client that is throttled would.
func (r *replica) ask(p *person, id string) access.Reason {
	r.t.Helper()
	n := r.serial.Add(1)
	from := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	if a, ok := r.keeper.Admit(from, id); !ok {
		return a.Reason
	}
	return r.keeper.Verify(r.t.Context(), gatekeeper.Request{Gate: door, Token: p.token, Address: from, RequestID: id}).Reason
}

func (r *replica) want(p *person, want access.Reason, when string) {
	r.t.Helper()
	if got := r.ask(p, when); got != want {
		r.t.Errorf("%s: %s, want %s", when, got, want)
	}
}

// TestReplicasApart: two replicas whose clocks are 5 s apart end a permission each by its own clock, take one away at the same instant, and write
// one log, whose order is that of recording.
func TestReplicasApart(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			database := empty(t, engine)
			list := people(t, database, 2)
			base := time.Now().UTC().Truncate(time.Second)
			slow, fast := clockAt(base.Add(-2500*time.Millisecond)), clockAt(base.Add(2500*time.Millisecond))
			a, b := newReplica(t, database, slow), newReplica(t, database, fast)
			d := openDesk(t, database)
			defer d.close(t)
			dated, plain := list[0], list[1]
			if _, err := d.registry.RevokePermissions(t.Context(), actor, d.gate, dated.id, 0); err != nil {
				t.Fatal(err)
			}
			ends := base.Add(10 * time.Second)
			if _, err := d.registry.GrantPermission(t.Context(), actor, access.Permission{GateID: d.gate, UserID: dated.id, ValidUntil: ends}); err != nil {
				t.Fatal(err)
			}
			// Half-open: the instant of its end is past it.
			for _, step := range []struct {
				after      time.Duration
				slow, fast access.Reason
			}{
				{7 * time.Second, access.OK, access.OK},
				{7500 * time.Millisecond, access.OK, access.NoPermission},
				{12 * time.Second, access.OK, access.NoPermission},
				{12500 * time.Millisecond, access.NoPermission, access.NoPermission},
			} {
				slow.set(base.Add(step.after - 2500*time.Millisecond))
				fast.set(base.Add(step.after + 2500*time.Millisecond))
				a.want(dated, step.slow, fmt.Sprintf("slow-%v", step.after))
				b.want(dated, step.fast, fmt.Sprintf("fast-%v", step.after))
			}
			a.want(plain, access.OK, "slow-before")
			b.want(plain, access.OK, "fast-before")
			if _, err := d.registry.RevokePermissions(t.Context(), actor, d.gate, plain.id, 0); err != nil {
				t.Fatal(err)
			}
			a.want(plain, access.NoPermission, "slow-after")
			b.want(plain, access.NoPermission, "fast-after")
			inOrder(t, database, []string{
				"slow-7s", "fast-7s", "slow-7.5s", "fast-7.5s", "slow-12s", "fast-12s", "slow-12.5s", "fast-12.5s",
				"slow-before", "fast-before", "slow-after", "fast-after",
			})
		})
	}
}

// inOrder wants the decisions in the log in the order of their ids, each lane's batches without a gap.
func inOrder(t *testing.T, database string, want []string) {
	t.Helper()
	s := storetest.OpenWith(t, store.Options{Database: database})
	events, err := s.Events(t.Context(), access.EventFilter{Kind: access.DecisionEvent, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != len(want) {
		t.Fatalf("the log holds %d decisions, want %d", len(events), len(want))
	}
	last := map[int64]int64{}
	for i := range events {
		e := events[len(events)-1-i]
		if e.RequestID != want[i] {
			t.Errorf("decision %d of the log is %q, want %q", i, e.RequestID, want[i])
		}
		if e.Seq != last[e.WriterID]+1 {
			t.Errorf("lane %d goes from batch %d to %d", e.WriterID, last[e.WriterID], e.Seq)
		}
		last[e.WriterID] = e.Seq
	}
}

// TestClockIsSet sets a server's clock back and ahead: what has an end follows the clock, and comes back with it; nothing else does.
func TestClockIsSet(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			database := empty(t, engine)
			list := people(t, database, 3)
			plain, dated, gone := list[0], list[1], list[2]
			base := time.Now().UTC().Truncate(time.Second)
			c := clockAt(base)
			r := newReplica(t, database, c)
			d := openDesk(t, database)
			defer d.close(t)
			if _, err := d.registry.RevokePermissions(t.Context(), actor, d.gate, dated.id, 0); err != nil {
				t.Fatal(err)
			}
			hours := access.Permission{GateID: d.gate, UserID: dated.id, ValidFrom: base.Add(-time.Hour), ValidUntil: base.Add(time.Hour)}
			if _, err := d.registry.GrantPermission(t.Context(), actor, hours); err != nil {
				t.Fatal(err)
			}
			if _, err := d.registry.RevokePermissions(t.Context(), actor, d.gate, gone.id, 0); err != nil {
				t.Fatal(err)
			}
			// A token made at a login ends after 90 days without use.
			guest, err := d.registry.CreateUser(t.Context(), actor, access.User{Username: "guest", Active: true}, registry.Password{Plain: "a good long phrase"})
			if err != nil {
				t.Fatal(err)
			}
			token, _, err := d.registry.Login(t.Context(), actor, "guest", "a good long phrase", "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.registry.GrantPermission(t.Context(), actor, access.Permission{GateID: d.gate, UserID: guest.ID}); err != nil {
				t.Fatal(err)
			}
			idle := &person{name: "guest", token: token, id: guest.ID}
			order := []string{}
			want := func(p *person, reason access.Reason, when string) {
				t.Helper()
				r.want(p, reason, when)
				order = append(order, when)
			}
			want(plain, access.OK, "as it is")
			want(dated, access.OK, "as it is, in its hours")
			want(gone, access.NoPermission, "as it is, taken away")

			c.set(base.Add(-48 * time.Hour))
			want(plain, access.OK, "set back")
			want(dated, access.NoPermission, "set back before its hours")
			want(gone, access.NoPermission, "set back before it was taken away")

			c.set(base.Add(2 * time.Hour))
			want(dated, access.NoPermission, "set ahead past its hours")

			c.set(base.Add(400 * 24 * time.Hour))
			want(idle, access.TokenInvalid, "set ahead by more than a year, an idle token")
			want(gone, access.NoPermission, "set ahead by more than a year, taken away")
			c.set(base)
			want(idle, access.OK, "set right, a token that is not idle")
			want(plain, access.OK, "set right")
			want(dated, access.OK, "set right, in its hours")
			want(gone, access.NoPermission, "set right, taken away")

			// The throttle counts on, whatever the clock does.
			from := netip.MustParseAddr("10.9.9.9")
			for range 1000 {
				if _, ok := r.keeper.Admit(from, ""); !ok {
					t.Fatal("throttled too early")
				}
			}
			c.set(base.Add(-24 * time.Hour))
			if a, ok := r.keeper.Admit(from, ""); ok || a.RetryAfter > time.Minute {
				t.Errorf("after the clock was set back: admitted %v, retry after %v; want at most a minute", ok, a.RetryAfter)
			}
			c.forward(2 * time.Minute)
			if _, ok := r.keeper.Admit(from, ""); !ok {
				t.Error("two minutes after the clock was set back the client is still throttled")
			}
			c.set(base)
			inOrder(t, database, order)
		})
	}
}
