package server

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// longestPath is how much of a path the log shows, in bytes.
const longestPath = 512

// logAccess writes the request's line: "GET /health 200 3ms" and the same in fields. Health probes are DEBUG; answers of 500 and
// above are ERROR. The query never appears: clients put secrets there.
func (s *Server) logAccess(rec *recorder, r *http.Request, took time.Duration, panicked bool) {
	status := rec.status
	if status == 0 {
		status = http.StatusOK
		if panicked {
			status = http.StatusInternalServerError
		}
	}
	if s.observe != nil {
		s.observe(r, status, took)
	}
	level := slog.LevelInfo
	switch {
	case s.quiet || probeOf(r.URL.Path) != noProbe:
		level = slog.LevelDebug
	case status >= 500:
		level = slog.LevelError
	}
	ctx := r.Context()
	if !s.access.Enabled(ctx, level) {
		return
	}
	ms := took.Milliseconds()
	path, method := shown(r.URL.Path), shown(r.Method)
	var buf [128]byte
	m := append(append(buf[:0], method...), ' ')
	m = append(m, path...)
	m = strconv.AppendInt(append(m, ' '), int64(status), 10)
	m = strconv.AppendInt(append(m, ' '), ms, 10)
	m = append(m, "ms"...)
	line := slog.NewRecord(s.now(), level, string(m), 0)
	line.AddAttrs(
		slog.String("request_id", r.Header.Get(requestIDHeader)),
		slog.String("method", method),
		slog.String("path", path),
		slog.Int("status", status),
		slog.Int64("duration_ms", ms),
	)
	line.AddAttrs(rec.attrs...)
	_ = s.access.Handle(ctx, line)
}

// shown is what a client sent, fit for the log: cut to a length that it can bear, and without what looks like a token.
func shown(s string) string {
	s = withoutTokens(s)
	if len(s) <= longestPath {
		return s
	}
	cut := longestPath
	for cut > longestPath-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// shortestToken is how many hex digits in a row may be a token that a client put into its path by mistake.
const shortestToken = 32

func withoutTokens(s string) string {
	run := 0 // hex digits before s[i]
	for i := 0; i <= len(s); i++ {
		if i < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[i]) >= 0 {
			run++
			continue
		}
		if run >= shortestToken {
			return s[:i-run] + "…" + withoutTokens(s[i:])
		}
		run = 0
	}
	return s
}
