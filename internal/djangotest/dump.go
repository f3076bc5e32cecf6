// Package djangotest makes databases of the Django service that this one replaces, for tests of moving in: as the text that pg_dump would write, which
// psql loads as well. What it makes is the same each time.
//
// It imports sitefile alone, and is for tests.
package djangotest

import (
	"bufio"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// Table is a table with its rows. A value is nil (NULL), a bool, an int, an int64, a string or a time.Time.
type Table struct {
	Name    string
	Columns []string
	Types   []string
	Rows    iter.Seq[[]any]
	Serial  string // the column with a sequence; "" = none
	Last    int64  // what the sequence gave last; 0 = it was not used
}

// Format is how a dump is written.
type Format struct {
	Schema   string // "" = public
	Restrict bool   // with the \restrict lines of PostgreSQL 15.14 and later
	CRLF     bool
}

// Database is the tables of a deployment, in the order in which a dump has them.
type Database []Table

// Table finds one by its name.
func (d Database) Table(name string) *Table {
	for i := range d {
		if d[i].Name == name {
			return &d[i]
		}
	}
	panic("djangotest: no table " + name)
}

// Write writes a plain dump.
func (d Database) Write(to io.Writer, f Format) error {
	w := &writer{out: bufio.NewWriterSize(to, 1<<16), end: "\n"}
	if f.CRLF {
		w.end = "\r\n"
	}
	schema := f.Schema
	if schema == "" {
		schema = "public"
	}
	const word = "Kq0dVh3nX8TzYb1"
	w.lines("--", "-- PostgreSQL database dump", "--", "")
	if f.Restrict {
		w.lines(`\restrict `+word, "")
	}
	w.lines("SET statement_timeout = 0;", "SET client_encoding = 'UTF8';", "SET standard_conforming_strings = on;",
		"SELECT pg_catalog.set_config('search_path', '', false);", "SET client_min_messages = warning;", "")
	if f.Schema != "" {
		w.lines("CREATE SCHEMA " + schema + ";")
	}
	for _, t := range d {
		w.lines("CREATE TABLE " + schema + "." + t.Name + " (")
		for i, c := range t.Columns {
			comma := ","
			if i == len(t.Columns)-1 {
				comma = ""
			}
			w.lines("    " + quoted(c) + " " + t.Types[i] + comma)
		}
		w.lines(");", "")
		if t.Serial != "" {
			w.lines(fmt.Sprintf("CREATE SEQUENCE %s.%s_%s_seq OWNED BY %[1]s.%[2]s.%[3]s;", schema, t.Name, t.Serial), "")
		}
	}
	for _, t := range d {
		names := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			names[i] = quoted(c)
		}
		w.lines("COPY " + schema + "." + t.Name + " (" + strings.Join(names, ", ") + ") FROM stdin;")
		for row := range t.Rows {
			w.row(row)
		}
		w.lines(`\.`, "", "")
	}
	for _, t := range d {
		if t.Last > 0 {
			w.lines(fmt.Sprintf("SELECT pg_catalog.setval('%s.%s_%s_seq', %d, true);", schema, t.Name, t.Serial, t.Last), "")
		}
	}
	w.lines("--", "-- PostgreSQL database dump complete", "--", "")
	if f.Restrict {
		w.lines(`\unrestrict `+word, "")
	}
	return w.out.Flush()
}

// quoted quotes the one column whose name is a word of SQL's to some versions of pg_dump.
func quoted(column string) string {
	if column == "key" {
		return `"key"`
	}
	return column
}

type writer struct {
	out *bufio.Writer // keeps its first error for Flush
	end string
	buf []byte
}

func (w *writer) lines(all ...string) {
	for _, l := range all {
		_, _ = w.out.WriteString(l + w.end)
	}
}

// row writes a line of COPY.
func (w *writer) row(values []any) {
	w.buf = w.buf[:0]
	for i, v := range values {
		if i > 0 {
			w.buf = append(w.buf, '\t')
		}
		switch v := v.(type) {
		case nil:
			w.buf = append(w.buf, `\N`...)
		case bool:
			w.buf = append(w.buf, map[bool]byte{true: 't', false: 'f'}[v])
		case string:
			w.buf = append(w.buf, escapes.Replace(v)...)
		case time.Time:
			w.buf = v.AppendFormat(w.buf, "2006-01-02 15:04:05.999999-07")
		default:
			w.buf = fmt.Append(w.buf, v)
		}
	}
	w.buf = append(w.buf, w.end...)
	_, _ = w.out.Write(w.buf)
}

var escapes = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\b", `\b`, "\f", `\f`, "\v", `\v`)

// Password encodes a password as Django's PBKDF2PasswordHasher does.
func Password(password, salt string, rounds int) string {
	key, err := pbkdf2.Key(sha256.New, password, []byte(salt), rounds, sha256.Size)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("pbkdf2_sha256$%d$%s$%s", rounds, salt, base64.StdEncoding.EncodeToString(key))
}
