package registry

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// Refused logins are folded: the first of a user name and address is written at once, those that follow within a minute
// become one line with their count. What was typed as a user name is not kept when nobody has it: it may have been a password.
type failures struct {
	mu     sync.Mutex
	open   map[failure]*window
	timer  *time.Timer
	closed bool
}

type failure struct {
	userID  int64 // 0 = unknown user name
	address string
}

type window struct {
	actor access.Actor
	until time.Time
	count int // since the last line
}

const (
	failureWindow = time.Minute
	mostFailures  = 4096 // windows open at the same time; beyond, all addresses share one
)

// refused notes a login that failed.
func (r *Registry) refused(ctx context.Context, actor access.Actor, userID int64) {
	f, now := &r.failures, r.now()
	key := failure{userID, actor.Address}
	f.mu.Lock()
	if f.open == nil {
		f.open = map[failure]*window{}
	}
	w := f.open[key]
	if w == nil && len(f.open) >= mostFailures {
		key = failure{}
		w = f.open[key]
		actor.Address, actor.RequestID = "", ""
	}
	if w == nil {
		w = &window{actor: access.Actor{Kind: actor.Kind, Address: actor.Address}, until: now}
		f.open[key] = w
	}
	w.count++
	n := 0
	if !now.Before(w.until) {
		n, w.count, w.until = w.count, 0, now.Add(failureWindow)
	}
	if f.timer == nil && !f.closed {
		f.timer = time.AfterFunc(failureWindow, r.foldFailures)
	}
	f.mu.Unlock()
	switch n {
	case 0:
	case 1:
		r.noteRefused(ctx, actor, key.userID, n)
	default:
		r.noteRefused(ctx, w.actor, key.userID, n)
	}
}

// foldFailures is the timer: it writes the windows that are over and goes on while there are any.
func (r *Registry) foldFailures() {
	ctx, cancel := context.WithTimeout(context.Background(), failureWindow/2)
	defer cancel()
	r.writeFailures(ctx, false)
	f := &r.failures
	f.mu.Lock()
	defer f.mu.Unlock()
	f.timer = nil
	if len(f.open) > 0 && !f.closed {
		f.timer = time.AfterFunc(failureWindow, r.foldFailures)
	}
}

// writeFailures writes the counts of windows that are over, or of all.
func (r *Registry) writeFailures(ctx context.Context, all bool) {
	type line struct {
		actor  access.Actor
		userID int64
		n      int
	}
	var lines []line
	f, now := &r.failures, r.now()
	f.mu.Lock()
	for key, w := range f.open {
		if !all && now.Before(w.until) {
			continue
		}
		if w.count == 0 {
			delete(f.open, key)
			continue
		}
		lines = append(lines, line{w.actor, key.userID, w.count})
		w.count, w.until = 0, now.Add(failureWindow)
	}
	f.mu.Unlock()
	for _, l := range lines {
		r.noteRefused(ctx, l.actor, l.userID, l.n)
	}
}

// noteRefused writes one line. A refusal that cannot be written stands in the log: nothing was let in by it.
func (r *Registry) noteRefused(ctx context.Context, actor access.Actor, userID int64, n int) {
	err := r.store.Note(context.WithoutCancel(ctx), actor, func(tx *store.Tx) error {
		return tx.Record(access.ObjectUser, userID, access.ActionSignInRefused, nil, access.Fields{"count": strconv.Itoa(n)})
	})
	if err != nil {
		r.logger.WarnContext(ctx, "refused logins were not recorded", "user_id", userID, "address", actor.Address, "count", n, "error", err)
	}
}

// Close writes the refused logins that still wait to be written and stops the desk's timer.
func (r *Registry) Close(ctx context.Context) error {
	f := &r.failures
	f.mu.Lock()
	f.closed = true
	if f.timer != nil {
		f.timer.Stop()
	}
	f.mu.Unlock()
	r.writeFailures(ctx, true)
	return nil
}
