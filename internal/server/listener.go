package server

import (
	"context"
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

// handshake is how long half-open connections are given to complete once no new ones begin.
const handshake = 100 * time.Millisecond

// drain lets Accept go on for the grace. Then no new connections begin, those that are half open come through, and Accept
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

// Accept waits for the next connection.
func (l *drainListener) Accept() (net.Conn, error) {
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

// Close stops listening.
func (l *drainListener) Close() error {
	l.end()
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
