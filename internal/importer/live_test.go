package importer

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/openway-access/openway/internal/djangotest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// liveSite is a PostgreSQL with a deployment in it.
func liveSite(t testing.TB, d djangotest.Database) string {
	t.Helper()
	dsn := storetest.Empty(t, store.Postgres).DSN
	djangotest.Load(t, dsn, dumpOf(t, d))
	return dsn
}

func onLive(t testing.TB, dsn string, statements ...string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, s := range statements {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestLiveDatabase(t *testing.T) {
	d := djangotest.Of(djangotest.GoldenSite(t))
	dsn := liveSite(t, d)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	role := "reader_" + strings.TrimPrefix(name, "openway_test_")
	onLive(t, dsn, `CREATE ROLE `+role+` LOGIN`, `REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC`, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+role)
	t.Cleanup(func() { onLiveAfter(t, dsn, `DROP OWNED BY `+role, `DROP ROLE `+role) })
	reader := *u
	reader.User = url.User(role)

	want := reportText(read(t, Options{Dump: dumpOf(t, d)}).Report)
	im, err := Read(t.Context(), Options{From: reader.String()})
	if err != nil {
		t.Fatal(err)
	}
	if got := reportText(im.Report); got != want {
		t.Errorf("with the right to SELECT alone:\n%s\nwant\n%s", got, want)
	}
	mustEqual(t, "label", im.Report.Source, "the database "+name+" on 127.0.0.1")

	// What is changed while it is read is not in it.
	onLive(t, dsn, `DELETE FROM access_accessevent`, `UPDATE auth_user SET username = 'other' WHERE id = 2`)
	st := storetest.Open(t, store.SQLite)
	if err := errors.Join(im.Into(t.Context(), st, testKeys(t), operator), im.Close()); err != nil { // an open snapshot would keep the tables as they are
		t.Fatal(err)
	}
	mustEqual(t, "events of the snapshot", holdings(t, st).Rows["events"], 4)

	fails := func(what, want, schema, dsn string) {
		t.Helper()
		im, err := Read(t.Context(), Options{From: dsn, Schema: schema})
		if err == nil {
			im.Close()
			t.Fatalf("%s: it is read", what)
		}
		if got := err.Error(); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
		}
	}
	onLive(t, dsn, `REVOKE SELECT ON devices_device FROM `+role)
	fails("no right", "the Django database's user may not read the table devices_device: permission denied; GRANT SELECT ON devices_device TO it", "", reader.String())
	onLive(t, dsn, `ALTER TABLE devices_device RENAME COLUMN auth_token TO token`)
	fails("another version", "the table devices_device has no column auth_token: it is of another version of the service; bring that up to date (manage.py migrate), and try again", "", dsn)
	onLive(t, dsn, `ALTER TABLE devices_device RENAME TO devices_phone`)
	fails("a table less", name+" on 127.0.0.1: the tables devices_device are missing: it is not the whole database of the access service, or one of another version", "", dsn)
	onLive(t, dsn, `CREATE SCHEMA two`, `CREATE TABLE two.auth_user (LIKE auth_user)`)
	fails("two schemas", "there are Django tables in the schemas public and two: name the one to import with --schema", "", dsn)
	fails("a schema that is not there", name+" on 127.0.0.1: it has none of the tables of the Django access service (auth_user, access_accesspoint, …): is it the right database?", "three", dsn)
	fails("another database", strings.ReplaceAll("NAME on 127.0.0.1: it has none of the tables of the Django access service (auth_user, access_accesspoint, …): is it the right database?", "NAME", "postgres"), "", os.Getenv(storetest.Variable))
	fails("no URL", "the URL of the Django database cannot be read: it looks like postgres://user:password@host:5432/name", "", "postgres://u:secret@h:port/x")

	if _, err := Read(t.Context(), Options{From: "postgres://u:secret@127.0.0.1:1/x"}); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody there: %v", err)
	}
}

// onLiveAfter is onLive when the test's context has ended.
func onLiveAfter(t testing.TB, dsn string, statements ...string) {
	t.Helper()
	out, err := exec.Command("psql", "--no-psqlrc", "--quiet", "--command="+strings.Join(statements, ";"), dsn).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestLiveInAnotherSchema(t *testing.T) {
	d := djangotest.Of(djangotest.GoldenSite(t))
	dsn := liveSite(t, d)
	onLive(t, dsn, `ALTER SCHEMA public RENAME TO "my ""app"`, `CREATE SCHEMA public`, `CREATE TABLE public.auth_user (id integer)`)
	want := reportText(read(t, Options{Dump: dumpOf(t, d)}).Report)
	if got := reportText(read(t, Options{From: dsn, Schema: `my "app`}).Report); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestDumpsOfPgDump reads what the pg_dump of this machine makes, in every way that it can.
func TestDumpsOfPgDump(t *testing.T) {
	d := djangotest.Of(djangotest.GoldenSite(t))
	dsn := liveSite(t, d)
	// What a real database has beside the tables.
	onLive(t, dsn,
		`COMMENT ON TABLE auth_user IS E'people\nCOPY public.auth_user (id) FROM stdin;\nit''s'`,
		`CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; -- INSERT INTO auth_user
			$$`,
		`CREATE TABLE "odd ""name" ("a b" text)`, `INSERT INTO "odd ""name" VALUES (E'\\.'), (repeat('x', 1000000))`)
	want := reportText(read(t, Options{Dump: dumpOf(t, d)}).Report)
	dir := t.TempDir()
	dumped := func(args ...string) string {
		t.Helper()
		path := filepath.Join(dir, fmt.Sprintf("%d.sql", len(args)+len(strings.Join(args, ""))))
		out, err := exec.Command("pg_dump", append(args, "--file="+path, dsn)...).CombinedOutput()
		if err != nil {
			t.Fatalf("pg_dump %v: %v\n%s", args, err, out)
		}
		return path
	}
	for _, args := range [][]string{nil, {"--clean", "--if-exists", "--no-owner", "--no-privileges"}, {"--data-only"}, {"--schema=public"}, {"--quote-all-identifiers"}} {
		path := dumped(args...)
		if got := reportText(read(t, Options{Dump: path}).Report); got != want {
			t.Errorf("pg_dump %v:\n%s\nwant\n%s", args, got, want)
		}
		plain, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		packed := path + ".gz"
		if err := os.WriteFile(packed, djangotest.Gzip(t, plain), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := reportText(read(t, Options{Dump: packed}).Report); got != want {
			t.Errorf("pg_dump %v, gzipped:\n%s\nwant\n%s", args, got, want)
		}
	}
	// gzip's own work, as pg_dump -Z makes it.
	z := dumped("--compress=9")
	f, err := os.Open(z)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r, err := gzip.NewReader(f); err != nil {
		t.Errorf("pg_dump --compress: %v", err)
	} else if b, err := io.ReadAll(r); err != nil || !bytes.Contains(b, []byte("COPY public.auth_user")) {
		t.Errorf("pg_dump --compress: %v", err)
	}
	if got := reportText(read(t, Options{Dump: z}).Report); got != want {
		t.Errorf("pg_dump --compress:\n%s", got)
	}

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--inserts"}, "FILE: the dump has its data as INSERT lines (pg_dump --inserts): make it anew without --inserts, --column-inserts and --rows-per-insert"},
		{[]string{"--column-inserts"}, "FILE: the dump has its data as INSERT lines (pg_dump --inserts): make it anew without --inserts, --column-inserts and --rows-per-insert"},
		{[]string{"--schema-only"}, "FILE: the dump has tables and no data: make it anew without --schema-only"},
		{[]string{"--format=custom"}, "FILE is in pg_dump's custom format: make SQL of it with pg_restore -f dump.sql FILE"},
		{[]string{"--format=tar"}, "FILE is in pg_dump's tar format: make SQL of it with pg_restore -f dump.sql FILE"},
		{[]string{"--encoding=WIN1251"}, "FILE: the dump is in the encoding WIN1251: make it anew with pg_dump --encoding=UTF8"},
		{[]string{"--exclude-table-data=devices_device"}, "FILE: the tables devices_device are missing: it is not the whole database of the access service, or one of another version"},
	} {
		path := dumped(c.args...)
		im, err := Read(t.Context(), Options{Dump: path})
		if err == nil {
			im.Close()
			t.Errorf("pg_dump %v: it is read", c.args)
			continue
		}
		if got := strings.ReplaceAll(err.Error(), path, "FILE"); got != c.want {
			t.Errorf("pg_dump %v:\ngot  %s\nwant %s", c.args, got, c.want)
		}
	}
}
