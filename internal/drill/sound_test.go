package drill

import (
	"context"
	"database/sql"
	"strconv"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver named pgx
	_ "modernc.org/sqlite"             // the driver named sqlite

	"github.com/openway-access/openway/internal/processtest"
)

// sound asks SQLite whether the file is whole.
func sound(t testing.TB, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var said string
	if err := db.QueryRowContext(context.Background(), `PRAGMA integrity_check`).Scan(&said); err != nil || said != "ok" {
		t.Errorf("integrity_check: %q, %v; want ok", said, err)
	}
}

// soundPostgres asks PostgreSQL's own checker, all indexes against their tables.
func soundPostgres(t testing.TB, p *processtest.Postgres) {
	t.Helper()
	if err := p.Do("pg_amcheck", "-h", "127.0.0.1", "-p", text(p.Port), "-U", "postgres", "--install-missing", "--heapallindexed", "--all"); err != nil {
		t.Errorf("pg_amcheck: %v", err)
	}
}

// query reads one value from a PostgreSQL.
func query[T any](t testing.TB, url, statement string) (v T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(ctx, statement).Scan(&v); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return v
}

func text(n int) string { return strconv.Itoa(n) }
