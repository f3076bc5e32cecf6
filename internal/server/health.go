package server

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// readyTimeout bounds the round trip of a readiness probe.
const readyTimeout = 2 * time.Second

type probe int

const (
	noProbe probe = iota
	liveProbe
	readyProbe
)

// probeOf tells the health paths from all others. They are exempt from allowed hosts, throttles, authentication and negotiation.
func probeOf(path string) probe {
	switch path {
	case "/health", "/healthz":
		return liveProbe
	case "/ready", "/readyz":
		return readyProbe
	}
	return noProbe
}

// health answers a probe. The bodies have a space after the colon: the firmware and the original's monitors look for these bytes.
func (s *Server) health(w http.ResponseWriter, r *http.Request, p probe) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header()["Allow"] = []string{"GET, HEAD, OPTIONS"}
		s.fail(w, r, http.StatusMethodNotAllowed)
		return
	}
	status, body := http.StatusOK, `{"status": "ok"}`
	if p == readyProbe {
		body = `{"status": "ready"}`
		if !s.isReady() {
			status, body = http.StatusServiceUnavailable, `{"status": "not-ready"}`
		}
	}
	h := w.Header()
	h["Content-Type"] = s.headers.jsonType
	h["Cache-Control"] = s.headers.noStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body))
	}
}

// readiness makes the round trips of readiness probes. Probes that come while one is under way share it: nobody can put load on
// the database by probing.
type readiness struct {
	mu   sync.Mutex
	trip *trip // under way; nil = none
	down bool  // the last one failed
}

type trip struct {
	done chan struct{}
	err  error // read it when done is closed
}

// isReady waits for a round trip, 2 s at most. A server that drains is not ready: a balancer should look elsewhere. Probes log at DEBUG, so
// a change of mind is said aloud here, once.
func (s *Server) isReady() bool {
	if s.draining.Load() {
		return false
	}
	if s.ready == nil {
		return true
	}
	s.trips.mu.Lock()
	t := s.trips.trip
	if t == nil {
		t = &trip{done: make(chan struct{})}
		s.trips.trip = t
		go s.goTrip(t)
	}
	s.trips.mu.Unlock()
	<-t.done
	return t.err == nil
}

// goTrip asks, and gives up after 2 s whether the other side heeds its context or not.
func (s *Server) goTrip(t *trip) {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout) // a probe that hangs up says nothing about us
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- s.ready(ctx) }()
	select {
	case t.err = <-result:
	case <-ctx.Done():
		t.err = ctx.Err()
	}
	s.trips.mu.Lock()
	s.trips.trip = nil
	was := s.trips.down
	s.trips.down = t.err != nil
	s.trips.mu.Unlock()
	switch {
	case t.err != nil && !was:
		s.log.Warn("not ready", slog.String("error", t.err.Error()))
	case t.err == nil && was:
		s.log.Info("ready again")
	}
	close(t.done)
}
