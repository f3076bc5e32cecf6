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
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// replaceSQLite completes the stage and puts it in the place of the file.
//
// A file that SQLite can open is overwritten by SQLite itself, in one transaction of the backup API: processes that have it open wait for
// that, then see the new contents, and its owner and mode stay. (A renamed file would leave them writing to one that has no name any more,
// with a WAL that goes by the name of the new one.) The transaction is begun before anything is carried over, so that nothing is
// written to the replaced database after it was looked at.
func (g *Stage) replaceSQLite(ctx context.Context, s *Store, r Replacement) (Carried, error) {
	if err := s.Close(); err != nil {
		return Carried{}, err
	}
	if g.absent() {
		return g.putInPlace(ctx, r, false)
	}
	c, err := g.overwrite(ctx, r)
	if damaged(err) {
		return g.putInPlace(ctx, r, true)
	}
	return c, err
}

func (g *Stage) previewSQLite(ctx context.Context, r Replacement) (c Carried, err error) {
	if !g.absent() {
		if c, err = g.complete(ctx, g.opt.Database, r, false); !damaged(err) {
			return c, err
		}
	}
	return g.complete(ctx, "", r, false)
}

// absent reports whether there is no database file.
func (g *Stage) absent() bool {
	st, err := os.Stat(g.opt.Database)
	return errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0
}

// damaged reports whether err says that a file is no database that SQLite can open.
func damaged(err error) bool {
	code := sqliteCode(err) & 0xff
	return code == sqlite3.SQLITE_NOTADB || code == sqlite3.SQLITE_CORRUPT
}

func (g *Stage) overwrite(ctx context.Context, r Replacement) (c Carried, err error) {
	uri, err := sqliteURI(g.opt.Database, false)
	if err != nil {
		return c, err
	}
	db, err := sql.Open("sqlite", uri)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return c, err
	}
	defer conn.Close()
	err = conn.Raw(func(dc any) error {
		d, ok := dc.(interface {
			NewRestore(uri string) (*sqlite.Backup, error)
		})
		if !ok {
			return fmt.Errorf("the driver's connection is a %T", dc)
		}
		from, err := fileURI(g.File(), "busy_timeout("+busyTimeout+")")
		if err != nil {
			return err
		}
		copying, err := d.NewRestore(from)
		if err != nil {
			return err
		}
		// A step of no pages begins to write, and copies nothing.
		if _, err := copying.Step(0); err != nil {
			return errors.Join(err, copying.Finish())
		}
		if c, err = g.complete(ctx, g.opt.Database, r, true); err == nil {
			err = copyPages(ctx, copying, nil) // the last step commits
		}
		return errors.Join(err, copying.Finish())
	})
	if err != nil {
		return Carried{}, err
	}
	// Not part of the promise: the WAL has the size of the database now.
	_, err = conn.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	return c, err
}

// complete makes the stage what the database is to be. replaced is "" when there is nothing to be read there.
func (g *Stage) complete(ctx context.Context, replaced string, r Replacement, commit bool) (c Carried, err error) {
	s := &Store{opt: g.opt, log: g.opt.Logger, kind: sqliteDialect{}, write: &writer{}} // its transactions are not the writer's
	uri, err := sqliteURI(g.File(), false)
	if err != nil {
		return c, err
	}
	db, err := sql.Open("sqlite", uri)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return c, err
	}
	defer conn.Close()
	schema := ""
	if replaced != "" {
		uri, err := fileURI(replaced, "busy_timeout("+busyTimeout+")")
		if err != nil {
			return c, err
		}
		schema = "replaced"
		if _, err := conn.ExecContext(ctx, `ATTACH $1 AS `+schema, uri); err != nil {
			return c, err
		}
	}
	// Not IMMEDIATE, which would want to write to the replaced one too.
	if _, err := conn.ExecContext(ctx, `BEGIN`); err != nil {
		return c, err
	}
	now := time.Now
	if s.opt.Now != nil {
		now = s.opt.Now
	}
	tx := &Tx{Now: now().UTC().Truncate(time.Microsecond), Actor: r.Actor, ctx: ctx, s: s, on: conn}
	if c, err = tx.takeOver(schema, "main", r); err != nil || !commit {
		_, rerr := conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`)
		return c, errors.Join(err, rerr)
	}
	_, err = conn.ExecContext(context.WithoutCancel(ctx), `COMMIT`)
	return c, err
}

// putInPlace makes the stage the database where there is none that can be opened. One that is damaged is kept under another name.
//
// Calls: (the stage is checkpointed, synced and closed;) link the damaged file to its new name, rename its WAL, unlink its shared memory,
// rename the stage over it, fsync the directory.
func (g *Stage) putInPlace(ctx context.Context, r Replacement, keep bool) (Carried, error) {
	c, err := g.complete(ctx, "", r, true)
	if err != nil {
		return Carried{}, err
	}
	path, dir := g.opt.Database, filepath.Dir(g.opt.Database)
	if err := errors.Join(OwnedAs(g.File(), path, dir), syncFile(g.File())); err != nil {
		return Carried{}, err
	}
	aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405Z")
	if keep {
		if err := os.Link(path, aside); err != nil {
			return Carried{}, fmt.Errorf("keep the damaged file: %w", err)
		}
		c.Damaged = aside
	}
	// A WAL without its database would be taken for the new one's.
	if err := os.Rename(path+"-wal", aside+"-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Carried{}, err
	}
	if err := os.Remove(path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Carried{}, err
	}
	if err := os.Rename(g.File(), path); err != nil {
		return Carried{}, err
	}
	d, err := os.Open(dir)
	if err != nil {
		return Carried{}, err
	}
	return c, errors.Join(d.Sync(), d.Close())
}

// OwnedAs gives a file that root made to the owner of the first of others that is there: who is not root must be able to open it. A link is given itself.
func OwnedAs(path string, others ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, other := range others {
		if st, err := os.Stat(other); err == nil {
			if owner, ok := st.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
				return os.Lchown(path, int(owner.Uid), int(owner.Gid))
			}
		}
	}
	return nil
}

// removeDatabase removes a file that nobody uses, with what SQLite may have left beside it.
func removeDatabase(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what an earlier restore left: %w", err)
		}
	}
	return nil
}
