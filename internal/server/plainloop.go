package server

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"
)

// plainPatience is how long the rest of a request is waited for that has begun to be plain. Then net/http waits, and from then on the
// log counts how long the request takes: this is what it does not see.
const plainPatience = 50 * time.Millisecond

// plainConn answers the plain requests of a connection, until something else comes: that and all that follows it is left to net/http. It lives
// in a pool; what it remembers of the requests before saves the next connection's work as well.
type plainConn struct {
	s        *Server
	conn     net.Conn // base, or TLS over it
	base     *conn
	state    *tls.ConnectionState // nil = plain HTTP
	remote   string
	buf      [plainRoom]byte
	from, to int       // the part of buf that was read and not yet answered
	kept     bool      // a request was answered, and the next has not begun
	since    time.Time // when net/http would have begun to wait for the next request; zero = not waiting

	head   plainHead
	req    http.Request
	url    url.URL
	header http.Header
	body   plainBody
	answer plainAnswer
}

func newPlainConn(s *Server) *plainConn {
	return &plainConn{s: s, header: make(http.Header), answer: plainAnswer{header: make(http.Header)}}
}

// accept takes connections until gate accepts no more.
func (s *Server) accept(gate *drainListener) {
	defer gate.end() // a drain waits for it
	for {
		c, err := gate.accept()
		switch {
		case err == nil && len(s.routes) > 0:
			c.own.Store(true)
			s.conns.note(c, http.StateNew)
			go s.servePlain(c, gate)
		case err == nil:
			s.conns.note(c, http.StateNew)
			s.leave(gate, c, s.secured(c))
		case s.draining.Load() || !s.failed(gate, err):
			return
		}
	}
}

// failed says that no connection can be accepted, and leaves it to net/http for how long to rest. It reports false if that takes no more.
func (s *Server) failed(gate *drainListener, err error) bool {
	if !errors.Is(err, net.ErrClosed) {
		s.log.Error("connections cannot be accepted", slog.Any("error", err))
	}
	return gate.fail(err)
}

// secured is the connection as net/http wants it: with TLS over it if that is spoken here.
func (s *Server) secured(c *conn) net.Conn {
	if s.tls == nil {
		return c
	}
	return tls.Server(c, s.tls)
}

// leave leaves a connection to net/http.
func (s *Server) leave(gate *drainListener, base *conn, c net.Conn) {
	if base.work() { // from here on it is under way, until net/http says what it is
		base.own.Store(false)
		if gate.give(c) {
			return
		}
	}
	s.end(base, c)
}

// end closes a connection that net/http does not have.
func (s *Server) end(base *conn, c net.Conn) {
	_ = c.Close()
	s.conns.note(base, http.StateClosed)
}

// servePlain answers a connection's requests as long as they are plain.
func (s *Server) servePlain(base *conn, gate *drainListener) {
	c := s.secured(base)
	var rest net.Conn
	defer func() {
		if e := recover(); e != nil && e != http.ErrAbortHandler { //nolint:errorlint // a sentinel that is panicked with as it is
			s.http.ErrorLog.Printf(panicking+" %s: %v\n%s", base.RemoteAddr(), e, debug.Stack())
		}
		if rest != nil {
			s.leave(gate, base, rest)
			return
		}
		s.end(base, c)
	}()
	rest = s.answerPlain(base, c)
}

// answerPlain returns what is left to net/http, or nil when the connection is to be closed.
func (s *Server) answerPlain(base *conn, c net.Conn) (rest net.Conn) {
	var state *tls.ConnectionState
	if secured, ok := c.(*tls.Conn); ok {
		_ = base.SetDeadline(time.Now().Add(min(s.http.ReadHeaderTimeout, s.http.ReadTimeout, s.http.WriteTimeout)))
		if secured.Handshake() != nil {
			return c // net/http gets the same error, and knows what to say
		}
		now := secured.ConnectionState()
		if state = &now; now.NegotiatedProtocol != "" && now.NegotiatedProtocol != "http/1.1" {
			return c
		}
	}
	p := s.plains.Get().(*plainConn)
	p.base, p.conn, p.state, p.remote = base, c, state, base.RemoteAddr().String()
	p.from, p.to, p.kept = 0, 0, false
	rest = p.serve()
	p.base, p.conn, p.state = nil, nil, nil
	s.plains.Put(p) // not after a panic: what the handler left running may still hold some of it
	return rest
}

// serve answers until the connection is to be closed (nil), or left to net/http.
func (p *plainConn) serve() (rest net.Conn) {
	p.since = time.Now()
	_ = p.base.SetReadDeadline(p.since.Add(p.s.http.ReadHeaderTimeout))
	for {
		size, v := p.next()
		switch {
		case v == foreign:
			return p.rest()
		case v == unfinished || !p.base.work():
			return nil
		}
		if !p.exchange(size) {
			return nil
		}
		p.from += size
		p.kept, p.since = true, time.Time{}
	}
}

// next waits for the next plain request. Where none comes, unfinished means that nothing came at all.
func (p *plainConn) next() (size int, v verdict) {
	waiting := false
	for {
		begun := p.begun()
		if begun {
			if size, v = p.head.read(p.s.routes, p.buf[p.from:p.to]); v != unfinished {
				return size, v
			}
			if !waiting {
				waiting = true
				now := time.Now()
				if p.since.IsZero() {
					p.since = now
				}
				_ = p.base.SetReadDeadline(now.Add(min(plainPatience, p.s.http.ReadHeaderTimeout-now.Sub(p.since))))
			}
		} else if http.ConnState(p.base.state.Load()) == http.StateActive {
			p.base.rest()
		}
		if p.from > 0 {
			p.to = copy(p.buf[:], p.buf[p.from:p.to])
			p.from = 0
		}
		if p.to == len(p.buf) {
			return 0, foreign // too long
		}
		n, err := p.conn.Read(p.buf[p.to:])
		p.to += n
		switch {
		case err == nil || n > 0:
		case begun:
			return 0, foreign // net/http sees the same end
		default:
			return 0, unfinished
		}
	}
}

// begun reports whether some of the next request was read. As with net/http, one that follows another begins with four bytes, of which CR and LF
// are forgiven: some old clients send them after a body.
func (p *plainConn) begun() bool {
	if p.kept && p.to-p.from >= 4 {
		p.kept = false
		for end := p.from + 4; p.from < end && (p.buf[p.from] == '\r' || p.buf[p.from] == '\n'); {
			p.from++
		}
		if p.from == p.to { // as for net/http the next head is waited for from now on
			p.since = time.Now()
			_ = p.base.SetReadDeadline(p.since.Add(p.s.http.ReadHeaderTimeout))
		}
	}
	return !p.kept && p.from < p.to
}

// exchange lets the handlers answer the request that begins at from, as net/http would. It reports whether another one may follow.
func (p *plainConn) exchange(size int) (keep bool) {
	_ = p.base.SetWriteDeadline(time.Now().Add(p.s.http.WriteTimeout))
	p.answer.begin(p.head.close)
	p.s.ServeHTTP(&p.answer, p.request(p.buf[p.from:p.from+size]))
	p.body.closed = true
	now := time.Now()
	text, keep := p.answer.end(now)
	if _, err := p.conn.Write(text); err != nil {
		return false
	}
	_ = p.base.SetReadDeadline(now.Add(p.s.http.IdleTimeout))
	return keep
}

// request makes of a plain request, whose head was read, what net/http would make of it.
func (p *plainConn) request(data []byte) *http.Request {
	h := &p.head
	h.fill(p.header)
	p.url = url.URL{Path: h.route.path}
	p.req = http.Request{
		Method: http.MethodPost, URL: &p.url, RequestURI: h.route.path, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: p.header,
		Body: http.NoBody, ContentLength: int64(h.length), Close: h.close, Host: h.host, RemoteAddr: p.remote, TLS: p.state,
	}
	if h.length > 0 {
		p.body = plainBody{left: data[len(data)-h.length:]}
		p.req.Body = &p.body
	}
	return &p.req
}

// rest is the connection with what was read of it and not answered.
func (p *plainConn) rest() net.Conn {
	if !p.since.IsZero() {
		p.base.isLate(time.Since(p.since))
	}
	_ = p.base.SetDeadline(time.Time{})
	ahead := append([]byte(nil), p.buf[p.from:p.to]...)
	if secured, ok := p.conn.(*tls.Conn); ok {
		return &tlsAhead{Conn: secured, ahead: ahead}
	}
	p.base.ahead = ahead
	return p.base
}

// tlsAhead is a connection with TLS of which something was read already. net/http asks it for the state of TLS.
type tlsAhead struct {
	*tls.Conn
	ahead []byte
}

// Read reads from the client.
func (c *tlsAhead) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		return takeAhead(&c.ahead, p), nil
	}
	return c.Conn.Read(p)
}

// plainBody is the body of a plain request: all of it is there.
type plainBody struct {
	left   []byte
	closed bool
}

// Read reads the next part.
func (b *plainBody) Read(p []byte) (n int, err error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n = copy(p, b.left)
	if b.left = b.left[n:]; len(b.left) == 0 {
		err = io.EOF
	}
	return n, err
}

// Close ends it.
func (b *plainBody) Close() error {
	b.closed = true
	return nil
}
