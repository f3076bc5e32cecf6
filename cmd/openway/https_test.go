package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// authority signs certificates for tests.
type authority struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	roots *x509.CertPool
	pem   []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, roots: x509.NewCertPool(), pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	a.roots.AddCert(cert)
	return a
}

// issue makes a certificate for this machine and some names, as two PEM texts.
func (a *authority) issue(t *testing.T, serial int64, names ...string) (cert, key []byte) {
	t.Helper()
	return a.issueFor(t, serial, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), names...)
}

// issueFor makes one that holds from then until then.
func (a *authority) issueFor(t *testing.T, serial int64, from, until time.Time, names ...string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "openway"}, NotBefore: from, NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: append([]string{"localhost"}, names...), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// write puts a file in the place of another one at once, as certbot does.
func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// secured is an installation with a gate that anna's phone opens, and HTTPS.
type secured struct {
	installed
	*authority
	cert, key string // files
}

const annasQuestion = `{"gate_id":"front","token":"token-of-anna"}`

func (in installed) withAnna() installed {
	in.t.Helper()
	in.must("", "gate", "create", "front")
	in.must("", "user", "create", "anna")
	in.must("", "permission", "grant", "front", "--user", "anna")
	in.must("token-of-anna", "device", "create", "anna", "--token-stdin")
	in.env = append(in.env, "ACCESS_VERIFY_RATE=off")
	return in
}

func secure(t *testing.T) secured {
	t.Helper()
	s := secured{installed: install(t, "sqlite").withAnna(), authority: newAuthority(t)}
	s.cert, s.key = filepath.Join(s.dir, "fullchain.pem"), filepath.Join(s.dir, "privkey.pem")
	cert, key := s.issue(t, 100)
	write(t, s.cert, cert)
	write(t, s.key, key)
	s.env = append(s.env, "OPENWAY_TLS_CERT="+s.cert, "OPENWAY_TLS_KEY="+s.key)
	return s
}

// client trusts the authority, and follows no redirects.
func (a *authority) client(keep bool) *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: a.roots}, ForceAttemptHTTP2: true, DisableKeepAlives: !keep,
		},
	}
}

// answer is an answer with its body read.
type answer struct {
	*http.Response
	body string
}

func send(t *testing.T, client *http.Client, method, url, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{resp, string(b)}
}

func (in installed) events() int {
	in.t.Helper()
	return strings.Count(in.must("", "events", "list", "--json", "--limit", "1000000"), `"decision":`)
}

const verifyURL = "/api/v1/access/verify"

// Every listener answers what belongs there, and nothing else.
func TestListeners(t *testing.T) {
	s := secure(t)
	p := s.serve("--http-listen=127.0.0.1:0", "--gate-listen=127.0.0.1:0")
	https, plain, gates := p.address, p.listens(t, "redirecting to HTTPS"), p.listens(t, "answering gates without HTTPS")
	client := s.client(true)

	got := send(t, client, "POST", "https://"+https+verifyURL, annasQuestion)
	if got.ProtoMajor != 2 || !strings.Contains(got.body, `"ALLOW"`) || got.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("over HTTPS: %s %s %v, want HTTP/2, ALLOW and HSTS", got.Proto, got.body, got.Header)
	}
	if n := s.events(); n != 1 {
		t.Fatalf("%d events, want 1", n)
	}
	for _, tt := range []struct {
		name, method, url string
		status            int
		location          string
	}{
		{"plain HTTP to the HTTPS port", "POST", "http://" + https + verifyURL, 400, ""},
		{"verify where redirects are", "POST", "http://" + plain + verifyURL, 308, "https://" + https + verifyURL},
		{"a page", "GET", "http://" + plain + "/docs/?a=%2F&b", 308, "https://" + https + "/docs/?a=%2F&b"},
		{"a path that looks like a host", "GET", "http://" + plain + "//evil.test/", 308, "https://" + https + "//evil.test/"},
		{"health where redirects are", "GET", "http://" + plain + "/healthz", 200, ""},
		{"readiness where redirects are", "GET", "http://" + plain + "/readyz", 200, ""},
		{"sign-in where gates ask", "POST", "http://" + gates + "/api/v1/auth/token", 404, ""},
		{"pages where gates ask", "GET", "http://" + gates + "/docs/", 404, ""},
		{"another method where gates ask", "GET", "http://" + gates + verifyURL, 405, ""},
		{"health where gates ask", "GET", "http://" + gates + "/health", 200, ""},
	} {
		body := ""
		if tt.method == "POST" {
			body = annasQuestion
		}
		got := send(t, client, tt.method, tt.url, body)
		if got.StatusCode != tt.status || got.Header.Get("Location") != tt.location {
			t.Errorf("%s: got %d to %q, want %d to %q", tt.name, got.StatusCode, got.Header.Get("Location"), tt.status, tt.location)
		}
		if got.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s: HSTS over plain HTTP", tt.name)
		}
	}
	for path, want := range map[string]string{verifyURL: "POST, OPTIONS", "/schema/": "OPTIONS", "/admin/login/": "OPTIONS"} {
		if got := send(t, client, "OPTIONS", "http://"+gates+path, ""); got.StatusCode != 204 || got.Header.Get("Allow") != want {
			t.Errorf("OPTIONS %s where gates ask: %d, Allow %q, want %q", path, got.StatusCode, got.Header.Get("Allow"), want)
		}
	}
	if n := s.events(); n != 1 {
		t.Errorf("%d events: a gate was answered by a listener that is not for it", n)
	}
	if got := send(t, client, "POST", "http://"+gates+verifyURL, annasQuestion, "Host", "any.test"); got.StatusCode != 200 || !strings.Contains(got.body, `"ALLOW"`) {
		t.Errorf("where gates ask: %d %s, want ALLOW", got.StatusCode, got.body)
	}
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Errorf("serve ended with %v:\n%s", err, p.log)
	}
}

func TestRedirectGoesToThePublicAddress(t *testing.T) {
	s := secure(t)
	s.env = append(s.env, "ALLOWED_HOSTS=access.example.org", "OPENWAY_PUBLIC_URL=https://access.example.org")
	p := s.serve("--http-listen=127.0.0.1:0")
	plain := p.listens(t, "redirecting to HTTPS")
	if got := send(t, s.client(false), "GET", "http://"+plain+"/docs/", "", "Host", "access.example.org"); got.Header.Get("Location") != "https://access.example.org/docs/" {
		t.Errorf("redirected to %q", got.Header.Get("Location"))
	}
	if got := send(t, s.client(false), "GET", "http://"+plain+"/docs/", "", "Host", "evil.test"); got.StatusCode != 400 {
		t.Errorf("a host that is not allowed got %d to %q, want 400", got.StatusCode, got.Header.Get("Location"))
	}
	if got := send(t, s.client(false), "GET", "https://"+p.address+"/docs/", "", "Host", "evil.test"); got.StatusCode != 400 {
		t.Errorf("a host that is not allowed got %d over HTTPS, want 400", got.StatusCode)
	}
}

func TestTLSVersionsAndResumption(t *testing.T) {
	s := secure(t)
	p := s.serve("--http-listen=off")
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: s.roots, MinVersion: version, MaxVersion: version})
		if err == nil {
			conn.Close()
		}
		if (err == nil) != want {
			t.Errorf("%s: %v, want it spoken: %t", tls.VersionName(version), err, want)
		}
	}
	sessions := tls.NewLRUClientSessionCache(4)
	for round, version := range []uint16{tls.VersionTLS12, tls.VersionTLS12, tls.VersionTLS13, tls.VersionTLS13} {
		if round == 2 {
			sessions = tls.NewLRUClientSessionCache(4)
		}
		conn, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: s.roots, MaxVersion: version, ClientSessionCache: sessions})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if _, err := io.ReadAll(conn); err != nil { // TLS 1.3 sends its tickets along
			t.Fatal(err)
		}
		if resumed := conn.ConnectionState().DidResume; resumed != (round%2 == 1) {
			t.Errorf("%s, connection %d: resumed is %t", tls.VersionName(version), round%2+1, resumed)
		}
		conn.Close()
	}
}

// The certificate is replaced again and again while clients ask with new connections and old ones: each request is answered.
func TestCertificateIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	s := secure(t)
	p := s.serve("--http-listen=off")
	var answered atomic.Int64
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var clients sync.WaitGroup
	for n := range 6 {
		client := s.client(n%2 == 0)
		clients.Go(func() {
			for ctx.Err() == nil {
				resp, err := client.Post("https://"+p.address+verifyURL, "application/json", strings.NewReader(annasQuestion))
				if err != nil {
					t.Errorf("a request was dropped: %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !strings.Contains(string(body), `"ALLOW"`) {
					t.Errorf("got %q, %v", body, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	from := 0
	replaced := func(serial int64, hup bool) {
		before := answered.Load()
		cert, key := s.issue(t, serial)
		write(t, s.cert, cert) // from here to the next line the pair does not fit together
		if hup {
			p.signal(t, syscall.SIGHUP)
		}
		write(t, s.key, key)
		if hup {
			p.signal(t, syscall.SIGHUP)
		}
		_, from = p.log.await(t, from, `"message":"the certificate was replaced"`)
		conn, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: s.roots})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != serial {
			t.Errorf("certificate %d is served, want %d", got, serial)
		}
		conn.Close()
		waitFor(t, "requests are answered with the new certificate", func() bool { return answered.Load() > before+20 })
	}
	for serial := range int64(5) {
		replaced(200+serial, true)
	}
	replaced(300, false) // seen without a signal

	// A broken pair: said once, the old one stays.
	write(t, s.key, []byte("-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n"))
	broken, next := p.log.await(t, from, `"message":"the new certificate cannot be used; the old one stays"`, "privkey.pem")
	p.signal(t, syscall.SIGHUP)
	_, next = p.log.await(t, next, `"message":"reloaded"`)
	before := answered.Load()
	waitFor(t, "requests are answered with the old certificate", func() bool { return answered.Load() > before+20 })
	if err := os.Remove(s.cert); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	_, next = p.log.await(t, next, "the old one stays", "no such file")
	cert, key := s.issue(t, 400)
	write(t, s.key, key)
	write(t, s.cert, cert)
	p.signal(t, syscall.SIGHUP)
	p.log.await(t, next, `"message":"the certificate was replaced"`)
	stop()
	clients.Wait()
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Errorf("serve ended with %v", err)
	}
	if n := strings.Count(p.log.String(), broken[strings.Index(broken, `"message"`):strings.Index(broken, `"old_expires"`)]); n != 1 {
		t.Errorf("the broken pair was warned of %d times, want once", n)
	}
	if strings.Contains(p.log.String(), testKey) || strings.Contains(p.log.String(), "PRIVATE KEY-----") {
		t.Error("a key is in the log")
	}
}

// waitFor polls until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	patience := time.After(30 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-patience:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// A request under way on HTTP/2 and on HTTP/1.1 is answered when the server is told to stop.
func TestHTTPSDrains(t *testing.T) {
	s := secure(t)
	p := s.serve("--http-listen=off", "--log-level=debug")
	conn, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: s.roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", verifyURL, len(annasQuestion))
	body, more := io.Pipe()
	result := make(chan string, 1)
	go func() {
		resp, err := s.client(true).Post("https://"+p.address+verifyURL, "application/json", body)
		if err != nil {
			result <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		result <- resp.Proto + " " + string(b)
	}()
	if _, err := io.WriteString(more, annasQuestion[:5]); err != nil { // it has begun to read: the request is under way
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGTERM)
	p.log.await(t, 0, `"message":"draining`)
	if _, err := io.WriteString(more, annasQuestion[5:]); err != nil {
		t.Fatal(err)
	}
	more.Close()
	fmt.Fprint(conn, annasQuestion)
	if got := <-result; !strings.HasPrefix(got, "HTTP/2.0 ") || !strings.Contains(got, "ALLOW") {
		t.Errorf("under way on HTTP/2: %s", got)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("under way on HTTP/1.1: %v", err)
	}
	b, _ := io.ReadAll(resp.Body)
	if !strings.Contains(string(b), "ALLOW") {
		t.Errorf("under way on HTTP/1.1: %s", b)
	}
	if err := p.wait(t); err != nil {
		t.Errorf("serve ended with %v:\n%s", err, p.log)
	}
}

func TestHealthcheckOverHTTPS(t *testing.T) {
	s := secure(t)
	p := s.serve("--http-listen=off")
	s.env = append(s.env, "OPENWAY_LISTEN="+p.address)
	if got := s.must("", "healthcheck", "--ready"); !strings.Contains(got, "ready") {
		t.Errorf("got %q", got)
	}
}

func TestBadHTTPS(t *testing.T) {
	s := secure(t)
	otherCert, _ := s.issue(t, 1)
	write(t, filepath.Join(s.dir, "other.pem"), otherCert)
	write(t, filepath.Join(s.dir, "empty.pem"), nil)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no key", []string{"--tls-cert=fullchain.pem", "--tls-key="}, "OPENWAY_TLS_CERT: and OPENWAY_TLS_KEY belong together: give both"},
		{"not there", []string{"--tls-cert=nowhere.pem", "--tls-key=privkey.pem"}, "OPENWAY_TLS_CERT: open nowhere.pem: no such file"},
		{"no key there", []string{"--tls-cert=fullchain.pem", "--tls-key=nowhere.pem"}, "OPENWAY_TLS_KEY: open nowhere.pem: no such file"},
		{"empty", []string{"--tls-cert=empty.pem", "--tls-key=privkey.pem"}, "OPENWAY_TLS_CERT: empty.pem with privkey.pem: "},
		{"of another key", []string{"--tls-cert=other.pem", "--tls-key=privkey.pem"}, "OPENWAY_TLS_CERT: other.pem with privkey.pem: "},
		{"two sources", []string{"--acme-domain=access.example.org"}, "OPENWAY_ACME_DOMAIN: and OPENWAY_TLS_CERT name two sources of certificates: choose one"},
		{"an address", []string{"--tls-cert=", "--tls-key=", "--acme-domain=192.0.2.1"}, `OPENWAY_ACME_DOMAIN: "192.0.2.1" is not a name such as access.example.org`},
		{"a wildcard", []string{"--tls-cert=", "--tls-key=", "--acme-domain=*.example.org"}, `OPENWAY_ACME_DOMAIN: "*.example.org" is not a name`},
		{"no dot", []string{"--tls-cert=", "--tls-key=", "--acme-domain=localhost"}, `OPENWAY_ACME_DOMAIN: "localhost" is not a name`},
		{"nothing", []string{"--tls-cert=", "--tls-key=", "--acme-domain=,"}, `OPENWAY_ACME_DOMAIN: "," names no domain`},
		{"plain authority", []string{"--tls-cert=", "--tls-key=", "--acme-domain=a.example.org", "--acme-url=http://a.test"}, `OPENWAY_ACME_URL: "http://a.test" is not an https:// URL`},
		{"storage", []string{"--tls-cert=", "--tls-key=", "--acme-domain=a.example.org", "--http-listen=off", "--acme-storage=fullchain.pem"}, "OPENWAY_ACME_STORAGE: mkdir fullchain.pem: not a directory"},
		{"redirect to nothing", []string{"--tls-cert=", "--tls-key=", "--http-listen=:8080"}, "OPENWAY_HTTP_LISTEN: redirects to HTTPS, which is not set up"},
		{"listener", []string{"--gate-listen=8080"}, `OPENWAY_GATE_LISTEN: "8080" is not an address`},
		{"the same place twice", []string{"--http-listen=off", "--listen=127.0.0.1:28765", "--gate-listen=127.0.0.1:28765"}, "OPENWAY_GATE_LISTEN: port 28765 is taken"},
		{"metrics", []string{"--metrics-listen=:x"}, `OPENWAY_METRICS_LISTEN: "x" is not a port`},
	} {
		c := s.command(append([]string{"serve"}, tt.args...)...)
		var stderr bytes.Buffer
		c.Env = append(c.Env, "OPENWAY_LOG_FORMAT=text")
		c.Stderr = &stderr
		err := c.Run()
		if got := stderr.String(); err == nil || !strings.HasPrefix(got, "openway: "+tt.want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %v, %q; want one line that begins with %q", tt.name, err, got, "openway: "+tt.want)
		}
	}
}
