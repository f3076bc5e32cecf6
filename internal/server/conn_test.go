package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What a deadline means must be what it means to a net.Conn, however it is moved about.
func TestConnDeadlines(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name  string
		moves []time.Duration // set one after the other before the read; 0 = none, below = past
		later []time.Duration // set while it waits, a second apart
		want  time.Duration   // when it ends; 0 = when the other side writes, after a minute
	}{
		{name: "none"},
		{"one", []time.Duration{5 * s}, nil, 5 * s},
		{"later", []time.Duration{5 * s, 9 * s}, nil, 9 * s},
		{"earlier", []time.Duration{9 * s, 5 * s}, nil, 5 * s},
		{"cleared", []time.Duration{5 * s, 0}, nil, 0},
		{"past", []time.Duration{5 * s, -1}, nil, 1},
		{"moved on while it waits", []time.Duration{3 * s}, []time.Duration{9 * s, 12 * s}, 12 * s},
		{"moved back while it waits", []time.Duration{9 * s}, []time.Duration{12 * s, 4 * s}, 4 * s},
		{"cleared while it waits", []time.Duration{3 * s}, []time.Duration{0}, 0},
		{"called off", nil, []time.Duration{-1}, s},
		{"set while it waits", nil, []time.Duration{7 * s}, 7 * s},
	} {
		for _, way := range []string{"read", "write"} {
			t.Run(c.name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					here, there := net.Pipe()
					mine := newConn(here)
					begun := time.Now()
					set, use, answer := mine.SetReadDeadline, mine.Read, there.Write
					if way == "write" {
						set, use, answer = mine.SetWriteDeadline, mine.Write, there.Read
					}
					move := func(d time.Duration) {
						at := begun.Add(d)
						switch {
						case d == 0:
							at = time.Time{}
						case d < 0:
							at = time.Unix(1, 0)
						}
						if err := set(at); err != nil {
							t.Error(err)
						}
					}
					// An earlier request has left deadlines of its own.
					move(2 * s)
					go func() { _, _ = answer(make([]byte, 2)) }()
					if _, err := use(make([]byte, 2)); err != nil {
						t.Fatal(err)
					}
					for _, d := range c.moves {
						move(d)
					}
					if len(c.moves) == 0 {
						move(0)
					}
					answered := make(chan struct{})
					go func() {
						defer close(answered)
						for _, d := range c.later {
							<-time.After(s)
							move(d)
						}
						<-time.After(time.Minute)
						_, _ = answer(make([]byte, 2))
					}()
					n, err := use(make([]byte, 2))
					took := time.Since(begun)
					if c.want == 0 {
						if n != 2 || err != nil || took < time.Minute {
							t.Errorf("got %d, %v after %s; want 2 bytes after a minute", n, err, took)
						}
					} else if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() || took != max(c.want, 1)-c.want%s {
						t.Errorf("got %d, %v after %s; want a time-out after %s", n, err, took, c.want)
					}
					_, _ = mine.Close(), there.Close()
					<-answered
				})
			})
		}
	}
}

// A write that deadlines interrupt goes on where it was.
func TestConnWritesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		mine := newConn(here)
		if err := mine.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		got := make(chan string)
		go func() {
			var all strings.Builder
			piece := make([]byte, 3)
			for {
				<-time.After(600 * time.Millisecond)
				n, err := there.Read(piece)
				all.Write(piece[:n])
				if err != nil {
					got <- all.String()
					return
				}
				if err := mine.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
					t.Error(err)
				}
			}
		}()
		const text = "a text of some length, in pieces"
		if n, err := mine.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("wrote %d of %d, %v", n, len(text), err)
		}
		_ = mine.Close()
		if s := <-got; s != text {
			t.Errorf("came over as %q", s)
		}
	})
}

// A handler learns that its client has gone, unless its path is plain.
func TestClientGoes(t *testing.T) {
	t.Parallel()
	gone := make(chan error, 1)
	began := make(chan struct{})
	at := running(t, Config{Plain: []string{}, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(began)
		select {
		case <-r.Context().Done():
			gone <- nil
		case <-time.After(10 * time.Second):
			gone <- errors.New("not told within 10 s")
		}
	})})
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	<-began
	_ = c.Close()
	if err := <-gone; err != nil {
		t.Error(err)
	}
}

// Requests that come before the last one is answered are answered in turn.
func TestPipelined(t *testing.T) {
	t.Parallel()
	at := running(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request := func(path, more string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + more + "\r\n{}"
	}
	if _, err := io.WriteString(c, request("/a", "")+request("/b", "")+request("/c", "Connection: close\r\n")); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil || strings.Count(string(all), "200 OK") != 3 || !strings.HasSuffix(string(all), "/c") {
		t.Errorf("got %q, %v", all, err)
	}
}

// Clients that send a byte now and then are cut off when the time for a header or a body is up, whatever they send; meanwhile others are answered.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	at := running(t, Config{
		ReadHeaderTimeout: 300 * time.Millisecond, ReadTimeout: 600 * time.Millisecond, IdleTimeout: 300 * time.Millisecond,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				w.WriteHeader(http.StatusRequestTimeout)
			}
		}),
	})
	const header = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
	ended := make(chan error)
	begin := []string{"", header, header + "\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"}
	const each = 50
	for _, first := range begin {
		for range each {
			go func() {
				c, err := net.Dial("tcp", at)
				if err != nil {
					ended <- err
					return
				}
				defer c.Close()
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				_, err = io.WriteString(c, first)
				for err == nil && ctx.Err() == nil {
					<-time.After(50 * time.Millisecond)
					if strings.HasSuffix(first, "{}") { // this one rests after its answer
						_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
						if _, rested := io.Copy(io.Discard, c); isTimeout(rested) {
							ended <- rested
							return
						}
						break
					}
					_, err = io.WriteString(c, "X")
				}
				ended <- ctx.Err()
			}()
		}
	}
	for range 20 {
		resp, err := http.Get("http://" + at + "/")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	for range each * len(begin) {
		if err := <-ended; err != nil {
			t.Errorf("a slow client was not cut off: %v", err)
		}
	}
}

// A head that stops is waited for no longer than any, wherever it stops: also where net/http has room for a single byte more.
func TestHeadStops(t *testing.T) {
	t.Parallel()
	at := running(t, Config{
		Plain: []string{"/plain"}, ReadHeaderTimeout: 300 * time.Millisecond,
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	})
	for _, path := range []string{"/", "/plain"} {
		request := "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
		line := "POST " + path + " HTTP/1.1\r\n"
		for name, head := range map[string]string{
			"4094": line + strings.Repeat("a", 4094), "4095": line + strings.Repeat("a", 4095), "4096": line + strings.Repeat("a", 4096), "empty lines": "\r\n\r\n",
		} {
			for what, before := range map[string]string{"first": "", "next": request} {
				t.Run(path+" "+what+" "+name, func(t *testing.T) {
					t.Parallel()
					c, err := net.Dial("tcp", at)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(20 * time.Second))
					in := bufio.NewReader(c)
					for _, part := range []string{before, head} {
						if _, err := io.WriteString(c, part); err != nil {
							t.Fatal(err)
						}
						if part == request {
							if _, err := http.ReadResponse(in, nil); err != nil {
								t.Fatal(err)
							}
						}
					}
					if rest, err := io.ReadAll(in); isTimeout(err) {
						t.Errorf("still connected, got %q", rest)
					}
				})
			}
		}
	}
}

// running serves until the test ends, and returns the address.
func running(t *testing.T, c Config) string {
	t.Helper()
	c.DrainGrace = time.Millisecond
	address, drain, ended := serveOn(t, try(t, c).Server)
	t.Cleanup(func() {
		drain()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return address
}
