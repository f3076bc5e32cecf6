// Package store holds all the SQL of the module, for SQLite and PostgreSQL alike: one text serves both engines, and
// dialect.go holds what differs.
//
// It imports access and nothing else of this module. It promises:
//   - An exported method of Store is one transaction; what a noun needs inside of one are methods of Tx.
//   - Each administrative change moves the one policy row first, so that changes are serialised, and event batches are
//     written only while the policy that decided them is the newest one.
//   - An error says whether anything can have been written: access.ErrOutcomeUnknown means it cannot be known, any other
//     error means that nothing was.
//   - On SQLite nothing but the SQLite library closes a descriptor of the database file while a store of this process has it open (the
//     process's POSIX locks on it would go). A store that appends has one more and closes it last: a process opens a file that it appends to once.
//     LeaveFile opens it as the last act of a process, and closes nothing.
//   - After a sync of an SQLite file has failed nothing more is written (Failed).
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/openway-access/openway/internal/access"
)

// Engines, as Engine returns them.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Options says which database to open, and how.
type Options struct {
	// Database is the path of an SQLite file, made with its directory when it is not there, or a postgres:// URL.
	Database string
	// Now is the clock; nil means time.Now. Instants are truncated to microseconds UTC.
	Now func() time.Time
	// Logger gets what an operator should know, such as a copy made before migrating. nil discards it.
	Logger *slog.Logger
	// Readers is how many connections may read at once; 0 means 4, or the number of processors when that is more.
	Readers int
	// Building says that an SQLite file is being made by this process alone and is thrown away when that fails: nothing is journaled or synced.
	Building bool
	// Zone (IANA) and RetentionDays (0 = keep all) seed the site's row when it is first made, and do nothing later.
	Zone          string
	RetentionDays int

	copied bool // an SQLite file is a copy already: none is made before it is migrated
}

// Store is an open database. Its methods may be called from several goroutines.
type Store struct {
	opt  Options
	log  *slog.Logger
	kind dialect
	// read serves View and single queries. On PostgreSQL it is the only pool; on SQLite its connections are query_only.
	read *sql.DB
	// write is the one writing connection of SQLite; nil on PostgreSQL.
	write *writer
	// The index over the events.
	sizes    indexSizes
	fresh    freshEvents
	upkeep   upkeep
	settling settling
	lastID   atomic.Int64 // on PostgreSQL: of the last event that this process wrote or, a moment ago, saw; 0 = none yet

	unreplicated atomic.Int64 // on PostgreSQL: how often somebody made it stop waiting for its synchronous standby

	counting counting
	// lookAhead is how many events a page looks at, at most.
	lookAhead int
	// appendMode is how lanes on PostgreSQL send their one statement.
	appendMode pgx.QueryExecMode
	// desk holds a token for each write that is not a lane's. However many of them wait, a lane waits for few, and finds a connection.
	desk chan struct{}

	mu     sync.Mutex
	lanes  map[int64]*lane
	closed bool
}

// Open opens the database without migrating it. A database that cannot be reached is access.ErrUnavailable.
func Open(ctx context.Context, opt Options) (*Store, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Readers <= 0 {
		opt.Readers = max(4, runtime.GOMAXPROCS(0))
	}
	if opt.Zone == "" {
		opt.Zone = "UTC"
	}
	s := &Store{opt: opt, log: opt.Logger, lanes: make(map[int64]*lane), sizes: defaultSizes, lookAhead: defaultLookAhead}
	if err := s.connect(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", redact(opt.Database), err)
	}
	s.fresh.wait, s.fresh.wake = blockPatience, make(chan struct{}, 1)
	s.setIndexSizes(s.sizes)
	return s, nil
}

// Engine is SQLite or Postgres.
func (s *Store) Engine() string { return s.kind.name() }

// Ping makes a real round trip to the database. It fails when the disk has Failed, too.
func (s *Store) Ping(ctx context.Context) error {
	if s.write != nil { // another process may have seen it first
		if _, err := os.Stat(failedMark(s.write.path)); err == nil {
			s.write.fail(errSeenByOthers) //nolint:errcheck // it is asked for below
		}
	}
	if s.FailedBy() != nil {
		return fmt.Errorf("ping the database: %w", unavailable(ErrDiskFailed))
	}
	var one int
	if err := s.read.QueryRowContext(ctx, `SELECT 1`).Scan(&one); err != nil {
		return fmt.Errorf("ping the database: %w", s.kind.fault(err))
	}
	return nil
}

// Close closes every connection; of a file whose disk has Failed none. On PostgreSQL it waits for a batch that is being committed; a write to a file that a hanging disk
// does not let go is left behind after a while.
func (s *Store) Close() error {
	s.mu.Lock()
	lanes := s.lanes
	s.lanes, s.closed = map[int64]*lane{}, true
	s.mu.Unlock()
	var errs []error
	if s.write != nil { // lanes have no connections of their own then
		s.endUpkeep()
		if s.write.broken() { // SQLite's last act is a checkpoint, which would take for durable what is not; who comes next has the whole log
			s.write.letData(false)
			return nil
		}
		errs = append(errs, s.write.close())
	} else {
		s.endUpkeep()
		for _, l := range lanes {
			l.close()
		}
	}
	errs = append(errs, s.read.Close())
	err := errors.Join(errs...)
	if s.write != nil {
		s.write.letData(err == nil && s.read.Stats().OpenConnections == 0)
	}
	return err
}

// Change runs fn in one write transaction of an administrative change: it locks the policy row, draws version+1 and a fresh
// stamp (tx.Mark), and runs fn. When fn recorded nothing (Tx.Record), nothing is committed and changed is false: the mark is
// then the one that stands, and what fn found is settled (Settle). Changes of all processes are serialised, from the lock to the commit.
//
// fn runs at most once. An error of fn is returned as it is; access.ErrOutcomeUnknown means that the commit's fate is unknown.
func (s *Store) Change(ctx context.Context, actor access.Actor, fn func(*Tx) error) (mark access.PolicyMark, changed bool, err error) {
	err = s.atDesk(ctx, func(tx *Tx) (bool, error) {
		var err error
		mark, changed, err = tx.change(actor, 1, fn)
		return changed, err
	})
	// "It is so already", and "there is no such right any more", may rest on what another commit has not brought to the disk or the standby yet: the same
	// command's first try, perhaps. (Where fn found nothing to do on SQLite, the disk was waited for.)
	if gone := errors.Is(err, access.ErrNotFound); gone || err == nil && !changed && s.write == nil {
		if unsettled := s.Settle(ctx); unsettled != nil {
			err = unsettled
		}
	}
	if err != nil {
		return access.PolicyMark{}, false, err
	}
	return mark, changed, nil
}

// Settle returns when all that can be read now is as durable as if this process had just committed it: another one may have committed what its disk,
// or on PostgreSQL its synchronous standby, does not have yet, and died or given up. Who says "it is so already" calls it before.
func (s *Store) Settle(ctx context.Context) error {
	return s.atDesk(ctx, func(tx *Tx) (bool, error) {
		var version int64
		// On PostgreSQL the lock is something to commit, and the commit waits for all that came before it.
		err := tx.queryRow(`SELECT version FROM policy WHERE id = 1` + s.kind.forUpdate()).Scan(&version)
		return s.write == nil, err
	})
}

// change is what Change does within its transaction. step is how far the version moves: a version that no line of the audit bears
// makes everybody who stands before it load the whole policy anew.
func (tx *Tx) change(actor access.Actor, step int64, fn func(*Tx) error) (mark access.PolicyMark, changed bool, err error) {
	tx.Actor, tx.moves = actor, true
	stamp, err := freshStamp()
	if err != nil {
		return mark, false, err
	}
	if err := tx.queryRow(`SELECT version, stamp FROM policy WHERE id = 1`+tx.s.kind.forUpdate()).Scan(&tx.Was.Version, &tx.Was.Stamp); err != nil {
		return mark, false, fmt.Errorf("lock the policy: %w", err)
	}
	tx.Mark = access.PolicyMark{Version: tx.Was.Version + step, Stamp: stamp}
	if err := fn(tx); err != nil {
		return mark, false, err
	}
	if tx.recorded == 0 {
		return tx.Was, false, nil
	}
	_, err = tx.exec(`UPDATE policy SET version = $1, stamp = $2, changed_at = $3 WHERE id = 1`, tx.Mark.Version, tx.Mark.Stamp, micros(tx.Now))
	return tx.Mark, err == nil, err
}

// Note runs fn in a write transaction that does not move the policy: audit lines of refused sign-ins and exports, session
// touches, password rehashes. tx.Mark is the mark that stands.
func (s *Store) Note(ctx context.Context, actor access.Actor, fn func(*Tx) error) error {
	return s.atDesk(ctx, func(tx *Tx) (bool, error) {
		tx.Actor = actor
		if err := tx.readMark(); err != nil {
			return false, err
		}
		return true, fn(tx)
	})
}

// View runs fn in one consistent read-only snapshot. tx.Mark is the policy of that snapshot.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	t, err := s.read.BeginTx(ctx, s.kind.snapshot())
	if err != nil {
		return fmt.Errorf("begin to read: %w", s.kind.fault(err))
	}
	defer t.Rollback() //nolint:errcheck // nothing was written
	tx := &Tx{Now: s.now(), ctx: ctx, s: s, on: t}
	if err := tx.readMark(); err != nil {
		return err
	}
	return fn(tx)
}

func (s *Store) connect(ctx context.Context) error {
	if isPostgres(s.opt.Database) {
		return s.connectPostgres(ctx)
	}
	return s.connectSQLite(ctx)
}

// atDesk is inWrite for everybody but the lanes. On SQLite one of them at a time stands in line for the writer, so that no crowd of
// changes comes before a batch of events; on PostgreSQL as many as there are readers, because they wait for the policy's
// row with a connection in hand, and who holds that row may want another one.
func (s *Store) atDesk(ctx context.Context, fn func(*Tx) (commit bool, err error)) error {
	return s.atDeskThatIs(ctx, durable, fn)
}

func (s *Store) atDeskThatIs(ctx context.Context, d durability, fn func(*Tx) (commit bool, err error)) error {
	select {
	case s.desk <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait to write: %w", s.kind.fault(ctx.Err()))
	}
	defer func() { <-s.desk }()
	return s.inWriteThatIs(ctx, d, fn)
}

// inWrite runs fn in one write transaction and commits it when fn says so.
func (s *Store) inWrite(ctx context.Context, fn func(*Tx) (commit bool, err error)) error {
	return s.inWriteThatIs(ctx, durable, fn)
}

// inLazyWrite is inWrite for work that may be undone by a power cut, because it is only done again then. It waits for no
// disk; the next durable write makes it durable too.
func (s *Store) inLazyWrite(ctx context.Context, fn func(*Tx) (commit bool, err error)) error {
	return s.inWriteThatIs(ctx, lazy, fn)
}

func (s *Store) inWriteThatIs(ctx context.Context, d durability, fn func(*Tx) (commit bool, err error)) error {
	run := func(on conn) (bool, error) {
		return fn(&Tx{Now: s.now(), ctx: ctx, s: s, on: on})
	}
	if s.write != nil {
		return s.write.do(ctx, d, func(c *sql.Conn) (bool, error) { return run(prepared{c, s.write}) })
	}
	return s.inTransaction(ctx, s.read, d, run)
}

// now is the clock as the database keeps it.
func (s *Store) now() time.Time { return s.opt.Now().UTC().Truncate(time.Microsecond) }

// freshStamp draws the random half of a policy mark: 63 bits, never 0.
func freshStamp() (int64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw a policy stamp: %w", err)
	}
	return int64(binary.LittleEndian.Uint64(b[:])>>1 | 1), nil
}
