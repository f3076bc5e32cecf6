package backup

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// dumpCount reads a plain dump of pg_dump's as it goes by, and counts the rows that it has for each table. All its tables are of one schema:
// no other was asked for. What is no dump does it no harm.
type dumpCount struct {
	rows     map[string]int64
	table    string // whose rows go by; "" = between tables
	line     []byte // the beginning of the line at hand
	complete bool   // the words that pg_dump ends with were there
}

// longestHead is how much of a line is kept: enough for a COPY with all its columns.
const longestHead = 16 << 10

func (d *dumpCount) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		if room := longestHead - len(d.line); room > 0 {
			d.line = append(d.line, part[:min(room, len(part))]...)
		}
		if i < 0 {
			break
		}
		d.endLine()
		d.line, p = d.line[:0], p[i+1:]
	}
	return n, nil
}

func (d *dumpCount) endLine() {
	if d.table != "" {
		if string(d.line) == `\.` {
			d.table = ""
		} else {
			d.rows[d.table]++
		}
		return
	}
	if string(d.line) == "-- PostgreSQL database dump complete" {
		d.complete = true
		return
	}
	text, ok := bytes.CutPrefix(d.line, []byte("COPY "))
	if !ok || !bytes.HasSuffix(text, []byte(" FROM stdin;")) {
		return
	}
	name, _, _ := strings.Cut(string(text), " (")
	_, table, _ := strings.Cut(name, ".")
	d.table = strings.Trim(table, `"`)
	d.rows[d.table] += 0 // also a table without rows is there
}

// check compares what went by with what was counted in the database.
func (d *dumpCount) check(want map[string]int64) error {
	if !d.complete {
		return errors.New("the dump does not come to its end")
	}
	for table, n := range want {
		got, there := d.rows[table]
		switch {
		case !there:
			return fmt.Errorf("the dump lacks the table %s", table)
		case got != n:
			return fmt.Errorf("the dump has %d rows of %s instead of %d", got, table, n)
		}
	}
	if len(d.rows) != len(want) {
		return fmt.Errorf("the dump has %d tables instead of %d", len(d.rows), len(want))
	}
	return nil
}
