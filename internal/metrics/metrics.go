// Package metrics shows what the process does to Prometheus: /metrics, in a registry of its own.
//
// It may import whatever it counts below it (gatekeeper, registry, eventlog, access). It promises that the gate path pays a few atomic additions
// for it and nothing else, that the number of series is bounded by the number of gates and routes, whatever clients send, and that a
// scrape is answered within seconds also while the database is away.
package metrics

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what it is told, and asks the rest when it is read. Use New.
type Metrics struct {
	verifyPath string
	loginPaths []string

	registry  *prometheus.Registry
	verify    prometheus.Histogram
	requests  *prometheus.CounterVec   // by route and status
	durations *prometheus.HistogramVec // by route
	verifies  map[int]prometheus.Counter
	throttled prometheus.Counter // sign-ins
	batches   prometheus.Histogram
	commits   prometheus.Histogram
}

// latencies are the upper bounds of histograms of time, seconds: from an answer out of memory to one that has given up.
func latencies() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// New makes metrics of requests and commits, and of the process itself. Requests to verifyPath, and sign-ins at
// loginPaths that are throttled, are counted by themselves as well. Watch adds the rest.
func New(verifyPath string, loginPaths ...string) *Metrics {
	m := &Metrics{verifyPath: verifyPath, loginPaths: loginPaths, registry: prometheus.NewRegistry(), verifies: make(map[int]prometheus.Counter)}
	m.verify = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "openway_verify_duration_seconds", Help: "Time from a gate's request to its answer, recorded.", Buckets: latencies(),
	})
	m.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "openway_http_requests_total", Help: "Requests answered, by route and status.",
	}, []string{"route", "code"})
	m.durations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "openway_http_request_duration_seconds", Help: "Time to answer a request, by route.", Buckets: latencies(),
	}, []string{"route"})
	m.throttled = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "openway_logins_throttled_total", Help: "Sign-ins that were refused because too many came.",
	})
	m.batches = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "openway_commit_batch_events", Help: "Events in one commit.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512},
	})
	m.commits = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "openway_commit_duration_seconds", Help: "Time of one commit of events.", Buckets: latencies(),
	})
	for _, status := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		m.verifies[status] = m.requests.WithLabelValues(verifyPath, strconv.Itoa(status))
	}
	started := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "openway_start_time_seconds", Help: "When the process began, as it knows: a hardened unit may hide what process_start_time_seconds is made of.",
	})
	started.SetToCurrentTime()
	m.registry.MustRegister(started, m.verify, m.requests, m.durations, m.throttled, m.batches, m.commits,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, MaxRequestsInFlight: 4})
}

// Observe counts an answer, as server.Config.Observe is told of it.
func (m *Metrics) Observe(r *http.Request, status int, took time.Duration) {
	if r.URL.Path == m.verifyPath {
		m.verify.Observe(took.Seconds())
		if c := m.verifies[status]; c != nil {
			c.Inc()
			return
		}
	}
	if status == http.StatusTooManyRequests && slices.Contains(m.loginPaths, r.URL.Path) {
		m.throttled.Inc()
	}
	route := routeOf(r)
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route).Observe(took.Seconds())
}

// routeOf is the pattern that answered, which the program has a limited number of. What no pattern answered is all one.
func routeOf(r *http.Request) string {
	switch r.URL.Path {
	case "/health", "/healthz", "/ready", "/readyz":
		return r.URL.Path
	}
	route := strings.TrimSuffix(r.Pattern, "{$}")
	if at := strings.IndexByte(route, ' '); at >= 0 { // "GET /path"
		route = route[at+1:]
	}
	if route == "" || route == "/" {
		return "other"
	}
	return route
}

// Committed counts a commit of events, as eventlog.Config.Committed is told of it.
func (m *Metrics) Committed(events int, took time.Duration) {
	m.batches.Observe(float64(events))
	m.commits.Observe(took.Seconds())
}
