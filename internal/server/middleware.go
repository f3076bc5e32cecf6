package server

import (
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// ServeHTTP is what every request passes, in this order. It normalises the request for the handlers behind it:
// the header X-Request-Id is the effective id (it stands on the answer as well), RemoteAddr is the client's address with port 0,
// X-Forwarded-Proto is "https" or absent and true, X-Forwarded-For is gone, the path is never empty.
//
// The ResponseWriter that handlers get has a method AddLogAttrs(...slog.Attr), which adds to the request's log line.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.now()
	rec := s.recorder(w)
	defer s.finish(rec, r, start) // recovers, then writes the access log

	h := rec.Header()
	if s.draining.Load() {
		h["Connection"] = s.headers.close
	}
	if r.URL.Path == "" { // "GET http://host" and "CONNECT host:port"
		r.URL.Path = "/"
	}
	s.setRequestID(h, r)
	https := s.setClient(r)
	s.secure(h, https)
	if s.crossOrigin(h, r); r.Method == http.MethodOptions {
		s.options(rec, r)
		return
	}
	if probe := probeOf(r.URL.Path); probe != noProbe {
		s.health(rec, r, probe)
		return
	}
	if !s.hosts.allow(r.Host) {
		s.fail(rec, r, http.StatusBadRequest)
		return
	}
	if !s.isPlain(r.URL.Path) { // who asks there is told at once
		rec.pace, rec.asked = &s.pace, r
	}
	s.handler.ServeHTTP(rec, r)
}

// isPlain reports whether a path is one of Config.Plain.
func (s *Server) isPlain(path string) bool {
	return slices.ContainsFunc(s.routes, func(route plainRoute) bool { return route.path == path })
}

// recorder is the ResponseWriter that handlers see: it remembers what the access log needs. It lives in a pool.
type recorder struct {
	http.ResponseWriter
	status int           // 0 = nothing was written yet
	pace   *pace         // of answers that turn the caller away; nil = they go at once
	asked  *http.Request // with pace
	attrs  []slog.Attr
}

func (s *Server) recorder(w http.ResponseWriter) *recorder {
	rec := s.recorders.Get().(*recorder)
	rec.ResponseWriter = w
	return rec
}

// release gives rec back. Handlers must not touch their writer after they have returned, as with any ResponseWriter.
func (s *Server) release(rec *recorder) {
	rec.ResponseWriter, rec.pace, rec.asked = nil, nil, nil
	rec.status = 0
	clear(rec.attrs)
	rec.attrs = rec.attrs[:0]
	s.recorders.Put(rec)
}

// WriteHeader notes the final status; informational ones pass by.
func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 && status >= 200 {
		rec.status = status
		if rec.pace != nil && turnsAway(status) {
			rec.pace.wait(rec.asked.Context())
		}
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(p []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	return rec.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach what is below (deadlines, full duplex).
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// Flush sends what was written so far.
func (rec *recorder) Flush() {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	_ = http.NewResponseController(rec.ResponseWriter).Flush()
}

// AddLogAttrs adds to the log line of this request. Never give it a token or a password.
func (rec *recorder) AddLogAttrs(attrs ...slog.Attr) { rec.attrs = append(rec.attrs, attrs...) }

// finish ends every request: a panic becomes a 500, and the access log gets its line.
func (s *Server) finish(rec *recorder, r *http.Request, start time.Time) {
	p := recover()
	again := false
	if p != nil {
		again = s.recovered(rec, r, p)
	}
	s.logAccess(rec, r, start, s.now(), p != nil)
	if p == nil { // what a panicking handler left running may still hold its writer: let that one go
		s.release(rec)
	}
	if again {
		panic(http.ErrAbortHandler)
	}
}
