package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// copyStep is how many pages of an SQLite database are copied before the context is looked at: 4 MiB, some milliseconds.
const copyStep = 1024

// CopyTo copies an SQLite database, as it is in one snapshot, to a new file of mode 0600, and checks and syncs the copy. The facts
// are counted in the original, within that same snapshot, and found again in the copy. progress is told pages.
//
// The copy goes through SQLite's backup API on a connection that holds a read transaction, so that those who write neither wait for it
// nor make it begin anew; meanwhile the WAL cannot be reset, and grows by what is written.
func (s *Store) CopyTo(ctx context.Context, path string, progress func(done, total int)) (f Facts, err error) {
	if s.write == nil {
		return Facts{}, errors.New("copy the database: it is not SQLite")
	}
	if err := s.isOurs(ctx); err != nil {
		return Facts{}, fmt.Errorf("copy the database: %w", err)
	}
	c, err := s.read.Conn(ctx)
	if err != nil {
		return Facts{}, fmt.Errorf("copy the database: %w", s.kind.fault(err))
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, `BEGIN`); err != nil {
		return Facts{}, fmt.Errorf("copy the database: %w", s.kind.fault(err))
	}
	defer c.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`) //nolint:errcheck // it only read
	tx := &Tx{Now: s.now(), ctx: ctx, s: s, on: c}
	if err := tx.readMark(); err != nil {
		return Facts{}, err
	}
	if f, err = tx.facts(); err != nil {
		return Facts{}, err
	}
	if err := createEmpty(path); err != nil {
		return Facts{}, fmt.Errorf("copy the database: %w", err)
	}
	err = c.Raw(func(dc any) error {
		b, ok := dc.(interface {
			NewBackup(uri string) (*sqlite.Backup, error)
		})
		if !ok {
			return fmt.Errorf("the driver's connection is a %T", dc)
		}
		// It is nobody's database yet: no journal, and one fsync at the end.
		uri, err := fileURI(path, "journal_mode(OFF)", "synchronous(OFF)")
		if err != nil {
			return err
		}
		copying, err := b.NewBackup(uri)
		if err != nil {
			return err
		}
		err = copyPages(ctx, copying, progress)
		if ferr := copying.Finish(); err == nil {
			err = ferr
		}
		if sqliteCode(err)&0xff == sqlite3.SQLITE_FULL {
			err = syscall.ENOSPC
		}
		return err
	})
	if err == nil {
		err = syncFile(path)
	}
	if err != nil { // it is the copy that cannot be used, not the database
		return Facts{}, fmt.Errorf("write a copy of the database to %s: %w", path, err)
	}
	if err := CheckFile(ctx, path, f); err != nil {
		return Facts{}, fmt.Errorf("check the copy of the database: %w", err)
	}
	return f, nil
}

// copyPages takes the steps of SQLite's backup API.
func copyPages(ctx context.Context, b *sqlite.Backup, progress func(done, total int)) error {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if more, err = b.Step(copyStep); err != nil {
			return err
		}
		if progress != nil {
			progress(b.PageCount()-b.Remaining(), b.PageCount())
		}
	}
	return nil
}

// CheckFile checks an SQLite file that nobody uses: its structure, and that it holds what the facts say.
func CheckFile(ctx context.Context, path string, want Facts) (err error) {
	if _, err := os.Stat(path); err != nil { // opening would make it
		return err
	}
	s, err := Open(ctx, Options{Database: path, Readers: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var result string
	if err := s.read.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return fmt.Errorf("SQLite finds it damaged: %s", result)
	}
	got, err := s.Facts(ctx)
	if err != nil {
		return err
	}
	return want.Differ(got)
}

// Differ says in what two databases that should be the same differ; nil = in nothing.
func (f Facts) Differ(got Facts) error {
	if !maps.Equal(f.Rows, got.Rows) {
		for table, n := range f.Rows {
			if m, ok := got.Rows[table]; !ok {
				return fmt.Errorf("the table %s is missing", table)
			} else if n != m {
				return fmt.Errorf("the table %s has %d rows instead of %d", table, m, n)
			}
		}
		return errors.New("it has tables that it should not have")
	}
	if f.Instance != got.Instance || f.Policy != got.Policy || f.Migration != got.Migration {
		return fmt.Errorf("it is another state: installation %s at policy %d and schema %04d instead of %s at %d and %04d",
			got.Instance.UUID, got.Policy.Version, got.Migration, f.Instance.UUID, f.Policy.Version, f.Migration)
	}
	return nil
}

// createEmpty makes a new empty file that only its owner reads.
func createEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// syncFile makes a closed file, or the names in a directory, durable.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// fileURI names an SQLite file to the driver.
func fileURI(path string, pragmas ...string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: url.Values{"_pragma": pragmas}.Encode()}).String(), nil
}

// WithSnapshot runs fn while a snapshot of PostgreSQL stands that other sessions may read too (pg_dump --snapshot), and tells it what is in it.
func (s *Store) WithSnapshot(ctx context.Context, fn func(id string, f Facts) error) error {
	if s.write != nil {
		return errors.New("export a snapshot: it is not PostgreSQL")
	}
	if err := s.isOurs(ctx); err != nil {
		return fmt.Errorf("export a snapshot: %w", err)
	}
	return s.View(ctx, func(tx *Tx) error {
		var id string
		if _, err := tx.exec(`SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
			return fmt.Errorf("export a snapshot: %w", err)
		}
		if err := tx.queryRow(`SELECT pg_export_snapshot()`).Scan(&id); err != nil {
			return fmt.Errorf("export a snapshot: %w", err)
		}
		f, err := tx.facts()
		if err != nil {
			return err
		}
		return fn(id, f)
	})
}

// ServerMajor is PostgreSQL's major version.
func (s *Store) ServerMajor(ctx context.Context) (major int, err error) {
	var schema string
	err = s.read.QueryRowContext(ctx, s.kind.place()).Scan(&schema, &major)
	if err != nil {
		return 0, fmt.Errorf("ask for the server's version: %w", s.kind.fault(err))
	}
	return major, nil
}

// dropPatience bounds the end of a scratch database, which is dropped also when the command was told to end.
const dropPatience = 20 * time.Second

// Scratch makes an empty database on the same PostgreSQL server, and returns its URL. drop removes it.
func (s *Store) Scratch(ctx context.Context) (database string, drop func() error, err error) {
	stamp, err := freshStamp()
	if err != nil {
		return "", nil, err
	}
	name := fmt.Sprintf("openway_verify_%x", stamp)
	_, err = s.read.ExecContext(ctx, `CREATE DATABASE `+name+` TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'`)
	if postgresCode(err) == "42501" {
		return "", nil, errors.New("make a scratch database: the role may not create databases: let a superuser run ALTER ROLE … CREATEDB, or verify against a PostgreSQL where it may")
	}
	if err != nil {
		return "", nil, fmt.Errorf("make a scratch database: %w", s.kind.fault(err))
	}
	drop = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropPatience)
		defer cancel()
		if _, err := s.read.ExecContext(ctx, `DROP DATABASE IF EXISTS `+name); err != nil {
			return fmt.Errorf("drop the scratch database %s: %w", name, s.kind.fault(err))
		}
		return nil
	}
	u, err := url.Parse(s.opt.Database)
	if err != nil {
		return "", nil, errors.Join(errors.New("the URL of the database cannot be read"), drop())
	}
	q := u.Query()
	q.Del("dbname")
	q.Del("search_path")
	u.Path, u.RawQuery = "/"+name, q.Encode()
	return u.String(), drop, nil
}
