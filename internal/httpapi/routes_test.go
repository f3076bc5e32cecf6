package httpapi

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/throttle"
)

// A route that does not say that it is public is not.
func TestRoutesArePrivateUnlessMarked(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	var zero mark
	if zero != private {
		t.Fatal("a route without a mark is not private")
	}
	checked := 0
	for _, rt := range s.routes() {
		if rt.access == public || !strings.HasPrefix(rt.path, "/api/v1/") {
			continue
		}
		checked++
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "FOO"} {
			for _, header := range []string{"X-None: 1", "Authorization: Bearer " + demoToken, "Authorization: Token nope", "Authorization: Token " + carolToken} {
				w := s.ask(method, rt.path, "{", asJSON, header)
				if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != "Token" {
					t.Errorf("%s %s with %q: %d, WWW-Authenticate %q; want 401, Token", method, rt.path, header, w.Code, w.Header().Get("WWW-Authenticate"))
				}
			}
		}
	}
	if checked != 3 {
		t.Errorf("%d private routes were checked, want 3", checked)
	}
	for _, rt := range s.routes() {
		if rt.access == public && strings.HasPrefix(rt.path, "/api/") && rt.path != "/api/v1/access/verify" && rt.path != "/api/v1/auth/token" {
			t.Errorf("%s is public: nothing counts its calls", rt.path)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for path, want := range map[string]string{
		"/api/v1/access/verify": "POST", "/api/v1/devices/me": "GET HEAD", "/schema/": "GET HEAD", "/docs/": "GET HEAD",
		"/docs/docs.js": "GET HEAD", "/docs/nope": "", "/nope": "",
	} {
		if got := strings.Join(s.Methods(path), " "); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	w := s.ask("GET", "/api/v1/access/verify", "")
	if w.Code != 405 || w.Header().Get("Allow") != "POST, OPTIONS" || w.Body.String() != `{"detail":"Method \"GET\" not allowed."}` {
		t.Errorf("GET verify: %d, Allow %q, %s", w.Code, w.Header().Get("Allow"), w.Body)
	}
}

func TestPathsThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for _, path := range []string{
		"/", "/api", "/api/", "/api/v1/", "/api/v1/nope", "/api/v1/access/verify/", "/API/v1/access/verify", "/api/v1/access/Verify", "/%ff", "/docs/nope", "/schema/x",
		"//", "//api/v1/access/verify", "/api//v1/access/verify", "/api/v1/./access/verify", "/api/v1/access/../access/verify", "/docs//", "/docs/../schema/", "*",
	} {
		for _, method := range []string{"GET", "POST", "FOO"} {
			for _, header := range []string{"X-None: 1", "Authorization: Token nope", asDemo} {
				w := s.ask(method, path, "", header)
				if w.Code != 404 || w.Body.String() != `{"detail":"Not found."}` {
					t.Errorf("%s %s with %q: %d %s, want 404", method, path, header, w.Code, w.Body)
				}
			}
		}
	}
	for path, to := range map[string]string{"/schema?format=json": "/schema/?format=json", "/docs": "/docs/", "/admin": "/admin/"} {
		if w := s.ask("GET", path, ""); w.Code != 301 || w.Header().Get("Location") != to {
			t.Errorf("%s: %d to %q, want 301 to %q", path, w.Code, w.Header().Get("Location"), to)
		}
	}
}

// Whoever is refused before the body was read can go on using the connection.
func TestRefusedAndGoesOn(t *testing.T) {
	t.Parallel()
	front := httptest.NewServer(newSite(t, nil))
	t.Cleanup(front.Close)
	body := strings.Repeat("x", 500)
	for line, status := range map[string]int{
		"POST /api/v1/devices/register": http.StatusUnauthorized,
		"PUT /api/v1/access/verify":     http.StatusMethodNotAllowed,
		"POST /nope":                    http.StatusNotFound,
		"POST /api/v1/auth/token":       http.StatusBadRequest, // which reads it
	} {
		conn, err := net.Dial("tcp", front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		in := bufio.NewReader(conn)
		for i := range 3 {
			// The head comes first, as from clients that write the two apart.
			for _, part := range []string{line + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n", body} {
				if _, err := io.WriteString(conn, part); err != nil {
					t.Fatal(err)
				}
			}
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("%s, request %d: %v", line, i, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != status || resp.Close {
				t.Errorf("%s, request %d: got %s, %v, close %v; want %d and a connection to go on with", line, i, resp.Status, err, resp.Close, status)
			}
		}
	}
}

// Who may not call is told so even if the body that the head announces never comes.
func TestRefusedBeforeTheBody(t *testing.T) {
	t.Parallel()
	front := httptest.NewServer(newSite(t, nil))
	t.Cleanup(front.Close)
	for line, want := range map[string]string{
		"POST /api/v1/devices/register":   "HTTP/1.1 401 ",
		"DELETE /api/v1/devices/register": "HTTP/1.1 401 ",
		"PUT /api/v1/access/verify":       "HTTP/1.1 405 ",
		"POST /nope":                      "HTTP/1.1 404 ",
	} {
		conn, err := net.Dial("tcp", front.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, line+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(got), want) || !strings.Contains(string(got), "\r\nConnection: close\r\n") {
			t.Errorf("%s, its body kept back: got %q, %v; want %q, and the connection closed, as it is told", line, got, err, want)
		}
	}
}

// A client that closes its side after asking, or goes away, is answered and recorded like any other: net/http ends the request's
// context as soon as it sees that.
func TestClientThatHungUp(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/api/v1/access/verify", `{"gate_id":"gate-01","token":"` + demoToken + `"}`, `{"decision":"ALLOW","duration_ms":800,"reason":"OK"}`},
		{"POST", "/api/v1/access/verify", `{"gate_id":`, `{"decision":"DENY","reason":"INVALID_REQUEST"}`},
		{"POST", "/api/v1/auth/token", `{"username":"demo","password":"StrongPass_123"}`, `{"token":"`},
		{"POST", "/api/v1/devices/revoke", `{"device_id":1}`, `{"device_id":1,"is_active":false}`},
	} {
		r := httptest.NewRequestWithContext(gone, c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Token "+demoToken)
		if w := s.askRequest(r); w.Code != 200 || !strings.HasPrefix(w.Body.String(), c.want) {
			t.Errorf("%s %s, hung up: %d %s, want 200 %s", c.path, c.body, w.Code, w.Body, c.want)
		}
	}
}

func TestCallLimits(t *testing.T) {
	t.Parallel()
	c := &clock{time.Unix(1_700_000_000, 0)}
	s := newSite(t, func(cfg *Config) {
		cfg.UserRate, cfg.AnonRate = throttle.Rate{N: 3, Per: 24 * time.Hour}, throttle.Rate{N: 2, Per: 24 * time.Hour}
		cfg.Now = c.now
	})
	want := func(what string, status int, path string, header ...string) {
		t.Helper()
		w := s.ask("GET", path, "", header...)
		if w.Code != status {
			t.Errorf("%s: %d %s, want %d", what, w.Code, w.Body, status)
		}
		if status == 429 && (w.Header().Get("Retry-After") != "86400" || w.Body.String() != `{"detail":"Request was throttled. Expected available in 86400 seconds."}`) {
			t.Errorf("%s: Retry-After %q, %s", what, w.Header().Get("Retry-After"), w.Body)
		}
	}
	want("anonymous 1", 401, "/api/v1/devices/me")
	want("anonymous 2", 404, "/api/v1/nope")
	want("anonymous 3", 429, "/api/v1/devices/me")
	want("anonymous 4", 429, "/api/nope", "Authorization: Token nope")
	want("another address", 401, "/api/v1/devices/me", "From: [2001:db8::1]:0")
	want("the same /64", 401, "/api/v1/devices/me", "From: [2001:db8::2]:0")
	want("the same /64 again", 429, "/api/v1/devices/me", "From: [2001:db8::3]:0")
	want("outside of the API", 404, "/nope")
	want("the schema", 200, "/schema/")
	want("verify", 405, "/api/v1/access/verify")
	want("user 1", 200, "/api/v1/devices/me", asDemo)
	want("user 2", 404, "/api/nope", asDemo)
	want("user 3", 200, "/api/v1/devices/me", asDemo, "From: 192.0.2.99:0")
	want("user 4", 429, "/api/v1/devices/me", asDemo, "From: 192.0.2.98:0")
	want("another user", 200, "/api/v1/devices/me", "Authorization: Token a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3")
	c.at = c.at.Add(24*time.Hour + time.Second)
	want("anonymous, the next day", 401, "/api/v1/devices/me")
	want("user, the next day", 200, "/api/v1/devices/me", asDemo)
}

func TestLoginThrottle(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(cfg *Config) { cfg.SignIns = throttle.NewSignIns(throttle.Rate{N: 2, Per: time.Hour}, nil) })
	login := func(what string, status int, address, username, password string) {
		t.Helper()
		w := s.ask("POST", "/api/v1/auth/token", `{"username":"`+username+`","password":"`+password+`"}`, asJSON, "From: "+address+":0")
		if w.Code != status || (status == 429) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%s: %d %s, Retry-After %q; want %d", what, w.Code, w.Body, w.Header().Get("Retry-After"), status)
		}
	}
	login("at home", 200, "192.0.2.1", "demo", "StrongPass_123")
	login("a stranger's first guess", 400, "192.0.2.2", "demo", "x")
	login("a stranger's second guess", 400, "192.0.2.3", "demo", "x")
	login("a stranger's third guess", 429, "192.0.2.4", "demo", "x")
	login("a stranger with the password", 429, "192.0.2.5", "demo", "StrongPass_123")
	login("at home again", 200, "192.0.2.1", "demo", "StrongPass_123")
	login("at home too often", 429, "192.0.2.1", "demo", "StrongPass_123")
	login("an unknown user counts alike", 400, "192.0.2.6", "nobody", "x")
	login("an unknown user counts alike", 400, "192.0.2.7", "nobody", "x")
	login("an unknown user counts alike", 429, "192.0.2.8", "nobody", "x")
	for range 3 {
		s.ask("POST", "/api/v1/auth/token", "{", asJSON, "From: 192.0.2.20:0")
	}
	login("after attempts that were no logins", 429, "192.0.2.20", "alice", "StrongPass_123")
	login("alice elsewhere", 200, "192.0.2.21", "alice", "StrongPass_123")
	login("alice elsewhere", 200, "192.0.2.22", "alice", "StrongPass_123")
	login("successes are no failures", 200, "192.0.2.23", "alice", "StrongPass_123")
}
