package eventlog

import (
	"context"
	"log/slog"
	"time"
)

// Tallier counts events by hour, gate and reason, in rounds. store.Store is one.
type Tallier interface {
	// CountEvents counts some of what is not counted yet, exactly once whoever else counts. more: there is more to count at once.
	CountEvents(ctx context.Context) (n int, more bool, err error)
	// PruneCounts deletes at most limit sums of each kind that are older than they are kept; fewer say that none are left.
	PruneCounts(ctx context.Context, limit int) (n int, err error)
}

// CounterConfig says what a Counter works with. Zero values of times stand for the defaults.
type CounterConfig struct {
	Tallier Tallier
	Every   time.Duration // between two looks at a log that is not busy: how old the sums on a page may be. Default 1 s
	Pause   time.Duration // between two rounds while there is more: at least this, so that decisions are recorded in between. Default 10 ms
	Logger  *slog.Logger  // nil = discarded
}

// Counter keeps the sums that pages show up to date, off the gate path. Each replica may run one: a round counts in one of them only. After
// a crash, or an import, it goes on where the sums end.
type Counter struct{ cfg CounterConfig }

// NewCounter makes a Counter that does nothing until Run.
func NewCounter(cfg CounterConfig) *Counter {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	if cfg.Pause <= 0 {
		cfg.Pause = 10 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Counter{cfg}
}

// How the counter rests: while there is more, restPerWork times as long as the call before took, so that counting takes a few percent of one processor, however much there is.
// When all is counted, for Every; on a log to which busyRate events a second came, or more, busyRests times that: what is written are the sums of the gates that were used, however many
// events they count.
const (
	restPerWork = 10
	busyRate    = 500
	busyRests   = 5
)

// pruneEvery is how often old sums are deleted, and pruneRows how many in one transaction.
const (
	pruneEvery = time.Hour
	pruneRows  = 200
)

// Run counts until ctx ends.
func (c *Counter) Run(ctx context.Context) {
	failing := false
	var came arrivals
	for pruned := time.Now(); ; {
		began := time.Now()
		n, more, err := c.cfg.Tallier.CountEvents(ctx)
		if err == nil && time.Since(pruned) > pruneEvery {
			var gone int
			if gone, err = c.cfg.Tallier.PruneCounts(ctx, pruneRows); err == nil && gone < pruneRows {
				pruned = time.Now()
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			c.cfg.Logger.Warn("eventlog: the sums of the overview are not up to date; trying again", "error", err)
		case err == nil && failing:
			c.cfg.Logger.Info("eventlog: the sums of the overview are kept again")
		}
		failing = err != nil
		wait := c.cfg.Every
		if err == nil {
			wait = c.rest(&came, n, more, time.Now(), time.Since(began))
		}
		if sleep(ctx, wait) != nil {
			return
		}
	}
}

// arrivals are the events that came since all was counted.
type arrivals struct {
	n     int
	since time.Time
}

// rest is how long to rest after a call that took work, and counted n events.
func (c *Counter) rest(came *arrivals, n int, more bool, now time.Time, work time.Duration) time.Duration {
	came.n += n
	if more {
		return min(max(c.cfg.Pause, restPerWork*work), c.cfg.Every)
	}
	busy := float64(came.n) >= busyRate*now.Sub(came.since).Seconds()
	*came = arrivals{since: now}
	if busy {
		return busyRests * c.cfg.Every
	}
	return c.cfg.Every
}
