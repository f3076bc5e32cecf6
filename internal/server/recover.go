package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// recovered turns a panic of a handler into a 500 that names nothing but the request id; the stack goes to the log.
// It reports whether the connection must be aborted: the answer had begun, or the handler asked for it.
func (s *Server) recovered(rec *recorder, r *http.Request, p any) (abort bool) {
	if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel that is panicked with as it is
		return true
	}
	s.log.LogAttrs(r.Context(), slog.LevelError, "a handler panicked",
		slog.String("request_id", r.Header.Get(requestIDHeader)),
		slog.String("method", r.Method), slog.String("path", shown(r.URL.Path)),
		slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
	if rec.status != 0 {
		return true
	}
	defer func() {
		if q := recover(); q != nil { // the renderer itself is broken: no answer is better than a half one
			s.log.Error("rendering the error of a panic panicked", slog.String("panic", fmt.Sprint(q)))
			abort = true
		}
	}()
	h := rec.Header()
	h.Del("Content-Length")
	h.Del("Content-Encoding")
	h.Del("Etag")
	h.Del("Last-Modified")
	h.Del("Retry-After")
	s.fail(rec, r, http.StatusInternalServerError)
	return false
}

// httpLog takes what net/http has to say. Most of it is about clients; a panic there, which ends a connection without an answer, is not.
type httpLog struct{ log *slog.Logger }

// panicking is in the lines of net/http about a panic.
const panicking = "panic serving"

func (l httpLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.Contains(line, []byte(panicking)) {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
