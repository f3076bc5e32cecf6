package gatekeeper

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
)

const (
	maxTouched    = 200_000          // uses that wait to be written; further ones are left to the credential's next use
	touchSlice    = 128              // credentials in one transaction: those at the gates wait for it on SQLite
	confirmSlots  = 4                // questions to the database at a time
	confirmHolds  = time.Minute      // how long its answer is believed
	maxConfirmed  = 10_000           // answers remembered
	confirmExpiry = 2 * time.Second  // how long one question may take
	touchTimeout  = 10 * time.Second // how long one transaction may take
)

// uses writes the day on which credentials were last used, off the path of the requests, once a day for each; and asks the
// database before a credential is taken to have ended for want of use: another process may have seen it used.
type uses struct {
	source PolicySource
	policy *policy
	logger *slog.Logger
	slots  chan struct{}

	mu        sync.Mutex
	pending   map[int64]int // credential -> day, not yet written
	confirmed map[int64]*confirmation
	failing   bool
}

// confirmation is what the database said, or will say once done is closed.
type confirmation struct {
	done chan struct{}
	at   time.Time
	day  int
	err  error
}

func (u *uses) init(source PolicySource, p *policy, logger *slog.Logger) {
	u.source, u.policy, u.logger = source, p, logger
	u.slots = make(chan struct{}, confirmSlots)
	u.pending = make(map[int64]int)
	u.confirmed = make(map[int64]*confirmation)
}

// touch notes a use, to be written.
func (u *uses) touch(credential int64, day int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if had, known := u.pending[credential]; known && had >= day || !known && len(u.pending) >= maxTouched {
		return
	}
	u.pending[credential] = day
}

// write writes the uses every so often until ctx ends.
func (u *uses) write(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			u.flush(ctx)
		}
	}
}

// flush writes what is pending. What cannot be written stays pending.
func (u *uses) flush(ctx context.Context) {
	u.mu.Lock()
	byDay := make(map[int][]int64)
	for id, day := range u.pending {
		byDay[day] = append(byDay[day], id)
	}
	u.mu.Unlock()
	for day, ids := range byDay {
		slices.Sort(ids) // those beside one another are on the same pages
		for len(ids) > 0 {
			n := min(len(ids), touchSlice)
			if err := u.flushSlice(ctx, day, ids[:n]); err != nil {
				u.mu.Lock()
				first := !u.failing && ctx.Err() == nil
				u.failing = true
				u.mu.Unlock()
				if first {
					u.logger.Warn("gatekeeper: days of last use cannot be written; trying again", "credentials", len(ids), "error", err)
				}
				return
			}
			ids = ids[n:]
		}
	}
	u.mu.Lock()
	u.failing = false
	u.mu.Unlock()
}

func (u *uses) flushSlice(ctx context.Context, day int, ids []int64) error {
	ctx, cancel := context.WithTimeout(ctx, touchTimeout)
	defer cancel()
	if err := u.source.TouchCredentials(ctx, day, ids); err != nil {
		return err
	}
	u.policy.use(ctx, day, ids) // from now on the snapshot knows, and asks for no more touches today
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, id := range ids {
		if u.pending[id] == day {
			delete(u.pending, id)
		}
	}
	return nil
}

// confirm is the day of the credential's last use as the database knows it. Callers who ask for the same credential share one question,
// its answer holds for a minute, and few questions are asked at a time.
func (u *uses) confirm(ctx context.Context, credential int64) (day int, err error) {
	u.mu.Lock()
	if day, known := u.pending[credential]; known {
		u.mu.Unlock()
		return day, nil
	}
	c := u.confirmed[credential]
	if c == nil || c.stale() {
		if len(u.confirmed) >= maxConfirmed {
			u.forget()
		}
		c = &confirmation{done: make(chan struct{}), at: time.Now()}
		u.confirmed[credential] = c
		u.mu.Unlock()
		go u.ask(context.WithoutCancel(ctx), credential, c) // a read of a disk that hangs cannot be ended, and nobody is to hang with it
	} else {
		u.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(ctx, confirmExpiry)
	defer cancel()
	select {
	case <-c.done:
		return c.day, c.err
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the day of last use: %w: %w", access.ErrUnavailable, ctx.Err())
	}
}

// stale reports whether the answer is too old, or none. u.mu is held.
func (c *confirmation) stale() bool {
	select {
	case <-c.done:
		return c.err != nil || time.Since(c.at) >= confirmHolds
	default:
		return false
	}
}

// forget drops the answers that are there. u.mu is held.
func (u *uses) forget() {
	for id, c := range u.confirmed {
		select {
		case <-c.done:
			delete(u.confirmed, id)
		default:
		}
	}
}

func (u *uses) ask(ctx context.Context, credential int64, c *confirmation) {
	ctx, cancel := context.WithTimeout(ctx, confirmExpiry)
	defer cancel()
	c.day, c.err = u.lastUsed(ctx, credential)
	close(c.done) // nobody waits for the snapshot, which may be in somebody's hands
	if c.err == nil {
		u.policy.use(ctx, c.day, []int64{credential})
	}
}

func (u *uses) lastUsed(ctx context.Context, credential int64) (day int, err error) {
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return 0, fmt.Errorf("ask for the day of last use: %w: %w", access.ErrUnavailable, ctx.Err())
	}
	return u.source.CredentialLastUsed(ctx, credential)
}
