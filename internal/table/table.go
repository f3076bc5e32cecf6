// Package table writes rows as CSV for spreadsheets and as NDJSON for programs, one at a time, so that exports of any length need little memory.
//
// It is pure and imports nothing of this module.
package table

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Format is how rows are written.
type Format string

// The formats.
const (
	CSV    Format = "csv"    // with a head, UTF-8 after a byte order mark, without which Excel garbles other scripts than Latin; cells that a spreadsheet would run are neutralised
	NDJSON Format = "ndjson" // a JSON object a line, its keys in the order of the columns
)

const bom = "\uFEFF"

// ContentType is the format's media type.
func (f Format) ContentType() string {
	if f == CSV {
		return "text/csv; charset=utf-8"
	}
	return "application/x-ndjson"
}

// Writer writes rows. Its errors are those of the writer below.
type Writer struct {
	format  Format
	columns []string
	out     io.Writer
	csv     *csv.Writer
	cells   []string
	line    []byte
}

// New makes a Writer of rows with these columns and writes the head, if the format has one. An unknown format is an error.
func New(w io.Writer, format Format, columns ...string) (*Writer, error) {
	t := &Writer{format: format, columns: columns, out: w, cells: make([]string, len(columns))}
	switch format {
	case CSV:
		t.csv = csv.NewWriter(w)
		t.cells[0] = bom + columns[0]
		copy(t.cells[1:], columns[1:])
		return t, t.csv.Write(t.cells)
	case NDJSON:
		return t, nil
	}
	return nil, fmt.Errorf("the format %q is not %s or %s", format, CSV, NDJSON)
}

// Row writes a row: a value for each column, a string, an int, an int64, a bool, a time.Time, or a map of strings; nil, "" and a
// zero time are empty cells in CSV and null in JSON.
func (t *Writer) Row(values ...any) error {
	if len(values) != len(t.columns) {
		return fmt.Errorf("a row of %d values for %d columns", len(values), len(t.columns))
	}
	if t.csv != nil {
		for i, v := range values {
			t.cells[i] = cell(v)
		}
		return t.csv.Write(t.cells)
	}
	t.line = append(t.line[:0], '{')
	for i, v := range values {
		if i > 0 {
			t.line = append(t.line, ',')
		}
		t.line = strconv.AppendQuote(t.line, t.columns[i])
		t.line = append(t.line, ':')
		b, err := json.Marshal(plain(v))
		if err != nil {
			return fmt.Errorf("column %s: %w", t.columns[i], err)
		}
		t.line = append(t.line, b...)
	}
	t.line = append(t.line, '}', '\n')
	_, err := t.out.Write(t.line)
	return err
}

// Flush writes what is still in memory.
func (t *Writer) Flush() error {
	if t.csv == nil {
		return nil
	}
	t.csv.Flush()
	return t.csv.Error()
}

// plain is a value as JSON shows it.
func plain(v any) any {
	switch v := v.(type) {
	case string:
		if v == "" {
			return nil
		}
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return stamp(v)
	}
	return v
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00") }

// cell is a value as CSV shows it.
func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return Neutral(v)
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return stamp(v)
	case int, int64, bool: // a negative number is a number
		return fmt.Sprint(v)
	}
	b, err := json.Marshal(v)
	if err != nil || string(b) == "null" {
		return ""
	}
	return Neutral(string(b))
}

// Neutral puts an apostrophe before a text that a spreadsheet might take for a formula: one that begins with =, +, -, @ (or their wide forms), a tab or
// a line break, perhaps after spaces.
func Neutral(s string) string {
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " \u00a0"))
	if strings.ContainsRune("=+-@＝＋－＠\t\r\n", first) && s != "" {
		return "'" + s
	}
	return s
}
