package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/openway-access/openway/internal/access"
)

// A Stage is where a backup is made a database again, beside the one that it is to replace, so that it can be looked at, migrated and
// completed before it counts. On SQLite it is a file beside the database, on PostgreSQL a schema in it. Replace then puts it in the
// database's place in one transaction of the engine. What is left of a stage when its process dies is removed by the next one.
//
// While a Stage is open no other one is, and no server runs on an SQLite file.
type Stage struct {
	opt     Options
	release []func() // of its locks, the last one first
	server  *Store   // PostgreSQL: the database that is to be replaced
	schema  string   // PostgreSQL: where its tables are
}

// stageSchema is PostgreSQL's schema for a database that is being restored, and setAside the name that the schema of the tables bears while a
// dump is loaded, within one transaction.
const (
	stageSchema = "openway_restore"
	setAside    = "openway_set_aside"
)

// restoreLockKey is the PostgreSQL advisory lock of those who restore ("restore" in ASCII).
const restoreLockKey = 0x726573746f7265

// OpenStage prepares to replace the database that opt names. An SQLite file need not be there, nor be readable.
func OpenStage(ctx context.Context, opt Options) (*Stage, error) {
	g := &Stage{opt: opt}
	err := g.open(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare to restore: %w", err), g.Close())
	}
	return g, nil
}

func (g *Stage) open(ctx context.Context) error {
	if !isPostgres(g.opt.Database) {
		if err := os.MkdirAll(filepath.Dir(g.opt.Database), 0o700); err != nil {
			return err
		}
		release, err := lockServing(g.opt.Database)
		if err != nil {
			return err
		}
		g.release = append(g.release, release)
		return removeDatabase(g.File())
	}
	s, err := Open(ctx, g.opt)
	if err != nil {
		return err
	}
	g.server = s
	var major int
	if err := s.read.QueryRowContext(ctx, s.kind.place()).Scan(&g.schema, &major); err != nil {
		return s.kind.fault(err)
	}
	if g.schema == "" {
		return errors.New("the role has no schema in its search_path to restore into")
	}
	// A lock of the transaction, not of the session: it holds behind a pooler too.
	t, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return s.kind.fault(err)
	}
	g.release = append(g.release, func() { t.Rollback() }) //nolint:errcheck // it only held the lock
	if _, err := t.ExecContext(ctx, `SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
		return s.kind.fault(err)
	}
	var alone bool
	if err := t.QueryRowContext(ctx, `SELECT pg_try_advisory_xact_lock($1)`, int64(restoreLockKey)).Scan(&alone); err != nil {
		return s.kind.fault(err)
	}
	if !alone {
		return errors.New("another restore of this database is under way")
	}
	return g.drop(ctx)
}

// drop removes what a stage left on PostgreSQL.
func (g *Stage) drop(ctx context.Context) error {
	if _, err := g.server.read.ExecContext(ctx, `DROP SCHEMA IF EXISTS `+stageSchema+` CASCADE`); err != nil {
		return fmt.Errorf("remove what an earlier restore left: %w", g.server.kind.fault(err))
	}
	return nil
}

// Standing looks at the database that is to be replaced. access.ErrNotFound says that there is none, ErrTooNew that this program must not
// replace it, ErrForeign that it is another program's; after any other error it is damaged.
func (g *Stage) Standing(ctx context.Context) (f Facts, err error) {
	if g.server != nil {
		f, err = g.server.Facts(ctx)
		if newest := NewestMigration(Postgres); err == nil && f.Migration > newest {
			return f, fmt.Errorf("%w: it is at %04d, this program knows up to %04d: restore with the newer program, or into an empty database", ErrTooNew, f.Migration, newest)
		}
		return f, err
	}
	if g.absent() {
		return Facts{}, fmt.Errorf("%s: %w", g.opt.Database, access.ErrNotFound)
	}
	s, err := Open(ctx, g.opt)
	if err != nil {
		return Facts{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	f, err = s.Facts(ctx)
	if !errors.Is(err, access.ErrNotFound) {
		return f, err
	}
	var tables int
	if err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return Facts{}, s.kind.fault(err)
	}
	if tables > 0 {
		return Facts{}, fmt.Errorf("%s: %w", g.opt.Database, ErrForeign)
	}
	return Facts{}, err
}

// ErrForeign refuses to replace what is not ours.
var ErrForeign = errors.New("the database is another program's: name an empty one")

// File is where the file of an SQLite backup goes.
func (g *Stage) File() string { return g.opt.Database + ".restoring" }

// SQL returns what psql is to be told before and after a dump of the tables in a schema, so that they end up in the stage and nowhere
// else: for the time of one transaction, which nobody else sees, the dump's schema is another one.
func (g *Stage) SQL(schema string) (before, after string) {
	name := quoteName(schema)
	before = "BEGIN;\nDO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = " + quoteText(schema) + ") THEN ALTER SCHEMA " + name + " RENAME TO " + setAside + "; END IF; END $$;\n" +
		"CREATE SCHEMA " + name + ";\n"
	after = "\nALTER SCHEMA " + name + " RENAME TO " + stageSchema + ";\n" +
		"DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = '" + setAside + "') THEN ALTER SCHEMA " + setAside + " RENAME TO " + name + "; END IF; END $$;\n" +
		"COMMIT;\n"
	return before, after
}

// Alone is SQL for an empty database, where the dump's schema is used as it is.
func Alone(schema string) (before, after string) {
	return "BEGIN;\nCREATE SCHEMA IF NOT EXISTS " + quoteName(schema) + ";\n", "\nCOMMIT;\n"
}

// Open opens the stage once a backup is in it.
func (g *Stage) Open(ctx context.Context) (*Store, error) {
	opt := g.opt
	opt.copied = true
	if g.server == nil {
		opt.Database = g.File()
		if _, err := os.Stat(opt.Database); err != nil {
			return nil, fmt.Errorf("open the restored file: %w", err)
		}
		return Open(ctx, opt)
	}
	u, err := url.Parse(g.opt.Database)
	if err != nil {
		return nil, errors.New("the URL of the database cannot be read")
	}
	q := u.Query()
	q.Set("search_path", stageSchema)
	u.RawQuery = q.Encode()
	opt.Database = u.String()
	return Open(ctx, opt)
}

// Replacement says how a stage replaces a database.
type Replacement struct {
	Actor  access.Actor
	Detail access.Fields // what the line of the audit says, beside what was carried over
	// BringBack leaves what was revoked, deactivated and deleted since the backup as it was in the backup. Erasures are carried over all the same.
	BringBack bool
}

// Replace gives the stage a new mark of the policy and a line in the audit, ends all sessions, carries over what the replaced database
// knows and the stage does not (see Carried), and puts it in the other's place. All of it happens, or nothing. s is the stage's store; on
// SQLite it is closed by this.
func (g *Stage) Replace(ctx context.Context, s *Store, r Replacement) (Carried, error) {
	replace := g.replacePostgres
	if g.server == nil {
		replace = g.replaceSQLite
	}
	c, err := replace(ctx, s, r)
	if err != nil {
		return Carried{}, fmt.Errorf("replace the database: %w", err)
	}
	return c, nil
}

// Preview says what Replace would carry over now, and changes nothing.
func (g *Stage) Preview(ctx context.Context, s *Store, r Replacement) (c Carried, err error) {
	if g.server == nil {
		c, err = g.previewSQLite(ctx, r)
	} else {
		err = s.inTransaction(ctx, s.read, durable, func(on conn) (bool, error) {
			var err error
			c, err = (&Tx{Now: s.now(), Actor: r.Actor, ctx: ctx, s: s, on: on}).takeOver(g.schema, stageSchema, r)
			return false, err
		})
	}
	if err != nil {
		return Carried{}, fmt.Errorf("compare with the database that is to be replaced: %w", err)
	}
	return c, nil
}

// Close removes the stage and ends its locks.
func (g *Stage) Close() error {
	var errs []error
	if g.server == nil && len(g.release) > 0 {
		errs = append(errs, removeDatabase(g.File()))
	}
	if g.server != nil && len(g.release) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), dropPatience)
		defer cancel()
		errs = append(errs, g.drop(ctx))
	}
	for _, release := range g.release {
		release()
	}
	g.release = nil
	if g.server != nil {
		errs = append(errs, g.server.Close())
		g.server = nil
	}
	return errors.Join(errs...)
}

// swapPatience is how long the replacing waits for those who use the tables, each time that it tries.
const swapPatience = "10s"

// replacePostgres completes the stage and swaps the tables in one transaction, which holds every table of the replaced database: servers wait
// for it, and see the restored state and its mark afterwards.
func (g *Stage) replacePostgres(ctx context.Context, s *Store, r Replacement) (c Carried, err error) {
	for try := 1; ; try++ {
		err = s.inTransaction(ctx, s.read, durable, func(on conn) (bool, error) {
			tx := &Tx{Now: s.now(), Actor: r.Actor, ctx: ctx, s: s, on: on}
			c, err = g.swap(tx, r)
			return true, err
		})
		// Somebody held a table for long, or we stood in each other's way.
		if code := postgresCode(err); try == 5 || code != "40P01" && code != "55P03" {
			return c, err
		}
	}
}

func (g *Stage) swap(tx *Tx, r Replacement) (Carried, error) {
	for _, set := range []string{`SET LOCAL lock_timeout = '` + swapPatience + `'`, `SET LOCAL idle_in_transaction_session_timeout = 0`} {
		if _, err := tx.exec(set); err != nil {
			return Carried{}, err
		}
	}
	ours, err := tx.relations(stageSchema)
	if err != nil {
		return Carried{}, err
	}
	old, err := tx.relations(g.schema)
	if err != nil {
		return Carried{}, err
	}
	// Other tables may stand in the same schema; they stay.
	for name := range old {
		if _, replaced := ours[name]; !replaced {
			delete(old, name)
		}
	}
	_, known := old["instance"]
	_, versions := old["goose_db_version"]
	if len(old) > 0 && !known && !versions {
		return Carried{}, fmt.Errorf("the schema %s has a table %s: %w", g.schema, slices.Min(slices.Collect(maps.Keys(old))), ErrForeign)
	}
	if err := tx.standStill(g.schema, old); err != nil {
		return Carried{}, err
	}
	c, err := tx.takeOver(g.schema, stageSchema, r)
	if err != nil {
		return Carried{}, err
	}
	for _, step := range []func() error{
		func() error { return tx.dropRelations(g.schema, old) },
		func() error { return tx.moveRelations(stageSchema, g.schema, ours) },
		func() error { _, err := tx.exec(`DROP SCHEMA ` + stageSchema); return err },
	} {
		if err := step(); err != nil {
			return Carried{}, err
		}
	}
	return c, nil
}

// relations are the tables (true) and views (false) of a schema of PostgreSQL, without those of extensions.
func (tx *Tx) relations(schema string) (map[string]bool, error) {
	all := map[string]bool{}
	err := tx.each(`SELECT c.relname, c.relkind IN ('r', 'p') FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')`,
		[]any{schema}, func(row scanner) error {
			var name string
			var table bool
			err := row.Scan(&name, &table)
			all[name] = table
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	return all, nil
}

// listed are the tables, or the views, of a schema as statements list them, the policy first: whoever changes it begins there too.
func listed(schema string, relations map[string]bool, tables bool) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(relations)) {
		if relations[name] == tables {
			names = append(names, quoteName(schema)+"."+quoteName(name))
		}
	}
	if i := slices.Index(names, quoteName(schema)+".\"policy\""); i >= 0 {
		names[0], names[i] = names[i], names[0]
	}
	return strings.Join(names, ", ")
}

// standStill waits for those who use the tables and keeps everybody from them until the transaction ends.
func (tx *Tx) standStill(schema string, relations map[string]bool) error {
	list := listed(schema, relations, true)
	if list == "" {
		return nil
	}
	if _, err := tx.exec(`LOCK TABLE ` + list + ` IN ACCESS EXCLUSIVE MODE`); err != nil {
		return fmt.Errorf("have the tables stand still: %w", err)
	}
	return nil
}

// dropRelations drops tables and views, but not if anything else needs them.
func (tx *Tx) dropRelations(schema string, relations map[string]bool) error {
	for _, kind := range []struct {
		name   string
		tables bool
	}{{"VIEW", false}, {"TABLE", true}} {
		list := listed(schema, relations, kind.tables)
		if list == "" {
			continue
		}
		_, err := tx.exec(`DROP ` + kind.name + ` ` + list)
		if reply := (*pgconn.PgError)(nil); errors.As(err, &reply) && reply.Code == "2BP01" {
			return fmt.Errorf("something that is not ours needs the tables: drop it, and make it again afterwards: %s", strings.ReplaceAll(reply.Detail, "\n", "; "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// moveRelations moves tables and views to another schema. Indexes, sequences and constraints go with their tables.
func (tx *Tx) moveRelations(from, to string, relations map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(relations)) {
		if _, err := tx.exec(`ALTER TABLE ` + quoteName(from) + `.` + quoteName(name) + ` SET SCHEMA ` + quoteName(to)); err != nil {
			return fmt.Errorf("move %s: %w", name, err)
		}
	}
	return nil
}
