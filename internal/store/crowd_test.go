package store_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// seen is a context that tells when somebody first looks whether it has ended, as whoever begins to wait does.
type seen struct {
	context.Context
	first *sync.Once
	tell  func()
}

func (s seen) Done() <-chan struct{} {
	s.first.Do(s.tell)
	return s.Context.Done()
}

// A crowd of changes neither stands before a lane in the line for SQLite's writer, nor leaves it without a connection of PostgreSQL.
func TestALaneDoesNotQueueBehindACrowd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		const crowd = 30
		var queued, done sync.WaitGroup
		claimed := make(chan struct{})
		queued.Add(crowd)
		mustDo(t, s, func(tx *store.Tx) error {
			for range crowd {
				done.Go(func() {
					_, _, err := s.Change(seen{ctx, new(sync.Once), queued.Done}, anybody, func(tx *store.Tx) error {
						select {
						case <-claimed:
						case <-ctx.Done():
							t.Error("a change came before a lane that waited")
						}
						return tx.Record(access.ObjectSite, 1, "change", nil, nil)
					})
					if err != nil {
						t.Errorf("Change: %v", err)
					}
				})
			}
			queued.Wait()
			queued.Add(1)
			done.Go(func() {
				defer close(claimed)
				if _, err := s.ClaimWriter(seen{ctx, new(sync.Once), queued.Done}); err != nil {
					t.Errorf("ClaimWriter: %v", err)
				}
			})
			queued.Wait()
			return tx.Record(access.ObjectSite, 1, "change", nil, nil)
		})
		done.Wait()
	})
}

// Uses are noted before or after a change, never beside it: each could hold credentials that the other waits for.
func TestTouchWaitsForAChange(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ storetest.Database, a, b *store.Store) {
		mustDo(t, a, func(tx *store.Tx) error {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := b.TouchCredentials(ctx, 20000, []int64{1}); !errors.Is(err, access.ErrUnavailable) {
				t.Errorf("TouchCredentials beside a change: %v; want unavailable at its deadline", err)
			}
			return tx.Record(access.ObjectSite, 1, "change", nil, nil)
		})
		if err := b.TouchCredentials(t.Context(), 20000, []int64{1}); err != nil {
			t.Errorf("TouchCredentials after the change: %v", err)
		}
	})
}

// A server must not keep the policy's row locked for a client that has lost its power.
func TestSilentWritersAreEnded(t *testing.T) {
	s := storetest.Open(t, store.Postgres)
	mustDo(t, s, func(tx *store.Tx) error {
		if got, err := store.Setting(tx, "idle_in_transaction_session_timeout"); err != nil || got != "30s" {
			t.Errorf("a silent writer is ended after %q (%v), want 30s", got, err)
		}
		return tx.Record(access.ObjectSite, 1, "change", nil, nil)
	})
	err := s.View(t.Context(), func(tx *store.Tx) error {
		if got, err := store.Setting(tx, "idle_in_transaction_session_timeout"); err != nil || got == "30s" {
			t.Errorf("the setting outlived its transaction: %q (%v)", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a closed store is asked for is unavailable, and no fault.
func TestClosedStoreIsUnavailable(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			s := storetest.Open(t, engine)
			mark, lane := mustMark(t, s), mustClaim(t, s)
			for range 2 {
				if err := s.Close(); err != nil {
					t.Fatalf("Close: %v", err)
				}
			}
			nothing := func(*store.Tx) error { return nil }
			for name, ask := range map[string]func() error{
				"Ping":       func() error { return s.Ping(t.Context()) },
				"View":       func() error { return s.View(t.Context(), nothing) },
				"Change":     func() error { _, _, err := s.Change(t.Context(), anybody, nothing); return err },
				"Note":       func() error { return s.Note(t.Context(), anybody, nothing) },
				"PolicyMark": func() error { _, err := s.PolicyMark(t.Context()); return err },
				"Events":     func() error { _, err := s.Events(t.Context(), access.EventFilter{}); return err },
				"FenceBatch": func() error { _, _, err := s.FenceBatch(t.Context(), lane, 1); return err },
				"AppendBatch": func() error {
					_, err := s.AppendBatch(t.Context(), lane, 1, batchOf(mark, "a"))
					return err
				},
			} {
				if err := ask(); !errors.Is(err, access.ErrUnavailable) || errors.Is(err, access.ErrOutcomeUnknown) {
					t.Errorf("%s of a closed store: %v; want unavailable", name, err)
				}
			}
		})
	}
}

// A server that turns us away, for whatever reason, may take us in later: a gate's batch is not at fault.
func TestRefusedConnectionIsUnavailable(t *testing.T) {
	db := storetest.New(t, store.Postgres)
	other := strings.Replace(db.DSN, "/openway", "/no-such-openway", 1)
	if other == db.DSN {
		t.Fatalf("the DSN %s names no database to replace", db.DSN)
	}
	s, err := store.Open(t.Context(), store.Options{Database: other})
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("Open of a database that is not there: %v; want unavailable", err)
	}
}

// Beside a process that writes nearly all the time, as a busy server does, a change finds its turn after a few of that one's.
func TestChangeBesideABusyProcess(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	busy := raw(t, db)
	busy.SetMaxOpenConns(1)
	var begun, turns atomic.Int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	work := func(d time.Duration) { <-time.After(d) }
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			mustExec(t, busy, `BEGIN IMMEDIATE`)
			begun.Add(1)
			work(400 * time.Millisecond)
			mustExec(t, busy, `COMMIT`)
			turns.Add(1)
			work(15 * time.Millisecond)
		}
	})
	const changes = 4
	waited := int64(0)
	for range changes {
		for next := begun.Load() + 1; begun.Load() < next; { // it is at work
			work(time.Millisecond)
		}
		from := turns.Load()
		mustDo(t, s, func(tx *store.Tx) error { return tx.Record(access.ObjectSite, 1, "change", nil, nil) })
		waited += turns.Load() - from
	}
	close(done)
	wg.Wait()
	t.Logf("%d changes waited for %d turns of the other process", changes, waited)
	if waited > 3*changes {
		t.Errorf("%d changes waited for %d turns of the other process, want at most 3 each", changes, waited)
	}
}
