package goldentest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver named pgx

	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestMain(m *testing.M) { os.Exit(processtest.Main(m)) }

// seeds makes databases that hold the site of the corpus.
type seeds struct {
	engine   string
	template string // the database that is copied: a path, or a URL
	dir      string // where copies go
}

func newSeeds(t testing.TB, engine string) seeds {
	t.Helper()
	s := seeds{engine: engine, template: storetest.New(t, engine).DSN, dir: t.TempDir()}
	processtest.Run(t, s.template, "apply", "-f", "../../testdata/site.yaml")
	return s
}

// fresh copies the template. Drop the copy.
func (s seeds) fresh() (string, error) {
	if s.engine == store.SQLite {
		dir, err := os.MkdirTemp(s.dir, "")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "openway.db")
		b, err := os.ReadFile(s.template)
		if err != nil {
			return "", err
		}
		return path, os.WriteFile(path, b, 0o600)
	}
	u, err := url.Parse(s.template)
	if err != nil {
		return "", err
	}
	from, to := strings.TrimPrefix(u.Path, "/"), "openway_golden_"+strings.ToLower(rand.Text())
	if err := onServer(fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", to, from)); err != nil {
		return "", err
	}
	u.Path = "/" + to
	return u.String(), nil
}

// drop removes a database that fresh made, once nobody serves it.
func (s seeds) drop(t testing.TB, database string) {
	t.Helper()
	if s.engine == store.SQLite {
		return // it goes with the test's directory
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	if err := onServer(fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", strings.TrimPrefix(u.Path, "/"))); err != nil {
		t.Error(err)
	}
}

func onServer(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := sql.Open("pgx", os.Getenv(storetest.Variable))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// start serves a database.
func start(database string, env ...string) (*processtest.Process, error) {
	return processtest.Start(processtest.Options{Database: database, Env: env})
}
