package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// script reads the SQL of a plain dump as far as it matters: the blocks of COPY, the settings before them, the sequences after them.
type script struct {
	lines
	want *reading
	only string       // a schema
	tick func() error // now and then

	path     string // the schema that SET search_path names first, for dumps without schemas (before PostgreSQL 10)
	quote    quoting
	complete bool
	created  bool // a table of Django's is created
	row      row
}

// completion is the comment at the end of each plain dump.
const completion = "-- PostgreSQL database dump complete"

var errCut = errors.New("the dump is cut off: it does not have the end that pg_dump writes; make the dump anew")

func (s *script) run() error {
	for !s.want.done() {
		if s.n%1024 == 0 {
			if err := s.tick(); err != nil {
				return err
			}
		}
		line, _, err := s.next()
		if errors.Is(err, io.EOF) {
			return s.end()
		}
		if err != nil {
			return err
		}
		if s.quote.inside() {
			s.quote.pass(line)
			continue
		}
		if err := s.statement(line); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) end() error {
	switch {
	case len(s.want.seen) == 0 && s.created:
		return errors.New("the dump has tables and no data: make it anew without --schema-only")
	case len(s.want.seen) == 0 && !s.complete:
		return errNotDjango
	case !s.complete:
		return errCut
	}
	return nil
}

// statement looks at a line that begins outside of data and quotes.
func (s *script) statement(line []byte) error {
	text := string(line[:min(len(line), 4096)])
	switch {
	case strings.HasPrefix(text, "COPY ") && strings.HasSuffix(text, " FROM stdin;"):
		return s.copy(text)
	case strings.HasPrefix(text, "--"):
		s.complete = s.complete || text == completion
		return nil
	case strings.HasPrefix(text, `\connect`):
		return errors.New("this is a dump of several databases (pg_dumpall): dump the one of the access service, with pg_dump")
	case strings.HasPrefix(text, `\`): // \restrict and \unrestrict are for psql
		return nil
	case strings.HasPrefix(text, "SET client_encoding = "):
		return checkEncoding(setting(text))
	case strings.HasPrefix(text, "SET standard_conforming_strings = off"):
		s.quote.backslashes = true
	case strings.HasPrefix(text, "SET search_path = "):
		s.path, _, _ = strings.Cut(setting(text), ",")
	case strings.HasPrefix(text, "CREATE TABLE "):
		_, name, _, ok := relation(strings.TrimPrefix(text, "CREATE TABLE "))
		s.created = s.created || ok && s.want.wants(name) != nil
	case strings.HasPrefix(text, "INSERT INTO "):
		if _, name, _, ok := relation(strings.TrimPrefix(text, "INSERT INTO ")); ok && s.want.wants(name) != nil {
			return errors.New("the dump has its data as INSERT lines (pg_dump --inserts): make it anew without --inserts, --column-inserts and --rows-per-insert")
		}
	case strings.HasPrefix(text, "SELECT pg_catalog.setval('"):
		s.sequence(text)
		return nil
	}
	s.quote.pass(line)
	return nil
}

// setting is the value in a line such as SET client_encoding = 'UTF8';
func setting(line string) string {
	_, v, _ := strings.Cut(line, " = ")
	return strings.Trim(strings.TrimSuffix(v, ";"), "'")
}

func checkEncoding(name string) error {
	switch strings.ToUpper(strings.ReplaceAll(name, "-", "")) {
	case "UTF8", "UNICODE":
		return nil
	}
	return fmt.Errorf("the dump is in the encoding %s: make it anew with pg_dump --encoding=UTF8", name)
}

// sequence notes the last id that a sequence gave: SELECT pg_catalog.setval('public.auth_user_id_seq', 20, true);
func (s *script) sequence(line string) {
	var last int64
	var called string
	name, rest, _ := strings.Cut(strings.TrimPrefix(line, "SELECT pg_catalog.setval('"), "'")
	if _, err := fmt.Sscanf(rest, ", %d, %s", &last, &called); err != nil || !strings.HasPrefix(called, "true") {
		return
	}
	if schema, table, _, ok := relation(name); ok && (s.only == "" || schema == s.only) {
		s.want.sequence(strings.TrimSuffix(table, "_id_seq"), last)
	}
}

// copy reads a block of data, or past it.
func (s *script) copy(header string) error {
	began := s.n
	schema, name, rest, ok := relation(strings.TrimPrefix(header, "COPY "))
	if schema == "" {
		schema = s.path
	}
	t := s.want.wants(name)
	if !ok || t == nil || (s.only != "" && shownSchema(schema) != s.only) {
		return s.pass(began, name)
	}
	columns, ok := columnList(strings.TrimSuffix(rest, " FROM stdin;"))
	if !ok {
		return fmt.Errorf("line %d: COPY of %s does not list its columns: make the dump with pg_dump", s.n, name)
	}
	l, err := s.want.begin(t, schema, columns)
	if err != nil {
		return err
	}
	s.row.layout = l
	for {
		line, ended, err := s.next()
		if errors.Is(err, io.EOF) || err == nil && !ended {
			return cutIn(name, s.n)
		}
		if err != nil {
			return err
		}
		if string(line) == `\.` {
			return nil
		}
		s.row.line = s.n
		if err := s.row.split(line); err != nil {
			return err
		}
		if err := s.want.row(&s.row); err != nil {
			return err
		}
		if s.n%1024 == 0 {
			if err := s.tick(); err != nil {
				return err
			}
		}
	}
}

// pass reads past data that does not matter.
func (s *script) pass(began int64, name string) error {
	for {
		end, err := s.skip()
		switch {
		case errors.Is(err, io.EOF):
			return cutIn(name, began)
		case err != nil:
			return err
		case end:
			return nil
		}
		if s.n%1024 == 0 {
			if err := s.tick(); err != nil {
				return err
			}
		}
	}
}

func cutIn(table string, line int64) error {
	return fmt.Errorf("the dump is cut off in the data of %s (line %d): make it anew", table, line)
}

// relation reads the name at the start of a statement, with or without a schema, and returns what follows it.
func relation(s string) (schema, name, rest string, ok bool) {
	name, rest, ok = identifier(s)
	if ok && strings.HasPrefix(rest, ".") {
		schema = name
		name, rest, ok = identifier(rest[1:])
	}
	return schema, name, strings.TrimPrefix(rest, " "), ok
}

// identifier reads a name, quoted or not.
func identifier(s string) (name, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, " .(),;'")
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], i > 0
	}
	var b strings.Builder
	for s = s[1:]; ; s = s[1:] {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			return "", "", false
		}
		b.WriteString(s[:i])
		if s = s[i+1:]; !strings.HasPrefix(s, `"`) {
			return b.String(), s, true
		}
		b.WriteByte('"')
	}
}

// columnList reads (id, "key", user_id).
func columnList(s string) (names []string, ok bool) {
	s, ok = strings.CutPrefix(s, "(")
	for ok {
		var name string
		if name, s, ok = identifier(s); !ok {
			break
		}
		names = append(names, name)
		if s == ")" {
			return names, true
		}
		s, ok = strings.CutPrefix(s, ", ")
	}
	return nil, false
}

// quoting follows SQL's quotes and comments over the ends of lines, so that text in them is taken for no statement.
type quoting struct {
	end         string // what ends the quote: ', ", */ or $tag$; "" = outside
	backslashes bool   // \' does not end a string
	escape      bool   // the string at hand began with E'
}

func (q *quoting) inside() bool { return q.end != "" }

// pass goes over one line.
func (q *quoting) pass(line []byte) {
	for len(line) > 0 {
		if q.end == "" {
			if line = q.open(line); line == nil {
				return
			}
			continue
		}
		i := bytes.Index(line, []byte(q.end))
		if q.end == "'" && (q.backslashes || q.escape) {
			if b := bytes.IndexByte(line, '\\'); b >= 0 && (i < 0 || b < i) {
				line = line[min(b+2, len(line)):]
				continue
			}
		}
		if i < 0 {
			return
		}
		line, q.end = line[i+len(q.end):], "" // a doubled quote closes and opens at once
	}
}

// open finds the next quote or comment and returns what follows its beginning; nil when there is none in this line.
func (q *quoting) open(line []byte) []byte {
	i := bytes.IndexAny(line, `'"$-/`)
	if i < 0 {
		return nil
	}
	rest := line[i+1:]
	switch line[i] {
	case '\'':
		q.end, q.escape = "'", i > 0 && (line[i-1] == 'E' || line[i-1] == 'e')
	case '"':
		q.end = `"`
	case '-':
		if bytes.HasPrefix(rest, []byte("-")) {
			return nil
		}
	case '/':
		if bytes.HasPrefix(rest, []byte("*")) {
			q.end = "*/"
		}
	case '$':
		if k := bytes.IndexByte(rest, '$'); k >= 0 && !bytes.ContainsAny(rest[:k], " \t(),;'\"") && (i == 0 || !isWord(line[i-1])) {
			q.end = "$" + string(rest[:k]) + "$"
			rest = rest[k+1:]
		}
	}
	return rest
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
