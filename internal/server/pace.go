package server

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// pace holds answers back that turn a caller away (429 and 503), once there are many of them. Whoever comes again at once, as those do who try
// passwords, would otherwise be told so as fast as the processors can, and those are what gates are answered with.
type pace struct {
	mu     sync.Mutex
	second time.Time // when the second at hand began
	told   int       // how many were told at once in it
	held   atomic.Int64
}

const (
	toldAtOnce = 20          // a second
	heldFor    = time.Second // each of the others
	mostHeld   = 2000        // what is more is told at once: waiting takes memory where each has a connection of its own
)

// turnsAway reports whether an answer says that there is too much to do.
func turnsAway(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
}

// wait returns when one more may be told, or when the caller has gone.
func (p *pace) wait(ctx context.Context) {
	if p.atOnce(time.Now()) {
		return
	}
	defer p.held.Add(-1)
	if p.held.Add(1) > mostHeld {
		return
	}
	over := time.NewTimer(heldFor)
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done():
	}
}

// atOnce counts one more, and reports whether it is among the first of its second.
func (p *pace) atOnce(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.second) >= time.Second {
		p.second, p.told = now, 0
	}
	p.told++
	return p.told <= toldAtOnce
}
