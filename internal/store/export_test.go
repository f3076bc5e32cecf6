package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"os"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// LetLanesRest makes every lane believe that it was last used long ago.
func LetLanesRest(s *Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		l.used = time.Time{}
	}
}

// OnWriter runs a statement on the writing connection of an SQLite store.
func OnWriter(ctx context.Context, s *Store, statement string) error {
	return s.write.do(ctx, durable, func(c *sql.Conn) (bool, error) {
		_, err := c.ExecContext(ctx, statement)
		return true, err
	})
}

// Pragmas reads settings of the writing and of a reading connection of an SQLite store.
func Pragmas(ctx context.Context, s *Store, names ...string) (writer, reader map[string]string, err error) {
	read := func(c *sql.Conn, into map[string]string) error {
		for _, n := range names {
			var v string
			if err := c.QueryRowContext(ctx, "PRAGMA "+n).Scan(&v); err != nil {
				return err
			}
			into[n] = v
		}
		return nil
	}
	writer, reader = map[string]string{}, map[string]string{}
	err = s.write.do(ctx, durable, func(c *sql.Conn) (bool, error) { return false, read(c, writer) })
	if err != nil {
		return nil, nil, err
	}
	c, err := s.read.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	return writer, reader, read(c, reader)
}

// HoldMigration migrates nothing, but keeps others from it while fn runs.
func HoldMigration(ctx context.Context, s *Store, fn func()) error {
	return s.aloneToMigrate(ctx, func(context.Context) error { fn(); return nil })
}

// ForgetStatements makes the server session of a lane lose its prepared statements, as a pooler does that gives another session.
func ForgetStatements(ctx context.Context, s *Store, writer int64) error {
	l, err := s.laneOf(writer)
	if err != nil {
		return err
	}
	_, err = l.conn.ExecContext(ctx, `DEALLOCATE ALL`)
	return err
}

// Setting reads a setting of PostgreSQL as it is inside a transaction.
func Setting(tx *Tx, name string) (v string, err error) {
	err = tx.queryRow(`SELECT current_setting($1)`, name).Scan(&v)
	return v, err
}

// SetIndexSizes makes the index over the events of small parts, and pages look at few events.
func SetIndexSizes(s *Store, slice, fan, step, drop, lookAhead int) {
	s.setIndexSizes(indexSizes{slice, fan, step, drop, 3, 2})
	s.lookAhead = lookAhead
}

// IndexStep does one step of the work on the index.
func IndexStep(ctx context.Context, s *Store) (worked bool, err error) {
	return s.indexStep(ctx, false)
}

// PatientIndexStep does the next step as the upkeep does it.
func PatientIndexStep(ctx context.Context, s *Store) (worked bool, err error) {
	return s.indexStep(ctx, true)
}

// SetIndexPatience is how long a busy log is waited for. A log that is waited for is not any more.
func SetIndexPatience(s *Store, d time.Duration) {
	s.fresh.mu.Lock()
	defer s.fresh.mu.Unlock()
	s.fresh.wait = d
	if !s.fresh.busy.IsZero() {
		s.fresh.busy = time.Now()
	}
}

// RestUpkeep keeps a store that has no lane yet from working on the index by itself.
func RestUpkeep(s *Store) { s.upkeep.once.Do(func() {}) }

// LanesWithOld asks as a purge does that finds something.
func LanesWithOld(tx *Tx) error {
	lanes, err := tx.lanesWithOld(math.MaxInt64)
	if err == nil && len(lanes) == 0 {
		err = errors.New("no lane has old batches")
	}
	return err
}

// InsertEvent inserts an event with its id, as an import does.
func InsertEvent(tx *Tx, e *access.Event) error {
	_, err := tx.exec(`INSERT INTO events (id, kind, occurred_at, recorded_at, writer_id, seq, gate_id, user_id, device_id, policy_version, decision, reason,
		count, address, request_id, fingerprint) VALUES ($1, $2, $3, $4, 0, 0, $5, $6, $7, 0, $8, $9, 1, '', $10, '')`,
		e.ID, string(e.Kind), micros(e.At), micros(e.At), orNull(e.GateID), orNull(e.UserID), orNull(e.DeviceID), string(e.Decision), string(e.Reason), e.RequestID)
	if err != nil {
		return err
	}
	return tx.s.kind.keepIDs(tx, "events", e.ID)
}

// WatchSyncs puts itself before each wait for the disk of an SQLite store: do does it.
func WatchSyncs(s *Store, sync func(do func() error) error) {
	WatchSyncsOf(s, func(_ *os.File, do func() error) error { return sync(do) })
}

// WatchSyncsOf is WatchSyncs for whoever looks at the file.
func WatchSyncsOf(s *Store, sync func(f *os.File, do func() error) error) {
	s.write.syncing = func(f *os.File) error { return sync(f, func() error { return syncData(f) }) }
}

// FailCheckpoint lets passes of a checkpoint fail as when a sync within them does.
func FailCheckpoint(s *Store, failure error) {
	s.write.pass = func(context.Context, conn) (int64, error) { return 0, s.write.fail(failure) }
}

// GiveUpWriter makes the writer give its connection up, as after a failure that leaves doubts about it.
func GiveUpWriter(ctx context.Context, s *Store) {
	_ = s.write.turned(ctx, func(*sql.Conn) error { return errors.New("given up") })
}

// CheckpointStep does what the upkeep does when there is enough for a checkpoint.
func CheckpointStep(ctx context.Context, s *Store) (worked bool, err error) {
	s.write.pages.Store(s.write.enough)
	return s.checkpointStep(ctx)
}

// SetCheckpointPages lets a checkpoint follow after so many pages. Nobody may write meanwhile.
func SetCheckpointPages(s *Store, n int64) { s.write.enough = n }

// WrotePages makes the connection that writes seem to have written so many pages of its log less, or SQLite's number of them, of 31 bits, to go round
// after so many more. It returns how many are counted towards the next checkpoint. Nobody may write meanwhile.
func WrotePages(s *Store, less int) int64 {
	s.write.wrote = (s.write.wrote - less) & math.MaxInt32
	return s.write.pages.Load()
}

// LanePID is the process of PostgreSQL that serves a lane.
func LanePID(ctx context.Context, s *Store, writer int64) (pid int, err error) {
	l, err := s.laneOf(writer)
	if err != nil {
		return 0, err
	}
	err = l.conn.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&pid)
	return pid, err
}

// ReaderPID is the process of PostgreSQL that serves whoever reads next.
func ReaderPID(ctx context.Context, s *Store) (pid int, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&pid)
	return pid, err
}

// Each runs a query of one number and calls do with each.
func Each(tx *Tx, query string, do func(n int64) error) error {
	return tx.each(query, nil, func(row scanner) error {
		var n int64
		if err := row.Scan(&n); err != nil {
			return err
		}
		return do(n)
	})
}
