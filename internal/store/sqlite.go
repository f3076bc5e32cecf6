package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// busyTimeout bounds, in milliseconds, how long a statement without a nearer deadline waits for another process's write.
const busyTimeout = "5000"

// sqliteURI is the file as the driver wants it, whatever characters its name has.
func sqliteURI(path string, readOnly bool) (string, error) {
	pragmas := []string{"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "secure_delete(FAST)"}
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
	s.write = &writer{db: w, kind: s.kind, turn: make(chan struct{}, 1)}
	// The writer comes first: it is what turns the journal of a new file into a WAL.
	if err := s.write.do(ctx, func(*sql.Conn) (bool, error) { return false, nil }); err != nil {
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
	kind dialect
	turn chan struct{} // holds a token while somebody writes
	conn *sql.Conn     // nil before the first turn and after a failure that leaves doubts about it
	stmt batchStatements
	kept map[string]*sql.Stmt // by text: what changes are made of, prepared once
}

// do runs fn between BEGIN IMMEDIATE and COMMIT, or ROLLBACK when fn says no or fails. fn's own errors are returned as they are.
//
// COMMIT runs without the context: the driver would report an ended context also for a commit that succeeded. It
// waits for nothing but the disk.
func (w *writer) do(ctx context.Context, fn func(*sql.Conn) (commit bool, err error)) (err error) {
	select {
	case w.turn <- struct{}{}:
	default:
		select {
		case w.turn <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("wait for the writer: %w", w.kind.fault(ctx.Err()))
		}
	}
	defer func() { <-w.turn }()
	if w.conn == nil {
		if err := w.open(ctx); err != nil {
			return err
		}
	}
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
	if _, err := w.stmt.begin.ExecContext(ctx); err != nil {
		return fmt.Errorf("begin to write: %w", w.kind.fault(err))
	}
	commit, err := fn(w.conn)
	if err != nil || !commit {
		sound = !errors.Is(w.kind.fault(err), access.ErrUnavailable)
		return err
	}
	if _, err := w.stmt.commit.ExecContext(apart); err != nil {
		if w.kind.unknown(err) {
			return fmt.Errorf("commit: %w: %w", access.ErrOutcomeUnknown, err)
		}
		return fmt.Errorf("commit: %w", w.kind.fault(err))
	}
	sound, open = true, false
	return nil
}

// open makes the connection and prepares what each batch of events uses.
func (w *writer) open(ctx context.Context) error {
	c, err := w.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", w.kind.fault(err))
	}
	w.conn = c
	if err := w.stmt.prepare(ctx, c); err != nil {
		w.drop()
		return fmt.Errorf("prepare to write: %w", w.kind.fault(err))
	}
	return nil
}

// maxKept bounds the statements that are kept prepared. Those with lists in them come in many lengths.
const maxKept = 256

// prepared is the writer's connection to those who change rows one by one: preparing a statement costs more than running it, and a
// site file runs the same few thousands of times. Only statements that end before the next one begins are kept.
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

// keep returns the prepared statement, or nil where there is none: running the text then gives the error, if there is one.
func (w *writer) keep(ctx context.Context, query string) *sql.Stmt {
	s, ok := w.kept[query]
	if ok || len(w.kept) >= maxKept {
		return s
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

// drop gives the connection up; the next turn makes a new one.
func (w *writer) drop() {
	for _, s := range w.kept {
		s.Close() //nolint:errcheck // the connection goes with it
	}
	w.kept = nil
	w.stmt.close()
	w.stmt = batchStatements{}
	w.conn.Close() //nolint:errcheck // it goes back to a pool that is told below not to keep it
	w.conn = nil
	// The pool keeps at most one idle connection: this one. Take it out.
	w.db.SetMaxIdleConns(0)
	w.db.SetMaxIdleConns(1)
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
