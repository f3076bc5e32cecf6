package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tried is a server whose log is read back.
type tried struct {
	*Server
	log *bytes.Buffer
}

func try(t testing.TB, c Config) tried {
	t.Helper()
	log := new(bytes.Buffer)
	if c.Logger == nil {
		c.Logger = slog.New(NewLogHandler(log, JSONLog, slog.LevelDebug))
	}
	if c.Handler == nil {
		c.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "inner") })
	}
	if c.Error == nil {
		c.Error = func(w http.ResponseWriter, _ *http.Request, status int) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"detail":"x"}`)
		}
	}
	if c.Plain == nil {
		c.Plain = []string{"/", "/x", "/slow", "/a", "/b", "/c"}
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tried{s, log}
}

func (s tried) do(method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// lines are the log's lines, read as JSON.
func (s tried) lines(t testing.TB) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(s.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

func TestRequestID(t *testing.T) {
	s := try(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Request-ID"))
	})})
	for _, tt := range []struct {
		sent []string
		kept bool
	}{
		{[]string{"abc-DEF_0.9"}, true},
		{[]string{strings.Repeat("a", 128)}, true},
		{[]string{strings.Repeat("a", 129)}, false},
		{[]string{""}, false},
		{nil, false},
		{[]string{"a b"}, false},
		{[]string{"<script>"}, false},
		{[]string{"a\tb"}, false},
		{[]string{"ю"}, false},
		{[]string{"one", "two"}, false},
	} {
		var headers []string
		for _, v := range tt.sent {
			headers = append(headers, "X-Request-ID", v)
		}
		w := s.do("GET", "/x", headers...)
		got := w.Header().Values("X-Request-ID")
		switch {
		case len(got) != 1:
			t.Errorf("sent %q: the answer has %d ids: %q", tt.sent, len(got), got)
		case tt.kept && got[0] != tt.sent[0]:
			t.Errorf("sent %q: got %q, want it back", tt.sent, got[0])
		case !tt.kept && !isUUID(got[0]):
			t.Errorf("sent %q: got %q, want a UUID", tt.sent, got[0])
		case w.Body.String() != got[0]:
			t.Errorf("sent %q: the handler saw %q, the answer says %q", tt.sent, w.Body.String(), got[0])
		}
	}
	if a, b := newUUID(), newUUID(); a == b {
		t.Errorf("two UUIDs are %s both", a)
	}
}

func isUUID(s string) bool {
	if len(s) != 36 || s[14] != '4' || !strings.ContainsRune("89ab", rune(s[19])) {
		return false
	}
	for i, c := range s {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || (!dash && !strings.ContainsRune("0123456789abcdef", c)) {
			return false
		}
	}
	return true
}

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tt := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"203.0.113.7:1234", nil, "203.0.113.7:0"},
		{"203.0.113.7:1234", []string{"198.51.100.1"}, "203.0.113.7:0"}, // not a proxy of ours
		{"10.0.0.1:1234", nil, "10.0.0.1:0"},
		{"10.0.0.1:1234", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"10.0.0.1:1234", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1:0"}, // the client invented 1.1.1.1
		{"10.0.0.1:1234", []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1:0"},
		{"10.0.0.1:1234", []string{"198.51.100.1", "10.0.0.2"}, "198.51.100.1:0"}, // two lines are one list
		{"10.0.0.1:1234", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		{"10.0.0.1:1234", []string{"198.51.100.1, garbage, 10.0.0.2"}, "10.0.0.2:0"},
		{"10.0.0.1:1234", []string{"garbage"}, "10.0.0.1:0"},
		{"10.0.0.1:1234", []string{", ,198.51.100.1, "}, "198.51.100.1:0"},
		{"10.0.0.1:1234", []string{"198.51.100.1:5555"}, "198.51.100.1:0"},
		{"10.0.0.1:1234", []string{"[2001:db8::1]:5555"}, "[2001:db8::1]:0"},
		{"10.0.0.1:1234", []string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		{"10.0.0.1:1234", []string{"::ffff:198.51.100.1"}, "198.51.100.1:0"},
		{"[::ffff:10.0.0.1]:1234", []string{"198.51.100.1"}, "198.51.100.1:0"},
		{"[fd00::1]:1234", []string{"2001:db8::2"}, "[2001:db8::2]:0"},
		{"[fe80::1%eth0]:1234", nil, "[fe80::1]:0"},
		{"@", nil, "0.0.0.0:0"},
	} {
		var got, header string
		s := try(t, Config{TrustedProxies: trusted, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got, header = r.RemoteAddr, r.Header.Get("X-Forwarded-For")
		})})
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.peer
		r.Header["X-Forwarded-For"] = tt.forwarded
		s.ServeHTTP(httptest.NewRecorder(), r)
		if got != tt.want {
			t.Errorf("peer %s, X-Forwarded-For %q: client is %s, want %s", tt.peer, tt.forwarded, got, tt.want)
		}
		if header != "" {
			t.Errorf("peer %s: the handler sees X-Forwarded-For %q", tt.peer, header)
		}
	}
}

func TestStrayProxyIsWarnedAboutOnce(t *testing.T) {
	s := try(t, Config{})
	for range 3 {
		s.do("GET", "/", "X-Forwarded-For", "198.51.100.1")
	}
	warned := 0
	for _, l := range s.lines(t) {
		if l["level"] == "WARN" && strings.Contains(l["message"].(string), "OPENWAY_TRUSTED_PROXIES") {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("warned %d times, want once: %s", warned, s.log)
	}
}

func TestHTTPS(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's peer is 192.0.2.1
	for _, tt := range []struct {
		name    string
		config  Config
		headers []string
		want    bool
	}{
		{"plain", Config{}, nil, false},
		{"public URL", Config{HTTPS: true}, nil, true},
		{"proxy", Config{TrustedProxies: trusted}, []string{"X-Forwarded-Proto", "https"}, true},
		{"proxy, plain", Config{TrustedProxies: trusted}, []string{"X-Forwarded-Proto", "http"}, false},
		{"proxies, the nearest counts", Config{TrustedProxies: trusted}, []string{"X-Forwarded-Proto", "https, http"}, false},
		{"stranger", Config{}, []string{"X-Forwarded-Proto", "https"}, false},
	} {
		var proto string
		tt.config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto = r.Header.Get("X-Forwarded-Proto") })
		w := try(t, tt.config).do("GET", "/", tt.headers...)
		if got := w.Header().Get("Strict-Transport-Security") != ""; got != tt.want {
			t.Errorf("%s: HSTS is %v, want %v", tt.name, got, tt.want)
		}
		if (proto == "https") != tt.want {
			t.Errorf("%s: the handler sees X-Forwarded-Proto %q", tt.name, proto)
		}
	}
}

func TestHeadersAreOnEveryAnswer(t *testing.T) {
	s := try(t, Config{AllowedHosts: []string{"example.com"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("oh")
		}
	})})
	for _, tt := range []struct {
		method, target string
		status         int
		host           string
	}{
		{"GET", "/x", 200, "example.com"},
		{"GET", "/panic", 500, "example.com"},
		{"GET", "/x", 400, "evil.test"},
		{"OPTIONS", "/x", 204, "evil.test"},
		{"OPTIONS", "*", 204, "example.com"},
		{"GET", "/healthz", 200, "evil.test"},
		{"DELETE", "/ready", 405, "evil.test"},
	} {
		w := s.do(tt.method, tt.target, "Host", tt.host)
		if w.Code != tt.status {
			t.Errorf("%s %s at %s: %d, want %d", tt.method, tt.target, tt.host, w.Code, tt.status)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", tt.method, tt.target, name, got, want)
			}
		}
		if !isUUID(w.Header().Get("X-Request-ID")) {
			t.Errorf("%s %s: no request id", tt.method, tt.target)
		}
	}
}

func TestHealth(t *testing.T) {
	broken := errors.New("no database")
	var ready error
	s := try(t, Config{Ready: func(context.Context) error { return ready }, AllowedHosts: []string{"example.org"}})
	for _, tt := range []struct {
		method, path string
		ready        error
		status       int
		body         string
	}{
		{"GET", "/health", broken, 200, `{"status": "ok"}`},
		{"GET", "/healthz", nil, 200, `{"status": "ok"}`},
		{"HEAD", "/healthz", nil, 200, ""},
		{"GET", "/health?x=1", nil, 200, `{"status": "ok"}`},
		{"GET", "/ready", nil, 200, `{"status": "ready"}`},
		{"GET", "/readyz", broken, 503, `{"status": "not-ready"}`},
		{"HEAD", "/readyz", broken, 503, ""},
		{"POST", "/health", nil, 405, `{"detail":"x"}`},
		{"OPTIONS", "/health", nil, 204, ""},
	} {
		ready = tt.ready
		w := s.do(tt.method, tt.path, "Accept", "text/plain")
		if w.Code != tt.status || w.Body.String() != tt.body {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.path, w.Code, w.Body, tt.status, tt.body)
		}
		if tt.status == 405 && w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s %s: Allow is %q", tt.method, tt.path, w.Header().Get("Allow"))
		}
	}
	for _, path := range []string{"/health/", "/Health", "/ready/"} {
		if w := s.do("GET", path); w.Code != 400 { // not a health path: the host counts
			t.Errorf("%s: %d, want the allowed hosts to hold", path, w.Code)
		}
	}
	changes := 0
	for _, l := range s.lines(t) {
		if l["logger"] == "openway" {
			changes++
		} else if l["level"] != "DEBUG" && !strings.HasPrefix(l["path"].(string), "/health/") && l["status"] != 400.0 {
			t.Errorf("a probe is logged as %v: %v", l["level"], l)
		}
	}
	if changes != 1 {
		t.Errorf("not being ready was said %d times, want once:\n%s", changes, s.log)
	}
}

// A database that hangs is not ready after 2 s, even when it does not heed its context.
func TestReadyGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		s := try(t, Config{Ready: func(context.Context) error { <-hang; return nil }})
		begun := time.Now()
		w := s.do("GET", "/ready")
		if took := time.Since(begun); w.Code != 503 || took != 2*time.Second {
			t.Errorf("%d after %s, want 503 after 2s", w.Code, took)
		}
		close(hang)
	})
}

// However many probe, the database is asked once at a time.
func TestProbesShareARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, answered atomic.Int64
		s := try(t, Config{Ready: func(context.Context) error { asked.Add(1); time.Sleep(time.Second); return nil }})
		for range 100 {
			go func() {
				if s.do("GET", "/readyz").Code == 200 {
					answered.Add(1)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		if asked.Load() != 1 || answered.Load() != 100 {
			t.Errorf("100 probes asked %d times and %d were told ready", asked.Load(), answered.Load())
		}
		if s.do("GET", "/readyz"); asked.Load() != 2 {
			t.Errorf("the next probe did not ask for itself: %d", asked.Load())
		}
	})
}

// What net/http says of clients is for those who look closely; a panic, which leaves a client without an answer, is for all.
func TestWhatNetHTTPSays(t *testing.T) {
	t.Parallel()
	s := try(t, Config{})
	s.http.ErrorLog.Printf("http: TLS handshake error from 192.0.2.1:1: EOF")
	s.http.ErrorLog.Printf("http: panic serving 192.0.2.1:1: no\nstack")
	lines := s.lines(t)
	if len(lines) != 2 || lines[0]["level"] != "DEBUG" || lines[1]["level"] != "ERROR" || lines[1]["message"] != "http: panic serving 192.0.2.1:1: no\nstack" {
		t.Errorf("got %v", lines)
	}
}

func TestPanics(t *testing.T) {
	s := try(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/before":
			w.Header().Set("Content-Length", "1000")
			panic("secret detail")
		case "/after":
			_, _ = io.WriteString(w, "half an")
			panic("secret detail")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})})
	w := s.do("GET", "/before")
	if w.Code != 500 || w.Body.String() != `{"detail":"x"}` || w.Header().Get("Content-Length") != "" {
		t.Errorf("a panic before the answer: %d %q %v", w.Code, w.Body, w.Header())
	}
	for _, path := range []string{"/after", "/abort"} {
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // a sentinel that is panicked with
					t.Errorf("%s: the connection is not aborted: %v", path, p)
				}
			}()
			s.do("GET", path)
		}()
	}
	stacks, requests := 0, 0
	for _, l := range s.lines(t) {
		if l["panic"] != nil {
			stacks++
			if !strings.Contains(l["stack"].(string), "server_test.go") || l["request_id"] == "" {
				t.Errorf("the log of a panic lacks its stack or request id: %v", l)
			}
		}
		if l["logger"] == "openway.request" {
			requests++
			if l["path"] == "/before" && (l["status"] != 500.0 || l["level"] != "ERROR") {
				t.Errorf("the access log of a panic says %v %v", l["level"], l["status"])
			}
		}
	}
	if stacks != 2 || requests != 3 {
		t.Errorf("%d panics and %d requests in the log, want 2 and 3:\n%s", stacks, requests, s.log)
	}
}

// The handler behind never sees an empty path, whatever was sent.
func TestOddTargets(t *testing.T) {
	var path string
	s := try(t, Config{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { path = r.URL.Path })})
	for target, want := range map[string]string{
		"http://example.com":            "/",
		"http://example.com/a?b":        "/a",
		"/%ff":                          "/\xff",
		"/a%00b":                        "/a\x00b",
		"//double":                      "//double",
		"/" + strings.Repeat("a", 5000): "/" + strings.Repeat("a", 5000),
	} {
		if w := s.do("GET", target); w.Code != 200 || path != want {
			t.Errorf("GET %.40s: %d, path %.40q, want %.40q", target, w.Code, path, want)
		}
	}
	for _, l := range s.lines(t) {
		if p := l["path"].(string); len(p) > longestPath+3 {
			t.Errorf("the log shows a path of %d bytes", len(p))
		}
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{AllowedHosts: []string{"a b"}}); err == nil {
		t.Error("a bad host is accepted")
	}
	if _, err := New(Config{CORSOrigins: []string{"*"}}); err == nil {
		t.Error("a bad origin is accepted")
	}
}
