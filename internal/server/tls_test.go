package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// selfSigned makes a certificate that ends at the given time, and its key, as PEM.
func selfSigned(t *testing.T, serial int64, end time.Time) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: end.Add(-24 * time.Hour), NotAfter: end},
		&x509.Certificate{SerialNumber: big.NewInt(serial)}, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// pairOf puts a pair into two files.
func pairOf(t *testing.T, certFile, keyFile string, cert, key []byte) {
	t.Helper()
	for file, text := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was written since it was called last.
func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

func TestKeyPairFollowsItsFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		soon := time.Now().Add(time.Hour)
		cert, key := selfSigned(t, 1, soon)
		pairOf(t, certFile, keyFile, cert, key)
		log := new(lockedBuffer)
		k, err := LoadKeyPair(certFile, keyFile, slog.New(NewLogHandler(log, JSONLog, slog.LevelInfo)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { k.Follow(ctx, time.Second); close(ended) }()
		looks := func(n int) string {
			<-time.After(time.Duration(n) * time.Second)
			synctest.Wait()
			return log.take()
		}
		serial := func() int64 {
			c, err := k.Certificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return c.Leaf.SerialNumber.Int64()
		}

		if said := looks(3); said != "" || serial() != 1 || !k.Expires().Equal(soon.UTC().Truncate(time.Second)) {
			t.Errorf("nothing changed: %q, certificate %d until %s", said, serial(), k.Expires())
		}
		next, nextKey := selfSigned(t, 2, soon)
		pairOf(t, certFile, keyFile, next, key) // the new certificate is there before its key
		if said := looks(1); said != "" {
			t.Errorf("in the middle of a replacement it says %q", said)
		}
		pairOf(t, certFile, keyFile, next, nextKey)
		if said := looks(1); !strings.Contains(said, "the certificate was replaced") || serial() != 2 {
			t.Errorf("replaced: %q, certificate %d", said, serial())
		}
		for name, broken := range map[string][2][]byte{
			"garbage": {[]byte("garbage"), nextKey}, "another key": {next, key}, "empty": {nil, nil},
		} {
			pairOf(t, certFile, keyFile, broken[0], broken[1])
			if said := looks(5); strings.Count(said, "\n") != 1 || !strings.Contains(said, `"level":"WARN"`) || !strings.Contains(said, "the old one stays") || serial() != 2 {
				t.Errorf("%s: %q, certificate %d; want one warning and the old one", name, said, serial())
			}
		}
		expired, expiredKey := selfSigned(t, 3, time.Now().Add(-time.Hour))
		pairOf(t, certFile, keyFile, expired, expiredKey)
		if said := looks(5); strings.Count(said, "\n") != 1 || !strings.Contains(said, "expired on") || serial() != 2 {
			t.Errorf("an expired one: %q, certificate %d", said, serial())
		}
		if err := os.Remove(keyFile); err != nil {
			t.Fatal(err)
		}
		if said := looks(5); strings.Count(said, "\n") != 1 || !strings.Contains(said, "no such file") {
			t.Errorf("no key: %q", said)
		}
		if k.Reload(); log.take() != "" {
			t.Error("a reload says again what was said")
		}
		pairOf(t, certFile, keyFile, []byte("other garbage"), nextKey)
		if k.Reload(); !strings.Contains(log.take(), "the old one stays") {
			t.Error("a reload does not say at once that the pair is broken")
		}
		pairOf(t, certFile, keyFile, next, nextKey)
		if said := looks(2); said != "" || serial() != 2 {
			t.Errorf("what is in use is there again: %q, certificate %d", said, serial())
		}
		stop()
		<-ended
	})
}

func TestKeyPairAtTheStart(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert, key := selfSigned(t, 1, time.Now().Add(-time.Hour))
	pairOf(t, certFile, keyFile, cert, key)
	log := new(lockedBuffer)
	if _, err := LoadKeyPair(certFile, keyFile, slog.New(NewLogHandler(log, JSONLog, slog.LevelInfo))); err != nil || !strings.Contains(log.take(), "the certificate has expired") {
		t.Errorf("an expired certificate: %v, want it served with a warning", err)
	}
	if _, err := LoadKeyPair(certFile, filepath.Join(dir, "nowhere"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no key is accepted")
	}
}

func TestRedirectToHTTPS(t *testing.T) {
	for _, tt := range []struct{ authority, port, host, target, want string }{
		{"", "443", "access.example.org", "/a?b=c", "https://access.example.org/a?b=c"},
		{"", "443", "access.example.org:80", "/", "https://access.example.org/"},
		{"", "8443", "access.example.org", "/", "https://access.example.org:8443/"},
		{"", "443", "[2001:db8::1]:80", "/", "https://[2001:db8::1]/"},
		{"", "8443", "[2001:db8::1]", "/", "https://[2001:db8::1]:8443/"},
		{"access.example.org", "8443", "192.0.2.1", "/a", "https://access.example.org/a"},
		{"", "443", "", "/", ""},
	} {
		r := httptest.NewRequest("POST", tt.target, nil)
		r.Host = tt.host
		w := httptest.NewRecorder()
		RedirectToHTTPS(tt.authority, tt.port).ServeHTTP(w, r)
		status := http.StatusPermanentRedirect
		if tt.want == "" {
			status = http.StatusBadRequest
		}
		if got := w.Header().Get("Location"); got != tt.want || w.Code != status {
			t.Errorf("%+v: %d to %q", tt, w.Code, got)
		}
	}
}

// What is no path must not become part of the host: "x:.evil.test/" after "access.example.org" is another site.
func TestRedirectToHTTPSOfNoPath(t *testing.T) {
	for _, target := range []string{"x:.evil.test/", "x:@evil.test/", "*"} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: access.example.org\r\n\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		for _, authority := range []string{"", "access.example.org"} {
			w := httptest.NewRecorder()
			RedirectToHTTPS(authority, "443").ServeHTTP(w, r)
			if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
				t.Errorf("GET %s: %d to %q, want 400", target, w.Code, w.Header().Get("Location"))
			}
		}
	}
}

// An authority that is not there: said, tried again ever more seldom, and no handshake waits for it.
func TestACMEWithoutItsAuthority(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "https://" + l.Addr().String() + "/dir"
	l.Close()
	log := new(lockedBuffer)
	a := NewACME(ACMEConfig{
		Domains: []string{"a.example.org", "b.example.org"}, URL: url, Storage: t.TempDir(), Logger: slog.New(NewLogHandler(log, JSONLog, slog.LevelInfo)),
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { a.Run(ctx); close(ended) }()
	said := ""
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); strings.Count(said, "no certificate could be got") < 2; said += log.take() {
		if time.Now().After(deadline) {
			t.Fatalf("it says %q, want a line for each domain", said)
		}
		<-tick.C
	}
	for _, name := range []string{"a.example.org", "", "evil.test"} {
		if c, err := a.certificate(&tls.ClientHelloInfo{ServerName: name}); err == nil {
			t.Errorf("a certificate for %q: %v", name, c)
		}
	}
	// A client that names the authority's protocol among others is not the authority: it must not make the manager order anything.
	for _, protos := range [][]string{{"acme-tls/1", "h2"}, {"http/1.1", "acme-tls/1"}} {
		_, err := a.certificate(&tls.ClientHelloInfo{ServerName: "a.example.org", SupportedProtos: protos})
		if err == nil || !strings.Contains(err.Error(), "no certificate for") {
			t.Errorf("a client that offers %v: %v, want no certificate, and nobody asked", protos, err)
		}
	}
	if !a.Expires().IsZero() {
		t.Errorf("it expires at %s, want never: there is none", a.Expires())
	}
	h := a.HTTP(RedirectToHTTPS("", "443"))
	for target, want := range map[string]int{"/.well-known/acme-challenge/x": 404, "/x": 308} {
		r := httptest.NewRequest("GET", target, nil)
		r.Host = "a.example.org:80"
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("GET %s: %d, want %d", target, w.Code, want)
		}
	}
	stop()
	<-ended
	if NewACME(ACMEConfig{Domains: []string{"a.example.org"}}).cfg.URL != LetsEncrypt {
		t.Error("without a directory it is not Let's Encrypt")
	}
}

func TestObserveIsToldOfEveryAnswer(t *testing.T) {
	type seen struct {
		path   string
		status int
	}
	var got []seen
	s := try(t, Config{AllowedHosts: []string{"x"}, Observe: func(r *http.Request, status int, _ time.Duration) {
		got = append(got, seen{r.URL.Path, status})
	}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("on purpose")
		}
		w.WriteHeader(http.StatusTeapot)
	})})
	s.do("GET", "/tea", "Host", "x")
	s.do("GET", "/panic", "Host", "x")
	s.do("GET", "/tea", "Host", "other")
	s.do("GET", "/health")
	want := []seen{{"/tea", 418}, {"/panic", 500}, {"/tea", 400}, {"/health", 200}}
	if len(got) != len(want) {
		t.Fatalf("told of %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("answer %d: told of %v, want %v", i, got[i], want[i])
		}
	}
}
