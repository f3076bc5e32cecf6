// Command bench measures verify against what the machine can do at all, in one run, and prints ratios.
//
//	go run ./bench                     both engines against the bare server, about six minutes
//	go run ./bench --quick             a first impression in one minute; not for publishing
//	go run ./bench --peer old=127.0.0.1:8000   any other server that holds the bench's site, such as the one you come from
//
// "The limit" is a net/http server that decodes the same body and gives a fixed answer: what a Go server on this machine does at least. Rounds are
// interleaved and the median round counts, so that a noisy neighbour hits all alike. Each answer's decision is checked
// against the site's rules; a single wrong one voids the run.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Quick   bool              `help:"One round of two seconds: a first impression."`
	Engines []string          `help:"Engines to measure." default:"sqlite,postgres" enum:"sqlite,postgres"`
	Peer    map[string]string `help:"NAME=HOST:PORT of another server that holds the bench's site (--site prints it)." placeholder:"NAME=ADDR"`
	Rounds  int               `help:"Interleaved rounds; the median counts." default:"3"`
	Seconds int               `help:"Measured seconds of each." default:"5"`
	Users   int               `help:"Users of the site." default:"10000"`
	Gates   int               `help:"Gates of the site." default:"100"`
	Only    string            `help:"Only cases whose name contains this."`
	Site    bool              `help:"Print the bench's site as a file for openway apply, and end."`
	Binary  string            `help:"An openway binary to measure instead of building one." type:"existingfile"`
}

// load is one way of asking.
type load struct {
	name  string
	conns int
	rate  float64
	fresh bool
}

var loads = []load{
	{name: "1 caller", conns: 1},
	{name: "64 callers", conns: 64},
	{name: "256 callers", conns: 256},
	{name: "64, new connections", conns: 64, fresh: true},
	{name: "3,000/s arriving", conns: 256, rate: 3000},
}

func main() {
	if len(os.Args) > 1 { // the bench's own processes
		var err error
		switch os.Args[1] {
		case "load":
			err = loadMain()
		case "bare":
			err = bareMain()
		default:
			err = errNotOurs
		}
		if !errors.Is(err, errNotOurs) {
			exitOn(err)
			return
		}
	}
	var o options
	kong.Parse(&o, kong.Name("bench"), kong.Description("Measure verify against the limit of this machine."))
	if o.Quick {
		o.Rounds, o.Seconds = 1, 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	exitOn(run(ctx, o))
}

var errNotOurs = errors.New("not a process of the bench's own")

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	site := siteDef{Users: o.Users, Gates: o.Gates, Groups: 60}
	if o.Site {
		_, err := os.Stdout.Write(site.yaml())
		return err
	}
	dir, err := os.MkdirTemp("", "openway-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	targets, stop, err := startAll(ctx, o, site, dir)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	results := map[string]map[string][]loadResult{} // load -> target -> rounds
	for round := range o.Rounds {
		for _, l := range loads {
			if !strings.Contains(l.name, o.Only) {
				continue
			}
			if results[l.name] == nil {
				results[l.name] = map[string][]loadResult{}
			}
			for _, t := range targets {
				res, err := measure(ctx, t, site, l, o, uint64(round))
				if err != nil {
					return fmt.Errorf("%s, %s: %w", t.name, l.name, err)
				}
				results[l.name][t.name] = append(results[l.name][t.name], res)
				fmt.Fprintf(os.Stderr, "round %d  %-22s %-12s %8.0f/s  p50 %6.2f  p99 %7.2f ms\n", round+1, l.name, t.name, res.perSecond(), res.P50, res.P99)
			}
		}
	}
	flush, err := fsyncTime(dir)
	if err != nil {
		return err
	}
	return report(o, site, targets, results, flush)
}

// startAll starts the limit, our server on each engine, and names the peers. stop ends what was started, also after an error.
func startAll(ctx context.Context, o options, site siteDef, dir string) (targets []*target, stop func() error, err error) {
	var stops []func() error
	stop = func() error {
		var errs []error
		for _, s := range slices.Backward(stops) {
			errs = append(errs, s())
		}
		return errors.Join(errs...)
	}
	add := func(t *target, err error) error {
		if err != nil {
			return err
		}
		targets = append(targets, t)
		if t.stop != nil {
			stops = append(stops, t.stop)
		}
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, stop, err
	}
	bare, err := child("limit", exec.CommandContext(ctx, self, "bare"))
	if err == nil {
		end := bare.stop
		bare.stop = func() error { // it has no orderly end
			var exit *exec.ExitError
			if err := end(); err != nil && !errors.As(err, &exit) {
				return err
			}
			return nil
		}
	}
	if err := add(bare, err); err != nil {
		return nil, stop, err
	}
	binary := o.Binary
	if binary == "" && len(o.Engines) > 0 {
		binary = filepath.Join(dir, "openway")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/openway")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, stop, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	for _, engine := range o.Engines {
		database, base := filepath.Join(dir, "openway.db"), 0
		if engine == "postgres" {
			url, postmaster, stopPostgres, err := startPostgres(dir)
			if err != nil {
				return nil, stop, err
			}
			stops = append(stops, stopPostgres)
			database, base = url, postmaster
		}
		t, err := startOurs(ctx, engine, binary, dir, database, site.yaml())
		if err := add(t, err); err != nil {
			return nil, stop, err
		}
		t.base = base
	}
	for name, addr := range o.Peer {
		targets = append(targets, &target{name: name, addr: addr})
	}
	return targets, stop, nil
}

// measure runs the load generator in a process of its own.
func measure(ctx context.Context, t *target, site siteDef, l load, o options, seed uint64) (loadResult, error) {
	order := loadOrder{
		Addr: t.addr, Site: site, Conns: l.conns, Fresh: l.fresh, Rate: l.rate, Seed: seed,
		WarmUp: time.Second, Duration: time.Duration(o.Seconds) * time.Second,
	}
	self, err := os.Executable()
	if err != nil {
		return loadResult{}, err
	}
	in, err := json.Marshal(order)
	if err != nil {
		return loadResult{}, err
	}
	cmd := exec.CommandContext(ctx, self, "load")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	before := t.cpuSeconds()
	out, err := cmd.Output()
	if err != nil {
		return loadResult{}, err
	}
	used := t.cpuSeconds() - before
	var res loadResult
	if err := json.Unmarshal(out, &res); err != nil {
		return res, err
	}
	res.CPU = 1e6 * used / float64(res.Served)
	if res.Wrong > 0 {
		return res, fmt.Errorf("%d of %d answers were wrong: this run measures nothing", res.Wrong, res.Wrong+res.Answered)
	}
	if share := float64(res.Allow) / float64(res.Answered); t.name != "limit" && (share < 0.80 || share > 0.87) {
		return res, fmt.Errorf("%.1f %% of the answers were ALLOW, the site's rules give 83.3 %%", 100*share)
	}
	return res, nil
}

// fsyncTime is the median time that one fdatasync of a small write takes on the disk of dir.
func fsyncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	took := make([]time.Duration, 300)
	for i := range took {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		begun := time.Now()
		if err := flush(f); err != nil {
			return 0, err
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
