// Package storetest gives tests real databases: for each test a fresh SQLite file and a fresh PostgreSQL database, migrated.
//
// It imports store only, and is for tests of the packages above store and of store itself. It never skips: without a PostgreSQL
// to work on a test fails and says what to do. What it makes for a test it removes when the test ends; a migrated template
// database stays on the PostgreSQL server, one for each schema there ever was, and is used again.
package storetest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/store"
)

// patience bounds each step with a database; what takes longer hangs.
const patience = 30 * time.Second

// Database is a fresh database.
type Database struct {
	Engine string // store.SQLite or store.Postgres
	DSN    string // as store.Options.Database takes it
}

// Engines lists the engines that everything is tested on.
func Engines() []string { return []string{store.SQLite, store.Postgres} }

// Each runs fn as a sub-test for each engine, with a store on a fresh, migrated database.
func Each(t *testing.T, fn func(t *testing.T, s *store.Store)) {
	t.Helper()
	for _, engine := range Engines() {
		t.Run(engine, func(t *testing.T) { fn(t, Open(t, engine)) })
	}
}

// Open opens a fresh, migrated database; the store is closed when the test ends.
func Open(t testing.TB, engine string) *store.Store {
	t.Helper()
	return OpenWith(t, store.Options{Database: New(t, engine).DSN})
}

// OpenWith opens the database that opt names, which may be open already: as another process would. The store is closed when
// the test ends.
func OpenWith(t testing.TB, opt store.Options) *store.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := store.Open(ctx, opt)
	if err != nil {
		t.Fatalf("open a test database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close a test database: %v", err)
		}
	})
	return s
}

// Databases makes a fresh, migrated database of each engine.
func Databases(t testing.TB) []Database {
	t.Helper()
	var all []Database
	for _, engine := range Engines() {
		all = append(all, New(t, engine))
	}
	return all
}

// New makes a fresh, migrated database.
func New(t testing.TB, engine string) Database {
	t.Helper()
	if engine == store.Postgres {
		return Database{engine, createPostgres(t, postgresTemplate(t))}
	}
	path := filepath.Join(t.TempDir(), "openway.db")
	if err := os.WriteFile(path, sqliteTemplate(t), 0o600); err != nil {
		t.Fatalf("make a test database: %v", err)
	}
	return Database{engine, path}
}

// Empty makes a fresh database without any table. (Of SQLite: only its path.)
func Empty(t testing.TB, engine string) Database {
	t.Helper()
	if engine == store.Postgres {
		return Database{engine, createPostgres(t, "template0")}
	}
	return Database{engine, filepath.Join(t.TempDir(), "openway.db")}
}

// sqliteTemplate holds the bytes of a migrated file, made once in a test binary: migrating costs more than copying. The file is
// closed, and so whole, when it is read.
func sqliteTemplate(t testing.TB) []byte {
	t.Helper()
	template.once.Do(func() {
		path := filepath.Join(t.TempDir(), "template.db")
		if template.err = migrate(path); template.err == nil {
			template.file, template.err = os.ReadFile(path)
		}
	})
	if template.err != nil {
		t.Fatalf("make the template of SQLite databases: %v", template.err)
	}
	return template.file
}

var template struct {
	once sync.Once
	file []byte
	err  error
}

// migrate makes or finishes a database and leaves it closed.
func migrate(dsn string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := store.Open(ctx, store.Options{Database: dsn})
	if err != nil {
		return err
	}
	_, err = s.Migrate(ctx)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}
