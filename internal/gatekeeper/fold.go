package gatekeeper

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/throttle"
)

// maxSingle is how many denials of one kind within a second have an event each.
const maxSingle = 10

// foldKey is what makes denials equal. Requests for unknown gates are equal whatever they present, or whoever invents a new
// code each time could fill the log.
type foldKey struct {
	reason  access.Reason
	address netip.Prefix
	gate    int64 // 0 = unknown
}

// folds counts equal denials together, so that nobody can fill the log. Once more than single of them came within a period, the rest
// are folded into one event, until a period after the first that was folded; and so on while they keep coming.
//
// The table is bounded: denials that find it full are folded all together, by reason, under no address and no gate.
type folds struct {
	period  int64 // microseconds
	single  int
	maxKeys int

	filled chan struct{} // holds a token when something came into an empty table

	mu    sync.Mutex
	byKey map[foldKey]*fold
}

type fold struct {
	recent [maxSingle]int64 // when the newest denials came, Unix microseconds, as a ring
	next   int
	open   *access.Event // the event that they are folded into; nil = none yet
	opened int64
}

func newFolds(period time.Duration, single, maxKeys int) *folds {
	return &folds{period: period.Microseconds(), single: min(single, maxSingle), maxKeys: maxKeys, filled: make(chan struct{}, 1), byKey: make(map[foldKey]*fold)}
}

// take counts the denial. It reports whether it was folded: then it is not to be recorded by itself.
func (f *folds) take(key foldKey, ev *access.Event) bool {
	at := ev.At.UnixMicro()
	f.mu.Lock()
	defer f.mu.Unlock()
	x, single, nameless := f.byKey[key], f.single, false
	if x == nil && len(f.byKey) >= f.maxKeys {
		key, single, nameless = foldKey{reason: key.reason}, 0, true
		x = f.byKey[key]
	}
	if x == nil {
		x = &fold{}
		f.byKey[key] = x
		if len(f.byKey) == 1 {
			select {
			case f.filled <- struct{}{}:
			default:
			}
		}
	}
	if single > 0 {
		first := x.recent[x.next] // of the last `single` denials
		x.recent[x.next] = at
		x.next = (x.next + 1) % single
		if first == 0 || !f.within(first, at) {
			return false
		}
	}
	if x.open == nil {
		folded := *ev
		if nameless {
			folded.Address, folded.RequestID, folded.GateID, folded.PresentedGate = "", "", 0, ""
		}
		folded.Count, folded.Until = 1, ev.At
		x.open, x.opened = &folded, at
		return true
	}
	merge(x.open, ev)
	return true
}

// within reports whether at is less than a period after first. Clocks may be set back: then it is not.
func (f *folds) within(first, at int64) bool { return at >= first && at-first < f.period }

// merge counts ev in the folded event, which keeps what all have in common.
func merge(folded, ev *access.Event) {
	folded.Count++
	if ev.At.Before(folded.At) {
		folded.At = ev.At
	}
	if ev.At.After(folded.Until) {
		folded.Until = ev.At
	}
	if folded.PresentedGate != ev.PresentedGate {
		folded.PresentedGate = ""
	}
	if folded.Fingerprint != ev.Fingerprint {
		folded.Fingerprint = ""
	}
	if folded.CredentialID != ev.CredentialID {
		folded.CredentialID, folded.DeviceID = 0, 0
	}
	if folded.UserID != ev.UserID {
		folded.UserID = 0
	}
}

// due takes out the folded events whose period has ended (or all of them), and forgets the keys that nothing came from for a period.
// It reports whether keys are left.
func (f *folds) due(now time.Time, all bool) (out []access.Event, counting bool) {
	at := now.UnixMicro()
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, x := range f.byKey {
		if x.open != nil && (all || !f.within(x.opened, at)) {
			out = append(out, *x.open)
			x.open = nil
		}
		if x.open == nil && !f.lately(x, at) {
			delete(f.byKey, key)
		}
	}
	return out, len(f.byKey) > 0
}

// lately reports whether a denial came within the last period.
func (f *folds) lately(x *fold, at int64) bool {
	for _, t := range x.recent {
		if t != 0 && f.within(t, at) {
			return true
		}
	}
	return false
}

// foldDenial reports whether the decision was folded.
func (g *Gatekeeper) foldDenial(c *call, address netip.Addr) bool {
	switch c.decision.Reason {
	case access.InvalidRequest, access.UnknownGate, access.TokenInvalid:
		return g.denials.take(foldKey{reason: c.decision.Reason, address: throttle.AddressKey(address), gate: c.decision.GateID}, &c.entry.Event)
	}
	return false
}

// foldTick is how late a folded event may be written.
const foldTick = 100 * time.Millisecond

// writeFolds hands folded events to the log when their time has come. It sleeps while nothing is counted.
func (g *Gatekeeper) writeFolds(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.denials.filled:
		case <-g.limited.filled:
		}
		tick := time.NewTicker(foldTick)
		for busy := true; busy; {
			select {
			case <-ctx.Done():
				busy = false
			case <-tick.C:
				busy = g.postFolds(false)
			}
		}
		tick.Stop()
	}
}

// postFolds reports whether something is still counted.
func (g *Gatekeeper) postFolds(all bool) (busy bool) {
	now := g.now()
	for _, f := range [2]*folds{g.denials, g.limited} {
		ended, counting := f.due(now, all)
		for _, ev := range ended {
			g.log.Post(&eventlog.Entry{Event: ev})
		}
		busy = busy || counting
	}
	return busy
}

func (g *Gatekeeper) now() time.Time { return g.cfg.Now().UTC().Truncate(time.Microsecond) }
