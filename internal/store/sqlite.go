package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"

	"github.com/openway-access/openway/internal/access"
)

// busyTimeout bounds, in milliseconds, how long a statement without a nearer deadline waits for another process's write.
var busyTimeout = strconv.FormatInt(busyPatience.Milliseconds(), 10)

// walLimit, in bytes, is what is left of a WAL that became longer, when it is begun anew: twice what checkpointPages come to. What is below stays, because
// writing over a file costs less than making it longer.
const walLimit = "67108864"

// sqliteURI is the file as the driver wants it, whatever characters its name has.
func sqliteURI(path string, readOnly bool) (string, error) {
	// NORMAL leaves out the wait for the disk at a commit, and nothing else: whoever needs it waits himself (wal.go). Checkpoints are ours to take (count).
	pragmas := []string{"journal_mode(WAL)", "wal_autocheckpoint(0)", "synchronous(NORMAL)", "foreign_keys(1)", "secure_delete(FAST)", "journal_size_limit(" + walLimit + ")"}
	if readOnly {
		pragmas = append(pragmas, "query_only(1)")
	}
	return sqliteURIWith(path, pragmas...)
}

func sqliteURIWith(path string, pragmas ...string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	q := url.Values{"_pragma": append([]string{"busy_timeout(" + busyTimeout + ")"}, pragmas...)}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: q.Encode()}).String(), nil
}

// connectSQLite makes the file with mode 0600 when it is new (SQLite gives its WAL the same mode), and opens both pools.
func (s *Store) connectSQLite(ctx context.Context) error {
	path := s.opt.Database
	if err := trustDisk(ctx, path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// Closing a second descriptor of a database in use would drop our locks on it; O_EXCL says that nobody uses this one yet.
	switch f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); {
	case err == nil:
		if err := f.Close(); err != nil {
			return err
		}
	case !errors.Is(err, os.ErrExist):
		return err
	}
	s.kind, s.desk = sqliteDialect{}, make(chan struct{}, 1)
	// Where the system has it, a commit waits for its data only, and not for the file's times to be journalled.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return err
	}
	writeURI, err := sqliteURI(path, false)
	if err != nil {
		return err
	}
	readURI, err := sqliteURI(path, true)
	if err != nil {
		return err
	}
	if s.opt.Building { // 16 MiB of cache: the writer is all there is
		if writeURI, err = sqliteURIWith(path, "journal_mode(OFF)", "synchronous(OFF)", "foreign_keys(1)", "cache_size(-16384)"); err != nil {
			return err
		}
		readURI = writeURI
	}
	w, err := sql.Open("sqlite", writeURI)
	if err != nil {
		return err
	}
	w.SetMaxOpenConns(1)
	s.write = &writer{
		db: w, path: path, bare: s.opt.Building, kind: s.kind,
		turn: make(chan struct{}, 1), filled: make(chan struct{}, 1), failed: make(chan struct{}),
		syncing: syncData, pass: checkpointPass, enough: checkpointPages,
	}
	// The writer comes first: it is what turns the journal of a new file into a WAL.
	if err := s.write.do(ctx, lazy, func(*sql.Conn) (bool, error) { return false, nil }); err != nil {
		return errors.Join(err, s.write.close())
	}
	if s.read, err = sql.Open("sqlite", readURI); err != nil {
		return errors.Join(err, s.write.close())
	}
	s.read.SetMaxOpenConns(s.opt.Readers)
	s.read.SetMaxIdleConns(s.opt.Readers)
	return nil
}

// writer is the one connection of this process that writes to an SQLite file. Those who write take turns in the order in
// which they came; other processes are waited for by the busy timeout.
type writer struct {
	db   *sql.DB
	path string
	kind dialect
	turn chan struct{} // holds a token while somebody writes
	conn *sql.Conn     // nil before the first turn and after a failure that leaves doubts about it
	wal  *wal          // comes and goes with conn
	bare bool          // the file is built without one, and nothing of it is durable

	syncing func(*os.File) error                                       // waits for the disk
	pass    func(ctx context.Context, on conn) (kept int64, err error) // one pass of a checkpoint
	failing sync.Once
	failed  chan struct{} // closed: the disk may not have what was written, because of
	cause   error
	left    []*os.File // what LeaveFile has open: a file that is closed gives its locks up

	stmt batchStatements
	kept map[string]*sql.Stmt // by text: what changes are made of, prepared once

	// Somebody else takes the checkpoints (upkeep): he is told by filled when there are enough pages for one.
	paced  atomic.Bool
	data   *os.File     // the database file once more, while somebody does; see letData
	wrote  int          // pages that the connection has written to the WAL
	pages  atomic.Int64 // pages written since the last checkpoint
	enough int64        // pages for a checkpoint
	filled chan struct{}
}

// durability says whether a commit is on the disk when it returns.
type durability bool

const (
	durable durability = true
	lazy    durability = false // it will be with the next durable one
)

// do runs fn between BEGIN IMMEDIATE and COMMIT, or ROLLBACK when fn says no or fails. fn's own errors are returned as they are. What
// others write after it is durable when this is, because the log has them in order.
//
// COMMIT runs without the context: the driver would report an ended context also for a commit that succeeded. It
// waits for nothing, and the disk is waited for when the turn has ended.
func (w *writer) do(ctx context.Context, d durability, fn func(*sql.Conn) (commit bool, err error)) error {
	return w.doThen(ctx, d, fn, func() {})
}

// doThen is do, and calls landed when others can see the commit, before anybody writes after it. The disk may not have it yet.
func (w *writer) doThen(ctx context.Context, d durability, fn func(*sql.Conn) (commit bool, err error), landed func()) error {
	log, committed, err := w.commit(ctx, fn, landed)
	if err != nil || d == lazy {
		return err
	}
	// Also when there was nothing to commit: what was found may be what somebody has just committed and the disk does not have yet.
	switch err := w.settle(log); {
	case err == nil:
		return nil
	case committed:
		return fmt.Errorf("commit: %w: sync: %w", access.ErrOutcomeUnknown, err)
	default:
		return fmt.Errorf("wait for the disk: %w", unavailable(err))
	}
}

// commit is doThen without the wait for the disk. log is what is to be waited for.
func (w *writer) commit(ctx context.Context, fn func(*sql.Conn) (commit bool, err error), landed func()) (log *wal, committed bool, err error) {
	if err := w.enter(ctx); err != nil {
		return nil, false, err
	}
	defer func() { <-w.turn }()
	apart := context.WithoutCancel(ctx)
	sound, open := false, true
	defer func() {
		if open {
			// When SQLite has rolled back by itself this fails, and the connection goes.
			_, rerr := w.conn.ExecContext(apart, `ROLLBACK`)
			sound = sound && rerr == nil
		}
		if !sound {
			w.drop()
		}
	}()
	if err := w.begin(ctx); err != nil {
		return nil, false, fmt.Errorf("begin to write: %w", w.kind.fault(err))
	}
	commit, err := fn(w.conn)
	err = w.heed(err)
	if err != nil || !commit {
		sound = !errors.Is(w.kind.fault(err), access.ErrUnavailable)
		return w.wal, false, err
	}
	if _, err := w.stmt.commit.ExecContext(apart); err != nil {
		err = w.heed(err)
		if w.kind.unknown(err) {
			return nil, false, fmt.Errorf("commit: %w: %w", access.ErrOutcomeUnknown, err)
		}
		return nil, false, fmt.Errorf("commit: %w", w.kind.fault(err))
	}
	open = false
	landed()
	log = w.wal
	sound = w.count(apart) == nil
	return log, true, nil
}

// enter waits for the turn, and makes sure that there is something to write to.
func (w *writer) enter(ctx context.Context) error {
	select {
	case w.turn <- struct{}{}:
	default:
		select {
		case w.turn <- struct{}{}:
		case <-w.failed: // LeaveFile keeps the turn
			return unavailable(ErrDiskFailed)
		case <-ctx.Done():
			return fmt.Errorf("wait for the writer: %w", w.kind.fault(ctx.Err()))
		}
	}
	err := w.ready(ctx)
	if err != nil {
		<-w.turn
	}
	return err
}

// ready makes sure that there is a connection, and a disk to be trusted. The turn is held.
func (w *writer) ready(ctx context.Context) error {
	if w.broken() {
		return unavailable(ErrDiskFailed)
	}
	if w.conn == nil {
		return w.open(ctx)
	}
	return nil
}

// turned runs fn while nobody writes, outside of a transaction.
func (w *writer) turned(ctx context.Context, fn func(*sql.Conn) error) error {
	if err := w.enter(ctx); err != nil {
		return err
	}
	defer func() { <-w.turn }()
	err := fn(w.conn)
	if err != nil {
		w.drop()
	}
	return err
}

// count counts the pages of a commit, and tells those who take checkpoints. Where nobody does the commit takes one itself, after as many pages as SQLite would, which would
// not tell of a sync that fails.
func (w *writer) count(ctx context.Context) error {
	if w.bare {
		return nil
	}
	err := w.conn.Raw(func(dc any) error {
		c, ok := dc.(sqlite.DBStatus)
		if !ok {
			return fmt.Errorf("the driver's connection is a %T", dc)
		}
		wrote, _, err := c.Status(sqlite.DBStatusCacheWrite, false)
		w.pages.Add(int64((wrote - w.wrote) & math.MaxInt32)) // SQLite's number has 31 bits and goes round
		w.wrote = wrote
		return err
	})
	switch pages := w.pages.Load(); {
	case err != nil:
		return err
	case !w.paced.Load() && pages >= ownPages:
		w.pages.Store(0)
		if _, err := w.checkpoint(ctx, w.conn); errors.Is(err, ErrDiskFailed) { // what else prevents it is tried again
			return err
		}
	case pages >= w.enough:
		select {
		case w.filled <- struct{}{}:
		default:
		}
	}
	return nil
}

// open makes the connection and prepares what each batch of events uses.
func (w *writer) open(ctx context.Context) error {
	c, err := w.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", w.kind.fault(err))
	}
	w.conn = c
	_, looked := c.ExecContext(ctx, `SELECT 1 FROM sqlite_schema`) // the first look into a file makes its log
	if err := errors.Join(w.stmt.prepare(ctx, c), w.waitHere(ctx), looked); err != nil {
		w.drop()
		return fmt.Errorf("prepare to write: %w", w.kind.fault(err))
	}
	if w.bare {
		return nil
	}
	if w.wal, err = openWAL(w.path); err != nil {
		w.drop()
		return fmt.Errorf("open the write-ahead log: %w", unavailable(err))
	}
	return nil
}

// maxKept bounds the statements that are kept prepared: for a further one any other is given up. Those with lists in them come in many lengths.
const maxKept = 256

// prepared is the writer's connection to those who change rows one by one: preparing a statement costs more than running it, and a
// site file runs the same few thousands of times.
type prepared struct {
	*sql.Conn
	w *writer
}

func (p prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if s := p.w.keep(ctx, query); s != nil {
		return s.ExecContext(ctx, args...)
	}
	return p.Conn.ExecContext(ctx, query, args...)
}

func (p prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if s := p.w.keep(ctx, query); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return p.Conn.QueryRowContext(ctx, query, args...)
}

// rows is QueryContext for who calls back when the rows are read. Until then the statement serves nobody else.
func (p prepared) rows(ctx context.Context, query string, args []any) (rows *sql.Rows, back func(), err error) {
	s := p.w.keep(ctx, query)
	if s == nil {
		rows, err = p.Conn.QueryContext(ctx, query, args...)
		return rows, func() {}, err
	}
	p.w.kept[query] = nil
	rows, err = s.QueryContext(ctx, args...)
	return rows, func() { p.w.kept[query] = s }, err
}

// keep returns the prepared statement, or nil where there is none, or where rows of it are being read: the text is run by itself then, and gives the error, if there is one.
func (w *writer) keep(ctx context.Context, query string) *sql.Stmt {
	s, ok := w.kept[query]
	if ok {
		return s
	}
	for old, s := range w.kept {
		if len(w.kept) < maxKept {
			break
		}
		if s != nil {
			s.Close() //nolint:errcheck // it is not running
			delete(w.kept, old)
		}
	}
	s, err := w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil
	}
	if w.kept == nil {
		w.kept = make(map[string]*sql.Stmt)
	}
	w.kept[query] = s
	return s
}

// drop gives the connection up; the next turn makes a new one. After a failure of the disk it keeps it: SQLite's last act would be a checkpoint.
func (w *writer) drop() {
	if w.broken() {
		return
	}
	for _, s := range w.kept {
		s.Close() //nolint:errcheck // the connection goes with it
	}
	w.kept = nil
	w.stmt.close()
	w.stmt = batchStatements{}
	w.wal.close()
	w.conn.Close() //nolint:errcheck // it goes back to a pool that is told below not to keep it
	w.conn, w.wal, w.wrote = nil, nil, 0
	// The pool keeps at most one idle connection: this one. Take it out.
	w.db.SetMaxIdleConns(0)
	w.db.SetMaxIdleConns(1)
}

// held are descriptors of database files that stay open until the process ends.
var held sync.Map

// letData closes the second descriptor of the database file, when all connections are. Our locks on the file go with the first descriptor that is closed: while a connection
// hangs, or the file is left as it is, it stays.
func (w *writer) letData(closed bool) {
	switch {
	case w.data == nil:
	case closed:
		w.data.Close() //nolint:errcheck // nothing was written through it
	default:
		held.Store(w.data, true)
	}
}

// closePatience is how long close waits for whoever writes: longer than any write takes on a disk that works.
const closePatience = 5 * time.Second

func (w *writer) close() error {
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case w.turn <- struct{}{}:
	case <-patience.C:
		return errors.New("close the database: a write does not come to its end")
	}
	defer func() { <-w.turn }()
	if w.conn != nil {
		w.drop()
	}
	return w.db.Close()
}
