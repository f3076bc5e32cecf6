package server

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
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
		if !s.isReady(r.Context()) {
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

// isReady makes the round trip. A server that drains is not ready: a balancer should look elsewhere. Probes log at DEBUG, so a
// change of mind is said aloud here, once.
func (s *Server) isReady(ctx context.Context) bool {
	if s.draining.Load() {
		return false
	}
	if s.ready == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout) // a probe that hangs up says nothing about us
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- s.ready(ctx) }()
	var err error
	select {
	case err = <-result:
	case <-ctx.Done(): // whatever the round trip is stuck in
		err = ctx.Err()
	}
	if was := s.notReady.Swap(err != nil); was != (err != nil) {
		if err != nil {
			s.log.Warn("not ready", slog.String("error", err.Error()))
		} else {
			s.log.Info("ready again")
		}
	}
	return err == nil
}
