// Package server is the HTTP front of the process: listeners and their time-outs, what every request passes on its way
// in and out (request id, client address, access log, security headers, CORS, allowed hosts, recovery), the health paths and
// the drain at the end.
//
// It imports nothing of this module and knows no nouns: it is given a handler and functions. It promises that every
// answer of a handler carries a request id, that every request leaves one log line without secrets in it, and that no
// accepted request is cut by a drain as long as it ends within the drain's time.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Server needs. Only Handler is required.
type Config struct {
	// Handler answers everything but the health paths, OPTIONS and what is refused before.
	Handler http.Handler
	// Allowed names the methods that Handler answers at a path, for the Allow header of OPTIONS; nil or an empty answer
	// means none is known.
	Allowed func(path string) []string
	// Ready makes a real round trip to what the service depends on; nil = always ready. It is given 2 s.
	Ready func(ctx context.Context) error
	// Error renders an error answer (400 for a host that is not allowed, 405, 500) in the clothes and language of the
	// request; nil = a plain line of text.
	Error func(w http.ResponseWriter, r *http.Request, status int)
	// Logger gets the access log (logger "openway.request") and what the server itself has to say; nil = nothing is logged.
	Logger *slog.Logger

	AllowedHosts   []string       // as ParseHosts takes them; empty = any
	CORSOrigins    []string       // such as https://app.example.org; empty = no cross-origin reading
	TrustedProxies []netip.Prefix // whose X-Forwarded-For and X-Forwarded-Proto are believed
	HTTPS          bool           // people reach the service over HTTPS, whatever the last hop is
	TLS            *tls.Config    // such as TLS makes: this listener speaks HTTPS and nothing else; nil = plain HTTP
	// Plain names paths whose POSTs are read without net/http when they have the usual form (plain.go): small requests with small answers, in great
	// number. Such a request and its body are used again when its handler returns; its context never ends; its answer is sent in one piece.
	// At other paths answers of 429 and 503 are held back for a second once there are more than 20 a second (pace.go).
	Plain []string
	Quiet bool // requests are logged at DEBUG: machines ask all the time

	// Observe is told of every answer, also those that were refused before Handler; nil = nobody. It must be quick.
	Observe func(r *http.Request, status int, took time.Duration)

	ReadHeaderTimeout time.Duration // 0 = 5 s
	ReadTimeout       time.Duration // of a whole request; 0 = 15 s
	WriteTimeout      time.Duration // of a whole answer, from the end of the request's header; 0 = 60 s
	IdleTimeout       time.Duration // of a connection between requests; 0 = 75 s
	DrainGrace        time.Duration // how long a drain goes on accepting, telling each client to close; 0 = 200 ms
	DrainTimeout      time.Duration // how long a drain waits for requests under way, after the grace; 0 = 8 s

	Now func() time.Time // nil = time.Now
}

// Server answers HTTP requests. Use New.
type Server struct {
	handler  http.Handler
	allowed  func(path string) []string
	ready    func(ctx context.Context) error
	fail     func(w http.ResponseWriter, r *http.Request, status int)
	log      *slog.Logger // what the server itself has to say
	access   slog.Handler // the access log
	hosts    Hosts
	origins  map[string][]string // origin -> the header value that allows it
	trusted  []netip.Prefix
	https    bool
	quiet    bool
	observe  func(r *http.Request, status int, took time.Duration)
	now      func() time.Time
	headers  fixedHeaders
	http     *http.Server
	tls      *tls.Config // nil = plain HTTP
	routes   []plainRoute
	plains   sync.Pool // of *plainConn
	grace    time.Duration
	patience time.Duration

	conns       connections
	pace        pace
	recorders   sync.Pool
	draining    atomic.Bool
	trips       readiness
	warnedProxy atomic.Bool
}

// New makes a server. It returns an error for allowed hosts or origins that cannot be read.
func New(c Config) (*Server, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Error == nil {
		c.Error = func(w http.ResponseWriter, _ *http.Request, status int) {
			http.Error(w, http.StatusText(status), status)
		}
	}
	hosts, err := ParseHosts(c.AllowedHosts)
	if err != nil {
		return nil, err
	}
	origins := make(map[string][]string, len(c.CORSOrigins))
	for _, o := range c.CORSOrigins {
		o, err := ParseOrigin(o)
		if err != nil {
			return nil, err
		}
		origins[o] = []string{o}
	}
	routes, err := newPlainRoutes(c.Plain)
	if err != nil {
		return nil, err
	}
	s := &Server{
		routes:  routes,
		handler: c.Handler, allowed: c.Allowed, ready: c.Ready, fail: c.Error,
		log: c.Logger, access: c.Logger.With(LoggerKey, "openway.request").Handler(),
		hosts: hosts, origins: origins, trusted: c.TrustedProxies, https: c.HTTPS, quiet: c.Quiet, observe: c.Observe, now: c.Now,
		headers:  newFixedHeaders(),
		grace:    orDefault(c.DrainGrace, 200*time.Millisecond),
		patience: orDefault(c.DrainTimeout, 8*time.Second),
	}
	s.recorders.New = func() any { return new(recorder) }
	s.plains.New = func() any { return newPlainConn(s) }
	s.conns.all = make(map[*conn]struct{})
	if c.TLS != nil {
		s.tls = c.TLS.Clone()
		c.TLS = c.TLS.Clone() // net/http writes into its own
	}
	s.http = &http.Server{
		ConnState:         s.conns.note,
		Handler:           s,
		TLSConfig:         c.TLS,
		ReadHeaderTimeout: orDefault(c.ReadHeaderTimeout, 5*time.Second),
		ReadTimeout:       orDefault(c.ReadTimeout, 15*time.Second),
		WriteTimeout:      orDefault(c.WriteTimeout, 60*time.Second),
		IdleTimeout:       orDefault(c.IdleTimeout, 75*time.Second),
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(httpLog{c.Logger.With(LoggerKey, "openway.http")}, "", 0),
		// "OPTIONS *" gets its request id and log line like everything else.
		DisableGeneralOptionsHandler: true,
	}
	return s, nil
}

// freshPatience is how long a drain waits for connections that have not asked anything yet.
const freshPatience = 2 * time.Second

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// Serve answers what l accepts until ctx ends, then drains: for the grace it goes on accepting and tells each client to
// close its connection, then it stops listening and waits for the requests under way. It closes l. The error is nil after a
// complete drain, and says how it ended otherwise.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	gate := newDrainListener(l)
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(gate) }()
	go s.accept(gate)
	select {
	case err := <-served:
		return fmt.Errorf("serving on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	gate.drain(s.grace)
	<-gate.done
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
	defer cancel()
	s.conns.settle(deadline, freshPatience)
	s.conns.letGo()
	s.conns.settle(deadline, freshPatience) // what was read just before that
	err := s.http.Shutdown(deadline)
	<-served
	if cut := s.conns.cut(); cut || errors.Is(err, context.DeadlineExceeded) {
		_ = s.http.Close()
		return fmt.Errorf("draining: requests were still under way after %s and were cut", s.patience)
	}
	if err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	return nil
}
