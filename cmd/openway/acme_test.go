package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// buildPebble builds Let's Encrypt's own test authority, and its DNS server, out of a module of their own, and returns where they are.
func buildPebble(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	const from = "github.com/letsencrypt/pebble/v2/cmd/"
	out, err := exec.Command("go", "build", "-C", "testdata/pebble", "-o", dir+"/", from+"pebble", from+"pebble-challtestsrv").CombinedOutput()
	if err != nil {
		t.Fatalf("build Pebble: %v\n%s", err, out)
	}
	return dir
}

// pebble is a running certificate authority.
type pebble struct {
	*authority             // of its own API
	url, management string // its directory; and where its roots are
	env             []string
	stop            func()
}

// startPebble starts one that looks for names at 127.0.0.1: http-01 at one port, tls-alpn-01 at another.
func startPebble(t *testing.T, programs, httpAddress, tlsAddress string, lifetime time.Duration) *pebble {
	t.Helper()
	dir := t.TempDir()
	p := &pebble{authority: newAuthority(t)}
	cert, key := p.issue(t, 1)
	api, management, dns, dnsManagement := freePort(t), freePort(t), freePort(t), freePort(t)
	p.url, p.management = "https://"+api+"/dir", "https://"+management
	write(t, filepath.Join(dir, "cert.pem"), cert)
	write(t, filepath.Join(dir, "key.pem"), key)
	write(t, filepath.Join(dir, "root.pem"), p.pem)
	p.env = []string{"SSL_CERT_FILE=" + filepath.Join(dir, "root.pem")}
	port := func(address string) int {
		_, s, _ := net.SplitHostPort(address)
		n, _ := strconv.Atoi(s)
		return n
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": api, "managementListenAddress": management, "certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": port(httpAddress), "tlsPort": port(tlsAddress), "keyAlgorithm": "ecdsa", "retryAfter": map[string]any{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "as asked for", "validityPeriod": int(lifetime.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pebble.json"), config)
	names := exec.Command(filepath.Join(programs, "pebble-challtestsrv"), "-dnsserver", dns, "-management", dnsManagement,
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "")
	authority := exec.Command(filepath.Join(programs, "pebble"), "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", dns)
	authority.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20")
	var stops []func()
	for _, c := range []*exec.Cmd{names, authority} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		stops = append(stops, sync.OnceFunc(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		}))
	}
	p.stop = func() {
		for _, stop := range stops {
			stop()
		}
	}
	t.Cleanup(p.stop)
	waitFor(t, "Pebble listens", func() bool {
		resp, err := p.client(false).Get(p.url)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p
}

// root is what signs the certificates. It is another one each time that Pebble starts.
func (p *pebble) root(t *testing.T) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if a := send(t, p.client(false), "GET", p.management+"/roots/0", ""); !roots.AppendCertsFromPEM([]byte(a.body)) {
		t.Fatalf("no root: %s", a.body)
	}
	return roots
}

// served is the certificate that a client gets who asks for access.example.org and trusts the roots.
func servedCertificate(address, name string, roots *x509.CertPool) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: "access.example.org"})
	if name == "" { // a controller that was given an address sends no name, and cannot check any
		conn, err = tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func TestACME(t *testing.T) {
	t.Parallel()
	programs := buildPebble(t)
	t.Run("got", func(t *testing.T) { certificatesFromAnAuthority(t, programs) })
	t.Run("not to be had", func(t *testing.T) { noCertificateFromTheAuthority(t, programs) })
}

func certificatesFromAnAuthority(t *testing.T, programs string) {
	for _, tt := range []struct {
		challenge string
		lifetime  time.Duration
	}{
		{"tls-alpn-01", 9 * time.Second},
		{"http-01", time.Hour},
	} {
		t.Run(tt.challenge, func(t *testing.T) {
			t.Parallel()
			https, plain := freePort(t), freePort(t)
			pebblesTLS, args := https, []string{"--http-listen=off"}
			if tt.challenge == "http-01" {
				pebblesTLS, args = freePort(t), []string{"--http-listen=" + plain}
			}
			authority := startPebble(t, programs, plain, pebblesTLS, tt.lifetime)
			in := install(t, "sqlite").withAnna()
			in.env = append(in.env, authority.env...)
			in.env = append(in.env, "OPENWAY_LISTEN="+https, "OPENWAY_ACME_DOMAIN=access.example.org", "OPENWAY_ACME_URL="+authority.url,
				"OPENWAY_ACME_EMAIL=ops@example.org", "OPENWAY_ACME_STORAGE=certificates", "ALLOWED_HOSTS=other.example.org")
			p := in.serve(args...)
			p.log.await(t, 0, `"message":"a certificate is in use"`, `"domain":"access.example.org"`)
			roots := authority.root(t)
			first, err := servedCertificate(https, "access.example.org", roots)
			if err != nil {
				t.Fatal(err)
			}
			if c, err := servedCertificate(https, "", nil); err != nil || !c.Equal(first) {
				t.Errorf("without a name: %v, want the same certificate", err)
			}
			if _, err := tls.Dial("tcp", https, &tls.Config{InsecureSkipVerify: true, ServerName: "evil.test"}); err == nil {
				t.Error("a certificate for evil.test")
			}
			if tt.lifetime == time.Hour {
				a := send(t, authority.client(false), "GET", "http://"+plain+"/docs/", "", "Host", "access.example.org")
				if _, port, _ := net.SplitHostPort(https); a.Header.Get("Location") != "https://access.example.org:"+port+"/docs/" {
					t.Errorf("plain HTTP redirects to %q", a.Header.Get("Location"))
				}
				if a := send(t, authority.client(false), "GET", "http://"+plain+"/.well-known/acme-challenge/none", "", "Host", "access.example.org"); a.StatusCode != 404 {
					t.Errorf("an unknown challenge: %d", a.StatusCode)
				}
			} else {
				waitFor(t, "the certificate is renewed", func() bool {
					c, err := servedCertificate(https, "access.example.org", roots)
					return err == nil && c.SerialNumber.Cmp(first.SerialNumber) != 0
				})
			}
			p.signal(t, syscall.SIGTERM)
			if err := p.wait(t); err != nil {
				t.Errorf("serve ended with %v:\n%s", err, p.log)
			}
			if st, err := os.Stat(filepath.Join(in.dir, "certificates")); err != nil || st.Mode().Perm() != 0o700 {
				t.Errorf("the place of the keys: %v, %v; want mode 0700", st, err)
			}
			if tt.lifetime == time.Hour { // what was got is kept: the authority is not asked again
				authority.stop()
				in.serve(args...)
				waitFor(t, "the kept certificate is served", func() bool {
					c, err := servedCertificate(https, "access.example.org", roots)
					return err == nil && c.Equal(first)
				})
			}
		})
	}
}

// An authority that is away, or that cannot reach us, is no reason to end: it is said, and tried again; handshakes are refused at once.
func noCertificateFromTheAuthority(t *testing.T, programs string) {
	t.Parallel()
	https := freePort(t)
	authority := startPebble(t, programs, freePort(t), freePort(t), time.Hour) // it looks where nobody listens
	in := install(t, "sqlite").withAnna()
	in.env = append(in.env, authority.env...)
	in.env = append(in.env, "OPENWAY_LISTEN="+https, "OPENWAY_ACME_DOMAIN=access.example.org", "OPENWAY_ACME_URL="+authority.url)
	p := in.serve("--http-listen=off", "--gate-listen=127.0.0.1:0")
	// The authority refuses every fifth request at random, and the client waits before it repeats one.
	line, _ := p.log.awaitFor(t, 2*time.Minute, 0, `"message":"no certificate could be got; trying again later"`)
	if !strings.Contains(line, `"level":"ERROR"`) || !strings.Contains(line, "access.example.org") || !strings.Contains(line, `"next_try_in":"2m0s"`) {
		t.Errorf("it says %s", line)
	}
	if _, err := servedCertificate(https, "access.example.org", nil); err == nil {
		t.Error("a handshake succeeds without a certificate")
	}
	a := send(t, authority.client(false), "POST", "http://"+p.listens(t, "answering gates without HTTPS")+verifyURL, annasQuestion)
	if !strings.Contains(a.body, `"ALLOW"`) {
		t.Errorf("where gates ask: %s", a.body)
	}
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}
