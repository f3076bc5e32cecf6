package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func eachEmpty(t *testing.T, fn func(t *testing.T, db storetest.Database)) {
	t.Helper()
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) { fn(t, storetest.Empty(t, engine)) })
	}
}

// steps is how many migrations there are.
func steps(t *testing.T, db storetest.Database) int {
	t.Helper()
	all, err := storetest.OpenWith(t, store.Options{Database: db.DSN}).MigrationStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestMigrateANewDatabase(t *testing.T) {
	eachEmpty(t, func(t *testing.T, db storetest.Database) {
		s := storetest.OpenWith(t, store.Options{Database: db.DSN, Zone: "Europe/Riga", RetentionDays: 30})
		err := s.CheckSchema(t.Context())
		if !errors.Is(err, store.ErrBehind) || !strings.Contains(err.Error(), "0001_initial") {
			t.Errorf("CheckSchema of an empty database: %v; want %v that names 0001_initial", err, store.ErrBehind)
		}
		all := steps(t, db)
		for i, want := range []int{all, 0} {
			applied, err := s.Migrate(t.Context())
			if err != nil || len(applied) != want {
				t.Fatalf("Migrate, call %d = %v, %v; want %d steps", i+1, applied, err, want)
			}
		}
		if err := s.CheckSchema(t.Context()); err != nil {
			t.Errorf("CheckSchema after Migrate: %v", err)
		}
		status, err := s.MigrationStatus(t.Context())
		if err != nil || len(status) != all || status[0].AppliedAt.IsZero() || status[0].Name != "0001_initial" {
			t.Errorf("MigrationStatus = %+v, %v; want 0001_initial, applied", status, err)
		}
		if m := mustMark(t, s); m.Version != 1 || m.Stamp <= 0 {
			t.Errorf("the first policy is %v, want version 1 and a stamp", m)
		}
		// The seeds work once only.
		again := storetest.OpenWith(t, store.Options{Database: db.DSN, Zone: "Asia/Tokyo", RetentionDays: 5})
		if _, err := again.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		err = again.View(t.Context(), func(tx *store.Tx) error {
			site, err := tx.Site()
			if site.Zone != "Europe/Riga" || site.RetentionDays != 30 || site.DefaultReleaseMS != access.DefaultReleaseMS {
				t.Errorf("the site is %+v; want the first seeds", site)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestMigrateAllAtOnce(t *testing.T) {
	eachEmpty(t, func(t *testing.T, db storetest.Database) {
		const processes = 4
		var wg sync.WaitGroup
		var mu sync.Mutex
		total := 0
		start := make(chan struct{})
		for range processes {
			s := storetest.OpenWith(t, store.Options{Database: db.DSN})
			wg.Go(func() {
				<-start
				applied, err := s.Migrate(t.Context())
				if err != nil {
					t.Errorf("Migrate beside others: %v", err)
				}
				if err := s.CheckSchema(t.Context()); err != nil {
					t.Errorf("CheckSchema after Migrate beside others: %v", err)
				}
				mu.Lock()
				total += len(applied)
				mu.Unlock()
			})
		}
		close(start)
		wg.Wait()
		if want := steps(t, db); total != want {
			t.Errorf("%d processes applied %d steps together, want %d", processes, total, want)
		}
		var rows int
		if err := raw(t, db).QueryRow(`SELECT (SELECT COUNT(*) FROM site) + (SELECT COUNT(*) FROM change)`).Scan(&rows); err != nil || rows != 2 {
			t.Errorf("%d rows (%v), want one site and one line in the audit", rows, err)
		}
	})
}

func TestMigrateWaitsForAnother(t *testing.T) {
	eachEmpty(t, func(t *testing.T, db storetest.Database) {
		first := storetest.OpenWith(t, store.Options{Database: db.DSN})
		second := storetest.OpenWith(t, store.Options{Database: db.DSN})
		err := store.HoldMigration(t.Context(), first, func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if applied, err := second.Migrate(ctx); !errors.Is(err, access.ErrUnavailable) || len(applied) > 0 {
				t.Errorf("Migrate while another process does = %v, %v; want unavailable at its deadline", applied, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if applied, err := second.Migrate(t.Context()); err != nil || len(applied) != steps(t, db) {
			t.Errorf("Migrate afterwards = %v, %v; want all steps", applied, err)
		}
	})
}

func TestMigrateFinishesWhatACrashLeft(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, s, _ *store.Store) {
		for _, table := range []string{"change", "site", "policy"} {
			mustExec(t, raw(t, db), `DELETE FROM `+table)
		}
		if err := s.CheckSchema(t.Context()); !errors.Is(err, store.ErrBehind) {
			t.Errorf("CheckSchema without first rows: %v, want %v", err, store.ErrBehind)
		}
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.CheckSchema(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestANewerSchemaIsRefused(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, s, _ *store.Store) {
		r := raw(t, db)
		mustExec(t, r, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, $1)`, true)
		if err := s.CheckSchema(t.Context()); err != nil {
			t.Errorf("CheckSchema of a newer schema that lets this program run: %v", err)
		}
		if applied, err := s.Migrate(t.Context()); err != nil || len(applied) != 0 {
			t.Errorf("Migrate of a newer schema that lets this program run = %v, %v", applied, err)
		}
		mustExec(t, r, `UPDATE instance SET oldest_binary_schema = 98`)
		_, migrate := s.Migrate(t.Context())
		for name, err := range map[string]error{"CheckSchema": s.CheckSchema(t.Context()), "Migrate": migrate} {
			if !errors.Is(err, store.ErrTooNew) || !strings.Contains(err.Error(), "0098") {
				t.Errorf("%s of a schema too new: %v; want %v that names 0098", name, err, store.ErrTooNew)
			}
		}
	})
}

// An SQLite file with a schema is copied before it is migrated.
func TestMigrateCopiesSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "openway.db")
	r := raw(t, storetest.Database{Engine: store.SQLite, DSN: path})
	mustExec(t, r, `CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')))`)
	mustExec(t, r, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (99, 1)`)
	mustExec(t, r, `CREATE TABLE old (x)`)
	mustExec(t, r, `INSERT INTO old VALUES (5)`)
	s := storetest.OpenWith(t, store.Options{Database: path})
	_, err := s.Migrate(t.Context())
	copies, globErr := filepath.Glob(path + ".before-0001_initial-*")
	if globErr != nil || len(copies) != 1 {
		t.Fatalf("Migrate (%v) left the copies %v, want one", err, copies)
	}
	if info, err := os.Stat(copies[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy: %v, %v; want mode 600", info, err)
	}
	var x int
	if err := raw(t, storetest.Database{Engine: store.SQLite, DSN: copies[0]}).QueryRow(`SELECT x FROM old`).Scan(&x); err != nil || x != 5 {
		t.Errorf("the copy holds %d (%v), want 5", x, err)
	}
}

// Another program's file stays as it is.
func TestMigrateRefusesAForeignFile(t *testing.T) {
	db := storetest.Database{Engine: store.SQLite, DSN: filepath.Join(t.TempDir(), "other.db")}
	r := raw(t, db)
	mustExec(t, r, `CREATE TABLE t (a)`)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	if _, err := s.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), `it has a table "t" and none of OpenWay Access`) {
		t.Errorf("Migrate of another program's file: %v; want it refused", err)
	}
	var tables int
	if err := r.QueryRow(`SELECT count(*) FROM sqlite_master`).Scan(&tables); err != nil || tables != 1 {
		t.Errorf("the file has %d tables (%v), want its own one", tables, err)
	}
}

// Both engines have the same tables with the same columns, that take NULL alike. Indexes of the events are each engine's own.
func TestSchemasAgree(t *testing.T) {
	columns := func(engine, query string) map[string]string {
		rows, err := raw(t, storetest.New(t, engine)).Query(query)
		if err != nil {
			t.Fatal(err)
		}
		return collect(t, rows)
	}
	lite := columns(store.SQLite, `SELECT m.name || '.' || c.name, c."notnull" = 1 OR c.pk > 0 FROM sqlite_schema m JOIN pragma_table_info(m.name) c
		WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version'`)
	postgres := columns(store.Postgres, `SELECT c.table_name || '.' || c.column_name, CASE WHEN c.is_nullable = 'NO' THEN 1 ELSE 0 END
		FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.table_name <> 'goose_db_version'`)
	if d := cmp.Diff(lite, postgres); d != "" || len(lite) < 100 {
		t.Errorf("%d columns (1 = NOT NULL) of SQLite (-) and PostgreSQL (+):\n%s", len(lite), d)
	}
	indexes := func(engine, query string) map[string]string {
		rows, err := raw(t, storetest.New(t, engine)).Query(query)
		if err != nil {
			t.Fatal(err)
		}
		return collect(t, rows)
	}
	lite = indexes(store.SQLite, `SELECT name, sql LIKE 'CREATE UNIQUE%' FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND name NOT LIKE 'events_%'`)
	postgres = indexes(store.Postgres, `SELECT indexname, CASE WHEN indexdef LIKE 'CREATE UNIQUE%' THEN 1 ELSE 0 END FROM pg_indexes
		WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE 'goose%' AND indexname NOT LIKE 'events_%'`)
	if d := cmp.Diff(lite, postgres); d != "" || len(lite) < 10 {
		t.Errorf("%d indexes (1 = unique) of SQLite (-) and PostgreSQL (+):\n%s", len(lite), d)
	}
}

// collect reads rows of a name and a value.
func collect(t *testing.T, rows *sql.Rows) map[string]string {
	t.Helper()
	defer rows.Close()
	got := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			t.Fatal(err)
		}
		got[name] = value
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

// firstSchema makes a database as the first migration alone leaves it.
func firstSchema(t *testing.T, db storetest.Database) *sql.DB {
	t.Helper()
	first, err := os.ReadFile(filepath.Join("migrations", db.Engine, "0001_initial.sql"))
	if err != nil {
		t.Fatal(err)
	}
	r, dialect := raw(t, db), goose.DialectSQLite3
	if db.Engine == store.Postgres {
		dialect = goose.DialectPostgres
	}
	p, err := goose.NewProvider(dialect, r, fstest.MapFS{"0001_initial.sql": {Data: first}}, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// A dump reads event_batch for hours: a migration that alters it lets the gates pass meanwhile, and goes on when the dump is done.
func TestMigrateGivesWay(t *testing.T) {
	db := storetest.Empty(t, store.Postgres) // an SQLite file is migrated by the one that opens it
	r := firstSchema(t, db)
	dump, err := r.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer dump.Rollback() //nolint:errcheck // nothing was written
	if _, err := dump.Exec(`LOCK TABLE event_batch IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	go func() {
		_, err := s.Migrate(t.Context())
		migrated <- err
	}()
	eventually(t, "the migration gives way", func() bool {
		var sleeps bool
		if err := r.QueryRow(`SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')`).Scan(&sleeps); err != nil {
			t.Fatal(err)
		}
		return sleeps
	})
	mustExec(t, r, `SET lock_timeout = '5s'; INSERT INTO event_batch (writer_id, seq, policy_version, count, oldest_at, recorded_at) VALUES (1, 1, 1, 0, 0, 0); RESET lock_timeout`)
	select {
	case err := <-migrated:
		t.Fatalf("Migrate = %v while the table is read", err)
	default:
	}
	if err := dump.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Errorf("Migrate after the dump: %v", err)
	}
}

// A log from before there was an index or a count: after the upgrade each event is found by all that it can be asked for, read in the order of its commits,
// and counted once.
func TestMigrateALogOfTheFirstSchema(t *testing.T) {
	eachEmpty(t, func(t *testing.T, db storetest.Database) {
		r := firstSchema(t, db)
		const lanes, batches, inBatch = 3, 400, 3
		mustExec(t, r, `INSERT INTO writer (host, pid, started_at, retired_at) VALUES ('a', 1, 1, 2), ('b', 1, 1, NULL), ('c', 1, 1, NULL)`)
		mustExec(t, r, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO event_batch (writer_id, seq, policy_version, count, oldest_at, recorded_at)
			SELECT i %% %d + 1, i / %d + 1, 1, %d, i * 1000, i * 1000 FROM n`, lanes*batches-1, lanes, lanes, inBatch))
		mustExec(t, r, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO events (kind, occurred_at, recorded_at, writer_id, seq, gate_id, user_id, policy_version, decision, reason, count, address, request_id, fingerprint)
			SELECT 'decision', i / %d * 1000, i / %d * 1000, i / %d %% %d + 1, i / %d / %d + 1, i %% 7 + 1, i %% 11 + 1, 1, 'ALLOW', 'OK', 1, '', 'r' || i, '' FROM n`,
			lanes*batches*inBatch-1, inBatch, inBatch, inBatch, lanes, inBatch, lanes))

		s := storetest.OpenWith(t, store.Options{Database: db.DSN})
		if applied, err := s.Migrate(t.Context()); err != nil || len(applied) != steps(t, db)-1 {
			t.Fatalf("Migrate = %v, %v; want all steps but the first", applied, err)
		}
		const all = lanes * batches * inBatch
		look := func(when string) {
			t.Helper()
			for gate := range int64(7) {
				got, err := s.Events(t.Context(), access.EventFilter{GateID: gate + 1, Limit: store.All})
				want := 0
				for i := int64(0); i < all; i++ {
					if i%7 == gate {
						want++
					}
				}
				if err != nil || len(got) != want {
					t.Errorf("%s: %d events of gate %d (%v), want %d", when, len(got), gate+1, err, want)
				}
			}
			for _, i := range []int{0, 1023, 1024, all / 2, all - 1} {
				got, err := s.Events(t.Context(), access.EventFilter{RequestID: fmt.Sprint("r", i)})
				if err != nil || len(got) != 1 {
					t.Errorf("%s: %d events of request r%d (%v), want one", when, len(got), i, err)
				}
			}
		}
		look("before the index has followed")
		if err := s.IndexEvents(t.Context()); err != nil {
			t.Fatal(err)
		}
		look("after it has")
		for lane := range int64(lanes) {
			if seqs, requests := readLane(t, s, lane+1, 50, 70); len(seqs) != batches || len(requests) != batches*inBatch {
				t.Errorf("lane %d: %d batches and %d events, want %d and %d", lane+1, len(seqs), len(requests), batches, batches*inBatch)
			}
		}
		if n := countAll(t, s); n != all {
			t.Errorf("%d events were counted, want %d", n, all)
		}
		if n := countAll(t, s); n != 0 {
			t.Errorf("%d events were counted twice", n)
		}
	})
}
