package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/openway-access/openway/internal/sitefile"
)

// printer prints lists: aligned columns for people, one JSON object a line for scripts.
type printer struct {
	out  io.Writer
	json *json.Encoder
	tab  *tabwriter.Writer
	err  error
}

// newPrinter prints the head of the table unless it prints JSON.
func (a *app) newPrinter(asJSON bool, columns ...string) *printer {
	p := &printer{out: a.out}
	if asJSON {
		p.json = json.NewEncoder(a.out)
		p.json.SetEscapeHTML(false)
		return p
	}
	p.tab = tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	p.line(columns)
	return p
}

// row prints one thing: object as JSON, or the cells.
func (p *printer) row(object any, cells ...any) {
	if p.err != nil {
		return
	}
	if p.json != nil {
		p.err = p.json.Encode(object)
		return
	}
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = cell(c)
	}
	p.line(texts)
}

func (p *printer) line(texts []string) {
	if _, err := fmt.Fprintln(p.tab, strings.Join(texts, "\t")); err != nil && p.err == nil {
		p.err = err
	}
}

// end flushes the table and says whether all could be printed.
func (p *printer) end() error {
	if p.tab != nil && p.err == nil {
		p.err = p.tab.Flush()
	}
	if p.err != nil {
		return fmt.Errorf("print: %w", p.err)
	}
	return nil
}

// cell shows a value in a table, without anything in it that could steer the terminal.
func cell(v any) string {
	switch v := v.(type) {
	case string:
		if v == "" {
			return "-"
		}
		return printable(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case int64:
		if v == 0 {
			return "-"
		}
		return strconv.FormatInt(v, 10)
	case []string:
		if len(v) == 0 {
			return "-"
		}
		return printable(strings.Join(v, ", "))
	}
	return printable(fmt.Sprint(v))
}

func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// card prints one object: JSON, or a line for each of the pairs of name and value.
func (a *app) card(asJSON bool, object any, pairs ...any) error {
	if asJSON {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		return e.Encode(object)
	}
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(t, "%s\t%s\n", pairs[i], cell(pairs[i+1]))
	}
	return t.Flush()
}

// stamp is an instant as machines read it: RFC 3339, UTC, microseconds; nil = none.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format("2006-01-02T15:04:05.000000Z07:00")
	return &s
}

// shownAt is an instant as people read it: the site's zone, with the offset.
func (in *installation) shownAt(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(in.zone).Format("2006-01-02 15:04:05-07:00")
}

// instant reads what a person gives as an instant, as a site file has it: RFC 3339, or "2026-11-23", "2026-11-23 17:30" or
// "2026-11-23T17:30:05" in the site's zone.
func (in *installation) instant(flag, s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, nil
	}
	w, err := sitefile.ParseWhen(s)
	if err != nil {
		return time.Time{}, usagef("--%s: %q %w", flag, s, err)
	}
	t, err := w.In(in.zone)
	if err != nil {
		return time.Time{}, usagef("--%s: %w", flag, err)
	}
	return t, nil
}

// since reads an instant, or a duration before now, such as 2h.
func (in *installation) since(flag, s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(strings.TrimSpace(s)); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := in.instant(flag, s)
	if _, unread := sitefile.ParseWhen(strings.TrimSpace(s)); unread != nil && err != nil {
		err = usagef("%w, or a time ago such as 2h", err)
	}
	return t, err
}

// orNull is a text or number for JSON, null when there is none.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
