package store_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestStandbyIsAway: a PostgreSQL whose synchronous standby does not answer commits here and waits for ever. Nobody is told that anything is
// done while that is so: not who asks, not who asks again because the answer did not come, and not whom somebody makes stop waiting.
func TestStandbyIsAway(t *testing.T) {
	t.Parallel()
	server := processtest.NewPostgres(t, "")
	s := migrated(t, server.URL())
	db := raw(t, storetest.Database{Engine: store.Postgres, DSN: server.URL()})
	lane := mustClaim(t, s)
	mustAppend(t, s, lane, 1, batchOf(mustMark(t, s), "before"))
	// No commit of this session is one to be replicated.
	setting := func(value string) {
		mustExec(t, db, `ALTER SYSTEM SET synchronous_standby_names = '`+value+`'`)
		mustExec(t, db, `SELECT pg_reload_conf()`)
		eventually(t, "the setting is "+value, func() bool {
			var is string
			if err := db.QueryRowContext(t.Context(), `SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'`).Scan(&is); err != nil {
				t.Fatal(err)
			}
			return is == value
		})
	}
	setting("nobody")

	change := func(record bool) error {
		short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, _, err := s.Change(short, access.Actor{Kind: "system", Label: "test"}, func(tx *store.Tx) error {
			if !record {
				return nil
			}
			return tx.Record(access.ObjectSite, 1, "change", nil, nil)
		})
		return err
	}
	was := mustMark(t, s)
	if err := change(true); !errors.Is(err, access.ErrOutcomeUnknown) {
		t.Errorf("a change: %v, want its outcome to be unknown", err)
	}
	eventually(t, "the change is seen here", func() bool { return mustMark(t, s) != was })
	if err := change(false); !errors.Is(err, access.ErrOutcomeUnknown) && !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("the same again, when it is done already here: %v, want no success", err)
	}

	// Whoever waits in the server is made to stop.
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := db.ExecContext(t.Context(), `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`); err != nil {
				t.Error(err)
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	if landed, err := s.AppendBatch(t.Context(), lane, 2, batchOf(mustMark(t, s), "unreplicated")); landed || !errors.Is(err, access.ErrOutcomeUnknown) {
		t.Errorf("a batch whose wait was cancelled: %v, %v; want its outcome to be unknown", landed, err)
	}
	if _, _, err := s.Change(t.Context(), access.Actor{Kind: "system", Label: "test"}, func(tx *store.Tx) error {
		return tx.Record(access.ObjectSite, 1, "change", nil, nil)
	}); !errors.Is(err, access.ErrOutcomeUnknown) {
		t.Errorf("a change whose wait was cancelled: %v, want its outcome to be unknown", err)
	}
	close(stop)
	<-ended

	setting("")
	if err := change(false); err != nil {
		t.Errorf("nothing to do, and no standby to wait for: %v", err)
	}
}

// TestServerTurnsReadOnly: who is told so leaves the connection, because the URL may name another server that takes writes.
func TestServerTurnsReadOnly(t *testing.T) {
	t.Parallel()
	server := processtest.NewPostgres(t, "")
	s := migrated(t, server.URL())
	db := raw(t, storetest.Database{Engine: store.Postgres, DSN: server.URL()})
	lane := mustClaim(t, s)
	mustAppend(t, s, lane, 1, batchOf(mustMark(t, s), "before"))
	pids := func() map[int]bool {
		rows, err := db.QueryContext(t.Context(), `SELECT pid FROM pg_stat_activity WHERE application_name = 'openway'`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		all := map[int]bool{}
		for rows.Next() {
			var pid int
			if err := rows.Scan(&pid); err != nil {
				t.Fatal(err)
			}
			all[pid] = true
		}
		return all
	}
	laneIs, err := store.LanePID(t.Context(), s, lane)
	if err != nil || !pids()[laneIs] {
		t.Fatalf("the lane's process %d (%v) is not among %v", laneIs, err, pids())
	}
	mustExec(t, db, `ALTER SYSTEM SET default_transaction_read_only = on`)
	mustExec(t, db, `SELECT pg_reload_conf()`)
	seq := int64(1)
	eventually(t, "the server takes no writes", func() bool {
		seq++
		landed, err := s.AppendBatch(t.Context(), lane, seq, batchOf(mustMark(t, s), fmt.Sprint("while ", seq)))
		if err != nil && (!errors.Is(err, access.ErrUnavailable) || errors.Is(err, access.ErrOutcomeUnknown)) {
			t.Fatalf("AppendBatch: %v, want it to be unavailable", err)
		}
		return !landed
	})
	eventually(t, "the lane's connection is left", func() bool { return !pids()[laneIs] })
}

// TestLaneOfADeadServer: a lane that rested, and whose server says nothing more, is on another connection in good time for its batch.
func TestLaneOfADeadServer(t *testing.T) {
	t.Parallel()
	server := processtest.NewPostgres(t, "")
	s := migrated(t, server.URL())
	lane := mustClaim(t, s)
	mustAppend(t, s, lane, 1, batchOf(mustMark(t, s), "before"))
	pid, err := store.LanePID(t.Context(), s, lane)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT) //nolint:errcheck // or the server cannot be stopped
	store.LetLanesRest(s)
	within, cancel := context.WithTimeout(t.Context(), 10*time.Second) // as long as a lane is given
	defer cancel()
	if landed, err := s.AppendBatch(within, lane, 2, batchOf(mustMark(t, s), "after")); !landed || err != nil {
		t.Errorf("AppendBatch = %v, %v; want it to land over another connection", landed, err)
	}
}
