package server

import (
	"context"
	"net"
	"sync"
	"time"
)

// drainListener lets a drain accept what the kernel has already taken for us. Closing a listening socket at once would reset
// the connections that wait in its queue, although their clients believe they are connected.
//
// The server accepts from it and gives net/http, to which it is a listener as well, the connections that net/http is to answer.
type drainListener struct {
	net.Listener
	mu    sync.Mutex
	until time.Time // zero = not draining
	once  sync.Once
	done  chan struct{} // closed when nothing more is accepted

	given  chan net.Conn
	failed chan error
	closed chan struct{} // when net/http takes no more
	leave  sync.Once
}

func newDrainListener(l net.Listener) *drainListener {
	return &drainListener{
		Listener: l, done: make(chan struct{}), given: make(chan net.Conn), failed: make(chan error), closed: make(chan struct{}),
	}
}

// deadliner is a listener whose Accept can be made to end.
type deadliner interface{ SetDeadline(time.Time) error }

// handshake is how long half-open connections are given to complete once no new ones begin.
const handshake = 100 * time.Millisecond

// drain lets accept go on for the grace. Then no new connections begin, those that are half open come through, and accept
// ends with net.ErrClosed.
func (l *drainListener) drain(grace time.Duration) {
	d, ok := l.Listener.(deadliner)
	if !ok {
		l.end()
		return
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.done:
		return
	}
	until := time.Now()
	if refuseNew(l.Listener) == nil { // else what comes in the last moment may be reset, as anywhere
		until = until.Add(handshake)
	}
	l.mu.Lock()
	l.until = until
	l.mu.Unlock()
	if d.SetDeadline(until) != nil {
		l.end()
	}
}

func (l *drainListener) end() {
	l.once.Do(func() {
		_ = l.Listener.Close()
		close(l.done)
	})
}

// accept waits for the next connection.
func (l *drainListener) accept() (*conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		return newConn(c), nil
	}
	l.mu.Lock()
	draining := !l.until.IsZero()
	l.mu.Unlock()
	if !draining {
		return nil, err
	}
	l.end()
	return nil, net.ErrClosed
}

// Accept waits for the next connection that net/http is to answer. How long it rests after an error is left to net/http.
func (l *drainListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.given:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// give leaves a connection to net/http. It reports false if that takes no more.
func (l *drainListener) give(c net.Conn) bool {
	select {
	case l.given <- c:
		return true
	case <-l.closed:
		return false
	}
}

// fail tells net/http of an error. It reports false if that takes no more.
func (l *drainListener) fail(err error) bool {
	select {
	case l.failed <- err:
		return true
	case <-l.closed:
		return false
	}
}

// Close stops listening.
func (l *drainListener) Close() error {
	l.end()
	l.leave.Do(func() { close(l.closed) })
	return nil
}

// settle waits until every request under way is answered. Connections that have not asked yet are waited for only a little
// while: browsers open some in advance.
func (s *connections) settle(ctx context.Context, patience time.Duration) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	for {
		active, fresh := s.busy()
		if active == 0 && (fresh == 0 || time.Since(begun) >= patience) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
