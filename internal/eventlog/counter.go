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

// How long the counter rests after a call, by the work that was done: while there is more, so that counting takes a few percent of one processor, however much there is; and when
// all is counted. A busy site writes the sums of all its gates each time, however many events they count, so it counts more at a time and not as often:
// then the sums are up to longestWait old.
const (
	restPerWork   = 10
	restPerRounds = 400
	longestWait   = 5 // times Every
)

// pruneEvery is how often old sums are deleted, and pruneRows how many in one transaction.
const (
	pruneEvery = time.Hour
	pruneRows  = 200
)

// Run counts until ctx ends.
func (c *Counter) Run(ctx context.Context) {
	failing := false
	var rounds time.Duration // the work since all was counted
	for pruned := time.Now(); ; {
		began := time.Now()
		_, more, err := c.cfg.Tallier.CountEvents(ctx)
		if err == nil && time.Since(pruned) > pruneEvery {
			var n int
			if n, err = c.cfg.Tallier.PruneCounts(ctx, pruneRows); err == nil && n < pruneRows {
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
		work := time.Since(began)
		rounds += work
		wait := c.cfg.Every
		if err == nil {
			wait = c.rest(work, rounds, more)
		}
		if !more {
			rounds = 0
		}
		if sleep(ctx, wait) != nil {
			return
		}
	}
}

// rest is how long to rest after a call that took work, of calls that took rounds together and have left more to be counted or nothing.
func (c *Counter) rest(work, rounds time.Duration, more bool) time.Duration {
	if more {
		return min(max(c.cfg.Pause, restPerWork*work), c.cfg.Every)
	}
	return min(max(c.cfg.Every, restPerRounds*rounds), longestWait*c.cfg.Every)
}
