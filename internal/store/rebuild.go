//go:build unix

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/openway-access/openway/internal/access"
)

// Rebuild makes a new SQLite file beside the one there is, which stands untouched until the new one takes its place by one rename. While it
// lasts no server serves the file. Either Swap or Abandon ends it; of a process that dies the next Rebuild removes what it left.
type Rebuild struct {
	// New is the path of the new file: a copy of the database there is, or a file that is not there yet.
	New string
	// Existed says that there was a database.
	Existed bool

	path    string
	seen    access.PolicyMark // of the database that was copied
	release func()
}

// BeginRebuild locks the file against servers and copies it. A schema that is behind is refused (ErrBehind): migrating would touch the file.
func BeginRebuild(ctx context.Context, path string) (r *Rebuild, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	r = &Rebuild{New: path + ".importing", path: path}
	if r.release, err = lockServing(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Abandon())
		}
	}()
	if err := r.removeNew(); err != nil {
		return nil, err
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.Existed = true
	return r, r.copy(ctx)
}

func (r *Rebuild) copy(ctx context.Context) (err error) {
	s, err := Open(ctx, Options{Database: r.path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.CheckSchema(ctx); err != nil {
		return err
	}
	// What comes after this look makes Swap refuse.
	if r.seen, err = s.PolicyMark(ctx); err != nil {
		return err
	}
	uri, err := sqliteURI(r.path, false)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", uri)
	if err != nil {
		return err
	}
	if err := errors.Join(s.copyInto(ctx, db, r.New), db.Close()); err != nil {
		return fmt.Errorf("copy the database: %w", err)
	}
	return nil
}

// Swap puts the new file, which nobody has open any more, in the place of the old one. keep, if given, is a name under which the old one stays.
//
// Calls: give the new file to the owner of the old one; fsync it; open the old one, end its WAL, lock it; link it to keep; rename; fsync the directory.
func (r *Rebuild) Swap(ctx context.Context, keep string) (err error) {
	defer func() { err = errors.Join(err, r.Abandon()) }()
	if err := errors.Join(OwnedAs(r.New, r.path, filepath.Dir(r.path)), syncFile(r.New)); err != nil {
		return fmt.Errorf("write the new database: %w", err)
	}
	if r.Existed {
		unlock, err := r.retire(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		if keep != "" {
			if err := os.Link(r.path, keep); err != nil {
				return fmt.Errorf("keep the old database: %w", err)
			}
		}
	}
	if err := os.Rename(r.New, r.path); err != nil {
		return fmt.Errorf("put the new database in its place: %w", err)
	}
	return syncFile(filepath.Dir(r.path))
}

// retire makes the old database one file without a WAL, which works only while nobody else has it open, and keeps it locked. What was changed
// since it was copied is not thrown away.
func (r *Rebuild) retire(ctx context.Context) (unlock func(), err error) {
	uri, err := sqliteURIWith(r.path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", uri)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	var mode string
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode = DELETE`).Scan(&mode); err != nil || mode != "delete" {
		return nil, fmt.Errorf("another process has %s open: end it and import again; nothing was changed", r.path)
	}
	if _, err := db.ExecContext(ctx, `BEGIN EXCLUSIVE`); err != nil {
		return nil, fmt.Errorf("lock the old database: %w", sqliteDialect{}.fault(err))
	}
	var now access.PolicyMark
	if err := db.QueryRowContext(ctx, `SELECT version, stamp FROM policy WHERE id = 1`).Scan(&now.Version, &now.Stamp); err != nil {
		return nil, fmt.Errorf("read the old database: %w", sqliteDialect{}.fault(err))
	}
	if now != r.seen {
		return nil, fmt.Errorf("%s was changed meanwhile: import again; nothing was lost: %w", r.path, access.ErrConflict)
	}
	return func() { db.Close() }, nil //nolint:errcheck // nothing was written
}

// Abandon removes the new file, if it is not in its place yet, and lets servers in again.
func (r *Rebuild) Abandon() error {
	err := r.removeNew()
	r.release()
	return err
}

func (r *Rebuild) removeNew() error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", "-journal", ".migrate-lock"} {
		if err := os.Remove(r.New + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
