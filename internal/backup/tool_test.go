package backup_test

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/backup"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// script makes an executable and returns its path.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnOldPgDumpIsRefused(t *testing.T) {
	x := open(t, storeFor(t, store.Postgres))
	for _, tt := range []struct{ name, says, want string }{
		{"old", "pg_dump (PostgreSQL) 9.6.24", "pg_dump is of version 9, the server is PostgreSQL"},
		{"strange", "something else", "says no version"},
	} {
		c := x.config()
		c.PgDump = script(t, "echo '"+tt.says+"'")
		_, err := backup.Take(t.Context(), x.s, c)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: take = %v, want %q", tt.name, err, tt.want)
		}
	}
	if got := names(t, x.dir); strings.Contains(got, ".sql.gz") {
		t.Errorf("a backup is there all the same: %s", got)
	}
}

// A pg_dump that is named finds the server as the one on PATH does.
func TestAPgDumpThatIsNamed(t *testing.T) {
	x := open(t, storeFor(t, store.Postgres))
	c := x.config()
	c.PgDump = "env " + findOnPath(t, "pg_dump")
	made[*backup.Taken](t)(backup.Take(t.Context(), x.s, c))
	// One of several servers: those of the URL, each once.
	u := made[*url.URL](t)(url.Parse(x.db.DSN))
	c.URL = strings.Replace(x.db.DSN, u.Host, u.Host+","+u.Host, 1)
	c.PgDump = script(t, `[ "$1" = --version ] && exec pg_dump --version
echo "at $PGHOST port $PGPORT" >&2; exit 1`)
	_, err := backup.Take(t.Context(), x.s, c)
	if want := "at " + u.Hostname() + " port " + u.Port(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("take = %v, want it to run %q", err, want)
	}
}

// What pg_dump left out, or did not come to the end of, gets no name.
func TestADumpThatLacksSomething(t *testing.T) {
	x := open(t, storeFor(t, store.Postgres))
	x.addUsers("ann", "ben")
	good := x.take()
	for _, tt := range []struct{ name, filter, want string }{
		{"a row", `sed '/^COPY public.users/{n;d}'`, "rows of users instead of 2"},
		{"a table", `sed '/^COPY public.users/,/^\\\.$/d'`, "lacks the table users"},
		{"its end", `sed '/database dump complete/d'`, "does not come to its end"},
		{"all", `sed d`, "does not come to its end"},
		{"success", `sh -c 'cat; exit 1' && echo pg_dump: error: connection lost >&2 && exit 3; exit 3`, "pg_dump: exit status 3"},
	} {
		c := x.config()
		c.PgDump = script(t, `[ "$1" = --version ] && exec pg_dump --version
set -e
pg_dump --dbname='`+x.db.DSN+`' $(for a in "$@"; do case $a in --username*|--dbname*) ;; --table*) ;; *) printf '%s ' "$a";; esac; done) | `+tt.filter+"\n")
		_, err := backup.Take(t.Context(), x.s, c)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("without %s: take = %v, want %q", tt.name, err, tt.want)
		}
	}
	if all := made[[]backup.Entry](t)(backup.List(x.dir, "site", store.Postgres)); len(all) != 1 || all[0].Path != good.Path {
		t.Errorf("backups: %+v, want the good one alone", all)
	}
}

// No argument of a command that runs holds the password.
func TestThePasswordIsNotOnTheCommandLine(t *testing.T) {
	x := open(t, storeFor(t, store.Postgres))
	seen := filepath.Join(t.TempDir(), "seen")
	path := t.TempDir()
	for _, name := range []string{"pg_dump", "psql"} {
		real := findOnPath(t, name)
		text := "#!/bin/sh\necho \"$0 $*\" >> " + seen + "\n[ \"$1\" = --version ] || [ \"$PGPASSWORD\" = 'p w:1' ] || exit 9\nexec " + real + " \"$@\"\n"
		x.must(os.WriteFile(filepath.Join(path, name), []byte(text), 0o700))
	}
	t.Setenv("PATH", path+":"+os.Getenv("PATH"))
	x.db.DSN = strings.Replace(x.db.DSN, "postgres@", "postgres:p%20w%3A1@", 1)
	taken := x.take()
	x.restore(taken.Path)
	if got := string(read(t, seen)); strings.Contains(got, "p w") || strings.Contains(got, "p%20w") || strings.Count(got, "\n") < 4 {
		t.Errorf("commands that ran:\n%s", got)
	}
}

func findOnPath(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	t.Fatalf("there is no %s", name)
	return ""
}

// A role that owns its database and nothing else backs up and restores; a scratch database is not its to make, and that is said.
func TestARoleWithoutRights(t *testing.T) {
	role := "openway_test_" + strings.ToLower(rand.Text())
	server, err := sql.Open("pgx", os.Getenv(storetest.Variable))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the database is dropped
		_, err := server.Exec(`DROP ROLE ` + role)
		if err = errors.Join(err, server.Close()); err != nil {
			t.Error(err)
		}
	})
	db := storetest.Empty(t, store.Postgres)
	u := made[*url.URL](t)(url.Parse(db.DSN))
	for _, q := range []string{`CREATE ROLE ` + role + ` LOGIN`, `ALTER DATABASE ` + u.Path[1:] + ` OWNER TO ` + role} {
		if _, err := server.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	u.User = url.User(role)
	db.DSN = u.String()
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	made[[]string](t)(s.Migrate(t.Context()))
	x := open(t, db)
	x.addUsers("ann")
	taken := x.take()
	x.addUsers("ben")
	x.restore(taken.Path)
	if n := x.facts().Rows["users"]; n != 1 {
		t.Errorf("%d users after the restore, want 1", n)
	}
	if _, err := backup.Verify(t.Context(), x.restoring(taken.Path)); err == nil || !strings.Contains(err.Error(), "may not create databases") {
		t.Errorf("verify = %v, want it to say that the role may not create databases", err)
	}
}
