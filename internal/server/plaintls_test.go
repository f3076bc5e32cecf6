package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// tlsConfigFor is a server's configuration with a certificate of its own, and a client's that takes any.
func tlsConfigFor(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	cert, key := selfSigned(t, 1, time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return TLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }, "acme-tls/1"),
		&tls.Config{InsecureSkipVerify: true} //nolint:gosec // a test's own certificate
}

func TestPlainOverTLS(t *testing.T) {
	t.Parallel()
	serverTLS, clientTLS := tlsConfigFor(t)
	var plainly atomic.Int64
	inner := echo(&plainly)
	log := new(lockedBuffer)
	at := running(t, Config{
		TLS: serverTLS, Plain: []string{"/plain"}, Logger: slog.New(NewLogHandler(log, JSONLog, slog.LevelDebug)),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil || !r.TLS.HandshakeComplete || r.Header.Get("X-Forwarded-Proto") != "https" {
				t.Errorf("%s %s %s: TLS is %+v, X-Forwarded-Proto %q", r.Method, r.URL, r.Proto, r.TLS, r.Header.Get("X-Forwarded-Proto"))
			}
			inner.ServeHTTP(w, r)
		}),
	})

	// One connection, first plain, then not.
	for _, protos := range [][]string{nil, {"http/1.1"}} {
		cfg := clientTLS.Clone()
		cfg.NextProtos = protos
		c, err := tls.Dial("tcp", at, cfg)
		if err != nil {
			t.Fatal(err)
		}
		before := plainly.Load()
		in := bufio.NewReader(c)
		for i, ask := range []string{request("{}"), request("{}"), "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n", request("{}", "Connection: close")} {
			fmt.Fprint(c, ask)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatalf("%q, request %d: %v", protos, i, err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 || resp.Header.Get("Strict-Transport-Security") == "" || resp.Close != (i == 3) {
				t.Errorf("%q, request %d: %s %v %q, %v", protos, i, resp.Status, resp.Header, body, err)
			}
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("after close the client gets %v, want the end", err)
		}
		c.Close()
		if n := plainly.Load() - before; n != 2 {
			t.Errorf("%q: %d requests were read as plain, want the two before the GET", protos, n)
		}
	}

	// HTTP/2 is net/http's.
	before := plainly.Load()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS, ForceAttemptHTTP2: true, DialContext: (&net.Dialer{}).DialContext}}
	for range 3 {
		resp, err := client.Post("https://"+at+"/plain", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.ProtoMajor != 2 || resp.StatusCode != 200 {
			t.Errorf("HTTP/2: %s %s", resp.Proto, resp.Status)
		}
	}
	client.CloseIdleConnections()
	if plainly.Load() != before {
		t.Error("HTTP/2 was read as plain")
	}

	// A protocol that only makes handshakes, as the authority's challenge does, ends after that.
	cfg := clientTLS.Clone()
	cfg.NextProtos = []string{"acme-tls/1"}
	c, err := tls.Dial("tcp", at, cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) || c.ConnectionState().NegotiatedProtocol != "acme-tls/1" {
		t.Errorf("%s: %v", c.ConnectionState().NegotiatedProtocol, err)
	}
	c.Close()

	// What is no handshake is answered as net/http does, and logged as it does.
	for _, tt := range []struct{ sent, want, said string }{
		{request("{}"), "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "client sent an HTTP request to an HTTPS server"},
		{"\x00\x01\x02\x03 no TLS", "", "first record does not look like a TLS handshake"},
	} {
		log.take()
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, tt.sent)
		got, err := io.ReadAll(c)
		if isTimeout(err) || (tt.want != "" && string(got) != tt.want) || bytes.HasPrefix(got, []byte("HTTP/1.1")) {
			t.Errorf("%.20q over TLS' port: got %q, %v", tt.sent, got, err)
		}
		c.Close()
		said := ""
		for end := time.Now().Add(10 * time.Second); !strings.Contains(said, tt.said); said += log.take() {
			if time.Now().After(end) {
				t.Fatalf("%.20q over TLS' port: the log says %q", tt.sent, said)
			}
		}
	}
}

// heard is a connection that remembers what was read of it.
type heard struct {
	net.Conn
	all bytes.Buffer
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.all.Write(p[:n])
	return n, err
}

// Whatever ends a connection, TLS' last word is said: else the client cannot tell the end from a cut.
func TestPlainSaysGoodbye(t *testing.T) {
	t.Parallel()
	serverTLS, clientTLS := tlsConfigFor(t)
	clientTLS.MaxVersion = tls.VersionTLS12 // where it can be seen
	for name, last := range map[string]string{
		"the client closes": request("{}", "Connection: close"), "a drain": request("{}"), "a panic": request("{}", "X-Do: abort"), "time is up": "\r\n",
	} {
		idle := time.Minute
		if name == "time is up" {
			idle = 20 * time.Millisecond
		}
		var plainly atomic.Int64
		s := try(t, Config{TLS: serverTLS, Plain: []string{"/plain"}, Handler: echo(&plainly), DrainGrace: time.Millisecond, IdleTimeout: idle})
		address, drain, ended := serveOn(t, s.Server)
		raw, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		wire := &heard{Conn: raw}
		c := tls.Client(wire, clientTLS)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		in := bufio.NewReader(c)
		fmt.Fprint(c, request("{}"))
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		fmt.Fprint(c, last)
		if name == "a drain" {
			if resp, err = http.ReadResponse(in, nil); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			drain()
		}
		if _, err := io.Copy(io.Discard, in); err != nil {
			t.Errorf("%s: the client gets %v", name, err)
		}
		sent := wire.all.Bytes()
		var kind byte // of the last record
		for len(sent) > 5 {
			kind = sent[0]
			sent = sent[min(len(sent), 5+int(sent[3])<<8+int(sent[4])):]
		}
		if kind != 21 {
			t.Errorf("%s: the last record is of type %d, want 21, an alert", name, kind)
		}
		c.Close()
		drain()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A client that does not go through with its handshake is let go.
func TestPlainHandshakeTimesOut(t *testing.T) {
	t.Parallel()
	serverTLS, _ := tlsConfigFor(t)
	at := running(t, Config{TLS: serverTLS, ReadHeaderTimeout: 50 * time.Millisecond})
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(c, "\x16\x03\x01\x02\x00\x01")
	if _, err := io.ReadAll(c); isTimeout(err) {
		t.Error("the connection stays open")
	}
}
