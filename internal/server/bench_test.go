package server

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"
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

func chain(b testing.TB, log *slog.Logger, paths ...string) *Server {
	s, err := New(Config{
		Logger: log, Plain: paths, DrainGrace: time.Millisecond, AllowedHosts: []string{"access.example.org"}, CORSOrigins: []string{"https://app.example.org"},
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

// BenchmarkExchange is a whole exchange on a kept connection, both ends and the sockets between them included.
func BenchmarkExchange(b *testing.B) {
	for name, paths := range map[string][]string{"net/http": {}, "plain": {"/api/v1/access/verify"}} {
		b.Run(name, func(b *testing.B) {
			s := chain(b, nil, paths...)
			exchange := exchanger(b, s)
			b.ReportAllocs()
			for b.Loop() {
				exchange()
			}
		})
	}
}

// exchanger starts s, and returns what sends a request on a connection that is kept, and waits for the answer.
func exchanger(t testing.TB, s *Server) func() {
	address, drain, ended := serveOn(t, s)
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		drain()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	request := []byte("POST /api/v1/access/verify HTTP/1.1\r\nHost: access.example.org\r\nUser-Agent: wrk\r\nContent-Type: application/json\r\n" +
		"X-Request-ID: 0f8fad5b\r\nContent-Length: 2\r\n\r\n{}")
	answer := make([]byte, 4<<10)
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(answer)
		if err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 200 OK\r\n")) || !bytes.HasSuffix(answer[:n], []byte("\r\n\r\n")) {
			t.Fatalf("got %q, %v", answer[:n], err)
		}
	}
}

// An exchange costs next to nothing around its handler.
func TestExchangeAllocations(t *testing.T) {
	exchange := exchanger(t, chain(t, nil, "/api/v1/access/verify"))
	if n := testing.AllocsPerRun(200, exchange); n > 1 {
		t.Errorf("an exchange makes %.0f allocations around a handler, want at most 1: the client's address as text", n)
	}
}
