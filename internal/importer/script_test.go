package importer

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/djangotest"
)

func TestSplit(t *testing.T) {
	l := layout{table: &table{name: "t", columns: []string{"a"}}, at: []int{0}}
	for line, want := range map[string][]string{
		"a\tb":                       {"a", "b"},
		"":                           {""},
		"\t":                         {"", ""},
		`\N` + "\t":                  {"<NULL>", ""},
		`\\N`:                        {`\N`},
		`x\tz\n\r\b\f\v\\`:           {"x\tz\n\r\b\f\v\\"},
		`\101\x41\x4Az\0601`:         {"AAJz01"},
		`\q\`:                        {`q\`},
		`{"gate": "x\\ty"}` + "\t\t": {`{"gate": "x\ty"}`, "", ""},
		"ж\\\\\t\\N":                 {"ж\\", "<NULL>"},
	} {
		r := row{layout: l}
		r.n = len(want)
		if err := r.split([]byte(line)); err != nil {
			t.Errorf("split(%q): %v", line, err)
			continue
		}
		var got []string
		for _, f := range r.fields {
			if f == nil {
				f = []byte("<NULL>")
			}
			got = append(got, string(f))
		}
		if !slices.Equal(got, want) {
			t.Errorf("split(%q): got %q, want %q", line, got, want)
		}
	}
}

func TestParseInstant(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-23 13:30:34.405182+00": "2026-11-23T13:30:34.405182Z",
		"2025-10-01 08:00:00+00":        "2025-10-01T08:00:00Z",
		"2025-10-01 08:00:00+05:30":     "2025-10-01T02:30:00Z",
		"2025-10-01 08:00:00.5-03":      "2025-10-01T11:00:00.5Z",
		"1970-01-01 08:00:00+02:30:17":  "1970-01-01T05:29:43Z",
		"2025-10-01 08:00:00":           "",
		"2025-10-01":                    "",
		"infinity":                      "",
		"2025-13-01 08:00:00+00":        "",
		"0044-03-15 08:00:00+00 BC":     "",
		"":                              "",
	} {
		at, ok := parseInstant([]byte(text))
		got := ""
		if ok {
			got = at.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("parseInstant(%q): got %q, want %q", text, got, want)
		}
	}
}

// TestDumpsOfManyForms reads the same deployment from dumps that differ in everything that pg_dump may do.
func TestDumpsOfManyForms(t *testing.T) {
	d := djangotest.Of(djangotest.GoldenSite(t))
	plain := textOfDump(t, d, djangotest.Format{})
	want := read(t, Options{Dump: fileOf(t, plain)}).Report
	if want.Tables[0].Made != 20 {
		t.Fatalf("the deployment has %d users", want.Tables[0].Made)
	}
	reversed := slices.Clone(d)
	slices.Reverse(reversed)
	wide := slices.Clone(d)
	for i := range wide { // a column more, and in another order
		wide[i].Columns = append([]string{"colour"}, wide[i].Columns...)
		wide[i].Types = append([]string{"text"}, wide[i].Types...)
		rows := d.Rows(wide[i].Name)
		for k := range rows {
			rows[k] = append([]any{"red\t\\"}, rows[k]...)
		}
		wide[i].Rows = slices.Values(rows)
	}
	old := strings.ReplaceAll(strings.ReplaceAll(plain, "COPY public.", "COPY "), "SELECT pg_catalog.set_config('search_path', '', false);", "SET search_path = public, pg_catalog;")
	huge := "COPY public.blobs (b) FROM stdin;\n" + strings.Repeat("x", longestLine+100) + "\n\\.\n"
	misleading := `
COMMENT ON TABLE public.auth_user IS 'people
COPY public.auth_user (id) FROM stdin;
it''s -- no comment
INSERT INTO public.auth_user VALUES (1);
';
CREATE FUNCTION public.f() RETURNS text LANGUAGE plpgsql AS $body$
COPY public.auth_user (id) FROM stdin;
 -- don't
$body$;
/* INSERT INTO public.auth_user
INSERT INTO public.auth_user VALUES (1);
*/
COMMENT ON COLUMN public."auth ""user".x IS E'it\'s
INSERT INTO public.auth_user VALUES (1);
';
INSERT INTO public.other VALUES (1);
`
	elsewhere := "COPY other.auth_user (id) FROM stdin;\n1\n\\.\n"
	for name, c := range map[string]struct {
		text   string
		schema string
	}{
		"with restrict":              {textOfDump(t, d, djangotest.Format{Restrict: true}), ""},
		"with CR LF":                 {textOfDump(t, d, djangotest.Format{CRLF: true}), ""},
		"in a schema":                {textOfDump(t, d, djangotest.Format{Schema: "access"}), ""},
		"in a quoted schema":         {strings.ReplaceAll(plain, "COPY public.", `COPY "a "" b".`), ""},
		"in a schema that is named":  {elsewhere + plain, "public"},
		"tables the other way round": {textOfDump(t, reversed, djangotest.Format{}), ""},
		"with more columns":          {textOfDump(t, wide, djangotest.Format{}), ""},
		"of an old pg_dump":          {old, ""},
		"with a huge line":           {huge + plain, ""},
		"with misleading text":       {misleading + plain, ""},
		"with blobs of other tables": {strings.Replace(plain, "COPY public.django_session", "COPY public.\"django_session\"", 1), ""},
		"in two members of gzip":     {string(djangotest.Gzip(t, []byte(plain[:1000]))) + string(djangotest.Gzip(t, []byte(plain[1000:]))), ""},
	} {
		t.Run(name, func(t *testing.T) {
			im := read(t, Options{Dump: fileOf(t, c.text), Schema: c.schema})
			got := im.Report
			got.Source = want.Source
			if g, w := reportText(got), reportText(want); g != w {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
			if im.site.sequences["auth_user"] != 20 {
				t.Errorf("the sequences: %v", im.site.sequences)
			}
		})
	}
}

// TestHugeRowsAreRefused: a row that is read is kept in memory.
func TestHugeRowsAreRefused(t *testing.T) {
	d := djangotest.Of(djangotest.GoldenSite(t))
	rows := d.Rows("access_accessevent")
	rows[0][4] = `{"gate_id": "` + strings.Repeat("x", longestLine) + `"}`
	d.Set("access_accessevent", rows...)
	_, err := Read(t.Context(), Options{Dump: dumpOf(t, d)})
	if err == nil || !strings.HasSuffix(err.Error(), "has more than 16 MiB") {
		t.Errorf("got %v", err)
	}
	rows[0][4] = `{"gate_id": "gate-01", "token": "` + strings.Repeat("x", 1<<20) + `"}`
	d.Set("access_accessevent", rows...)
	read(t, Options{Dump: dumpOf(t, d)})
}

func reportText(r Report) string {
	var b strings.Builder
	for _, c := range r.Tables {
		b.WriteString(strings.Join([]string{c.What, strconv.FormatInt(c.Read, 10), strconv.FormatInt(c.Made, 10)}, " ") + "\n")
	}
	for _, n := range r.Notes {
		b.WriteString(n.Kind + " " + strconv.FormatInt(n.Count, 10) + " " + strings.Join(n.Examples, "; ") + "\n")
	}
	return b.String()
}
