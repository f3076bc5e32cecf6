package gatekeeper

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// reasons are what answers are counted by.
var reasons = [...]access.Reason{
	access.OK, access.NoPermission, access.TokenInvalid, access.DeviceInactive, access.UnknownGate, access.InvalidRequest, access.RateLimit, access.Unavailable,
}

// counts are the answers of one gate, by reason.
type counts [len(reasons)]atomic.Uint64

// tally counts answers by gate and reason. Only codes of gates that exist are told apart, so that nobody can make it grow.
type tally struct {
	mu     sync.Mutex                         // of who adds a gate
	byGate atomic.Pointer[map[string]*counts] // never written to: a new gate makes a new one
}

func (t *tally) add(gate string, reason access.Reason) {
	var c *counts
	if known := t.byGate.Load(); known != nil {
		c = (*known)[gate]
	}
	if c == nil {
		c = t.meet(gate)
	}
	for i := range reasons {
		if reasons[i] == reason {
			c[i].Add(1)
			return
		}
	}
}

func (t *tally) meet(gate string) *counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	more := make(map[string]*counts)
	if known := t.byGate.Load(); known != nil {
		if c := (*known)[gate]; c != nil {
			return c
		}
		maps.Copy(more, *known)
	}
	c := new(counts)
	more[strings.Clone(gate)] = c
	t.byGate.Store(&more)
	return c
}

// Answers calls f with how many answers of each reason each gate was given since the process began, gate "" being those without a known gate.
// Reasons that were never given at a gate are left out, but for those of gate "".
func (g *Gatekeeper) Answers(f func(gate string, reason access.Reason, n uint64)) {
	g.tally.meet("")
	for gate, c := range *g.tally.byGate.Load() {
		for i := range c {
			if n := c[i].Load(); n > 0 || gate == "" {
				f(gate, reasons[i], n)
			}
		}
	}
}

// Stale is how long ago the policy was last found to be the newest one, or made so.
func (g *Gatekeeper) Stale() time.Duration { return time.Since(time.Unix(0, g.policy.seen.Load())) }
