// Command bench measures verify against what the machine can do at all, in one run, and prints ratios.
//
//	go run ./bench                     both engines against the bare server, about eight minutes
//	go run ./bench --quick             a first impression in two minutes; not for publishing
//	go run ./bench --million           a site of a million users: memory, start, decision, a change's way to its effect; about four minutes
//	go run ./bench --write             both, and docs/performance.md gets the numbers
//	go run ./bench --check             ends with an error when an aim is missed; with --million as well
//	go run ./bench --peer old=http://127.0.0.1:8000   any other server that holds the bench's site, such as the one you come from
//
// A peer is to have the users, groups, gates and permissions that --site prints, and no throttle for this address: an answer 429 is no decision, and voids the run.
//
// "The limit" is a net/http server that decodes the same body and gives a fixed answer: what a Go server on this machine does at least. Rounds are
// interleaved and the medians count, so that a noisy neighbour hits all alike. Each answer's decision is checked
// against the site's rules; a single wrong one voids the run, and so do connections that fail.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
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
	Peer    map[string]string `help:"NAME=URL of another server that holds the bench's site (--site prints it)." placeholder:"NAME=URL"`
	Rounds  int               `help:"Interleaved rounds; the medians count." default:"3"`
	Seconds int               `help:"Measured seconds of each." default:"4"`
	Users   int               `help:"Users of the site." default:"10000"`
	Gates   int               `help:"Gates of the site." default:"100"`
	Only    string            `help:"Only cases whose name contains this."`
	Million bool              `help:"Measure a site of a million users instead."`
	Crowd   int               `help:"How many users that site has." default:"1000000"`
	Write   bool              `help:"Measure everything and write the numbers into docs/performance.md."`
	Check   bool              `help:"End with an error when an aim is missed."`
	Site    bool              `help:"Print the bench's site as a file for openway apply, and end."`
	Binary  string            `help:"An openway binary to measure instead of building one." type:"existingfile"`
}

// load is one way of asking.
type load struct {
	name  string
	conns int
	rate  float64
	fresh bool
	tls   bool
	storm int  // callers that sign in with wrong passwords meanwhile
	ours  bool // tells nothing of the limit
}

const (
	oneCaller    = "1 caller"
	callers64    = "64 callers"
	callers256   = "256 callers"
	arriving     = "3,000/s arriving"
	fresh        = "64, new connections"
	secure       = "64, TLS"
	secureFresh  = "64, TLS, new connections"
	manyCallers  = "4,096 callers"
	afterMany    = "64 callers, right after"
	duringLogins = "64 callers, 200 bad logins"
)

var loads = []load{
	{name: oneCaller, conns: 1},
	{name: callers64, conns: 64},
	{name: callers256, conns: 256},
	{name: arriving, conns: 256, rate: 3000},
	{name: fresh, conns: 64, fresh: true},
	{name: secure, conns: 64, tls: true},
	{name: secureFresh, conns: 64, tls: true, fresh: true},
	{name: duringLogins, conns: 64, storm: 200, ours: true},
	{name: manyCallers, conns: 4096, ours: true},
	{name: afterMany, conns: 64, ours: true},
}

func main() {
	if len(os.Args) > 1 { // the bench's own processes
		var err error
		switch os.Args[1] {
		case "load":
			err = loadMain()
		case "bare":
			err = bareMain()
		case "snapshot":
			err = snapshotMain()
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
	if o.Binary == "" {
		o.Binary = filepath.Join(dir, "openway")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", o.Binary, "./cmd/openway")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	var page bytes.Buffer
	missed := 0
	heading(&page)
	if !o.Million {
		if missed, err = rates(ctx, o, site, dir, &page); err != nil {
			return err
		}
	}
	if o.Million || o.Write {
		r, err := million(ctx, o, dir, o.Binary)
		if err != nil {
			return err
		}
		page.WriteByte('\n')
		missed += r.report(&page)
	}
	if _, err := os.Stdout.Write(page.Bytes()); err != nil {
		return err
	}
	if o.Write {
		if err := writePage("docs/performance.md", page.Bytes()); err != nil {
			return err
		}
	}
	if o.Check && missed > 0 {
		return fmt.Errorf("%d aims were missed on this machine: the table says which", missed)
	}
	return nil
}

// rates measures the loads in interleaved rounds and returns how many aims were missed.
func rates(ctx context.Context, o options, site siteDef, dir string, page *bytes.Buffer) (missed int, err error) {
	targets, stop, err := startAll(ctx, o, site, dir)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return 0, err
	}
	all := results{}
	var flushes []time.Duration
	for round := range o.Rounds {
		flush, err := fsyncTime(dir)
		if err != nil {
			return 0, err
		}
		flushes = append(flushes, flush)
		for _, l := range loads {
			if !strings.Contains(l.name, o.Only) {
				continue
			}
			if all[l.name] == nil {
				all[l.name] = map[string][]loadResult{}
			}
			for _, t := range targets {
				if t.tls != l.tls || l.ours && !t.ours {
					continue
				}
				res, err := measure(ctx, t, site, l, o, uint64(round))
				if err != nil {
					return 0, fmt.Errorf("%s, %s: %w", t.name, l.name, err)
				}
				all[l.name][t.name] = append(all[l.name][t.name], res)
				fmt.Fprintf(os.Stderr, "round %d  %-26s %-10s %8.0f/s  p50 %6.2f  p99 %7.2f ms  refused %d\n", round+1, l.name, t.name, res.perSecond(), res.P50, res.P99, res.Refused)
			}
		}
	}
	return report(page, o, site, targets, all, flushes), nil
}

// startAll starts the limit, our server on each engine, each once more for TLS, and names the peers. stop ends what was started, also after an error.
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
	certFile, keyFile, err := makeCertificate(dir)
	if err != nil {
		return nil, stop, err
	}
	https := []bool{false, true}
	if len(o.Engines) > 0 && !speaksHTTPS(ctx, o.Binary) {
		fmt.Fprintln(os.Stderr, "this openway has no --tls-cert: the cases over TLS are left out")
		https = https[:1]
	}
	self, err := os.Executable()
	if err != nil {
		return nil, stop, err
	}
	server, postmaster := "", 0
	if slices.Contains(o.Engines, "postgres") {
		var stopPostgres func() error
		if server, postmaster, stopPostgres, err = startPostgres(dir); err != nil {
			return nil, stop, err
		}
		stops = append(stops, stopPostgres)
	}
	for _, tls := range https {
		args, more := []string{"bare"}, []string(nil)
		if tls {
			args, more = append(args, certFile, keyFile), []string{"OPENWAY_TLS_CERT=" + certFile, "OPENWAY_TLS_KEY=" + keyFile}
		}
		bare, err := child("limit", exec.CommandContext(ctx, self, args...))
		if err == nil {
			bare.tls = tls
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
		for _, engine := range o.Engines {
			database, base := filepath.Join(dir, fmt.Sprintf("openway-%t.db", tls)), 0
			if engine == "postgres" {
				database, base = strings.Replace(server, "/postgres?", fmt.Sprintf("/openway_%t?", tls), 1), postmaster
			}
			t, err := startOurs(ctx, engine, o.Binary, dir, database, site.yaml(), more...)
			if err := add(t, err); err != nil {
				return nil, stop, err
			}
			t.base, t.tls, t.ours = base, tls, true
		}
	}
	for name, at := range o.Peer {
		t, err := peer(name, at)
		if err := add(t, err); err != nil {
			return nil, stop, err
		}
	}
	return targets, stop, nil
}

// peer is a server that runs already.
func peer(name, at string) (*target, error) {
	if !strings.Contains(at, "://") {
		at = "http://" + at
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("--peer %s=%s is not a URL such as http://127.0.0.1:8000", name, at)
	}
	t := &target{name: name, addr: u.Host, host: u.Host, tls: u.Scheme == "https"}
	if u.Port() == "" {
		t.addr = net.JoinHostPort(u.Hostname(), map[bool]string{false: "80", true: "443"}[t.tls])
	}
	return t, nil
}

// measure runs the load generator in a process of its own.
func measure(ctx context.Context, t *target, site siteDef, l load, o options, seed uint64) (res loadResult, err error) {
	order := loadOrder{
		Addr: t.addr, Host: t.host, TLS: t.tls, Site: site, Conns: l.conns, Fresh: l.fresh, Rate: l.rate, Seed: seed,
		WarmUp: time.Second, Duration: time.Duration(o.Seconds) * time.Second,
	}
	if l.name == afterMany { // how soon it is itself again
		order.WarmUp = 0
	}
	if l.storm > 0 {
		logins := order
		logins.Conns, logins.Logins = l.storm, true
		ended := make(chan error, 1)
		go func() {
			tried, err := generate(ctx, logins)
			if err == nil && (tried.Served == 0 || tried.Wrong > 0) {
				err = fmt.Errorf("of those who signed in %d were answered, %d by neither a refusal nor a 503: that was no storm", tried.Served, tried.Wrong)
			}
			fmt.Fprintf(os.Stderr, "meanwhile %d bad logins were answered\n", tried.Served)
			ended <- err
		}()
		defer func() { err = errors.Join(err, <-ended) }()
	}
	before := t.cpuSeconds()
	res, err = generate(ctx, order)
	if err != nil {
		return res, err
	}
	used := t.cpuSeconds() - before
	res.CPU = 1e6 * used / float64(res.Served)
	if res.Wrong > 0 {
		return res, fmt.Errorf("%d of %d answers were wrong: this run measures nothing", res.Wrong, res.Wrong+res.Answered)
	}
	if res.Answered == 0 || 100*res.Failed > res.Answered {
		return res, fmt.Errorf("%d connections failed beside %d answers: this run measures nothing", res.Failed, res.Answered)
	}
	if l.tls && l.fresh && 10*res.Resumed < 9*res.Answered {
		return res, fmt.Errorf("%d of %d answers came over a resumed session: this measures full handshakes", res.Resumed, res.Answered)
	}
	if share := float64(res.Allow) / float64(res.Answered); t.name != "limit" && (share < 0.80 || share > 0.87) {
		return res, fmt.Errorf("%.1f %% of the answers were ALLOW, the site's rules give 83.3 %%", 100*share)
	}
	return res, nil
}

func generate(ctx context.Context, order loadOrder) (res loadResult, err error) {
	self, err := os.Executable()
	if err != nil {
		return res, err
	}
	in, err := json.Marshal(order)
	if err != nil {
		return res, err
	}
	cmd := exec.CommandContext(ctx, self, "load")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return res, err
	}
	return res, json.Unmarshal(out, &res)
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
	return middle(took), nil
}
