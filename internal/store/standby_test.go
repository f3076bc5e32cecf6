package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

	change := func(fn func(*store.Tx) error) error {
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, _, err := s.Change(short, access.Actor{Kind: "system", Label: "test"}, fn)
		return err
	}
	record := func(tx *store.Tx) error { return tx.Record(access.ObjectSite, 1, "change", nil, nil) }
	nothing := func(*store.Tx) error { return nil }
	gone := func(*store.Tx) error { return fmt.Errorf("the permission: %w", access.ErrNotFound) }
	eventually(t, "a change's outcome is unknown", func() bool { return errors.Is(change(record), access.ErrOutcomeUnknown) }) // the setting takes its time
	if err := change(nothing); !errors.Is(err, access.ErrOutcomeUnknown) && !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("the same again, when all is so already here: %v, want no success", err)
	}
	if err := change(gone); !errors.Is(err, access.ErrOutcomeUnknown) && !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("the same again, when what is to be deleted is gone already here: %v, want it to be unknown", err)
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
	if _, _, err := s.Change(t.Context(), access.Actor{Kind: "system", Label: "test"}, record); !errors.Is(err, access.ErrOutcomeUnknown) {
		t.Errorf("a change whose wait was cancelled: %v, want its outcome to be unknown", err)
	}
	close(stop)
	<-ended

	setting("")
	if err := change(nothing); err != nil {
		t.Errorf("nothing to do, and no standby to wait for: %v", err)
	}
	if err := change(gone); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("what is to be deleted is gone: %v", err)
	}
}

// TestServerTurnsReadOnly: where the URL names another server, every connection to one that takes no writes any more is left, those that read as well.
func TestServerTurnsReadOnly(t *testing.T) {
	t.Parallel()
	server := processtest.NewPostgres(t, "")
	s := migrated(t, strings.Replace(server.URL(), "@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:", 1))
	db := raw(t, storetest.Database{Engine: store.Postgres, DSN: server.URL()})
	lane := mustClaim(t, s)
	mustAppend(t, s, lane, 1, batchOf(mustMark(t, s), "before"))
	writes, err := store.LanePID(t.Context(), s, lane)
	if err != nil {
		t.Fatal(err)
	}
	reads, err := store.ReaderPID(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := store.ReaderPID(t.Context(), s); again != reads || err != nil {
		t.Fatalf("reading by %d and then by %d (%v): connections are not kept", reads, again, err)
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
	if now, err := store.ReaderPID(t.Context(), s); now == reads || now == writes || err != nil {
		t.Errorf("reading by %d as before (%v)", now, err)
	}
	eventually(t, "the lane's connection is left", func() bool {
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE pid = $1`, writes).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
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
