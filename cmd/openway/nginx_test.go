package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/server"
)

// nginx is a running one, with ops/nginx/conf.d/app.conf and nothing changed in it but addresses and paths.
type nginx struct {
	*authority
	dir          string
	plain, https string // addresses
}

// freePort is an address at a port that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t))
}

func startNginx(t *testing.T, upstream string) *nginx {
	t.Helper()
	n := &nginx{authority: newAuthority(t), dir: t.TempDir(), plain: freePort(t), https: freePort(t)}
	cert, key := n.issue(t, 1, "access.example.org")
	write(t, filepath.Join(n.dir, "fullchain.pem"), cert)
	write(t, filepath.Join(n.dir, "privkey.pem"), key)
	conf, err := os.ReadFile("../../ops/nginx/conf.d/app.conf")
	if err != nil {
		t.Fatal(err)
	}
	text := string(conf)
	for _, change := range [][2]string{
		{"server 127.0.0.1:8001;", "server " + upstream + ";"},
		{"listen 80;", "listen " + n.plain + ";"},
		{"listen [::]:80;", ""},
		{"listen 443 ssl http2;", "listen " + n.https + " ssl http2;"},
		{"listen [::]:443 ssl http2;", ""},
		{"/etc/letsencrypt/live/access.example.org", n.dir},
		{"/var/log/nginx", n.dir},
		{"/var/cache/openway-nginx", n.dir + "/cache"},
		{"/var/www/letsencrypt", n.dir + "/www"},
	} {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("app.conf has no %q", change[0])
		}
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	write(t, filepath.Join(n.dir, "app.conf"), []byte(text))
	write(t, filepath.Join(n.dir, "nginx.conf"), fmt.Appendf(nil, `daemon off;
user root;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 256; }
http {
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	include %[1]s/app.conf;
}
`, n.dir))
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx" // not on everybody's PATH
	}
	var said bytes.Buffer
	c := exec.Command(program, "-c", filepath.Join(n.dir, "nginx.conf"), "-e", filepath.Join(n.dir, "error.log"))
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	waitFor(t, "nginx listens", func() bool {
		select {
		case <-ended:
			t.Fatalf("nginx ended: %s", &said)
		default:
		}
		conn, err := net.Dial("tcp", n.https)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return n
}

// get asks as a browser that means access.example.org.
func (n *nginx) get(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	return send(t, n.client(false), method, "https://"+n.https+path, body, append([]string{"Host", "access.example.org"}, headers...)...)
}

func (n *nginx) log(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.dir, "openway.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// behind starts openway as app.conf says it must be configured.
func behind(t *testing.T, args ...string) (installed, *process) {
	t.Helper()
	in := install(t, "sqlite").withAnna()
	in.env = append(in.env, "OPENWAY_TRUSTED_PROXIES=127.0.0.1", "OPENWAY_PUBLIC_URL=https://access.example.org", "ALLOWED_HOSTS=access.example.org")
	return in, in.serve(args...)
}

func TestBehindNginx(t *testing.T) {
	in, p := behind(t)
	n := startNginx(t, p.address)

	// Each security header once, whoever answers.
	once := func(name string, a answer) {
		t.Helper()
		for _, h := range []string{"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Strict-Transport-Security", "X-Request-Id"} {
			if got := a.Header.Values(h); len(got) != 1 {
				t.Errorf("%s: %s is there %d times: %q", name, h, len(got), got)
			}
		}
		if got := a.Header.Get("Server"); strings.Contains(got, "/") {
			t.Errorf("%s: the version of nginx is told: %s", name, got)
		}
	}

	// A verify: HTTP/2 outside, the client's id kept, the client's address in the event whatever the client says it is.
	a := n.get(t, "POST", verifyURL, annasQuestion, "X-Request-ID", "from-outside", "X-Forwarded-For", "203.0.113.9", "X-Real-IP", "203.0.113.9", "X-Forwarded-Proto", "http")
	if a.ProtoMajor != 2 || !strings.Contains(a.body, `"ALLOW"`) || a.Header.Get("X-Request-Id") != "from-outside" {
		t.Errorf("verify: %s %s %v", a.Proto, a.body, a.Header)
	}
	once("verify", a)
	event := in.must("", "events", "list", "--json")
	if !strings.Contains(event, `"from-outside"`) || !strings.Contains(event, `"127.0.0.1"`) || strings.Contains(event, "203.0.113.9") {
		t.Errorf("the event is %s; want the address that nginx saw", event)
	}
	// From elsewhere than nginx, nothing of the kind is believed either.
	send(t, n.client(false), "POST", "http://"+p.address+verifyURL, annasQuestion, "Host", "access.example.org", "X-Forwarded-For", "203.0.113.7", "X-Request-ID", "past-nginx")

	// An id that is none is replaced by one that both logs know.
	a = n.get(t, "GET", "/docs/", "", "X-Request-ID", `x" y`)
	id := a.Header.Get("X-Request-Id")
	if len(id) != 32 {
		t.Errorf("the request id is %q, want nginx's own", id)
	}
	once("a page", a)
	p.log.await(t, 0, `"request_id":"`+id+`"`)
	waitFor(t, "nginx has logged it", func() bool { return strings.Contains(n.log(t), `"request_id":"`+id+`"`) })

	// Static files come from the cache the second time, under the new request's id.
	for _, want := range []string{"MISS", "HIT"} {
		id := "static-" + strings.ToLower(want)
		a := n.get(t, "GET", "/docs/swagger-ui.css?secret=1", "", "X-Request-ID", id)
		if a.StatusCode != 200 || len(a.body) < 1000 || a.Header.Get("X-Request-Id") != id {
			t.Errorf("static file, %s: %d, %d bytes, %v", want, a.StatusCode, len(a.body), a.Header)
		}
		once("static file, "+want, a)
		waitFor(t, "nginx has logged it", func() bool { return strings.Contains(n.log(t), `"request_id":"`+id+`"`) })
		if log := n.log(t); !strings.Contains(log, `"cache":"`+want+`"`) || strings.Contains(log, "secret") {
			t.Errorf("nginx's log: no %s, or the query in it:\n%s", want, log)
		}
	}
	if strings.Contains(p.log.String(), "static-hit") {
		t.Error("openway was asked for what stands in the cache")
	}

	// The feed that app.conf does not buffer is where the pages have it: whoever is not signed in is asked to, without a detour.
	conf, err := os.ReadFile("../../ops/nginx/conf.d/app.conf")
	if err != nil {
		t.Fatal(err)
	}
	feed := regexp.MustCompile(`location = (/admin/\S+) \{`).FindSubmatch(conf)
	if feed == nil {
		t.Fatal("app.conf has no location for the live feed")
	}
	if a := n.get(t, "GET", string(feed[1]), ""); a.StatusCode != 303 {
		t.Errorf("app.conf has the live feed at %s, where openway answers %d to %q, want 303", feed[1], a.StatusCode, a.Header.Get("Location"))
	}

	// Redirects, health and the authority's path on plain HTTP.
	if err := os.MkdirAll(filepath.Join(n.dir, "www/.well-known/acme-challenge"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(n.dir, "www/.well-known/acme-challenge/token"), []byte("the challenge"))
	for _, tt := range []struct {
		method, path, host string
		status             int
		location, body     string
	}{
		{"GET", "/docs/?a=1", "access.example.org", 308, "https://access.example.org/docs/?a=1", ""},
		{"POST", verifyURL, "access.example.org", 308, "https://access.example.org" + verifyURL, ""},
		{"GET", "/", "evil.test", 308, "https://access.example.org/", ""},
		{"GET", "/healthz", "access.example.org", 200, "", `{"status": "ok"}`},
		{"GET", "/readyz", "any.test", 200, "", `{"status": "ready"}`},
		{"GET", "/.well-known/acme-challenge/token", "access.example.org", 200, "", "the challenge"},
	} {
		a := send(t, n.client(false), tt.method, "http://"+n.plain+tt.path, "", "Host", tt.host)
		if a.StatusCode != tt.status || a.Header.Get("Location") != tt.location || tt.body != "" && a.body != tt.body {
			t.Errorf("plain %s %s: %d to %q, %q; want %+v", tt.method, tt.path, a.StatusCode, a.Header.Get("Location"), a.body, tt)
		}
		if a.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("plain %s: HSTS", tt.path)
		}
	}
	// Health is not logged.
	if a := n.get(t, "GET", "/readyz", ""); a.StatusCode != 200 {
		t.Errorf("readiness: %d", a.StatusCode)
	}
	if log := n.log(t); strings.Contains(log, "healthz") || strings.Contains(log, "readyz") {
		t.Errorf("health is logged:\n%s", log)
	}

	// Too large for nginx, and too large for openway alone.
	a = n.get(t, "POST", "/api/v1/auth/token", strings.Repeat("x", 1<<20+1), "X-Request-ID", "large")
	if a.StatusCode != 413 || a.Header.Get("X-Request-Id") != "large" {
		t.Errorf("a body of over 1 MiB: %d", a.StatusCode)
	}
	once("a body of over 1 MiB", a)
	if a = n.get(t, "POST", verifyURL, strings.Repeat(" ", 65<<10), "X-Request-ID", "larger"); a.StatusCode != 200 || !strings.Contains(a.body, "INVALID_REQUEST") {
		t.Errorf("a body of over 64 KiB: %d %s", a.StatusCode, a.body)
	}
	once("a body of over 64 KiB", a)
	if a = n.get(t, "GET", "/", "", "Host", "evil.test"); a.StatusCode != 400 {
		t.Errorf("a host that is not allowed: %d, want 400", a.StatusCode)
	}

	for line := range strings.Lines(n.log(t)) {
		if !strings.HasPrefix(line, `{"ts":"`) {
			t.Errorf("nginx's log has a line %q", line)
		}
	}
	if got := through(t, n.log(t), `jq 'select(.status == 413) | .request_id'`); strings.TrimSpace(got) != `"large"` {
		t.Errorf("jq finds %s in nginx's log, want the one request that was too large", got)
	}

	// openway goes away: gates are told in their own words, and denied.
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
	a = n.get(t, "POST", verifyURL, annasQuestion)
	if a.StatusCode != 503 || a.body != `{"decision":"DENY","reason":"UNAVAILABLE"}` || a.Header.Get("Retry-After") != "2" || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
		t.Errorf("openway away: %d %s %v", a.StatusCode, a.body, a.Header)
	}
	once("openway away", a)
	if a = n.get(t, "GET", "/docs/swagger-ui.css?secret=1", ""); a.StatusCode != 200 {
		t.Errorf("a cached file while openway is away: %d, want 200", a.StatusCode)
	}
	if strings.Count(p.log.String(), `"message":"X-Forwarded-For from an address`) != 0 {
		t.Error("nginx is not trusted")
	}
}

// Without OPENWAY_TRUSTED_PROXIES nothing that comes with X-Forwarded-For is believed, and HSTS comes from nginx.
func TestBehindNginxThatIsNotTrusted(t *testing.T) {
	in := install(t, "sqlite").withAnna()
	p := in.serve()
	n := startNginx(t, p.address)
	a := n.get(t, "POST", verifyURL, annasQuestion)
	if got := a.Header.Values("Strict-Transport-Security"); len(got) != 1 {
		t.Errorf("HSTS is %q, want it once", got)
	}
	p.log.await(t, 0, "X-Forwarded-For from an address that is not in OPENWAY_TRUSTED_PROXIES is ignored")
}

// What gates ask reaches openway on connections that carry nothing else, in the form that it reads without net/http.
func TestNginxAsksPlainly(t *testing.T) {
	var plainly, others atomic.Int64
	front, err := server.New(server.Config{Plain: []string{verifyURL}, DrainGrace: time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(http.ServerContextKey) == nil { // which net/http sets
			plainly.Add(1)
		} else {
			others.Add(1)
		}
	})})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- front.Serve(ctx, l) }()
	n := startNginx(t, l.Addr().String())
	client := n.client(true)
	const each = 10
	for range each {
		for path, method := range map[string]string{verifyURL: "POST", "/docs/": "GET", "/api/v1/auth/token": "POST"} {
			if a := send(t, client, method, "https://"+n.https+path, annasQuestion); a.StatusCode != 200 {
				t.Errorf("%s: %d", path, a.StatusCode)
			}
		}
	}
	if plainly.Load() != each || others.Load() != 2*each {
		t.Errorf("%d requests came plainly and %d otherwise, want the %d of gates and the %d others", plainly.Load(), others.Load(), each, 2*each)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// nginx keeps its connections to openway open from one request to the next.
func TestNginxKeepsItsConnections(t *testing.T) {
	var connections, requests atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stream := make(chan string)
	upstream := &http.Server{
		ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			if r.URL.Path != "/admin/events/stream/" {
				fmt.Fprint(w, r.Header)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			for event := range stream {
				fmt.Fprintf(w, "data: %s\n\n", event)
				w.(http.Flusher).Flush()
			}
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				connections.Add(1)
			}
		},
	}
	go func() { _ = upstream.Serve(l) }()
	t.Cleanup(func() { upstream.Close() })
	n := startNginx(t, l.Addr().String())
	client := n.client(true) // one connection, so one worker of nginx
	for range 20 {
		a := send(t, client, "GET", "https://"+n.https+"/x", "", "X-Real-IP", "203.0.113.9", "X-Forwarded-For", "203.0.113.9")
		if !strings.Contains(a.body, "X-Real-Ip:[127.0.0.1]") || !strings.Contains(a.body, "X-Forwarded-For:[127.0.0.1]") || !strings.Contains(a.body, "X-Forwarded-Proto:[https]") || strings.Contains(a.body, "Connection:") {
			t.Fatalf("the upstream is sent %s", a.body)
		}
	}
	if connections.Load() != 1 || requests.Load() != 20 {
		t.Errorf("%d connections for %d requests, want one", connections.Load(), requests.Load())
	}

	// An event of the live feed arrives before the next one is sent: nothing is buffered on its way.
	conn, err := tls.Dial("tcp", n.https, &tls.Config{RootCAs: n.roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /admin/events/stream/ HTTP/1.1\r\nHost: access.example.org\r\n\r\n")
	lines := bufio.NewReader(conn)
	for i := range 3 {
		event := fmt.Sprint("event-", i)
		stream <- event
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("%s did not come: %v", event, err)
			}
			if strings.Contains(line, event) {
				break
			}
		}
	}
	close(stream)
}
