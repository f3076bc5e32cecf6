package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// A connection that breaks in the middle of a commit leaves the outcome unknown, whether or not it landed; the fence tells.
func TestCutDuringAppend(t *testing.T) {
	held := func(ctx context.Context, s *store.Store, lane int64, b *access.EventBatch, cut func()) error {
		return s.AppendBatchHeld(ctx, lane, 2, func(context.Context, access.PolicyMark) (*access.EventBatch, error) { cut(); return b, nil })
	}
	plain := func(ctx context.Context, s *store.Store, lane int64, b *access.EventBatch, cut func()) error {
		cut()
		_, err := s.AppendBatch(ctx, lane, 2, b)
		return err
	}
	tests := []struct {
		name    string
		at      processtest.Cut
		skip    int
		append  func(ctx context.Context, s *store.Store, lane int64, b *access.EventBatch, cut func()) error
		unknown bool
		lands   bool
	}{
		{"append, before the server has it", processtest.BeforeSend, 0, plain, true, false},
		{"append, after the server has it", processtest.BeforeBack, 0, plain, true, true},
		// Before COMMIT is sent all is sure: the server rolls back when it sees that we are gone.
		{"held, before the server has the events", processtest.BeforeSend, 0, held, false, false},
		{"held, after the server has the events", processtest.BeforeBack, 0, held, false, false},
		{"held, before the server has the commit", processtest.BeforeSend, 1, held, true, false},
		{"held, after the server has the commit", processtest.BeforeBack, 1, held, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := storetest.New(t, store.Postgres)
			wire, dsn := processtest.NewWire(t, db.DSN)
			s := storetest.OpenWith(t, store.Options{Database: dsn})
			store.RestUpkeep(s) // the wire counts what everybody sends
			successor := storetest.OpenWith(t, store.Options{Database: db.DSN})
			mark, lane := mustMark(t, s), mustClaim(t, s)
			mustAppend(t, s, lane, 1, batchOf(mark, "a", "A")) // of many events as well: the statement is prepared
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			var made <-chan struct{}
			err := tt.append(ctx, s, lane, batchOf(mark, "b", "c"), func() { made = wire.CutAt(tt.at, tt.skip, nil) })
			<-made
			if err == nil || errors.Is(err, access.ErrOutcomeUnknown) != tt.unknown {
				t.Errorf("the append failed with: %v; want unknown=%v", err, tt.unknown)
			}
			if !tt.unknown && !errors.Is(err, access.ErrUnavailable) {
				t.Errorf("the append failed with: %v; want unavailable", err)
			}
			landed, count, err := successor.FenceBatch(ctx, lane, 2)
			if err != nil || landed != tt.lands || (count == 2) != tt.lands {
				t.Errorf("FenceBatch = %v, %d, %v; want landed=%v", landed, count, err, tt.lands)
			}
			want := "aA"
			if tt.lands {
				want = "aAbc"
			}
			if got := requestIDs(t, successor); got != want {
				t.Errorf("the log holds %q, want %q", got, want)
			}
			// The same process goes on, with a lane of its own, on a new connection.
			mustAppend(t, s, mustClaim(t, s), 1, batchOf(mark, "d"))
		})
	}
}

// A connection that died while its lane rested costs nothing: it is noticed before anything is sent.
func TestCutWhileResting(t *testing.T) {
	db := storetest.New(t, store.Postgres)
	wire, dsn := processtest.NewWire(t, db.DSN)
	s := storetest.OpenWith(t, store.Options{Database: dsn})
	mark, lane := mustMark(t, s), mustClaim(t, s)
	mustAppend(t, s, lane, 1, batchOf(mark, "a"))
	store.LetLanesRest(s)
	wire.BreakAll()
	mustAppend(t, s, lane, 2, batchOf(mark, "b"))
	if got := requestIDs(t, s); got != "ab" {
		t.Errorf("the log holds %q, want %q", got, "ab")
	}
}

// An administrative change whose COMMIT is cut is unknown; one that is cut earlier is not.
func TestCutDuringChange(t *testing.T) {
	tests := []struct {
		name           string
		at             processtest.Cut
		skip           int
		unknown, lands bool
	}{
		{"the line's reply", processtest.BeforeBack, 0, false, false},
		{"the policy's reply", processtest.BeforeBack, 1, false, false},
		{"the commit", processtest.BeforeSend, 2, true, false},
		{"the commit's reply", processtest.BeforeBack, 2, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := storetest.New(t, store.Postgres)
			wire, dsn := processtest.NewWire(t, db.DSN)
			s := storetest.OpenWith(t, store.Options{Database: dsn})
			before := mustMark(t, s)
			_, changed, err := s.Change(t.Context(), anybody, func(tx *store.Tx) error {
				wire.CutAt(tt.at, tt.skip, nil)
				return tx.Record(access.ObjectSite, 1, "change", nil, nil)
			})
			if changed || errors.Is(err, access.ErrOutcomeUnknown) != tt.unknown || errors.Is(err, access.ErrUnavailable) == tt.unknown {
				t.Errorf("Change = %v, %v; want unknown=%v, else unavailable", changed, err, tt.unknown)
			}
			if got := mustMark(t, s); (got != before) != tt.lands {
				t.Errorf("the policy was %v and is %v; want moved=%v", before, got, tt.lands)
			}
		})
	}
}

// The server's own end of a session, as at a restart, is noticed and survived.
func TestServerEndsTheSession(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, s, _ *store.Store) {
		if db.Engine == store.SQLite {
			return // it has no server
		}
		mark, lane := mustMark(t, s), mustClaim(t, s)
		mustAppend(t, s, lane, 1, batchOf(mark, "a"))
		mustExec(t, raw(t, db), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		landed, err := s.AppendBatch(t.Context(), lane, 2, batchOf(mark, "b"))
		if err == nil != landed {
			t.Errorf("AppendBatch = %v, %v", landed, err)
		}
		if err != nil {
			if fenced, _, ferr := s.FenceBatch(t.Context(), lane, 2); ferr != nil || fenced {
				t.Errorf("after AppendBatch failed (%v) FenceBatch = %v, %v; want that it never lands", err, fenced, ferr)
			}
		}
		mustAppend(t, s, mustClaim(t, s), 1, batchOf(mark, "c"))
	})
}
