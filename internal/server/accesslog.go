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
func (s *Server) logAccess(rec *recorder, r *http.Request, began, ended time.Time, panicked bool) {
	status := rec.status
	if status == 0 {
		status = http.StatusOK
		if panicked {
			status = http.StatusInternalServerError
		}
	}
	if s.observe != nil {
		s.observe(r, status, ended.Sub(began))
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
	method, path, id, ms := shown(r.Method), shown(r.URL.Path), r.Header.Get(requestIDHeader), ended.Sub(began).Milliseconds()
	var room [32]byte
	outcome := append(room[:0], ' ')
	outcome = strconv.AppendInt(outcome, int64(status), 10)
	outcome = strconv.AppendInt(append(outcome, ' '), ms, 10)
	outcome = append(outcome, "ms"...)
	own, ok := s.access.(*logHandler)
	if !ok { // somebody else's handler
		line := slog.NewRecord(ended, level, method+" "+path+string(outcome), 0)
		line.AddAttrs(slog.String("request_id", id), slog.String("method", method), slog.String("path", path), slog.Int("status", status), slog.Int64("duration_ms", ms))
		line.AddAttrs(rec.attrs...)
		_ = s.access.Handle(ctx, line)
		return
	}
	// The same without a Record: every request pays for this line.
	p := own.lines.Get().(*[]byte)
	b := own.begin((*p)[:0], ended, level, own.logger)
	b = append(own.appendMessage(b, method), ' ')
	b = append(own.appendMessage(b, path), outcome...)
	b = own.endMessage(b)
	for _, a := range [...]slog.Attr{
		slog.String("request_id", id), slog.String("method", method), slog.String("path", path), slog.Int("status", status), slog.Int64("duration_ms", ms),
	} {
		b = own.appendAttr(b, own.group, a)
	}
	for _, a := range rec.attrs {
		b = own.appendAttr(b, own.group, a)
	}
	_ = own.emit(p, b)
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
	if len(s) < shortestToken {
		return s
	}
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
