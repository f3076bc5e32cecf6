package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/sitefile"
	"github.com/openway-access/openway/internal/store"
)

// DemoCmd runs a server with a throw-away site.
type DemoCmd struct {
	Listen   string `group:"http" placeholder:"ADDRESS" help:"Where to listen: host:port; :8001 is every address of this machine."`
	Language string `group:"http" placeholder:"en|ru" help:"Language of texts where a request names none of the two; en."`
}

// Help is the example of --help.
func (DemoCmd) Help() string {
	return "A small site with some hours of events, in a database of its own that is deleted at the end. Nothing else on this machine is touched, and no setting of the " +
		"real installation counts.\n\nExample:\n\n    openway demo\n    OPENWAY_LISTEN=127.0.0.1:9000 openway demo"
}

//go:embed demo_site.yaml
var demoSiteFile []byte

// demoAge is how old the demo's site is when it starts: its people were entered some days ago.
const demoAge = 3 * 24 * time.Hour

// Run serves it until a signal.
func (c *DemoCmd) Run(a *app) (err error) {
	plan, err := (&serveSettings{Listen: c.Listen, Language: c.Language}).plan()
	if err != nil {
		return err
	}
	if err := free(a.ctx, plan.listeners()); err != nil {
		return err
	}
	log, err := a.commandLogger()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "openway-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer func() {
		if e := os.RemoveAll(dir); e != nil {
			err = errors.Join(err, fmt.Errorf("remove the demo: %w", e))
		}
	}()
	clock := &demoClock{now: a.now}
	in, err := openDemo(a.ctx, filepath.Join(dir, "openway.db"), clock, log)
	if err != nil {
		return unlessEnded(a.ctx, err)
	}
	err = c.serve(a.ctx, a, in, clock, plan, log, dir)
	if err = errors.Join(err, in.close()); err == nil {
		a.printf("The demo is over, its files are gone.\n")
	}
	return err
}

func (c *DemoCmd) serve(ctx context.Context, a *app, in *installation, clock *demoClock, plan servePlan, log *slog.Logger, dir string) error {
	site, err := seedDemo(ctx, in, clock)
	if err != nil {
		return unlessEnded(ctx, err)
	}
	var greeting sync.WaitGroup
	defer greeting.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err = serving{plan: plan, log: log, listening: func(at net.Addr) {
		url := "http://" + localAddress(plan.listen, at)
		greeting.Go(func() {
			if err := answers(ctx, url); err != nil {
				cancel(fmt.Errorf("the demo's server does not answer: %w", err))
				return
			}
			a.print(site.greeting(url, dir))
		})
	}}.run(ctx, in)
	if err == nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		err = context.Cause(ctx)
	}
	return err
}

// unlessEnded drops the error of work that Ctrl-C broke off: what it was doing is thrown away anyway.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// localAddress is how a browser on this machine reaches the server.
func localAddress(listen string, at net.Addr) string {
	host, _, _ := net.SplitHostPort(listen)
	_, port, _ := net.SplitHostPort(at.String())
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// answers waits until the server does.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /health: %s", resp.Status)
	}
	return nil
}

// demoClock is the past while the demo is made and the present from then on.
type demoClock struct {
	now func() time.Time
	mu  sync.Mutex
	at  time.Time // zero = the present
}

func (c *demoClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t
}

func (c *demoClock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return c.now()
	}
	return c.at
}

// openDemo makes the demo's database. Its clock stands some days ago.
func openDemo(ctx context.Context, path string, clock *demoClock, log *slog.Logger) (*installation, error) {
	clock.set(clock.now().Add(-demoAge))
	st, err := store.Open(ctx, store.Options{Database: path, Logger: log, Zone: "UTC", Now: clock.time})
	if err != nil {
		return nil, err
	}
	in := &installation{store: st, idleDays: defaultIdleDays, actor: commandActor()}
	if err := in.prepare(ctx, path, secretSource{}, openOptions{serving: true, log: log}); err != nil {
		return nil, errors.Join(err, in.close())
	}
	return in, nil
}

// demoSite is what the greeting and the events need to know of the site.
type demoSite struct {
	password string
	phones   map[string][]string // user name -> tokens of devices
	tokens   map[string]string   // user name -> API token
}

// seedDemo enters the site and some hours of events, then lets the clock run.
func seedDemo(ctx context.Context, in *installation, clock *demoClock) (*demoSite, error) {
	file, err := sitefile.Parse("demo_site.yaml", demoSiteFile)
	if err != nil {
		return nil, fmt.Errorf("the demo's site: %w", err)
	}
	made := &demoSite{password: demoPassword(), phones: map[string][]string{}, tokens: map[string]string{}}
	for i := range file.Users {
		u := &file.Users[i]
		made.tokens[u.Username] = credential.MintUserToken()
		u.Tokens = []string{made.tokens[u.Username]}
		if u.Superuser {
			u.Password = made.password
		}
	}
	for i := range file.Devices {
		d := &file.Devices[i]
		d.Token = credential.MintDeviceToken()
		made.phones[d.User] = append(made.phones[d.User], d.Token)
	}
	now := clock.now()
	file.Permissions = append(file.Permissions, sitefile.Permission{
		Gate: "front-door", User: "grace.lee", Allow: true,
		ValidFrom: sitefile.Instant(now.Add(-5 * time.Hour).Truncate(time.Minute)), ValidUntil: sitefile.Instant(now.Add(4 * time.Hour).Truncate(time.Minute)),
	})
	if _, err := in.desk.Apply(ctx, in.actor, file, registry.ApplyOptions{}); err != nil {
		return nil, fmt.Errorf("enter the demo's site: %w", err)
	}
	if err := made.events(ctx, in, clock); err != nil {
		return nil, fmt.Errorf("enter the demo's events: %w", err)
	}
	clock.set(time.Time{})
	return made, nil
}

// demoPassword is new each time: whoever reaches the port must not know it.
func demoPassword() string {
	s := credential.MintUserToken()
	return "door-" + s[:5] + "-" + s[5:10]
}

// greeting is what the terminal shows. The command is the first and only place of the word curl.
func (d *demoSite) greeting(url, dir string) string {
	return fmt.Sprintf(`
OpenWay Access, a demo. Its data is thrown away at the end.

  Server    %[1]s
  Admin     %[1]s/admin/
  API       %[1]s/docs/
  Sign in   user admin, password %[2]s
  Database  %[3]s

May Anna Petrova pass the front door? Ask as a door controller does, in another terminal:

curl -sS -X POST %[1]s/api/v1/access/verify \
  -H 'Content-Type: application/json' \
  -d '{"gate_id":"front-door","token":"%[4]s"}'

Ctrl-C ends the demo.
`, url, d.password, filepath.Join(dir, "openway.db"), d.tokens["anna.petrova"])
}
