package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openway-access/openway/api"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/httpapi"
	"github.com/openway-access/openway/internal/metrics"
	"github.com/openway-access/openway/internal/server"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/throttle"
	"github.com/openway-access/openway/internal/webadmin"
)

// ServeCmd runs the server.
type ServeCmd struct {
	serveSettings
	NoMigrate bool `help:"Refuse to start when the database's schema is behind, instead of migrating it."`
}

// Help is the example of --help.
func (ServeCmd) Help() string {
	return "SIGTERM or SIGINT ends it after every request under way is answered and every event written; a second one ends it at once. SIGHUP takes up " +
		"the log level (as the file of settings has it now) and the certificate.\n\n" +
		"Example:\n\n    openway serve\n    OPENWAY_DATABASE=postgres://openway@db/openway OPENWAY_SECRET_KEY_FILE=/run/secrets/openway openway serve --listen 127.0.0.1:8001\n    openway serve --acme-domain access.example.org --gate-listen 10.0.0.5:8080"
}

// serveSettings are the settings of a running server.
type serveSettings struct {
	Listen    string `group:"http" placeholder:"ADDRESS" help:"Where to listen: host:port; :8001, every address of this machine; with HTTPS :443."`
	PublicURL string `name:"public-url" group:"http" placeholder:"URL" help:"Where people reach the server, such as https://access.example.org."`
	Language  string `group:"http" placeholder:"en|ru" help:"Language of texts where a request names none of the two; en."`

	AllowedHosts       string `group:"http" env:"ALLOWED_HOSTS,OPENWAY_ALLOWED_HOSTS" placeholder:"HOSTS" help:"Host names that are answered, with commas; .example.org = with all below it; any if unset."`
	CORSAllowedOrigins string `name:"cors-allowed-origins" group:"http" env:"CORS_ALLOWED_ORIGINS,OPENWAY_CORS_ALLOWED_ORIGINS" placeholder:"ORIGINS" help:"Origins whose scripts may read answers, with commas, such as https://app.example.org."`
	TrustedProxies     string `group:"http" placeholder:"CIDRS" help:"Proxies whose X-Forwarded-For is believed, with commas, such as 10.0.0.0/8."`

	httpsSettings
	GateListen    string `group:"http" placeholder:"ADDRESS" help:"Plain HTTP for controllers that cannot speak HTTPS, such as 10.0.0.5:8080: verify and health, nothing else; off."`
	MetricsListen string `group:"http" placeholder:"ADDRESS" help:"Where Prometheus reads /metrics, such as 127.0.0.1:9090; off."`

	AccessVerifyRate string `group:"limits" env:"ACCESS_VERIFY_RATE,OPENWAY_ACCESS_VERIFY_RATE" placeholder:"RATE" help:"Verify requests by client address; 30/second."`
	UserRate         string `group:"limits" placeholder:"RATE" help:"API calls of a signed-in user; 1000/day."`
	AnonRate         string `group:"limits" placeholder:"RATE" help:"Anonymous API calls by client address; 100/day."`
	LoginRate        string `group:"limits" placeholder:"RATE" help:"Sign-ins by address and failures by user name; 10/minute."`
}

// servePlan is what serveSettings say, read and checked.
type servePlan struct {
	listen    string
	https     httpsPlan
	gates     string   // address of plain HTTP for controllers; "" = none
	metrics   string   // "" = none
	publicURL *url.URL // nil = unset
	language  string
	hosts     []string
	origins   []string
	proxies   []netip.Prefix

	verifyRate, userRate, anonRate, loginRate throttle.Rate
}

const defaultListen = ":8001"

// usualListen is where to listen when nobody says.
func usualListen(https bool) string {
	if https {
		return defaultHTTPSListen
	}
	return defaultListen
}

// plan reads the settings. An error names the setting.
func (c *serveSettings) plan() (p servePlan, err error) {
	if p.listen, err = listenAddress(mainListener, c.Listen, usualListen(c.on())); err != nil {
		return p, err
	}
	if p.https, err = c.httpsSettings.plan(p.listen); err != nil {
		return p, err
	}
	if p.gates, err = extraAddress(gateListener, c.GateListen); err != nil {
		return p, err
	}
	if p.metrics, err = extraAddress(metricsListener, c.MetricsListen); err != nil {
		return p, err
	}
	for _, r := range []struct {
		name, value, unset string
		to                 *throttle.Rate
	}{
		{"ACCESS_VERIFY_RATE", c.AccessVerifyRate, "30/second", &p.verifyRate},
		{"OPENWAY_USER_RATE", c.UserRate, "1000/day", &p.userRate},
		{"OPENWAY_ANON_RATE", c.AnonRate, "100/day", &p.anonRate},
		{"OPENWAY_LOGIN_RATE", c.LoginRate, "10/minute", &p.loginRate},
	} {
		value := r.value
		if strings.TrimSpace(value) == "" {
			value = r.unset
		}
		if *r.to, err = throttle.ParseRate(value); err != nil {
			return p, settingError(r.name, "%w", err)
		}
	}
	p.hosts = list(c.AllowedHosts)
	if len(p.hosts) == 0 && strings.TrimSpace(c.AllowedHosts) != "" { // not the same as unset, which answers any
		return p, settingError("ALLOWED_HOSTS", "%q names no host", c.AllowedHosts)
	}
	if _, err := server.ParseHosts(p.hosts); err != nil {
		return p, settingError("ALLOWED_HOSTS", "%w", err)
	}
	if len(p.hosts) > 0 { // the authority asks there
		p.hosts = append(p.hosts, p.https.domains...)
	}
	for _, o := range list(c.CORSAllowedOrigins) {
		origin, err := server.ParseOrigin(o)
		if err != nil {
			return p, settingError("CORS_ALLOWED_ORIGINS", "%w", err)
		}
		p.origins = append(p.origins, origin)
	}
	if p.proxies, err = prefixes("OPENWAY_TRUSTED_PROXIES", c.TrustedProxies); err != nil {
		return p, err
	}
	if s := strings.TrimSpace(c.PublicURL); s != "" {
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
			return p, settingError("OPENWAY_PUBLIC_URL", "%q is not a URL such as https://access.example.org", s)
		}
		p.publicURL = u
	}
	switch p.language = strings.ToLower(strings.TrimSpace(c.Language)); p.language {
	case "":
		p.language = "en"
	case "en", "ru":
	default:
		return p, settingError("OPENWAY_LANGUAGE", "%q is not en or ru", c.Language)
	}
	return p, nil
}

// prefixes reads a list of CIDRs and addresses.
func prefixes(name, s string) (out []netip.Prefix, err error) {
	for _, item := range list(s) {
		if a, err := netip.ParseAddr(item); err == nil {
			a = a.Unmap().WithZone("")
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(item)
		if err != nil {
			return nil, settingError(name, "%q is not a network such as 10.0.0.0/8 or an address", item)
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return nil, settingError(name, "%q: write the IPv4 network as such", item)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Run serves until a signal.
func (c *ServeCmd) Run(a *app) (err error) {
	plan, err := c.plan()
	if err != nil {
		return err
	}
	log, logs, level, err := a.serverLogger()
	if err != nil {
		return err
	}
	defer logs.Close(logPatience)
	a.warnOfStrangers(log)
	paceCollector()
	if a.settings.production() && len(plan.hosts) == 0 {
		log.Warn("this is production and ALLOWED_HOSTS is not set: any Host header is answered")
	}
	if err := free(a.ctx, plan.listeners()); err != nil {
		return err
	}
	secure, err := plan.https.begin(a.settings, log)
	if err != nil {
		return err
	}
	defer a.onHangup(func() { a.reload(log, level, secure) })()
	in, err := openInstallation(a.ctx, a.settings, openOptions{noMigrate: c.NoMigrate, serving: true, log: log})
	if err != nil {
		return err
	}
	anew := a.beginAnewWhenFailed(in.store, log, logs)
	err = serving{plan: plan, log: log, logs: logs, https: secure}.run(a.ctx, in)
	if in.store.FailedBy() != nil {
		<-anew // another process goes on in the place of this one, unless this one was told to end
	}
	err = errors.Join(err, in.close())
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// logPatience is how long the end of the process waits for whoever reads the log.
const logPatience = 2 * time.Second

// serverLogger is the log of a running server, on standard output, and its level, which may change while it runs. Close the writer last.
func (a *app) serverLogger() (*slog.Logger, *server.LogWriter, *slog.LevelVar, error) {
	level := new(slog.LevelVar)
	at, err := a.settings.level()
	if err != nil {
		return nil, nil, nil, err
	}
	level.Set(at)
	format, err := a.settings.format(a.out)
	if err != nil {
		return nil, nil, nil, err
	}
	w := server.NewLogWriter(a.out, format)
	return slog.New(server.NewLogHandler(w, format, level)), w, level, nil
}

// warnOfStrangers tells of variables that look like settings and are none: a misspelt limit is no limit.
func (a *app) warnOfStrangers(log *slog.Logger) {
	var strangers []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case !strings.HasPrefix(name, "OPENWAY_"), strings.HasPrefix(name, "OPENWAY_TEST_"), a.env.known[name]:
		case name == secretKeyName, name == fallbacksName, name == "OPENWAY_PASSWORD":
		default:
			strangers = append(strangers, name)
		}
	}
	slices.Sort(strangers)
	for _, name := range strangers {
		log.Warn("an environment variable looks like a setting and is none; it is ignored", slog.String("name", name))
	}
}

// serving runs the server on an open installation.
type serving struct {
	plan      servePlan
	log       *slog.Logger
	logs      *server.LogWriter // nil = none of ours
	https     https
	listening func(net.Addr) // told once connections are accepted; nil = nobody
}

// run serves until ctx ends, then drains: requests under way are answered, then the event log is closed. The installation stays open.
func (s serving) run(ctx context.Context, in *installation) (err error) {
	const lanes = 2 // one batch is written while the other waits for the disk
	if in.store.Engine() == store.SQLite {
		spareProcessors(lanes)
	}
	events := s.log.With(server.LoggerKey, "openway.events")
	feed := eventlog.NewFeed(eventlog.FeedConfig{Reader: in.store, Logger: events})
	recording := eventlog.Config{Appender: in.store, Lanes: lanes, Landed: feed.Wake}
	var numbers *metrics.Metrics // nil = nobody reads them
	if s.plan.metrics != "" {
		numbers = metrics.New(api.PathVerify, api.PathToken, "/admin/login/")
		recording.Committed = numbers.Committed
	}
	keeper := gatekeeper.New(gatekeeper.Config{
		Source: in.store, Keys: in.keys, Events: recording,
		VerifyRate: s.plan.verifyRate, IdleDays: in.idleDays, Logger: s.log.With(server.LoggerKey, "openway.gate"),
	})
	if err := keeper.Start(ctx); err != nil {
		return err
	}
	defer func() {
		// Not ctx: it has ended. What was accepted is written all the same.
		ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second) // Docker kills after 10
		defer cancel()
		err = errors.Join(err, keeper.Close(ctx))
	}()
	if numbers != nil {
		numbers.Watch(s.sources(in, keeper))
	}
	in.announce(keeper.Changed)
	defer in.announce(nil)

	signIns := throttle.NewSignIns(s.plan.loginRate, nil)
	handler := httpapi.New(httpapi.Config{
		Gatekeeper: keeper, Registry: in.desk, UserRate: s.plan.userRate, AnonRate: s.plan.anonRate, SignIns: signIns,
		Language: s.plan.language, Logger: s.log.With(server.LoggerKey, "openway.api"),
	})
	admin, err := webadmin.New(webadmin.Config{
		Gatekeeper: keeper, Registry: in.desk, Feed: feed, SignIns: signIns, PublicURL: s.plan.publicURL, Version: thisRelease().Version,
		Language: s.plan.language, Logger: s.log.With(server.LoggerKey, "openway.admin"),
	})
	if err != nil {
		return err
	}
	ready := func(ctx context.Context) error { return cmp.Or(in.store.Ping(ctx), keeper.Ready()) }
	fronts, err := s.fronts(ctx, doors{handler, admin}, ready, numbers)
	if err != nil {
		return err
	}

	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer stop()
	tasks.Go(func() { in.retention(s.log).Run(background) })
	tasks.Go(func() { s.https.run(background) })
	tasks.Go(func() { feed.Run(ctx) }) // its readers go when the server begins to end: a drain does not wait for them
	tasks.Go(func() { eventlog.NewCounter(eventlog.CounterConfig{Tallier: in.store, Logger: events}).Run(background) })

	fronts.announce(s.log, slog.String("database", in.store.Engine()), slog.String("version", thisRelease().Version))
	if s.listening != nil {
		s.listening(fronts[0].at.Addr())
	}
	drained := context.AfterFunc(ctx, func() { s.log.Info("draining: answering what was accepted") })
	defer drained()
	return fronts.serve(ctx)
}

// sources are what the metrics are read from.
func (s serving) sources(in *installation, keeper *gatekeeper.Gatekeeper) metrics.Sources {
	build := thisRelease()
	from := metrics.Sources{
		Gatekeeper: keeper, Registry: in.desk, Size: in.store.Size, Pool: in.store.Pool, Expires: s.https.expires,
		Version: build.Version, Revision: build.Revision, Go: build.Go, Engine: in.store.Engine(),
	}
	if s.logs != nil {
		from.Dropped = s.logs.Dropped
	}
	return from
}

// doors are what people and controllers ask: the admin pages below /admin/, the API elsewhere.
type doors struct {
	api   *httpapi.Handler
	admin *webadmin.Admin
}

// handler is a door as the server needs it.
type handler interface {
	http.Handler
	Methods(path string) []string
	Error(w http.ResponseWriter, r *http.Request, status int)
}

func (d doors) at(path string) handler {
	if strings.HasPrefix(path, "/admin/") {
		return d.admin
	}
	return d.api
}

func (d doors) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.at(r.URL.Path).ServeHTTP(w, r) }

func (d doors) Methods(path string) []string { return d.at(path).Methods(path) }

func (d doors) Error(w http.ResponseWriter, r *http.Request, status int) {
	d.at(r.URL.Path).Error(w, r, status)
}

// retention deletes events that are older than the site keeps them.
func (in *installation) retention(log *slog.Logger) *eventlog.Retention {
	return eventlog.NewRetention(eventlog.RetentionConfig{
		Purger: in.store, Pace: eventlog.PaceFor(in.store.Engine()), Logger: log.With(server.LoggerKey, "openway.events"),
		Days: func(ctx context.Context) (int, error) {
			site, err := in.desk.Site(ctx)
			if err != nil {
				return 0, fmt.Errorf("read the site: %w", err)
			}
			return site.RetentionDays, nil
		},
	})
}
