package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// median is the round in the middle, by requests per second.
func median(rounds []loadResult) loadResult {
	sorted := slices.Clone(rounds)
	slices.SortFunc(sorted, func(a, b loadResult) int { return int(a.perSecond() - b.perSecond()) })
	return sorted[len(sorted)/2]
}

// report prints the tables.
func report(o options, site siteDef, targets []*target, results map[string]map[string][]loadResult, flush time.Duration) error {
	var b bytes.Buffer
	commit, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		commit = []byte("unknown")
	}
	fmt.Fprintf(&b, "%s, commit %s, %s, %d cores (%s), fdatasync of 4 kB %.2f ms (median)\n\n", time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)),
		runtime.Version(), runtime.NumCPU(), cpuName(), float64(flush.Microseconds())/1000)
	fmt.Fprintf(&b, "%d users, %d gates; medians of %d interleaved rounds of %d s; the generator runs beside the server. Ratio: to the limit's rate, or for an arrival rate to its p99. CPU: the server's processor time for an answer, with the database's.\n\n", site.Users, site.Gates, o.Rounds, o.Seconds)
	b.WriteString("| load | server | answers/s | ratio | p50 ms | p90 ms | p99 ms | max ms | refused | failed | CPU µs |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, l := range loads {
		rounds := results[l.name]
		if rounds == nil {
			continue
		}
		limit := median(rounds["limit"])
		for _, t := range targets {
			res := median(rounds[t.name])
			ratio := res.perSecond() / limit.perSecond()
			if l.rate > 0 {
				ratio = res.P99 / limit.P99
			}
			fmt.Fprintf(&b, "| %s | %s | %.0f | %.2f | %.2f | %.2f | %.2f | %.1f | %d | %d | %.0f |\n", l.name, t.name, res.perSecond(), ratio, res.P50, res.P90, res.P99, res.Max, res.Refused, res.Failed, res.CPU)
		}
	}
	b.WriteString("\n| server | resident memory after the run |\n|---|--:|\n")
	for _, t := range targets {
		if mb := residentMB(t.pid); mb > 0 {
			fmt.Fprintf(&b, "| %s | %.0f MB |\n", t.name, mb)
		}
	}
	_, err = os.Stdout.Write(b.Bytes())
	return err
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
