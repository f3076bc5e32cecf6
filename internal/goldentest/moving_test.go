package goldentest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/djangotest"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestARunningServerSeesAnImportAtOnce: on PostgreSQL the next request is decided by what came.
func TestARunningServerSeesAnImportAtOnce(t *testing.T) {
	t.Parallel()
	database := storetest.New(t, store.Postgres).DSN
	p := processtest.Serve(t, processtest.Options{Database: database, Env: processtest.ThrottlesOff()})
	ask := func(gate, token string) string {
		t.Helper()
		return string(exchange(t, p.Address, request{
			method: "POST", path: "/api/v1/access/verify", headers: map[string]string{"Content-Type": "application/json"},
			body: []byte(fmt.Sprintf(`{"gate_id":%q,"token":%q}`, gate, token)),
		}).body)
	}
	demo := strings.Repeat("d2", 20)
	if got := ask("gate-01", demo); !strings.Contains(got, "UNKNOWN_GATE") {
		t.Fatalf("before: %s", got)
	}
	dump := djangotest.Golden(t)
	// The denial is in the log already, so that the database is not empty; nothing was made here by people.
	processtest.Run(t, database, "import", "django", "--from-dump", dump, "--replace")
	if got := ask("gate-01", demo); !strings.Contains(got, `"ALLOW"`) {
		t.Errorf("after: %s", got)
	}
	if got := string(processtest.Run(t, database, "events", "list", "--json", "--limit", "1")); !strings.Contains(got, `"decision":"ALLOW"`) || !strings.Contains(got, `"user":"demo"`) {
		t.Errorf("the newest event: %s", got)
	}
}

// TestKilledWhileImporting: an import that is killed in the middle leaves the database as it was, and the next one succeeds.
func TestKilledWhileImporting(t *testing.T) {
	t.Parallel()
	great := filepath.Join(t.TempDir(), "great.sql")
	djangotest.WriteFile(t, great, djangotest.Great(200, 20, 80_000), djangotest.Format{})
	dump := djangotest.Golden(t)
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			database := storetest.Empty(t, engine).DSN
			processtest.Run(t, database, "import", "django", "--from-dump", dump)
			before := processtest.Run(t, database, "export")

			path, err := processtest.Build()
			if err != nil {
				t.Fatal(err)
			}
			c := exec.Command(path, "import", "django", "--from-dump", great, "--replace")
			c.Env = processtest.Environment(database)
			var out bytes.Buffer
			c.Stdout, c.Stderr = &out, &out
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			waitForEvents(t, engine, database)
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := c.Wait(); err == nil {
				t.Fatalf("it was done before it was killed:\n%s", out.String())
			}

			if after := processtest.Run(t, database, "export"); !bytes.Equal(after, before) {
				t.Errorf("the site is another one:\n%s\nwas\n%s", after, before)
			}
			if got := processtest.Run(t, database, "events", "list", "--json"); !bytes.Contains(got, []byte(`"gate":"gate-99"`)) {
				t.Errorf("the log is another one: %s", got)
			}
			processtest.Run(t, database, "import", "django", "--from-dump", great, "--replace")
			if got := processtest.Run(t, database, "events", "list", "--json", "--limit", "1"); !bytes.Contains(got, []byte(`"id":80000,`)) {
				t.Errorf("after the next import: %s", got)
			}
			if engine == store.SQLite {
				left, err := filepath.Glob(database + ".importing*")
				if err != nil || len(left) > 0 {
					t.Errorf("it left %v, %v", left, err)
				}
			}
		})
	}
}

// waitForEvents returns when the import is writing events.
func waitForEvents(t *testing.T, engine, database string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	writing := func() bool {
		st, err := os.Stat(database + ".importing")
		return err == nil && st.Size() > 4<<20
	}
	if engine == store.Postgres {
		db, err := sql.Open("pgx", database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		writing = func() bool {
			var n int
			err := db.QueryRowContext(ctx, `SELECT COALESCE(MAX(tuples_processed), 0) FROM pg_stat_progress_copy WHERE relid = 'events'::regclass`).Scan(&n)
			return err == nil && n > 1000
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !writing() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no events are being written")
		}
	}
}
