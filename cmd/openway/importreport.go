package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/openway-access/openway/internal/importer"
)

// printImport prints the report of an import for people.
func (a *app) printImport(r *importer.Report) {
	a.printf("From %s:\n\n", printable(r.Source))
	t := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "READ\tMADE\t \n")
	for _, c := range r.Tables {
		fmt.Fprintf(t, "%s\t%s\t %s\n", thousands(c.Read), thousands(c.Made), c.What)
	}
	if err := t.Flush(); err != nil && a.unprinted == nil {
		a.unprinted = fmt.Errorf("print: %w", err)
	}
	if len(r.Wiped) > 0 {
		var parts []string
		for _, table := range slices.Sorted(maps.Keys(r.Wiped)) {
			parts = append(parts, table+" "+thousands(r.Wiped[table]))
		}
		a.printf("\n%s: %s.\n", map[bool]string{true: "Wiped", false: "Would be wiped"}[r.Imported], strings.Join(parts, ", "))
	}
	if len(r.Notes) > 0 {
		a.printf("\nNot one to one:\n")
	}
	for _, n := range r.Notes {
		a.printf("  %s  %s\n", thousands(n.Count), printable(n.Text))
		for _, e := range n.Examples {
			a.printf("       %s\n", printable(e))
		}
	}
	if len(r.Conflicts) > 0 {
		a.printf("\nConflicts, to be resolved in Django:\n")
	}
	for _, c := range r.Conflicts {
		a.printf("  %s\n", printable(c))
	}
	if p := r.Proof; p != nil {
		a.printProof(p)
	}
	switch {
	case r.Imported:
		a.printf("\nImported in %s.\n", r.Took.Round(100*time.Millisecond))
	case r.DryRun:
		a.printf("\nDry run: nothing was written.\n")
	}
}

func (a *app) printProof(p *importer.Proof) {
	chosen := "every pair of a token and a gate"
	if p.Pairs < p.Of {
		chosen = "evenly chosen among " + thousands(p.Of) + " pairs of a token and a gate"
	}
	a.printf("\n%s decisions taken by the old rule and by the new one (%s): %s alike.\n", thousands(p.Pairs), chosen, thousands(p.Equal))
	for _, part := range []struct {
		what string
		list []importer.Difference
	}{{"announced", p.Changed}, {"NOT ANNOUNCED", p.Faults}} {
		for _, d := range part.list {
			a.printf("  %s  %s is %s now", thousands(d.Count), d.Was, d.Is)
			if d.Why != "" {
				a.printf(" (%s)", d.Why)
			}
			a.printf(", %s, such as %s\n", part.what, printable(strings.Join(d.Examples, "; ")))
		}
	}
}

// thousands is a number with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// progressBar shows how far an import has come: one line that changes at a terminal, a line now and then elsewhere.
type progressBar struct {
	out      io.Writer
	terminal bool
	now      func() time.Time

	step        string
	began, last time.Time
}

func (a *app) newProgressBar() *progressBar {
	return &progressBar{out: a.err, terminal: isTerminal(a.err), now: time.Now}
}

// How often it shows something.
const (
	refreshTerminal = 200 * time.Millisecond
	refreshLog      = 10 * time.Second
)

func (b *progressBar) show(p importer.Progress) {
	now := b.now()
	if p.Step != b.step {
		b.step, b.began, b.last = p.Step, now, now
		return
	}
	pause := refreshLog
	if b.terminal {
		pause = refreshTerminal
	}
	if now.Sub(b.last) < pause {
		return
	}
	b.last = now
	line := progressLine(p, now.Sub(b.began))
	if b.terminal {
		fmt.Fprintf(b.out, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(b.out, line)
	}
}

// clear takes the line away.
func (b *progressBar) clear() {
	if b.terminal {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}

// progressLine is "events: 350,000 of 1,000,000, 41,000 events/s, 16s left".
func progressLine(p importer.Progress, passed time.Duration) string {
	amount := func(n float64) string {
		if p.Unit == "bytes" {
			return fmt.Sprintf("%.1f MB", n/1e6)
		}
		return thousands(int64(n)) + " " + p.Unit
	}
	line := p.Step + ": " + amount(float64(p.Done))
	if p.Total > 0 {
		line += " of " + amount(float64(p.Total))
	}
	rate := float64(p.Done) / max(passed.Seconds(), 0.001)
	line += ", " + amount(rate) + "/s"
	if p.Total > p.Done && p.Done > 0 {
		left := time.Duration(float64(p.Total-p.Done) / rate * float64(time.Second))
		line += ", " + left.Round(time.Second).String() + " left"
	}
	return line
}
