package processtest

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// Cut says where the connections of a Wire break.
type Cut int

// The places.
const (
	Whole      Cut = iota
	BeforeSend     // what the client sends is swallowed, then everything breaks
	MidSend        // half of it reaches the server, then everything breaks
	BeforeBack     // the server gets it and answers; the answer is swallowed, then everything breaks
	holdBack       // the server gets it and answers; the answer is late
)

// Wire stands between a client and a PostgreSQL, and can be cut.
type Wire struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	cut   Cut
	match func([]byte) bool // whether what a client sends is meant; nil = anything
	skip  int               // of what is meant, how much still passes
	conns map[net.Conn]bool
	done  chan struct{} // closed when a cut was made
	let   chan struct{} // closed when an answer that is held back may go on
}

// NewWire returns the wire and the URL of the database through it.
func NewWire(t testing.TB, dsn string) (*Wire, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{listener: l, server: u.Host, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", w.server)
			if err != nil {
				client.Close()
				continue
			}
			w.mu.Lock()
			w.conns[client], w.conns[server] = true, true
			w.mu.Unlock()
			meant := make(chan Cut, 1) // what is to be done with the answer that comes next
			wg.Go(func() { w.send(client, server, meant) })
			wg.Go(func() { w.back(server, client, meant) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.BreakAll()
		wg.Wait()
	})
	u.Host = l.Addr().String()
	return w, u.String()
}

// CutAt breaks every connection once, at the first message for which match says yes after skip others. The channel is closed when it is done.
func (w *Wire) CutAt(c Cut, skip int, match func(sent []byte) bool) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.skip, w.match, w.done = c, skip, match, make(chan struct{})
	return w.done
}

// Hold keeps the answer to the first message for which match says yes until let is called. The channel is closed when the server has answered.
func (w *Wire) Hold(t testing.TB, match func(sent []byte) bool) (held <-chan struct{}, let func()) {
	late := make(chan struct{})
	let = sync.OnceFunc(func() { close(late) })
	t.Cleanup(let)
	w.mu.Lock()
	w.let = late
	w.mu.Unlock()
	return w.CutAt(holdBack, 0, match), let
}

// BreakAll breaks what is connected now.
func (w *Wire) BreakAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
	clear(w.conns)
}

// now reports which cut is to be made at a message.
func (w *Wire) now(sent []byte) Cut {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut == Whole || w.match != nil && !w.match(sent) {
		return Whole
	}
	if w.skip > 0 {
		w.skip--
		return Whole
	}
	c := w.cut
	w.cut = Whole
	return c
}

func (w *Wire) send(from, to net.Conn, meant chan<- Cut) {
	defer w.forget(from, to)
	buf := make([]byte, 1<<18)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		switch c := w.now(buf[:n]); c {
		case BeforeSend:
			w.made()
			return
		case MidSend:
			_, _ = to.Write(buf[:n/2]) // it breaks in any case
			w.made()
			return
		case BeforeBack, holdBack:
			meant <- c
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *Wire) back(from, to net.Conn, meant <-chan Cut) {
	defer w.forget(from, to)
	buf := make([]byte, 1<<18)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case c := <-meant:
			if c == BeforeBack {
				w.made()
				return
			}
			close(w.done)
			<-w.let
		default:
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *Wire) made() {
	w.BreakAll()
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.done)
}

func (w *Wire) forget(a, b net.Conn) {
	a.Close()
	b.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, a)
	delete(w.conns, b)
}
