package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// serveOn starts s on a port of its own. drain begins the end; ended is Serve's result.
func serveOn(t testing.TB, s *Server) (address string, drain func(), ended <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- s.Serve(ctx, l) }()
	return l.Addr().String(), cancel, result
}

func TestDrainAnswersWhatIsUnderWay(t *testing.T) {
	inside, finish := make(chan struct{}), make(chan struct{})
	s := try(t, Config{DrainGrace: 20 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(inside)
			<-finish
		}
		_, _ = io.WriteString(w, "answered")
	})})
	shutting := make(chan struct{})
	s.http.RegisterOnShutdown(func() { close(shutting) })
	address, drain, ended := serveOn(t, s.Server)
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + address + "/slow")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answer <- fmt.Sprint(string(b), " close=", resp.Close)
	}()
	<-inside
	// A connection that is open but has not asked yet is answered too, if it asks in time.
	early, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	drain()
	select {
	case <-shutting:
		t.Error("http.Server.Shutdown was called while a request was under way: it drops what it reads from then on")
	case <-time.After(300 * time.Millisecond): // the grace and the handshakes are over
	}
	fmt.Fprint(early, "GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(early), nil)
	if err != nil || resp.StatusCode != 503 || !resp.Close {
		t.Errorf("a connection from before the drain got %v, %v; want 503 and a close", resp, err)
	}
	select {
	case err := <-ended:
		t.Fatalf("the drain ended before the request under way: %v", err)
	default:
	}
	close(finish)
	if got := <-answer; got != "answered close=true" && got != "answered close=false" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("the drain ended with %v", err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("still listening after the drain")
	}
}

// Clients that come all the time, each with a new connection or one that is kept: those that were accepted are answered, the others refused.
func TestDrainUnderLoadCutsNothing(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keep-alive=", keep), func(t *testing.T) {
			s := try(t, Config{DrainGrace: 100 * time.Millisecond})
			address, drain, ended := serveOn(t, s.Server)
			var answered atomic.Int64
			const clients = 8
			results := make(chan error, clients)
			for range clients {
				go func() {
					transport := &http.Transport{DisableKeepAlives: !keep}
					defer transport.CloseIdleConnections()
					client := http.Client{Transport: transport, Timeout: 5 * time.Second}
					for {
						resp, err := client.Post("http://"+address+"/x", "application/json", strings.NewReader("{}"))
						if err != nil {
							results <- err
							return
						}
						_, err = io.ReadAll(resp.Body)
						resp.Body.Close()
						if err != nil {
							results <- fmt.Errorf("cut: %w", err)
							return
						}
						if answered.Add(1) == 200 {
							drain()
						}
					}
				}()
			}
			for range clients {
				if err := <-results; !strings.Contains(err.Error(), "connection refused") {
					t.Errorf("a client ended with %v; want refused connections only", err)
				}
			}
			if err := <-ended; err != nil {
				t.Errorf("the drain ended with %v", err)
			}
		})
	}
}

func TestDrainGivesUp(t *testing.T) {
	inside, finish := make(chan struct{}), make(chan struct{})
	defer close(finish)
	s := try(t, Config{DrainGrace: time.Millisecond, DrainTimeout: 20 * time.Millisecond, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(inside)
		<-finish
	})})
	address, drain, ended := serveOn(t, s.Server)
	go func() {
		if resp, err := http.Get("http://" + address); err == nil {
			resp.Body.Close()
		}
	}()
	<-inside
	drain()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "were cut") {
		t.Errorf("the drain ended with %v, want it to say that requests were cut", err)
	}
}

// A client that connects and says nothing, or stops in the middle, is let go.
func TestSlowClientsAreLetGo(t *testing.T) {
	s := try(t, Config{ReadHeaderTimeout: 50 * time.Millisecond, ReadTimeout: 100 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})})
	address, _, _ := serveOn(t, s.Server)
	for _, sent := range []string{"", "GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(c, sent)
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("after %q the connection stays open: %v", sent, err)
		}
		c.Close()
	}
}

// What a raw socket may send must be answered, with a request id where a handler answers.
func TestRawRequests(t *testing.T) {
	s := try(t, Config{})
	address, _, _ := serveOn(t, s.Server)
	for _, tt := range []struct{ sent, want string }{
		{"GET http://other.example/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200"},
		{"GET http://other.example HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200"},
		{"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 204"},
		{"CONNECT a:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200"},
		{"GET /health HTTP/1.0\r\n\r\n", "HTTP/1.0 200"},
		{"GET /%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 400"},
	} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(c, tt.sent)
		got, err := io.ReadAll(c)
		c.Close()
		if err != nil || !strings.HasPrefix(string(got), tt.want) {
			t.Errorf("%q: got %q, %v, want %s", tt.sent, got, err, tt.want)
		}
		if tt.want[9:] != "400" && !strings.Contains(string(got), "\r\nX-Request-Id: ") {
			t.Errorf("%q: no request id in %q", tt.sent, got)
		}
	}
}

// shortOfFiles is a listener that for a while has no descriptor left for a connection.
type shortOfFiles struct {
	net.Listener
	times atomic.Int64
}

func (l *shortOfFiles) Accept() (net.Conn, error) {
	if l.times.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// hungry is a listener that has no descriptor left once the server drains.
type hungry struct {
	*net.TCPListener
	draining func() bool
}

func (l hungry) Accept() (net.Conn, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !l.draining() {
		<-tick.C
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
}

// A drain comes to its end when no connection can be accepted any more.
func TestDrainWithoutDescriptors(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := try(t, Config{DrainGrace: 50 * time.Millisecond})
	ctx, drain := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, hungry{l.(*net.TCPListener), s.draining.Load}) }()
	drain()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it goes on draining")
	}
}

// Connections that cannot be accepted are in the log, at a level that is seen, and later ones are answered.
func TestAcceptFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	short := &shortOfFiles{Listener: l}
	short.times.Store(2)
	s := try(t, Config{DrainGrace: time.Millisecond})
	ctx, drain := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, short) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/other")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	drain()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	seen := 0
	for _, line := range s.lines(t) {
		if line["message"] == "connections cannot be accepted" && line["level"] == "ERROR" && strings.Contains(fmt.Sprint(line["error"]), "too many open files") {
			seen++
		}
	}
	if seen != 2 {
		t.Errorf("%d lines about it, want 2: %s", seen, s.log)
	}
}
