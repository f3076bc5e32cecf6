package server

import (
	"log/slog"
	"net/http"
	"net/url"
	"testing"
)

// deaf is a ResponseWriter that costs nothing.
type deaf struct{ h http.Header }

func (d *deaf) Header() http.Header         { return d.h }
func (d *deaf) Write(p []byte) (int, error) { return len(p), nil }
func (d *deaf) WriteHeader(int)             {}

// benchmarkChain is what a verify request pays for everything around its handler.
func benchmarkChain(b *testing.B, s *Server) {
	w := &deaf{make(http.Header)}
	u := &url.URL{Path: "/api/v1/access/verify"}
	id := []string{"0f8fad5b-d9cb-469f-a165-70867728950e"}
	r := &http.Request{Method: "POST", URL: u, Host: "access.example.org", Header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		r.RemoteAddr = "192.0.2.7:4711"
		r.Header["X-Request-Id"] = id
		s.ServeHTTP(w, r)
	}
}

func chain(b testing.TB, log *slog.Logger) *Server {
	s, err := New(Config{
		Logger: log, AllowedHosts: []string{"access.example.org"}, CORSOrigins: []string{"https://app.example.org"},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }),
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkChain(b *testing.B) { benchmarkChain(b, chain(b, nil)) }

func TestChainAllocations(t *testing.T) {
	s := chain(t, nil)
	w := &deaf{make(http.Header)}
	r := &http.Request{Method: "POST", URL: &url.URL{Path: "/api/v1/access/verify"}, Host: "access.example.org", Header: http.Header{}}
	id := []string{"id"}
	if n := testing.AllocsPerRun(200, func() {
		r.RemoteAddr = "192.0.2.7:4711"
		r.Header["X-Request-Id"] = id
		s.ServeHTTP(w, r)
	}); n > 1 { // the client's address as text
		t.Errorf("the chain makes %.0f allocations around a handler, want at most 1", n)
	}
}
