package table_test

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/table"
)

func TestNeutral(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "Anna": "Anna", "a=b": "a=b", "1-2": "1-2", "=1+1": "'=1+1", "+49": "'+49", "-1": "'-1", "@x": "'@x", "\tx": "'\tx", "\rx": "'\rx", "\n=x": "'\n=x",
		"  =x": "'  =x", "\u00a0@x": "'\u00a0@x", "＝x": "'＝x", "'=x": "'=x", " ": " ", "\xff": "\xff",
	} {
		if got := table.Neutral(s); got != want {
			t.Errorf("Neutral(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestFormats(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5000, time.FixedZone("", 3600))
	for format, want := range map[table.Format]string{
		table.CSV:    "\ufeffid,name,at,ok,more\n7,'=cmd,2026-03-01T11:00:00.000005Z,true,\"{\"\"a\"\":\"\"b\"\"}\"\n-7,\"a \"\"b\"\", c\nd\",,false,\n",
		table.NDJSON: `{"id":7,"name":"=cmd","at":"2026-03-01T11:00:00.000005Z","ok":true,"more":{"a":"b"}}` + "\n" + `{"id":-7,"name":"a \"b\", c\nd","at":null,"ok":false,"more":null}` + "\n",
	} {
		var out strings.Builder
		w, err := table.New(&out, format, "id", "name", "at", "ok", "more")
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range [][]any{{int64(7), "=cmd", at, true, map[string]string{"a": "b"}}, {-7, "a \"b\", c\nd", time.Time{}, false, nil}} {
			if err := w.Row(row...); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Row("too few"); err == nil {
			t.Error("a row that is too short was taken")
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", format, diff)
		}
		if format == table.CSV {
			if rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll(); err != nil || len(rows) != 3 {
				t.Errorf("read back: %v, %v", rows, err)
			}
		} else {
			for line := range strings.Lines(out.String()) {
				if !json.Valid([]byte(line)) {
					t.Errorf("not JSON: %s", line)
				}
			}
		}
	}
	if _, err := table.New(nil, "xlsx"); err == nil {
		t.Error("an unknown format was taken")
	}
}
