package metrics

import (
	"context"
	"database/sql"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/registry"
)

// Sources are asked when the metrics are read. A source that is nil is left out.
type Sources struct {
	Gatekeeper *gatekeeper.Gatekeeper
	Registry   *registry.Registry

	Size    func(ctx context.Context) (bytes int64, err error) // of the database; an error means that it does not answer
	Pool    func() sql.DBStats
	Dropped func() int64     // log lines
	Expires func() time.Time // the HTTPS certificate; zero = there is none yet

	Version, Revision, Go, Engine string // of this build
}

// Watch adds the sources to what is shown. Call it once.
func (m *Metrics) Watch(s Sources) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "openway_build_info", Help: "What this program is; always 1.",
		ConstLabels: prometheus.Labels{"version": s.Version, "revision": s.Revision, "go": s.Go, "engine": s.Engine},
	})
	info.Set(1)
	m.registry.MustRegister(info, &watch{s})
}

// watch asks the sources.
type watch struct{ Sources }

// maxGates is how many gates have series of their own. A site with more is counted all the same, together.
const maxGates = 2000

// databasePatience bounds how long a scrape waits for a database that hangs.
const databasePatience = 2 * time.Second

// Describe sends nothing: what there is depends on the sources.
func (w *watch) Describe(chan<- *prometheus.Desc) {}

// Collect asks the sources.
func (w *watch) Collect(out chan<- prometheus.Metric) {
	s := scrape{out}
	if w.Gatekeeper != nil {
		s.answers(w.Gatekeeper)
		s.eventlog(w.Gatekeeper.Events())
		s.snapshot(w.Gatekeeper)
	}
	if w.Registry != nil {
		l := w.Registry.Logins()
		logins := describe("openway_logins_total", "Sign-ins by how they ended.", "result")
		s.counter(logins, float64(l.OK), "ok")
		s.counter(logins, float64(l.Failed), "failed")
		s.counter(logins, float64(l.Busy), "busy")
	}
	if w.Size != nil {
		s.database(w.Size)
	}
	if w.Pool != nil {
		s.pool(w.Pool())
	}
	if w.Dropped != nil {
		s.counter(describe("openway_log_lines_dropped_total", "Log lines that nobody read in time."), float64(w.Dropped()))
	}
	if w.Expires != nil {
		at := 0.0
		if t := w.Expires(); !t.IsZero() {
			at = float64(t.Unix())
		}
		s.gauge(describe("openway_certificate_expires_timestamp_seconds", "When the HTTPS certificate ends; 0 = there is none yet."), at)
	}
}

// scrape is one reading of the metrics.
type scrape struct{ out chan<- prometheus.Metric }

func (s scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s scrape) counter(d *prometheus.Desc, v float64, labels ...string) {
	s.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// answers counts decisions, those of gates beyond maxGates together with those of no gate.
func (s scrape) answers(g *gatekeeper.Gatekeeper) {
	decisions := describe("openway_decisions_total", "Answers to gates by reason (OK = let in); gate is empty where none that exists was named.", "gate", "decision", "reason")
	gates, rest := map[string]bool{"": true}, map[access.Reason]uint64{}
	g.Answers(func(gate string, reason access.Reason, n uint64) {
		if len(gates) <= maxGates {
			gates[gate] = true
		}
		if gate == "" || !gates[gate] {
			rest[reason] += n
			return
		}
		s.counter(decisions, float64(n), gate, outcome(reason), string(reason))
	})
	for reason, n := range rest {
		s.counter(decisions, float64(n), "", outcome(reason), string(reason))
	}
	s.counter(describe("openway_verify_throttled_total", "Requests of gates that were refused because too many came from an address."), float64(rest[access.RateLimit]))
}

func outcome(r access.Reason) string {
	if r == access.OK {
		return string(access.Allow)
	}
	return string(access.Deny)
}

func (s scrape) eventlog(st eventlog.Stats) {
	s.gauge(describe("openway_eventlog_queue", "Requests that wait for their event to be taken into a commit."), float64(st.Queued))
	s.counter(describe("openway_eventlog_recorded_total", "Events that are durable."), float64(st.Recorded))
	s.counter(describe("openway_eventlog_refused_total", "Decisions that were answered UNAVAILABLE because they could not be recorded."), float64(st.Refused))
	s.counter(describe("openway_eventlog_unanswered_total", "Decisions that were recorded although their gates had been told UNAVAILABLE."), float64(st.Unanswered))
	s.counter(describe("openway_eventlog_redecided_total", "Batches that were decided again because the policy had moved."), float64(st.Redecided))
	s.counter(describe("openway_eventlog_dropped_total", "Events that nobody waited for and that are lost."), float64(st.Dropped))
	s.gauge(describe("openway_eventlog_unsettled_batches", "Batches of which nobody knows yet whether they were written."), float64(st.Fences))
}

func (s scrape) snapshot(g *gatekeeper.Gatekeeper) {
	mark, held := g.Policy()
	s.gauge(describe("openway_snapshot_age_seconds", "Time since the policy in memory was last known to be the newest."), g.Stale().Seconds())
	s.gauge(describe("openway_snapshot_version", "Version of the policy in memory."), float64(mark.Version))
	s.gauge(describe("openway_snapshot_bytes", "Memory that the policy takes."), float64(held.Bytes))
	objects := describe("openway_snapshot_objects", "What the policy holds.", "kind")
	s.gauge(objects, float64(held.Users), "user")
	s.gauge(objects, float64(held.Gates), "gate")
	s.gauge(objects, float64(held.Permissions), "permission")
	s.gauge(objects, float64(held.Credentials), "credential")
}

func (s scrape) database(size func(context.Context) (int64, error)) {
	ctx, cancel := context.WithTimeout(context.Background(), databasePatience)
	defer cancel()
	up := 0.0
	if n, err := size(ctx); err == nil {
		up = 1
		s.gauge(describe("openway_database_size_bytes", "What the database takes."), float64(n))
	}
	s.gauge(describe("openway_database_up", "Whether the database answers: 1 or 0."), up)
}

func (s scrape) pool(st sql.DBStats) {
	connections := describe("openway_database_connections", "Connections of the pool.", "state")
	s.gauge(connections, float64(st.InUse), "used")
	s.gauge(connections, float64(st.Idle), "idle")
	s.gauge(describe("openway_database_connections_max", "Connections that the pool may have."), float64(st.MaxOpenConnections))
	s.counter(describe("openway_database_waits_total", "How often somebody waited for a connection."), float64(st.WaitCount))
	s.counter(describe("openway_database_waited_seconds_total", "How long that took."), st.WaitDuration.Seconds())
}
