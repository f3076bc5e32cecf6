package server

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a client's connection as net/http holds it. It does what a net.Conn does, at less cost for each request:
//
//   - net/http moves a connection's deadlines six times a request. Here a deadline is only noted, and what the kernel's poller is told is an
//     earlier one that stands from a request before: when that comes, the newer one is looked at.
//   - It remembers what the connection is doing, so that no table of all connections is written to twice a request.
//   - What was read of it before net/http got it comes first (plainloop.go).
//
// Should net/http change its ways, all that is lost is the saving.
type conn struct {
	net.Conn
	state atomic.Int32 // the http.ConnState
	own   atomic.Bool  // plainConn reads it, not net/http
	ahead []byte       // what is read next, before anything that the socket has

	mu          sync.Mutex
	read, write deadline
	late        time.Duration // how long the first request that net/http reads was waited for before
}

func newConn(c net.Conn) *conn { return &conn{Conn: c} }

// deadline is one of the two of a connection.
type deadline struct {
	want  time.Time // as it was set last; zero = none
	armed time.Time // as the socket knows it: not later than want, where that is set and the socket is in use
	busy  int       // calls that use the socket
}

// late reports whether the armed deadline would let the wanted one pass.
func (d *deadline) late() bool {
	return !d.want.IsZero() && (d.armed.IsZero() || d.armed.After(d.want))
}

// set notes a deadline, and arms it if somebody would wait too long otherwise. conn.mu is held.
func (d *deadline) set(t time.Time, arm func(time.Time) error) error {
	d.want = t
	if d.busy > 0 && d.late() {
		d.armed = t
		return arm(t)
	}
	return nil
}

// begin is called before the socket is used. conn.mu is held.
func (d *deadline) begin(arm func(time.Time) error) error {
	d.busy++
	if d.late() {
		d.armed = d.want
		return arm(d.want)
	}
	return nil
}

// passed is called when the armed deadline has ended a use of the socket. It reports whether the wanted one has come; if not, that is armed.
// conn.mu is held.
func (d *deadline) passed(arm func(time.Time) error) (bool, error) {
	if !d.want.IsZero() && !time.Now().Before(d.want) {
		return true, nil
	}
	d.armed = d.want
	return false, arm(d.want)
}

// Read reads from the client.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		return takeAhead(&c.ahead, p), nil
	}
	return c.use(&c.read, c.Conn.SetReadDeadline, p, c.Conn.Read)
}

// takeAhead moves to p what fits of what was read ahead.
func takeAhead(ahead *[]byte, p []byte) int {
	n := copy(p, *ahead)
	*ahead = (*ahead)[n:]
	return n
}

// Write writes to the client.
func (c *conn) Write(p []byte) (int, error) {
	return c.use(&c.write, c.Conn.SetWriteDeadline, p, c.Conn.Write)
}

// use calls do until it ends for another reason than a deadline that was moved meanwhile.
func (c *conn) use(d *deadline, arm func(time.Time) error, p []byte, do func([]byte) (int, error)) (done int, err error) {
	c.mu.Lock()
	err = d.begin(arm)
	c.mu.Unlock()
	for err == nil {
		var n int
		n, err = do(p[done:])
		done += n
		if err == nil || !isTimeout(err) {
			break
		}
		c.mu.Lock()
		ended, armErr := d.passed(arm)
		c.mu.Unlock()
		if ended {
			break
		}
		err = armErr
		if err == nil && done == len(p) {
			break
		}
	}
	c.mu.Lock()
	d.busy--
	c.mu.Unlock()
	return done, err
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error) //nolint:errorlint // what a socket returns is not wrapped in anything that hides it
	return ok && t.Timeout()
}

// SetReadDeadline is net.Conn's.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !t.IsZero() {
		t = t.Add(-c.late)
	}
	return c.read.set(t, c.Conn.SetReadDeadline)
}

// SetWriteDeadline is net.Conn's.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write.set(t, c.Conn.SetWriteDeadline)
}

// SetDeadline is net.Conn's.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// CloseWrite tells the client that nothing more comes, for net/http, which looks for it.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// connections knows what each connection is doing. http.Server.Shutdown alone would drop requests that it reads after it was called,
// without an answer: it must be called when none is under way.
type connections struct {
	mu  sync.Mutex
	all map[*conn]struct{}
}

// work is called when a request was read. It reports false if the drain has let the connection go.
func (c *conn) work() bool {
	for {
		state := c.state.Load()
		if http.ConnState(state) == http.StateClosed {
			return false
		}
		if c.state.CompareAndSwap(state, int32(http.StateActive)) {
			return true
		}
	}
}

// isLate tells how long a request was waited for before net/http gets the connection: its time to read that request is shorter by so much.
func (c *conn) isLate(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = by
}

// rest is called when a request was answered and no other one is at hand.
func (c *conn) rest() { c.state.Store(int32(http.StateIdle)) }

// letGo ends the connection if it does nothing.
func (c *conn) letGo() {
	if c.state.CompareAndSwap(int32(http.StateNew), int32(http.StateClosed)) {
		_ = c.Close()
	}
	if c.state.CompareAndSwap(int32(http.StateIdle), int32(http.StateClosed)) {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // whoever reads it closes it, with TLS' last word if that is spoken
	}
}

// note is told what becomes of a connection, by net/http if that has it.
func (s *connections) note(nc net.Conn, state http.ConnState) {
	if wrapped, ok := nc.(interface{ NetConn() net.Conn }); ok { // of TLS
		nc = wrapped.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	c.state.Store(int32(state))
	switch state {
	case http.StateNew:
		s.mu.Lock()
		s.all[c] = struct{}{}
		s.mu.Unlock()
	case http.StateActive: // the head was read, and the deadline of the body is set
		c.isLate(0)
	case http.StateClosed, http.StateHijacked:
		s.mu.Lock()
		delete(s.all, c)
		s.mu.Unlock()
	default:
	}
}

// letGo ends those of the connections that net/http does not know and that do nothing.
func (s *connections) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		if c.own.Load() {
			c.letGo()
		}
	}
}

// cut closes all connections that net/http does not know, and reports whether any was still answered.
func (s *connections) cut() (any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		if c.own.Load() {
			any = any || http.ConnState(c.state.Load()) == http.StateActive
			_ = c.Close()
		}
	}
	return any
}

// busy counts connections that are answered or were let go and are not yet closed, and those that have not asked anything yet.
func (s *connections) busy() (active, fresh int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		switch http.ConnState(c.state.Load()) {
		case http.StateActive, http.StateClosed:
			active++
		case http.StateNew:
			fresh++
		default:
		}
	}
	return active, fresh
}
