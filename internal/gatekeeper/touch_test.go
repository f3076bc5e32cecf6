package gatekeeper_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
)

// TestUseIsWrittenOnceADay: off the path, in one go, and without moving the policy.
func TestUseIsWrittenOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		m.lastUsed = map[int64]int{1: 10, 2: 10}
		g := m.guard(t, func(c *gatekeeper.Config) { c.IdleDays, c.Poll = 0, -1 })
		defer leave(t, g)
		for day := range 3 {
			for range 5 {
				for range 10 {
					g.Verify(t.Context(), ask("north", ann))
					g.Verify(t.Context(), ask("north", bob)) // NO_PERMISSION is a use as well
					g.Verify(t.Context(), ask("north", "stranger"))
				}
				pass(6 * time.Second)
				synctest.Wait()
			}
			m.with(func() {
				today := access.Day(time.Now())
				if m.lastUsed[1] != today || m.lastUsed[2] != today {
					t.Errorf("day %d: written %v, want %d for both", day, m.lastUsed, today)
				}
				if len(m.touched) != 1 || len(m.touched[0]) != 2 {
					t.Errorf("day %d: written in %v, want once, both together", day, m.touched)
				}
				m.touched = nil
			})
			pass(24*time.Hour + time.Second) // not at the instant of a flush
		}
		if mark, _ := g.Policy(); mark.Version != 1 {
			t.Errorf("policy %d, want 1", mark.Version)
		}
	})
}

// TestUseBesideALoad: a use that is told while the whole policy is read is not forgotten with the snapshot before.
func TestUseBesideALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		m.lastUsed[1] = 10
		g := m.guard(t, func(c *gatekeeper.Config) { c.IdleDays, c.Poll = 0, -1 })
		defer leave(t, g)
		g.Verify(t.Context(), ask("north", ann))
		loaded := make(chan struct{})
		m.change(func() { m.loading = loaded })
		g.Changed()
		pass(6 * time.Second)
		synctest.Wait()
		m.with(func() { m.loading = nil })
		close(loaded)
		pass(6 * time.Second)
		g.Verify(t.Context(), ask("north", ann))
		pass(6 * time.Second)
		synctest.Wait()
		m.with(func() {
			if len(m.touched) != 1 || m.lastUsed[1] != access.Day(time.Now()) {
				t.Errorf("written in %v, want once", m.touched)
			}
		})
	})
}

// TestUseOutlivesAnOutage: what could not be written is written later, at the latest at the end.
func TestUseOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		m.lastUsed[1] = 10
		g := m.guard(t, func(c *gatekeeper.Config) { c.IdleDays = 0 })
		g.Verify(t.Context(), ask("north", ann))
		m.with(func() { m.down = true })
		pass(time.Minute)
		m.with(func() { m.down = false })
		leave(t, g)
		if m.lastUsed[1] != access.Day(time.Now()) {
			t.Errorf("written %d, want today", m.lastUsed[1])
		}
	})
}

func TestIdleEnd(t *testing.T) {
	for _, c := range []struct {
		name    string
		written int // days ago, in the database; the snapshot has it at 100 days ago
		reason  access.Reason
	}{
		{"used elsewhere yesterday", 1, access.OK},
		{"used elsewhere 90 days ago", 90, access.OK},
		{"idle for 91 days", 91, access.TokenInvalid},
		{"idle for 100 days", 100, access.TokenInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTown(t)
				today := access.Day(time.Now())
				m.loadedDay[1], m.lastUsed[1] = today-100, today-c.written
				g := m.guard(t, nil)
				defer leave(t, g)
				for range 5 {
					if a := g.Verify(t.Context(), ask("north", ann)); a.Reason != c.reason {
						t.Errorf("%+v, want %s", a, c.reason)
					}
				}
				if m.asked != 1 {
					t.Errorf("the database was asked %d times for five requests, want once", m.asked)
				}
			})
		})
	}
}

// TestIdleEndIsAskedOnceForMany: those who wait for the same answer share it, and the answer is believed for a minute.
func TestIdleEndIsAskedOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		m.lastUsed[1] = access.Day(time.Now()) - 200
		m.wait = make(chan struct{})
		g := m.guard(t, nil)
		defer leave(t, g)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var reasons []access.Reason
		for range 50 {
			wg.Go(func() {
				a := g.Verify(t.Context(), ask("north", ann))
				mu.Lock()
				reasons = append(reasons, a.Reason)
				mu.Unlock()
			})
		}
		synctest.Wait()
		close(m.wait)
		wg.Wait()
		if slices.ContainsFunc(reasons, func(r access.Reason) bool { return r != access.TokenInvalid }) {
			t.Errorf("answers %v, want TOKEN_INVALID only", reasons)
		}
		if m.asked != 1 {
			t.Errorf("asked %d times for 50 requests, want once", m.asked)
		}
		m.with(func() { m.lastUsed[1] = access.Day(time.Now()) })
		pass(time.Minute)
		if a := g.Verify(t.Context(), ask("north", ann)); a.Outcome != access.Allow {
			t.Errorf("a minute later: %+v, want ALLOW", a)
		}
	})
}

// TestIdleEndUnconfirmed: when the database cannot say, the end is not believed, and nothing is allowed either.
func TestIdleEndUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		m.lastUsed[1] = access.Day(time.Now()) - 200
		g := m.guard(t, nil)
		defer leave(t, g)
		m.with(func() { m.down = true })
		if a := g.Verify(t.Context(), ask("north", ann)); a.Reason != access.Unavailable {
			t.Errorf("%+v, want UNAVAILABLE", a)
		}
		m.with(func() { m.down = false })
		if a := g.Verify(t.Context(), ask("north", ann)); a.Reason != access.TokenInvalid {
			t.Errorf("when the database is back: %+v, want TOKEN_INVALID", a)
		}
		pass(2 * time.Second)
		synctest.Wait()
		if e := m.recorded(); len(e) != 2 || e[1].Reason != access.NoteUnavailable || e[1].GateID != north || e[1].Count != 1 {
			t.Errorf("recorded %+v, want the denial and word of one refusal at north", e)
		}
	})
}

// TestIdleEndHangs: a database that does not answer, and cannot be made to, holds nobody up for longer than verify may take.
func TestIdleEndHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		m.lastUsed[1] = access.Day(time.Now()) - 200
		m.wait = make(chan struct{})
		var full atomic.Bool
		full.Store(true)
		g := m.guard(t, func(c *gatekeeper.Config) { c.Events.Appender = disk{m, &full} })
		defer leave(t, g)
		for i := range 2 { // who asks first and who waits for the same answer
			began := time.Now()
			if a := g.Verify(t.Context(), ask("north", ann)); a.Reason != access.Unavailable || time.Since(began) > 2*time.Second {
				t.Errorf("%d: %+v after %v, want UNAVAILABLE within 2 s", i, a, time.Since(began))
			}
		}

		// What that took is a part of what the whole may take.
		began := time.Now()
		go func() {
			pass(1900 * time.Millisecond)
			m.with(func() { m.lastUsed[1] = access.Day(time.Now()) })
			close(m.wait)
		}()
		if a := g.Verify(t.Context(), ask("north", ann)); a.Reason != access.Unavailable || time.Since(began) > eventlog.DefaultMaxWait*5/4 {
			t.Errorf("%+v after %v, want UNAVAILABLE within %v", a, time.Since(began), eventlog.DefaultMaxWait)
		}
		full.Store(false)
	})
}

// disk is a town whose log may have no room.
type disk struct {
	*town
	full *atomic.Bool
}

func (d disk) AppendBatch(ctx context.Context, writer, seq int64, b *access.EventBatch) (bool, error) {
	if d.full.Load() {
		return false, errDown
	}
	return d.town.AppendBatch(ctx, writer, seq, b)
}
