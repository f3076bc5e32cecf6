package gatekeeper_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// block is a site in a real database: one gate, and some users who each may pass, or not.
type block struct {
	keys   *credential.Keyring
	gate   access.Gate
	people []*person
}

type person struct {
	user       access.User
	permission access.Permission
	token      string
	credential int64

	// phase tells what is certain: 3n = a change that lets the person pass has returned, 3n+1 = a change is under way,
	// 3n+2 = a change that keeps the person out has returned. It only grows.
	phase atomic.Int64
}

const (
	mayPass  = 0
	changing = 1
	mustNot  = 2
)

// to moves on to the next phase of the given kind.
func (p *person) to(kind int64) {
	n := p.phase.Load() + 1
	for n%3 != kind {
		n++
	}
	p.phase.Store(n)
}

func build(t testing.TB, s *store.Store, people int) *block {
	t.Helper()
	keys, err := credential.NewKeyring([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	b := &block{keys: keys, gate: access.Gate{Code: "door", ReleaseMS: 700}}
	_, _, err = s.Change(t.Context(), access.Actor{Kind: "cli"}, func(tx *store.Tx) error {
		if err := tx.InsertGate(&b.gate); err != nil {
			return err
		}
		if err := tx.Record(access.ObjectGate, b.gate.ID, "create", nil, nil); err != nil {
			return err
		}
		for i := range people {
			p := &person{user: access.User{Username: fmt.Sprint("user", i), Active: true}, token: credential.MintUserToken()}
			if err := tx.InsertUser(&p.user, "!"); err != nil {
				return err
			}
			c := access.Credential{
				UserID: p.user.ID, Kind: access.UserToken, Scheme: access.SchemeSHA256, Lookup: keys.Lookup(p.token, access.SchemeSHA256),
				State: access.CredentialActive, IdleExpires: true, LastUsedDay: access.Day(tx.Now),
			}
			if err := tx.InsertCredential(&c, nil); err != nil {
				return err
			}
			p.credential = c.ID
			p.permission = access.Permission{GateID: b.gate.ID, UserID: p.user.ID, Allow: true}
			if err := tx.InsertPermission(&p.permission); err != nil {
				return err
			}
			for object, id := range map[string]int64{access.ObjectUser: p.user.ID, access.ObjectCredential: c.ID, access.ObjectPermission: p.permission.ID} {
				if err := tx.Record(object, id, "create", nil, nil); err != nil {
					return err
				}
			}
			b.people = append(b.people, p)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("build the site: %v", err)
	}
	return b
}

// let changes whether the person may pass, in one of several ways, as the desk would, and returns when it is committed.
func (b *block) let(ctx context.Context, s *store.Store, p *person, pass bool, way int) error {
	p.to(changing)
	_, _, err := s.Change(ctx, access.Actor{Kind: "cli"}, func(tx *store.Tx) error {
		switch {
		case pass: // undo whatever keeps the person out
			if p.permission.ID == 0 {
				p.permission = access.Permission{GateID: b.gate.ID, UserID: p.user.ID, Allow: true}
				if err := tx.InsertPermission(&p.permission); err != nil {
					return err
				}
			}
			p.permission.Allow, p.user.Active = true, true
			if err := tx.UpdatePermission(&p.permission); err != nil {
				return err
			}
			if err := tx.UpdateUser(&p.user); err != nil {
				return err
			}
			if err := tx.Record(access.ObjectUser, p.user.ID, "change", nil, nil); err != nil {
				return err
			}
			return tx.Record(access.ObjectPermission, p.permission.ID, "change", nil, nil)
		case way == 0:
			p.permission.Allow = false
			if err := tx.UpdatePermission(&p.permission); err != nil {
				return err
			}
			return tx.Record(access.ObjectPermission, p.permission.ID, "change", nil, nil)
		case way == 1:
			id := p.permission.ID
			p.permission.ID = 0
			if err := tx.DeletePermission(id); err != nil {
				return err
			}
			return tx.Record(access.ObjectPermission, id, "delete", nil, nil)
		default:
			p.user.Active = false
			if err := tx.UpdateUser(&p.user); err != nil {
				return err
			}
			return tx.Record(access.ObjectUser, p.user.ID, "change", nil, nil)
		}
	})
	if pass {
		p.to(mayPass)
	} else {
		p.to(mustNot)
	}
	return err
}

// unchecked is a database that takes decisions of any policy: what would happen without the check at the commit.
type unchecked struct{ *store.Store }

func (u unchecked) AppendBatch(ctx context.Context, writer, seq int64, b *access.EventBatch) (bool, error) {
	for {
		mark, err := u.PolicyMark(ctx)
		if err != nil {
			return false, err
		}
		b.Policy = mark
		if landed, err := u.Store.AppendBatch(ctx, writer, seq, b); landed || err != nil {
			return landed, err
		}
	}
}

// tally is what the requests of a strictness run met.
type tally struct {
	requests, certain atomic.Int64 // certain: what must be answered did not change meanwhile
	wronglyIn         atomic.Int64 // ALLOW although it had been taken away before the request began
	wronglyOut        atomic.Int64 // DENY although it had been given before
	unavailable       atomic.Int64
}

// strictness runs gatekeepers on one database, each with its own connections as another process would have, while the
// desk, yet another, gives and takes.
func strictness(t *testing.T, d storetest.Database, changes int, poll time.Duration, check bool) *tally {
	t.Helper()
	desk := storetest.OpenWith(t, store.Options{Database: d.DSN})
	b := build(t, desk, 6)
	var got tally
	var keepers []*gatekeeper.Gatekeeper
	for i := range 2 {
		s := storetest.OpenWith(t, store.Options{Database: d.DSN})
		cfg := gatekeeper.Config{Source: s, Keys: b.keys, IdleDays: 90, Poll: poll, Events: eventlog.Config{Appender: s, MaxWait: 20 * time.Second}}
		if !check {
			cfg.Events.Appender = unchecked{s}
		}
		if d.Engine == store.Postgres {
			cfg.Events.Lanes = 1 + i
		}
		g := gatekeeper.New(cfg)
		if err := g.Start(t.Context()); err != nil {
			t.Fatalf("start: %v", err)
		}
		defer func() {
			if err := g.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
		}()
		keepers = append(keepers, g)
	}

	done := make(chan struct{})
	var wg sync.WaitGroup
	var serial atomic.Uint32
	for _, g := range keepers {
		for range 6 {
			wg.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					p := b.people[rand.IntN(len(b.people))]
					n := serial.Add(1) // a new address each time: nothing is folded
					r := gatekeeper.Request{Gate: "door", Token: p.token, Address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})}
					before := p.phase.Load()
					a := g.Verify(t.Context(), r)
					after := p.phase.Load()
					got.requests.Add(1)
					switch {
					case a.Reason == access.Unavailable:
						got.unavailable.Add(1)
					case before != after || before%3 == changing:
					case before%3 == mustNot:
						got.certain.Add(1)
						if a.Outcome == access.Allow {
							got.wronglyIn.Add(1)
						}
					default:
						got.certain.Add(1)
						if a.Outcome != access.Allow {
							got.wronglyOut.Add(1)
						}
					}
				}
			})
		}
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	in := make([]bool, len(b.people))
	for i := range in {
		in[i] = true
	}
	seen := int64(0)
	for range changes {
		i := rnd.IntN(len(b.people))
		in[i] = !in[i]
		if err := b.let(t.Context(), desk, b.people[i], in[i], rnd.IntN(3)); err != nil {
			t.Errorf("change: %v", err)
			break
		}
		// Let some requests begin after the change, before the next.
		for seen += 1 + rnd.Int64N(12); got.requests.Load() < seen && !t.Failed(); {
			g := keepers[rnd.IntN(2)]
			n := serial.Add(1)
			g.Verify(t.Context(), gatekeeper.Request{Gate: "door", Token: b.people[0].token, Address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})})
		}
	}
	close(done)
	wg.Wait()
	t.Logf("%s, poll %v, check %v: %d changes, %d requests, %d of them certain, %d wrongly in, %d wrongly out, %d unavailable", d.Engine, poll, check, changes,
		got.requests.Load(), got.certain.Load(), got.wronglyIn.Load(), got.wronglyOut.Load(), got.unavailable.Load())
	return &got
}

// TestNoStaleAnswer: no ALLOW for a request that began after the change that takes it away returned, and no DENY for one that began after the
// change that gives it, on either of two gatekeepers; with the poll and without. And the same run without the check at the commit shows that
// it is the check which makes it so.
func TestNoStaleAnswer(t *testing.T) {
	for _, engine := range storetest.Engines() {
		for _, c := range []struct {
			name    string
			poll    time.Duration
			check   bool
			changes int
		}{{"polling", 0, true, 200}, {"no poll", -1, true, 300}, {"control: no check", 0, false, 150}} {
			t.Run(engine+"/"+c.name, func(t *testing.T) {
				got := strictness(t, storetest.New(t, engine), c.changes, c.poll, c.check)
				in, out := got.wronglyIn.Load(), got.wronglyOut.Load()
				if c.check && (in > 0 || out > 0) {
					t.Errorf("%d wrongly let in, %d wrongly kept out, want none", in, out)
				}
				if !c.check && in == 0 {
					t.Error("without the check nobody was wrongly let in: this test proves nothing")
				}
				if n := got.certain.Load(); n < int64(c.changes) {
					t.Errorf("only %d certain requests for %d changes", n, c.changes)
				}
				if n := got.unavailable.Load(); n > 0 {
					t.Errorf("%d answers UNAVAILABLE", n)
				}
			})
		}
	}
}

// restless is a database whose policy moves just before each commit that is not held.
type restless struct {
	*store.Store
	move func()
}

func (r restless) AppendBatch(ctx context.Context, writer, seq int64, b *access.EventBatch) (bool, error) {
	r.move()
	return r.Store.AppendBatch(ctx, writer, seq, b)
}

// TestPolicyThatMovesWithEachCommit: a batch gets through all the same, decided by the policy that stood when it was written.
func TestPolicyThatMovesWithEachCommit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		b := build(t, s, 1)
		p, in, moves := b.people[0], true, 0
		cfg := gatekeeper.Config{Source: s, Keys: b.keys, Poll: -1}
		cfg.Events.Appender = restless{s, func() {
			in = !in
			moves++
			if err := b.let(t.Context(), s, p, in, moves%3); err != nil {
				t.Errorf("change: %v", err)
			}
		}}
		g := gatekeeper.New(cfg)
		if err := g.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer leave(t, g)
		for i := range 20 {
			a := g.Verify(t.Context(), gatekeeper.Request{Gate: "door", Token: p.token, Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
			if (a.Outcome == access.Allow) != in || a.Reason == access.Unavailable {
				t.Errorf("request %d: %+v, want allowed = %v", i, a, in)
			}
			mark, err := s.PolicyMark(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			events, err := s.Events(t.Context(), access.EventFilter{Limit: 1})
			if err != nil || len(events) != 1 || events[0].PolicyVersion != mark.Version || events[0].Decision != a.Outcome || events[0].Reason != a.Reason {
				t.Errorf("request %d: recorded %+v, %v, want what was answered, %+v, by policy %d", i, events, err, a, mark.Version)
			}
		}
		if moves != 40 {
			t.Errorf("the policy moved %d times, want twice for each of 20 requests", moves)
		}
	})
}
