package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver that store uses, under the name pgx

	"github.com/openway-access/openway/internal/store"
)

// Variable names the environment variable that holds the URL of a superuser, on any database of a PostgreSQL server.
const Variable = "OPENWAY_TEST_POSTGRES"

// admin runs fn with one connection to the server.
func admin(t testing.TB, fn func(ctx context.Context, c *sql.Conn) error) {
	t.Helper()
	dsn := os.Getenv(Variable)
	if dsn == "" {
		t.Fatalf("this test needs a PostgreSQL: run ./scripts/test.sh, or set %s to the URL of a superuser, such as postgres://postgres@127.0.0.1:5432/postgres", Variable)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience) // not the test's: this runs in clean-ups as well
	defer cancel()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatalf("%s: %v", Variable, err)
	}
	defer db.Close()
	c, err := db.Conn(ctx)
	if err != nil {
		t.Fatalf("connect to the PostgreSQL that %s names: %v", Variable, err)
	}
	defer c.Close()
	if err := fn(ctx, c); err != nil {
		t.Fatalf("prepare a PostgreSQL for tests: %v", err)
	}
}

// named is the URL of another database on the same server.
func named(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(os.Getenv(Variable))
	if err != nil || u.Host == "" {
		t.Fatalf("%s is not a URL such as postgres://postgres@127.0.0.1:5432/postgres", Variable)
	}
	u.Path = "/" + database
	return u.String()
}

// createPostgres makes a database from a template, to be dropped when the test ends, and returns its URL.
func createPostgres(t testing.TB, template string) string {
	t.Helper()
	name := "openway_test_" + strings.ToLower(rand.Text())
	admin(t, func(ctx context.Context, c *sql.Conn) error {
		_, err := c.ExecContext(ctx, fmt.Sprintf(`CREATE DATABASE %s TEMPLATE %s`, name, template))
		return err
	})
	t.Cleanup(func() {
		admin(t, func(ctx context.Context, c *sql.Conn) error {
			_, err := c.ExecContext(ctx, fmt.Sprintf(`DROP DATABASE IF EXISTS %s WITH (FORCE)`, name))
			return err
		})
	})
	return named(t, name)
}

// postgresTemplate makes sure that there is a migrated database of this schema, and returns its name. Test binaries that run
// at once wait for the one that makes it; it gets its name when it is whole.
func postgresTemplate(t testing.TB) string {
	t.Helper()
	name := "openway_template_" + store.SchemaDigest(store.Postgres)[:16]
	admin(t, func(ctx context.Context, c *sql.Conn) error {
		exists := func() (n int, err error) {
			err = c.QueryRowContext(ctx, `SELECT COUNT(*) FROM pg_database WHERE datname = $1`, name).Scan(&n)
			return n, err
		}
		if n, err := exists(); err != nil || n > 0 {
			return err
		}
		const key = 0x73746f726574 // "storet"
		if _, err := c.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, key); err != nil {
			return err
		}
		defer c.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, key) //nolint:errcheck // the connection ends soon
		if n, err := exists(); err != nil || n > 0 {
			return err
		}
		raw := name + "_raw"
		for _, statement := range []string{`DROP DATABASE IF EXISTS ` + raw + ` WITH (FORCE)`, `CREATE DATABASE ` + raw + ` TEMPLATE template0`} {
			if _, err := c.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		if err := migrate(named(t, raw)); err != nil {
			return err
		}
		_, err := c.ExecContext(ctx, `ALTER DATABASE `+raw+` RENAME TO `+name)
		return err
	})
	return name
}
