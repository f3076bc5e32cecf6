package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// median has the median of each number by itself: at a fixed rate all rounds answer as many, and their rate says nothing of which was slow. Of what
// was refused and what failed it has the most, so that no round hides any.
func median(rounds []loadResult) (m loadResult) {
	of := func(number func(loadResult) float64) float64 {
		all := make([]float64, len(rounds))
		for i, r := range rounds {
			all[i] = number(r)
		}
		return middle(all)
	}
	m.Seconds = rounds[0].Seconds
	m.Answered = int(of(func(r loadResult) float64 { return float64(r.Answered) }))
	m.CPU = of(func(r loadResult) float64 { return r.CPU })
	m.P50 = of(func(r loadResult) float64 { return r.P50 })
	m.P90 = of(func(r loadResult) float64 { return r.P90 })
	m.P99 = of(func(r loadResult) float64 { return r.P99 })
	m.Max = of(func(r loadResult) float64 { return r.Max })
	for _, r := range rounds {
		m.Refused, m.Failed = max(m.Refused, r.Refused), max(m.Failed, r.Failed)
	}
	return m
}

// heading says what the numbers below it were measured on.
func heading(b *bytes.Buffer) {
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	fmt.Fprintf(b, "%s, commit %s, %s, %d cores (%s)\n\n", time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)), runtime.Version(), runtime.NumCPU(), cpuName())
}

// results of a run, by load and target, round by round.
type results map[string]map[string][]loadResult

// of is what the rounds of a load say together; ok is false where nothing was measured.
func (r results) of(load, target string) (res loadResult, ok bool) {
	rounds := r[load][target]
	if len(rounds) == 0 {
		return res, false
	}
	return median(rounds), true
}

// pick gives what was measured of a load and target in a round; NaN where that is nothing.
type pick func(load, target string) loadResult

// compared is the median, over the rounds, of a number that is made of several measurements of the same round: what else the machine does from minute to minute
// is in all of them. It is NaN where one was not measured.
func (r results) compared(number func(at pick, round int) float64) float64 {
	var all []float64
	for round := range r.rounds() {
		n := number(func(load, target string) loadResult {
			if rounds := r[load][target]; round < len(rounds) {
				return rounds[round]
			}
			return loadResult{Seconds: math.NaN(), P50: math.NaN(), P99: math.NaN()}
		}, round)
		if math.IsNaN(n) {
			return n
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		return math.NaN()
	}
	return middle(all)
}

// middle is the median. It sorts.
func middle[T cmp.Ordered](all []T) T {
	slices.Sort(all)
	return all[len(all)/2]
}

// rounds is how many there were.
func (r results) rounds() (n int) {
	for _, targets := range r {
		for _, rounds := range targets {
			n = max(n, len(rounds))
		}
	}
	return n
}

// report writes the tables and returns how many aims were missed. flushes are what a sync of the disk took, round by round.
func report(b *bytes.Buffer, o options, site siteDef, targets []*target, all results, flushes []time.Duration) (missed int) {
	flush := middle(slices.Clone(flushes))
	fmt.Fprintf(b, "%d users, %d gates; medians of %d interleaved rounds of %d s; the generator runs beside the server; fdatasync of 4 kB on this disk %.2f ms (median, measured in each round).\n", site.Users, site.Gates, o.Rounds, o.Seconds, millis(flush))
	b.WriteString("Ratio: to the limit's rate, or for an arrival rate to its p99; like the aims, the median of what each round says. Refused and failed: the most of a round. CPU: the server's processor time for an answer, its database's included.\n\n")
	b.WriteString("| load | server | answers/s | ratio | p50 ms | p90 ms | p99 ms | max ms | refused | failed | CPU µs |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, l := range loads {
		for _, t := range targets {
			res, ok := all.of(l.name, t.name)
			if !ok || t.tls != l.tls {
				continue
			}
			ratio := "–"
			n := all.compared(func(at pick, _ int) float64 {
				ours, limit := at(l.name, t.name), at(l.name, "limit")
				if l.rate > 0 {
					return ours.P99 / limit.P99
				}
				return ours.perSecond() / limit.perSecond()
			})
			if !math.IsNaN(n) {
				ratio = fmt.Sprintf("%.2f", n)
			}
			fmt.Fprintf(b, "| %s | %s | %.0f | %s | %.2f | %.2f | %.2f | %.1f | %d | %d | %.0f |\n", l.name, t.name, res.perSecond(), ratio, res.P50, res.P90, res.P99, res.Max, res.Refused, res.Failed, res.CPU)
		}
	}
	b.WriteString("\n| aim | server | measured | aimed at | |\n|---|---|--:|--:|---|\n")
	for _, t := range targets {
		if t.name != "limit" && !t.tls {
			missed += aims(b, all, t.name, flushes)
		}
	}
	b.WriteString("\n| server | resident memory after the run |\n|---|--:|\n")
	for _, t := range targets {
		if mb := residentMB(t.pid); mb > 0 {
			name := t.name
			if t.tls {
				name += ", TLS"
			}
			fmt.Fprintf(b, "| %s | %.0f MB |\n", name, mb)
		}
	}
	return missed
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

// aims holds one server's numbers to what they are meant to be, and returns how many are not.
func aims(b *bytes.Buffer, all results, name string, flushes []time.Duration) (missed int) {
	least := func(what string, aim float64, number func(at pick, round int) float64) {
		measured := all.compared(number)
		missed += aimRow(b, what, name, measured, ">= ", aim, measured >= aim)
	}
	most := func(what string, aim float64, number func(at pick, round int) float64) {
		measured := all.compared(number)
		missed += aimRow(b, what, name, measured, "<= ", aim, measured <= aim)
	}
	byLimit := func(load string) func(pick, int) float64 {
		return func(at pick, _ int) float64 { return at(load, name).perSecond() / at(load, "limit").perSecond() }
	}
	byCallers := func(load string) func(pick, int) float64 {
		return func(at pick, _ int) float64 { return at(load, name).perSecond() / at(callers64, name).perSecond() }
	}
	least("rate of 64 callers, by the limit's", 0.50, byLimit(callers64))
	least("rate of 256 callers, by the limit's", 0.60, byLimit(callers256))
	most("p50 of one caller, by the limit's p50 + one fdatasync", 1.6, func(at pick, round int) float64 {
		return at(oneCaller, name).P50 / (at(oneCaller, "limit").P50 + millis(flushes[round]))
	})
	most("p99 at 3,000/s, by the limit's", 2, func(at pick, _ int) float64 { return at(arriving, name).P99 / at(arriving, "limit").P99 })
	for _, c := range [][2]string{{fresh, "what is left on new connections"}, {secure, "what is left over TLS"}, {secureFresh, "what is left on new connections over TLS"}} {
		least(c[1]+", by what is left of the limit", 0.85, func(at pick, round int) float64 { return byLimit(c[0])(at, round) / byLimit(callers64)(at, round) })
	}
	least("rate during 200 bad logins, by the rate without", 0.70, byCallers(duringLogins))
	most("p99 of what is answered to 4,096 callers, by the p99 of 256", 10, func(at pick, _ int) float64 { return at(manyCallers, name).P99 / at(callers256, name).P99 })
	least("rate right after those, by the rate before", 0.8, byCallers(afterMany))
	return missed
}

// aimRow writes a line of the table of aims, where there was something to measure, and returns 1 when the aim is missed.
func aimRow(b *bytes.Buffer, what, name string, measured float64, relation string, aim float64, met bool) (missed int) {
	if math.IsNaN(measured) || math.IsInf(measured, 0) {
		return 0
	}
	verdict := "met"
	if !met {
		verdict, missed = "**missed**", 1
	}
	fmt.Fprintf(b, "| %s | %s | %.2f | %s%.2f | %s |\n", what, name, measured, relation, aim, verdict)
	return missed
}

// report writes the table of the great site and returns how many aims were missed.
func (r millionResult) report(b *bytes.Buffer) (missed int) {
	fmt.Fprintf(b, "A site of %d users in 10 groups each of 200, 1,000 gates, %d permissions, on SQLite; a small one of 100 users; and an empty one:\n\n", r.Users, r.Permissions)
	b.WriteString("| aim | server | measured | aimed at | |\n|---|---|--:|--:|---|\n")
	most := func(what, name string, measured, aim float64) {
		missed += aimRow(b, what, name, measured, "<= ", aim, measured <= aim)
	}
	const great, small, empty = "great site", "small site", "empty site"
	most("snapshot, bytes a user (with groups and token)", great, r.BytesUser, 100)
	most("snapshot, bytes a permission", great, r.BytesPermission, 10)
	most("decision, µs", great, r.DecideNanos/1000, 0.6)
	most("allocations of a decision", great, r.Allocations, 0)
	most("one permission changed: read and applied, ms (median of 50)", great, r.AppliedMillis, 5)
	most("the same, ms (slowest of 50)", great, r.AppliedMaxMillis, 5)
	most("start to first answer, s", great, r.Great.Seconds, 5)
	most("start to first answer, s", small, r.Small.Seconds, 0.3)
	most("resident memory after the start, MB", great, r.Great.MB, 250)
	most("resident memory after 2,000 answers, MB", great, r.Great.LaterMB, 250)
	most("start to first answer, s", empty, r.Empty.Seconds, 0.3)
	most("resident memory after the start, MB", empty, r.Empty.MB, 60)
	most("resident memory after 2,000 answers, MB", empty, r.Empty.LaterMB, 60)
	fmt.Fprintf(b, "\nThe whole snapshot holds %.0f MB; the policy was read and compiled in %.1f s by a process that did nothing else.\n", r.HeapMB, r.LoadSeconds)
	return missed
}

// The marks in a page between which a run's numbers stand.
const (
	beginMark = "<!-- numbers: go run ./bench --write -->\n"
	endMark   = "<!-- end of numbers -->\n"
)

// writePage puts the numbers between the marks of a page.
func writePage(path string, numbers []byte) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(page, []byte(beginMark))
	_, after, ends := bytes.Cut(rest, []byte(endMark))
	if !begins || !ends {
		return fmt.Errorf("%s has no place for numbers: %q and %q", path, beginMark, endMark)
	}
	out := slices.Concat(before, []byte(beginMark), numbers, []byte(endMark), after)
	return os.WriteFile(path, out, 0o600)
}

func cpuName() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if after, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(after), ":"))
		}
	}
	return runtime.GOARCH
}
