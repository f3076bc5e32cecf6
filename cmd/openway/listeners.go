package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/openway-access/openway/api"
	"github.com/openway-access/openway/internal/httpapi"
	"github.com/openway-access/openway/internal/metrics"
	"github.com/openway-access/openway/internal/server"
)

// listener is an address to listen on, and the setting that names it.
type listener struct{ setting, address string }

// The settings that name addresses.
const (
	mainListener    = "OPENWAY_LISTEN"
	plainListener   = "OPENWAY_HTTP_LISTEN"
	gateListener    = "OPENWAY_GATE_LISTEN"
	metricsListener = "OPENWAY_METRICS_LISTEN"
)

// listeners are all addresses that the plan listens on, the main one first.
func (p *servePlan) listeners() []listener {
	all := []listener{{mainListener, p.listen}}
	for _, l := range []listener{{plainListener, p.https.listen}, {gateListener, p.gates}, {metricsListener, p.metrics}} {
		if l.address != "" {
			all = append(all, l)
		}
	}
	return all
}

// listenAddress reads a setting that says where to listen.
func listenAddress(setting, s, unset string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return unset, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", settingError(setting, "%q is not an address such as :8001 or 127.0.0.1:8001", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", settingError(setting, "%q is not a port (0..65535; 0 = any free one)", port)
	} else {
		port = strconv.FormatUint(n, 10)
	}
	if strings.ContainsAny(host, " /\\@") {
		return "", settingError(setting, "%q is not a host or address", host)
	}
	return net.JoinHostPort(host, port), nil
}

// extraAddress reads the address of a listener that there is only when it is asked for.
func extraAddress(setting, s string) (string, error) {
	if isOff(s) {
		return "", nil
	}
	return listenAddress(setting, s, "")
}

// listen begins to accept connections.
func (l listener) listen(ctx context.Context) (net.Listener, error) {
	open, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
	_, port, _ := net.SplitHostPort(l.address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, settingError(l.setting, "port %s is taken by another program, perhaps by a server that runs already; choose another one, such as :8002", port)
	case errors.Is(err, syscall.EACCES):
		return nil, settingError(l.setting, "port %s is not for everybody: choose one from 1024 up, or give the program the capability CAP_NET_BIND_SERVICE", port)
	case err != nil:
		return nil, settingError(l.setting, "%w", err)
	}
	return open, nil
}

// free reports an address that cannot be listened on, before anything is made. Connections are accepted only once everything is ready, so
// that nobody waits in vain.
func free(ctx context.Context, all []listener) (err error) {
	for _, l := range all {
		open, failed := l.listen(ctx)
		if failed != nil {
			return failed
		}
		defer func() { err = errors.Join(err, open.Close()) }() // at the end: two of them may name the same
	}
	return nil
}

// front is a listener with the server that answers there.
type front struct {
	says   string // in the log, when it begins
	at     net.Listener
	server *server.Server
}

type fronts []front

// fronts opens the listeners of the plan, the main one first. Each has a server of its own: what one answers, another does not.
func (s serving) fronts(ctx context.Context, site doors, ready func(context.Context) error, numbers *metrics.Metrics) (all fronts, err error) {
	defer func() {
		if err != nil {
			for _, f := range all {
				err = errors.Join(err, f.at.Close())
			}
		}
	}()
	base := server.Config{
		Error: site.Error, Ready: ready, Logger: s.log.With(server.LoggerKey, "openway.server"), TrustedProxies: s.plan.proxies,
	}
	for _, l := range s.plan.listeners() {
		f, c := front{}, base
		if f.at, err = l.listen(ctx); err != nil {
			return all, err
		}
		all = append(all, f)
		switch l.setting {
		case mainListener:
			f.says, c.Handler, c.Allowed = "listening", site, site.Methods
			c.AllowedHosts, c.CORSOrigins, c.TLS = s.plan.hosts, s.plan.origins, s.https.tls
			c.Plain = []string{api.PathVerify}
			c.HTTPS = s.plan.publicURL != nil && s.plan.publicURL.Scheme == "https"
		case plainListener:
			f.says, c.Handler, c.AllowedHosts = "redirecting to HTTPS", s.https.plain(s.plan.publicURL, all[0].at.Addr()), s.plan.hosts
		case gateListener: // any host: controllers are given addresses
			f.says, c.Handler, c.Allowed = "answering gates without HTTPS", onlyVerify(site.api), methodsAt(api.PathVerify, site.api.Methods(api.PathVerify)...)
			c.Plain = []string{api.PathVerify}
		case metricsListener:
			f.says, c.Handler, c.Quiet = "showing metrics", metricsPage(numbers, site.api.Error), true
			c.Allowed = methodsAt("/metrics", http.MethodGet, http.MethodHead)
		}
		if numbers != nil && l.setting != metricsListener {
			c.Observe = numbers.Observe
		}
		if f.server, err = server.New(c); err != nil {
			return all, err
		}
		all[len(all)-1] = f
	}
	return all, nil
}

// methodsAt names the methods of a listener that answers one path beside health.
func methodsAt(path string, methods ...string) func(string) []string {
	return func(at string) []string {
		if at != path {
			return nil
		}
		return methods
	}
}

// onlyVerify lets nothing through but what a controller asks.
func onlyVerify(h *httpapi.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != api.PathVerify {
			h.Error(w, r, http.StatusNotFound)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// metricsPage answers what Prometheus asks.
func metricsPage(numbers *metrics.Metrics, refuse func(http.ResponseWriter, *http.Request, int)) http.Handler {
	page := numbers.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/metrics":
			refuse(w, r, http.StatusNotFound)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			refuse(w, r, http.StatusMethodNotAllowed)
		default:
			page.ServeHTTP(w, r)
		}
	})
}

// announce says in the log where the server listens.
func (all fronts) announce(log *slog.Logger, more ...any) {
	for i, f := range all {
		attrs := []any{slog.String("address", f.at.Addr().String())}
		if i == 0 {
			attrs = append(attrs, more...)
		}
		log.Info(f.says, attrs...)
	}
}

// serve answers on all of them until ctx ends, or until one fails, and drains them.
func (all fronts) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make([]error, len(all))
	var running sync.WaitGroup
	for i, f := range all {
		running.Go(func() {
			defer cancel()
			ended[i] = f.server.Serve(ctx, f.at)
		})
	}
	running.Wait()
	return errors.Join(ended...)
}
