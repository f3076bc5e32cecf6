package importer

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/djangotest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestBadDumps: what is no dump of the service, or a damaged one, is one line that says what to do.
func TestBadDumps(t *testing.T) {
	good := textOfDump(t, djangotest.Of(djangotest.GoldenSite(t)), djangotest.Format{})
	packed := djangotest.Gzip(t, []byte(good))
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the dump has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	dir := t.TempDir()
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "FILE is empty"},
		{"not a dump", "hello\n", "FILE: it has none of the tables of the Django access service (auth_user, access_accesspoint, …): is it the right database?"},
		{
			"the dump of something else", "CREATE TABLE public.shop (id integer);\nCOPY public.shop (id) FROM stdin;\n1\n\\.\n-- PostgreSQL database dump complete\n",
			"FILE: it has none of the tables of the Django access service (auth_user, access_accesspoint, …): is it the right database?",
		},
		{"without data", "CREATE TABLE public.auth_user (\n    id integer\n);\n-- PostgreSQL database dump complete\n", "FILE: the dump has tables and no data: make it anew without --schema-only"},
		{
			"INSERT lines", "INSERT INTO public.auth_user VALUES (1, 'x');\n",
			"FILE: the dump has its data as INSERT lines (pg_dump --inserts): make it anew without --inserts, --column-inserts and --rows-per-insert",
		},
		{"custom format", "PGDMP\x01\x0e", "FILE is in pg_dump's custom format: make SQL of it with pg_restore -f dump.sql FILE"},
		{"tar format", "toc.dat\x00\x00", "FILE is in pg_dump's tar format: make SQL of it with pg_restore -f dump.sql FILE"},
		{"zstd", "\x28\xb5\x2f\xfdx", "FILE is packed with zstd: unpack it first"},
		{"an SQLite file", "SQLite format 3\x00", "FILE is an SQLite database, not a dump of PostgreSQL"},
		{"UTF-16", "\xff\xfe-\x00", "FILE is in UTF-16, as PowerShell's > writes: make the dump with pg_dump --file, or with cmd"},
		{"pg_dumpall", "\\connect template1\n" + good, "FILE: this is a dump of several databases (pg_dumpall): dump the one of the access service, with pg_dump"},
		{"a foreign encoding", replace("'UTF8'", "'LATIN1'"), "FILE: the dump is in the encoding LATIN1: make it anew with pg_dump --encoding=UTF8"},
		{
			"broken UTF-8", replace("Gate 01", "Gate \xff"),
			"FILE: line LINE: access_accesspoint.name is not UTF-8: the dump or the database is in another encoding, or damaged; dump it with pg_dump --encoding=UTF8",
		},
		{"cut in the data", good[:strings.Index(good, "\tUNKNOWN_GATE")], "FILE: the dump is cut off in the data of access_accessevent (line LINE): make it anew"},
		{"cut after the data", strings.TrimSuffix(good, "--\n-- PostgreSQL database dump complete\n--\n\n"), "FILE: the dump is cut off: it does not have the end that pg_dump writes; make the dump anew"},
		{"gzip cut off", string(packed[:len(packed)-20]), "FILE is cut off: its gzip data ends too early; make the dump anew"},
		{"gzip cut off at its very end", string(packed[:len(packed)-2]), "FILE is cut off: its gzip data ends too early; make the dump anew"},
		{"gzip's head alone", "\x1f\x8b", "FILE is cut off: its gzip data ends too early; make the dump anew"},
		{"gzip with another checksum", string(packed[:len(packed)-8]) + "12345678", "FILE is damaged: its gzip data does not add up; make the dump anew"},
		{"gzip with something behind", string(packed) + "garbage, and more of it", "FILE is damaged: what follows its gzip data is none; make the dump anew"},
		{"gzip of a custom format", string(djangotest.Gzip(t, []byte("PGDMP\x01"))), "FILE is in pg_dump's custom format: make SQL of it with pg_restore -f dump.sql FILE"},
		{
			"a table is missing", replace("COPY public.devices_device ", "COPY public.other_device "),
			"FILE: the tables devices_device are missing: it is not the whole database of the access service, or one of another version",
		},
		{
			"a column is missing", replace("user_id, auth_token) FROM stdin", "user_id, token) FROM stdin"),
			"FILE: the table devices_device has no column auth_token: it is of another version of the service; bring that up to date (manage.py migrate), and try again",
		},
		{"two schemas", good + "COPY other.auth_user (id) FROM stdin;\n\\.\n", "FILE: there are Django tables in the schemas public and other: name the one to import with --schema"},
		{"twice in one file", good + good, "FILE: the table access_accessevent comes twice: this is not the dump of one database"},
		{"a field too few", replace("gate-01\tGate 01\tHall", "gate-01\tGate 01"), "FILE: line LINE: a row of access_accesspoint has 3 fields, not 4: the dump is damaged"},
		{"a NULL", replace("gate-01\tGate 01\tHall", "\\N\tGate 01\tHall"), "FILE: line LINE: access_accesspoint.code is NULL"},
		{"no id", replace("1\tgate-01\tGate 01", "x\tgate-01\tGate 01"), `FILE: line LINE: access_accesspoint.id is "x", which is no id`},
		{"no boolean", replace("1\tt\t1\t\\N\t1", "1\tyes\t1\t\\N\t1"), `FILE: line LINE: access_accesspermission.allow is "yes", which is neither true nor false`},
		{
			"no time", replace("ALLOW\tOK\t{\"token\": \"d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2\", \"gate_id\": \"gate-01\"}\t2025-10-02 08:00:00+00", "ALLOW\tOK\t{}\tinfinity"),
			`FILE: line LINE: access_accessevent.created_at is "infinity", which is no time with an offset between 1970 and 9999`,
		},
		{"another decision", replace("1\t\\N\tALLOW\tOK", "1\t\\N\tMAYBE\tOK"), `FILE: line LINE: access_accessevent.decision is "MAYBE", neither ALLOW nor DENY`},
		{
			"a member who is nobody", replace("1\t2\t1\n2\t6\t2", "1\t99\t1\n2\t6\t2"),
			"FILE: the row in group 1 of auth_user_groups names the id 99, which is not in auth_user: the dump was edited, or is not whole",
		},
		{"an event of nobody", replace("\t2\t1\n2\t\\N\tDENY", "\t99\t1\n2\t\\N\tDENY"), "FILE: the row 1 of access_accessevent names the id 99, which is not in auth_user: the dump was edited, or is not whole"},
		{"an id twice", replace("2\tgate-02", "1\tgate-02"), "FILE: access_accesspoint has the id 1 twice: the dump was edited, or is none of one database"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			im, err := Read(t.Context(), Options{Dump: path})
			if err == nil {
				im.Close()
				t.Fatalf("it is read; want %s", c.want)
			}
			got := strings.ReplaceAll(err.Error(), path, "FILE")
			want := c.want
			if strings.Contains(want, "LINE") { // the number is right when the line holds what is told
				want = strings.ReplaceAll(want, "LINE", lineIn(t, got))
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// lineIn is the number after the word line.
func lineIn(t *testing.T, s string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, "line ")
	if !ok {
		t.Fatalf("no line is named: %s", s)
	}
	return rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
}

// TestLineNumbers: the line that is named is the line that is wrong.
func TestLineNumbers(t *testing.T) {
	lines := strings.Split(textOfDump(t, djangotest.Of(djangotest.GoldenSite(t)), djangotest.Format{}), "\n")
	at := 0
	for i, l := range lines {
		if strings.HasPrefix(l, "2\tgate-02") {
			lines[i], at = "x"+l, i+1
		}
	}
	_, err := Read(t.Context(), Options{Dump: fileOf(t, strings.Join(lines, "\n"))})
	if err == nil || lineIn(t, err.Error()) != strconv.Itoa(at) {
		t.Errorf("got %v, want line %d", err, at)
	}
}

func TestBadPlaces(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		"-":         "a dump is read twice, and so cannot come through a pipe: name a file",
		dir + "/no": "there is no file " + dir + "/no",
		dir:         dir + " is a directory (pg_dump --format=directory?): make SQL of it with pg_restore -f dump.sql " + dir,
		os.DevNull:  os.DevNull + " is no file: a dump is read twice, and so cannot come through a pipe",
	} {
		if _, err := Read(t.Context(), Options{Dump: path}); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}

// TestBadEventsAreFoundBeforeAnythingIsWritten: the last event is wrong.
func TestBadEventsAreFoundBeforeAnythingIsWritten(t *testing.T) {
	d := djangotest.Of(djangotest.GoldenSite(t))
	rows := d.Rows("access_accessevent")
	rows[len(rows)-1][2] = "PERHAPS"
	d.Set("access_accessevent", rows...)
	_, err := Read(t.Context(), Options{Dump: dumpOf(t, d)})
	if err == nil || !strings.HasSuffix(err.Error(), `access_accessevent.decision is "PERHAPS", neither ALLOW nor DENY`) {
		t.Errorf("got %v", err)
	}
	im := read(t, Options{Dump: dumpOf(t, d), SkipEvents: true})
	mustEqual(t, "events with --skip-events", im.site.events.kept, 0)
}

// TestAFailureWhileWritingLeavesNothing: the source ends in the middle of the events.
func TestAFailureWhileWritingLeavesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		path := dumpOf(t, djangotest.Great(50, 5, 5000))
		im := read(t, Options{Dump: path})
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(text, []byte("\n4000\t"))
		if err := os.WriteFile(path, text[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		before := view(t, st, func(tx *store.Tx) (any, error) { return tx.Mark, nil })
		err = im.Into(within(t), st, testKeys(t), operator)
		if err == nil || !strings.Contains(err.Error(), "the dump is cut off in the data of access_accessevent") {
			t.Fatalf("got %v", err)
		}
		if h := holdings(t, st); !h.Empty() || h.Imported != 0 {
			t.Errorf("it left %v", h)
		}
		if after := view(t, st, func(tx *store.Tx) (any, error) { return tx.Mark, nil }); after != before {
			t.Errorf("the policy moved from %v to %v", before, after)
		}
		if im.Report.Imported {
			t.Error("the report says that it was imported")
		}
	})
}
