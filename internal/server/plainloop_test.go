package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// echo answers with all that it sees of a request, and does what the request's X-Do says. plainly counts the requests that did not come from net/http.
func echo(plainly *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(http.ServerContextKey) == nil {
			plainly.Add(1)
		}
		do := r.Header.Get("X-Do")
		switch do {
		case "panic":
			panic("on purpose")
		case "panic later":
			_, _ = io.WriteString(w, "half an")
			panic("on purpose")
		case "abort":
			panic(http.ErrAbortHandler)
		case "nothing":
			return
		case "leave the body":
			_, _ = io.WriteString(w, "not read")
			return
		}
		body, err := io.ReadAll(r.Body)
		_, again := r.Body.Read(make([]byte, 1))
		length := len(body)
		body = body[:min(length, 100)] // so that the answer is not sent in chunks, which plain ones never are
		for k, v := range r.Header {
			if len(v[0]) > 100 {
				r.Header[k] = []string{v[0][:100], fmt.Sprint(len(v[0]))}
			}
		}
		saw := fmt.Sprintf("%s %s %q %s %d %d %q %v %d %s %v %v\n%q %d %v %v %v\n", r.Method, r.RequestURI, r.URL, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Host, r.Close,
			r.ContentLength, r.RemoteAddr, r.TransferEncoding, r.Header, body, length, err, again, r.Body == http.NoBody)
		h := w.Header()
		h.Set("X-B", "2")
		h.Add("X-B", "3")
		h.Set("x-a", "1")
		switch do {
		case "204":
			h.Set("Content-Length", "2")
			w.WriteHeader(http.StatusNoContent)
		case "304":
			h.Set("Content-Type", "text/plain")
			h.Set("Content-Length", "5")
			w.WriteHeader(http.StatusNotModified)
		case "503":
			h.Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
			w.WriteHeader(http.StatusOK)
			h.Set("X-Late", "1")
		case "599":
			w.WriteHeader(599)
		case "99":
			w.WriteHeader(99)
		case "early":
			w.WriteHeader(200)
			h.Set("Content-Length", "1")
		case "close":
			h.Set("Connection", "close")
		case "keep-alive":
			h.Set("Connection", "keep-alive")
		case "length":
			h.Set("Content-Length", fmt.Sprint(len(saw)))
		case "too short":
			h.Set("Content-Length", fmt.Sprint(len(saw)-3))
		case "too long":
			h.Set("Content-Length", fmt.Sprint(len(saw)+3))
		case "odd":
			h["X-Odd"] = []string{" a\r\nb: c\n", "\xff\xfe", ""}
			h["bad name"] = []string{"x"}
			h["X:Y"] = []string{"x"}
			h[""] = []string{"x"}
			h["x!y"] = []string{"small"}
			h["Date"] = nil
			h["Content-Type"] = nil
		case "gzip":
			h.Set("Content-Encoding", "gzip")
		case "date":
			h.Set("Date", "today")
		case "html":
			saw = "<html>" + saw
		case "flush":
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Hour))
		case "long":
			h.Set("Content-Length", "100000")
			saw = strings.Repeat("0123456789", 10000)
		}
		for part := range slices.Chunk([]byte(saw), 700) {
			if n, err := w.Write(part); err != nil && n != 0 {
				panic("a refused Write has written")
			}
		}
	})
}

var changing = regexp.MustCompile(`\r\nDate: [A-Z][^\r]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}`)

// steady is an answer without what differs from one to the next.
func steady(answer []byte) string {
	return changing.ReplaceAllString(string(answer), "")
}

// request is one for the path /plain with more lines in its head.
func request(body string, lines ...string) string {
	return "POST /plain HTTP/1.1\r\nHost: access.example.org\r\n" + strings.Join(append(lines, ""), "\r\n") +
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

// exchanges are what clients may send on a connection.
func exchanges() (all []string) {
	for _, requests := range []map[string]string{plainRequests(), oddRequests()} {
		for _, r := range requests {
			all = append(all, strings.ReplaceAll(r, verifyPath, "/plain"))
		}
	}
	for _, do := range []string{
		"", "panic", "panic later", "abort", "nothing", "leave the body", "204", "304", "503", "599", "99", "early", "close", "keep-alive", "length", "too short",
		"too long", "odd", "gzip", "date", "html", "flush", "long",
	} {
		all = append(all, request("{}", "X-Do: "+do, "X-Request-ID: an-id"), request("", "X-Do: "+do, "X-Request-ID: an-id", "Connection: close"))
	}
	ok := request("{}", "X-Request-ID: an-id")
	get := "GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
	return append(all,
		"", "P", "POS", "POST", "POST /plain HTTP/1.1\r\nHo", ok[:len(ok)-1], // which end in the middle
		"\r\n", "\r\n\r\n", "\r\n\r\n\r\n", "\n", "\r\r\r\r\r\r", // which some send after a body
		request(strings.Repeat("x", 3900)), request(strings.Repeat("x", 5000)), request(strings.Repeat("x", 300000)),
		request("GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
		ok+ok+get+ok+get+get+ok,
		ok+"\r\n"+ok+"\r\n\r\n"+get+"\r\n"+ok,
	)
}

// both starts two servers, alike but that one reads nothing as plain. plainly counts what it did read so.
func both(t *testing.T, start func(*Server) (dial func() net.Conn)) (dials [2]func() net.Conn, plainly *atomic.Int64) {
	t.Helper()
	plainly = new(atomic.Int64)
	for i, paths := range [][]string{{"/plain"}, nil} {
		s, err := New(Config{Handler: echo(plainly), Plain: paths, DrainGrace: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			s.handler = echo(new(atomic.Int64))
		}
		dials[i] = start(s)
	}
	return dials, plainly
}

// Whatever is sent over a socket, in whatever pieces, the answers are those of net/http, byte by byte.
func TestPlainAnswersLikeNetHTTP(t *testing.T) {
	t.Parallel()
	dials, plainly := both(t, func(s *Server) func() net.Conn {
		address, drain, ended := serveOn(t, s)
		t.Cleanup(func() {
			drain()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return func() net.Conn {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	})
	talk := func(dial func() net.Conn, pieces []string) string {
		c := dial()
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for _, piece := range pieces {
				_, _ = io.WriteString(c, piece)
			}
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		answers, err := io.ReadAll(c)
		<-sent
		if isTimeout(err) {
			t.Errorf("%q: the connection stays open after %q", pieces, answers)
		}
		return steady(answers)
	}
	all := exchanges()
	tries := make([][]string, 0, 2*len(all)+200)
	for _, x := range all {
		tries = append(tries, []string{x}, []string{request("{}"), x})
	}
	source := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var text string
		for range 1 + source.IntN(5) { // those but the last that do not end the connection: what comes behind such an end may reset it
			text += []string{request("{}"), request("hello", "X-Do: length"), "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n", request("", "X-A: b")}[source.IntN(4)]
		}
		text += all[source.IntN(len(all))]
		var pieces []string
		for len(text) > 0 {
			n := min(1+source.IntN(300), len(text))
			pieces, text = append(pieces, text[:n]), text[n:]
		}
		tries = append(tries, pieces)
	}
	for _, pieces := range tries {
		if got, want := talk(dials[0], pieces), talk(dials[1], pieces); got != want {
			t.Errorf("%.500q\ngot  %.1000q\nwant %.1000q", pieces, got, want)
		}
	}
	if n := plainly.Load(); n < int64(len(tries)) {
		t.Errorf("only %d requests of %d connections were read as plain", n, len(tries))
	}
}

// pipes is a listener for connections in memory, where each Write of a client is a read of the server.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// onPipes serves until the test ends.
func onPipes(t *testing.T, s *Server) (dial func() net.Conn, drain func() error) {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, p) }()
	drain = sync.OnceValue(func() error {
		stop()
		return <-ended
	})
	return func() net.Conn {
		here, there := net.Pipe()
		p.conns <- there
		return here
	}, drain
}

// converse writes the pieces with a pause after each, and returns what had come, and after how long the server closed the connection; 0 = it did
// not until patience was over.
func converse(c net.Conn, patience, pause time.Duration, pieces ...string) (answers string, closed time.Duration) {
	begun := time.Now()
	var got bytes.Buffer
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(&got, c)
		closed = time.Since(begun)
	}()
	for _, piece := range pieces {
		if _, err := io.WriteString(c, piece); err != nil {
			break
		}
		<-time.After(pause)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		_ = c.Close()
		<-ended
		closed = 0
	}
	_ = c.Close()
	return steady(got.Bytes()), closed
}

// Requests that come in two pieces, cut anywhere, or byte by byte, fast or slow.
func TestPlainInPieces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var drains []func() error
		dials, plainly := both(t, func(s *Server) func() net.Conn {
			dial, drain := onPipes(t, s)
			drains = append(drains, drain)
			return dial
		})
		compare := func(pause time.Duration, pieces ...string) {
			got, closed := converse(dials[0](), time.Second, pause, pieces...)
			want, end := converse(dials[1](), time.Second, pause, pieces...)
			if got != want || closed != end {
				t.Errorf("%.300q, pauses of %s\ngot  %.1000q, closed after %s\nwant %.1000q, after %s", pieces, pause, got, closed, want, end)
			}
		}
		for n, x := range exchanges() {
			compare(0, x)
			if len(x) > 1000 {
				continue
			}
			step := 11
			if n < len(plainRequests()) {
				step = 1
			}
			for i := n % step; i < len(x); i += step {
				compare(time.Millisecond, x[:i], x[i:]) // an empty piece is nothing
			}
			compare(time.Millisecond, request("{}"), x, request("{}"))
			compare(time.Millisecond, strings.Split(request("{}")+x, "")...)
			for _, pause := range []time.Duration{10 * time.Millisecond, 71 * time.Millisecond} { // longer than plainPatience; some longer than a header may take
				compare(pause, strings.Split(x, "")...)
			}
			compare(6*time.Second, x[:len(x)/2], x[len(x)/2:])
			compare(16*time.Second, x[:max(len(x)-1, 0)], x[max(len(x)-1, 0):])
			compare(4*time.Second, "", x[:len(x)/2], x[len(x)/2:])
		}
		if n := plainly.Load(); n < 1000 {
			t.Errorf("only %d requests were read as plain", n)
		}
		for _, drain := range drains {
			if err := drain(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Who asks nothing is let go: after the time for a header at first, and after an answer when the time to rest is over.
func TestPlainTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var plainly atomic.Int64
		s := try(t, Config{Handler: echo(&plainly), Plain: []string{"/plain"}, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 75 * time.Second})
		dial, drain := onPipes(t, s.Server)
		allButOne := request("{}", "X-Long: "+strings.Repeat("x", plainRoom))[:plainRoom-1]
		for _, tt := range []struct {
			pieces []string
			pause  time.Duration
			want   time.Duration
		}{
			{nil, 0, 5 * time.Second},
			{[]string{request("{}")}, 0, 75 * time.Second},
			{[]string{request("{}"), request("{}")}, 10 * time.Second, 85 * time.Second},
			{[]string{request("{}"), "POS"}, 10 * time.Second, 75 * time.Second}, // net/http waits for four bytes as for none
			{[]string{request("{}"), "POST"}, 10 * time.Second, 15 * time.Second},
			{[]string{request("{}")[:60]}, 0, 5 * time.Second},
			{[]string{allButOne}, 0, 5 * time.Second}, // room for one byte more is not net/http's read of one byte
			{[]string{request("{}"), allButOne}, 10 * time.Second, 15 * time.Second},
		} {
			if answers, closed := converse(dial(), time.Hour, tt.pause, tt.pieces...); closed != tt.want {
				t.Errorf("%q, %s between: closed after %s, want %s; got %q", tt.pieces, tt.pause, closed, tt.want, answers)
			}
		}
		if plainly.Load() != 6 {
			t.Errorf("%d requests were read as plain, want 6", plainly.Load())
		}
		if err := drain(); err != nil {
			t.Error(err)
		}
	})
}

// A client that does not read its answer holds nobody up for longer than an answer may take.
func TestPlainWriteTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := try(t, Config{Plain: []string{"/plain"}})
		dial, drain := onPipes(t, s.Server)
		c := dial()
		begun := time.Now()
		_, _ = io.WriteString(c, request("{}"))
		<-time.After(59 * time.Second)
		if active, fresh := s.conns.busy(); active != 1 || fresh != 0 {
			t.Errorf("before: %d active, %d fresh; want one that waits", active, fresh)
		}
		<-time.After(2 * time.Second)
		if active, fresh := s.conns.busy(); active+fresh+len(s.conns.all) != 0 {
			t.Errorf("%s later: %d active, %d fresh of %d; want none", time.Since(begun), active, fresh, len(s.conns.all))
		}
		_ = c.Close()
		if err := drain(); err != nil {
			t.Error(err)
		}
	})
}

// At a drain, plain connections that rest are closed, those under way are answered, and those that have just come may ask.
func TestPlainDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := try(t, Config{Plain: []string{"/plain"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Do") == "wait" {
				<-release
			}
			_, _ = io.WriteString(w, "answered")
		})})
		dial, drain := onPipes(t, s.Server)
		type outcome struct {
			answers string
			closed  time.Duration
		}
		talk := func(pause time.Duration, pieces ...string) <-chan outcome {
			c, result := dial(), make(chan outcome, 1)
			go func() {
				answers, closed := converse(c, time.Hour, pause, pieces...)
				result <- outcome{answers, closed}
			}()
			synctest.Wait()
			return result
		}
		resting := talk(0, request("{}"))
		active := talk(0, request("{}", "X-Do: wait"))
		fresh := talk(time.Second, "", request("{}")) // it asks a second into the drain
		silent := talk(0)
		handed := talk(time.Second, "", "GET /plain HTTP/1.1\r\nHost: x\r\n\r\n")
		ended := make(chan error, 1)
		go func() { ended <- drain() }()
		begun := time.Now()
		for what, result := range map[string]<-chan outcome{"fresh": fresh, "left to net/http": handed} {
			if o := <-result; !strings.Contains(o.answers, "answered") || !strings.Contains(o.answers, "Connection: close\r\n") || o.closed != time.Second {
				t.Errorf("%s: got %q, closed after %s", what, o.answers, o.closed)
			}
		}
		<-time.After(time.Second) // three since the drain began
		close(release)
		for what, result := range map[string]<-chan outcome{"resting": resting, "active": active} {
			if o := <-result; strings.Count(o.answers, "answered") != 1 || o.closed == 0 || o.closed > 3100*time.Millisecond {
				t.Errorf("%s: got %q, closed after %s", what, o.answers, o.closed)
			}
		}
		if o := <-silent; o.answers != "" || o.closed == 0 || o.closed > 3100*time.Millisecond {
			t.Errorf("silent: got %q, closed after %s", o.answers, o.closed)
		}
		if err := <-ended; err != nil || time.Since(begun) > 3100*time.Millisecond {
			t.Errorf("the drain took %s and ended with %v", time.Since(begun), err)
		}
		synctest.Wait()
		if len(s.conns.all) != 0 {
			t.Errorf("%d connections are left", len(s.conns.all))
		}
	})
}

// A plain request that outlasts the drain is cut, and the server says so.
func TestPlainDrainGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := try(t, Config{Plain: []string{"/plain"}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })})
		dial, drain := onPipes(t, s.Server)
		c := dial()
		_, _ = io.WriteString(c, request("{}"))
		synctest.Wait()
		if err := drain(); err == nil || !strings.Contains(err.Error(), "were cut") {
			t.Errorf("the drain ended with %v, want it to say that requests were cut", err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the client gets %v, want the end", err)
		}
		close(release)
	})
}
