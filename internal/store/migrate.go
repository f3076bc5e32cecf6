package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/pressly/goose/v3"

	"github.com/openway-access/openway/internal/access"
)

// Why a schema is refused.
var (
	// ErrBehind: migrations are pending, and were not asked for.
	ErrBehind = errors.New("the database's schema is behind this program")
	// ErrTooNew: a newer program has changed the schema beyond what this one may touch.
	ErrTooNew = errors.New("the database's schema is too new for this program")
)

//go:embed migrations
var migrationFiles embed.FS

// oldestBinarySchema is what a new database starts with as instance.oldest_binary_schema: a program whose newest migration
// is below it must not run. A migration that older programs cannot live with raises the number in the row, and here.
const oldestBinarySchema = 1

// migrateLockKey is the PostgreSQL advisory lock of those who migrate ("openway" in ASCII).
const migrateLockKey = 0x6f70656e776179

// Migration is one step of the schema.
type Migration struct {
	Version   int64
	Name      string    // its file's name, without directory and suffix
	AppliedAt time.Time // zero = pending
}

// Migrate brings the schema up to date and makes the rows that each database has (instance, policy, site); it returns the
// names of the steps it applied. Several processes may call it at once: one works, the others wait for it (until their context
// ends). An SQLite file that has a schema already is copied beside itself first. ErrTooNew when this program is too old.
func (s *Store) Migrate(ctx context.Context) (applied []string, err error) {
	all, err := s.MigrationStatus(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.checkTooNew(ctx, all); err != nil {
		return nil, err
	}
	if len(pending(all)) == 0 {
		if seeded, err := s.seeded(ctx); err != nil || seeded {
			return nil, err
		}
	}
	err = s.aloneToMigrate(ctx, func(ctx context.Context) error {
		// Whoever was before us may have done it all.
		all, err := s.MigrationStatus(ctx)
		if err != nil {
			return err
		}
		if err := s.checkTooNew(ctx, all); err != nil {
			return err
		}
		if todo := pending(all); len(todo) > 0 {
			if err := s.checkForeign(ctx); err != nil {
				return err
			}
			if applied, err = s.applyMigrations(ctx, all, todo); err != nil {
				return err
			}
		}
		return s.seed(ctx)
	})
	if err != nil {
		return applied, fmt.Errorf("migrate the database: %w", err)
	}
	return applied, nil
}

// CheckSchema returns nil when the schema is what this program wants: ErrBehind names what is pending, ErrTooNew says which
// program is needed.
func (s *Store) CheckSchema(ctx context.Context) error {
	all, err := s.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	if err := s.checkTooNew(ctx, all); err != nil {
		return err
	}
	if todo := pending(all); len(todo) > 0 {
		return fmt.Errorf("%w: pending: %s (run: openway migrate)", ErrBehind, strings.Join(todo, ", "))
	}
	if seeded, err := s.seeded(ctx); err != nil {
		return err
	} else if !seeded {
		return fmt.Errorf("%w: it has no first rows yet (run: openway migrate)", ErrBehind)
	}
	return nil
}

// MigrationStatus lists the steps that this program knows or the database has, in order.
func (s *Store) MigrationStatus(ctx context.Context) ([]Migration, error) {
	known, err := knownMigrations(s.Engine())
	if err != nil {
		return nil, err
	}
	exists, err := s.tableExists(ctx, "goose_db_version")
	if err != nil || !exists {
		return known, err
	}
	rows, err := s.read.QueryContext(ctx, `SELECT version_id, `+s.kind.unixSeconds("tstamp")+` FROM goose_db_version WHERE is_applied AND version_id > 0 ORDER BY id`) // #nosec G202 -- our own text for the engine
	if err != nil {
		return nil, fmt.Errorf("read the schema's history: %w", s.kind.fault(err))
	}
	defer rows.Close()
	for rows.Next() {
		var version, at int64
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		m := Migration{Version: version, Name: fmt.Sprintf("%04d", version), AppliedAt: time.Unix(at, 0).UTC()}
		if i := slices.IndexFunc(known, func(k Migration) bool { return k.Version == version }); i >= 0 {
			known[i].AppliedAt = m.AppliedAt
		} else {
			known = append(known, m)
		}
	}
	slices.SortFunc(known, func(a, b Migration) int { return cmp.Compare(a.Version, b.Version) })
	return known, s.kind.fault(rows.Err())
}

// knownMigrations are the steps that this program brings along.
func knownMigrations(engine string) ([]Migration, error) {
	files, err := fs.ReadDir(migrationFiles, path.Join("migrations", engine))
	if err != nil {
		return nil, err
	}
	var all []Migration
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".sql")
		number, _, _ := strings.Cut(name, "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number: %w", f.Name(), err)
		}
		all = append(all, Migration{Version: v, Name: name})
	}
	return all, nil
}

// NewestMigration is the newest step of an engine's schema that this program knows.
func NewestMigration(engine string) int64 {
	known, _ := knownMigrations(engine) // cannot fail: they are part of the program, and were numbered when it started
	return known[len(known)-1].Version
}

// SchemaDigest is a hex digest of an engine's migrations: two programs with the same one make the same schema.
func SchemaDigest(engine string) string {
	h := sha256.New()
	dir := path.Join("migrations", engine)
	files, _ := fs.ReadDir(migrationFiles, dir) // cannot fail: it is part of the program
	for _, f := range files {
		b, _ := migrationFiles.ReadFile(path.Join(dir, f.Name()))
		fmt.Fprintf(h, "%s %d\n%s", f.Name(), len(b), b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func pending(all []Migration) (names []string) {
	for _, m := range all {
		if m.AppliedAt.IsZero() {
			names = append(names, m.Name)
		}
	}
	return names
}

func (s *Store) checkTooNew(ctx context.Context, all []Migration) error {
	if exists, err := s.tableExists(ctx, "instance"); err != nil || !exists {
		return err
	}
	var oldest int64
	switch err := s.kind.fault(s.read.QueryRowContext(ctx, `SELECT oldest_binary_schema FROM instance WHERE id = 1`).Scan(&oldest)); {
	case errors.Is(err, access.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("read which programs may use the database: %w", err)
	}
	known, err := knownMigrations(s.Engine())
	if err != nil {
		return err
	}
	newest := known[len(known)-1].Version
	if newest < oldest {
		return fmt.Errorf("%w: it is at %04d and needs a program that knows %04d, this one knows up to %04d: use a newer release",
			ErrTooNew, all[len(all)-1].Version, oldest, newest)
	}
	return nil
}

// checkForeign refuses an SQLite file of another program. A PostgreSQL database may well be shared.
func (s *Store) checkForeign(ctx context.Context) error {
	if exists, err := s.tableExists(ctx, "goose_db_version"); err != nil || exists || s.Engine() != "sqlite" {
		return err
	}
	var table string
	err := s.kind.fault(s.read.QueryRowContext(ctx, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name LIMIT 1`).Scan(&table))
	switch {
	case errors.Is(err, access.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look whose database it is: %w", err)
	}
	return fmt.Errorf("this file is another program's: it has a table %q and none of OpenWay Access; name another file", table)
}

func (s *Store) tableExists(ctx context.Context, table string) (bool, error) {
	var n int
	if err := s.read.QueryRowContext(ctx, s.kind.countTables(), table).Scan(&n); err != nil {
		return false, fmt.Errorf("look for the table %s: %w", table, s.kind.fault(err))
	}
	return n > 0, nil
}

func (s *Store) applyMigrations(ctx context.Context, all []Migration, todo []string) (applied []string, err error) {
	db, dialect := s.read, goose.DialectPostgres
	if s.write != nil {
		// A connection of its own: goose begins transactions by itself, and the writer's is spoken for.
		uri, err := sqliteURI(s.opt.Database, false)
		if err != nil {
			return nil, err
		}
		if db, err = sql.Open("sqlite", uri+"&_txlock=immediate"); err != nil {
			return nil, err
		}
		defer db.Close()
		dialect = goose.DialectSQLite3
		if len(todo) < len(all) && !s.opt.copied {
			if err := s.copyBeside(ctx, db, todo[0]); err != nil {
				return nil, err
			}
		}
	}
	files, err := fs.Sub(migrationFiles, path.Join("migrations", s.Engine()))
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(dialect, db, files, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, err
	}
	results, err := p.Up(ctx)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		results = partial.Applied
	}
	for _, r := range results {
		applied = append(applied, strings.TrimSuffix(path.Base(r.Source.Path), ".sql"))
	}
	return applied, s.kind.fault(err)
}

// copyBeside copies the database, through SQLite, to a file that names the step which is about to come.
func (s *Store) copyBeside(ctx context.Context, db *sql.DB, step string) error {
	to := fmt.Sprintf("%s.before-%s-%s", s.opt.Database, step, s.now().Format("20060102T150405Z"))
	if err := s.copyInto(ctx, db, to); err != nil {
		return fmt.Errorf("copy the database before migrating: %w", err)
	}
	s.log.InfoContext(ctx, "copied the database before migrating", "copy", to)
	return nil
}

// copyInto copies the database, through SQLite, to a file that is not there yet.
func (s *Store) copyInto(ctx context.Context, db *sql.DB, to string) error {
	// VACUUM INTO takes an empty file; made by us, it has our mode.
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `VACUUM INTO $1`, to); err != nil {
		return errors.Join(s.kind.fault(err), os.Remove(to))
	}
	return nil
}

// aloneToMigrate runs fn while no other process migrates. Both locks end with their holder's process.
func (s *Store) aloneToMigrate(ctx context.Context, fn func(ctx context.Context) error) error {
	if s.write != nil {
		release, err := waitForFileLock(ctx, s.opt.Database+".migrate-lock")
		if err != nil {
			return err
		}
		defer release()
		return fn(ctx)
	}
	// A lock of the transaction, not of the session: it holds behind a pooler too.
	t, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return s.kind.fault(err)
	}
	defer t.Rollback() //nolint:errcheck // it only held the lock
	if _, err := t.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrateLockKey)); err != nil {
		return fmt.Errorf("wait for another process that migrates: %w", s.kind.fault(err))
	}
	return fn(ctx)
}

func (s *Store) seeded(ctx context.Context) (bool, error) {
	var n int
	err := s.read.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM instance) + (SELECT COUNT(*) FROM policy) + (SELECT COUNT(*) FROM site WHERE id = 1)`).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for the first rows: %w", s.kind.fault(err))
	}
	return n == 3, nil
}

// seed makes the rows that each database has, unless they are there.
func (s *Store) seed(ctx context.Context) error {
	stamp, err := freshStamp()
	if err != nil {
		return err
	}
	return s.inWrite(ctx, func(tx *Tx) (bool, error) {
		now := micros(tx.Now)
		if _, err := tx.exec(`INSERT INTO instance (id, uuid, oldest_binary_schema, created_at) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO NOTHING`,
			uuid.NewString(), oldestBinarySchema, now); err != nil {
			return false, fmt.Errorf("make the instance's row: %w", err)
		}
		if _, err := tx.exec(`INSERT INTO policy (id, version, stamp, changed_at) VALUES (1, 1, $1, $2) ON CONFLICT (id) DO NOTHING`, stamp, now); err != nil {
			return false, fmt.Errorf("make the policy's row: %w", err)
		}
		n, err := tx.exec(`INSERT INTO site (id, name, zone, default_release_ms, retention_days, version, created_at)
			VALUES (1, '', $1, $2, $3, 1, $4) ON CONFLICT (id) DO NOTHING`, s.opt.Zone, access.DefaultReleaseMS, s.opt.RetentionDays, now)
		if err == nil && n > 0 {
			err = tx.s.kind.moveSequence(tx, "site")
		}
		if err != nil {
			return false, fmt.Errorf("make the site's row: %w", err)
		}
		if n == 0 {
			return true, nil
		}
		// The first line of the audit bears the first mark: from then on each mark is in the database's history.
		if err := tx.readMark(); err != nil {
			return false, err
		}
		tx.Actor = access.Actor{Kind: "system", Label: "migrate"}
		return true, tx.Record(access.ObjectSite, 1, access.ActionCreate, nil, access.Fields{
			"zone": s.opt.Zone, "default_release_ms": strconv.Itoa(access.DefaultReleaseMS), "retention_days": strconv.Itoa(s.opt.RetentionDays),
		})
	})
}
