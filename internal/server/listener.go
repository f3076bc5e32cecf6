package server

import (
	"net"
	"sync"
	"time"
)

// drainListener lets a drain accept what the kernel has already taken for us. Closing a listening socket at once would reset
// the connections that wait in its queue, although their clients believe they are connected.
type drainListener struct {
	net.Listener
	mu    sync.Mutex
	until time.Time // zero = not draining
	once  sync.Once
	done  chan struct{} // closed when nothing more is accepted
}

func newDrainListener(l net.Listener) *drainListener {
	return &drainListener{Listener: l, done: make(chan struct{})}
}

// deadliner is a listener whose Accept can be made to end.
type deadliner interface{ SetDeadline(time.Time) error }

// drain lets Accept go on for the grace and then end with net.ErrClosed.
func (l *drainListener) drain(grace time.Duration) {
	until := time.Now().Add(grace)
	l.mu.Lock()
	l.until = until
	l.mu.Unlock()
	if d, ok := l.Listener.(deadliner); !ok || d.SetDeadline(until) != nil {
		l.end()
	}
}

func (l *drainListener) end() {
	l.once.Do(func() {
		_ = l.Listener.Close()
		close(l.done)
	})
}

// Accept waits for the next connection.
func (l *drainListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			return c, nil
		}
		l.mu.Lock()
		until := l.until
		l.mu.Unlock()
		if until.IsZero() {
			return nil, err
		}
		if !time.Now().Before(until) || !isTimeout(err) {
			l.end()
			return nil, net.ErrClosed
		}
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// Close stops listening.
func (l *drainListener) Close() error {
	l.end()
	return nil
}
