package eventlog

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Purger deletes old events. store.Store is one.
type Purger interface {
	// PurgeEvents deletes at most limit events that occurred before the given instant. more says that others may be left.
	PurgeEvents(ctx context.Context, before time.Time, limit int) (n int, more bool, err error)
	// NewestEvent is when the newest event occurred; zero if there is none.
	NewestEvent(ctx context.Context) (at time.Time, err error)
	// FirstEventSince is when the oldest of the events occurred that did not occur before the given instant; zero if there is none.
	FirstEventSince(ctx context.Context, since time.Time) (at time.Time, err error)
}

// Pace bounds what a purge costs the requests beside it.
type Pace struct {
	Rows  int           // deleted at a time
	Pause time.Duration // between two slices, at least; after a slow slice it is longer: see Purge
}

// PaceFor is the pace for an engine: small slices for SQLite, whose one writer also records the decisions. On PostgreSQL a slice keeps nobody waiting, but
// what is deleted goes through the same write-ahead log as the decisions, which wait for its disk: some 10,000 a second.
func PaceFor(engine string) Pace {
	if engine == "sqlite" {
		return Pace{Rows: 200, Pause: 5 * time.Millisecond}
	}
	return Pace{Rows: 250, Pause: 20 * time.Millisecond}
}

// restFor is how many times as long as a slice took a purge rests after it, so that it has a third of a processor at most. longestRest
// is for one that waited for others, or indexed a great log first.
const (
	restFor     = 2
	longestRest = time.Second
)

// Cutoff is the instant that is days days before now: what occurred before it is older than that.
func Cutoff(now time.Time, days int) time.Time { return now.Add(-time.Duration(days) * 24 * time.Hour) }

// Purge deletes all events that occurred before the given instant, in slices, and returns how many there were. progress (may be nil) is
// called after each slice with the number deleted so far. When it ends early, what was deleted stays deleted.
func Purge(ctx context.Context, p Purger, before time.Time, pace Pace, progress func(deleted int)) (deleted int, err error) {
	if pace.Rows <= 0 {
		pace = PaceFor("")
	}
	for {
		began := time.Now()
		n, more, err := p.PurgeEvents(ctx, before, pace.Rows)
		deleted += n
		if err != nil {
			return deleted, fmt.Errorf("eventlog: purge events before %s: %w", before.UTC().Format(time.RFC3339), err)
		}
		if progress != nil && n > 0 {
			progress(deleted)
		}
		if !more {
			return deleted, nil
		}
		if err := sleep(ctx, max(pace.Pause, min(restFor*time.Since(began), longestRest))); err != nil {
			return deleted, fmt.Errorf("eventlog: purge events: %w", err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// RetentionConfig says what a Retention works with.
type RetentionConfig struct {
	Purger Purger
	Days   func(ctx context.Context) (int, error) // how many days events are kept now; 0 = for ever
	Pace   Pace
	Every  time.Duration // between two rounds. Default 1 h
	Now    func() time.Time
	Logger *slog.Logger
}

// Retention deletes events that are older than the site keeps them.
type Retention struct {
	cfg    RetentionConfig
	paused bool // the clock is not believed; said once
}

// NewRetention makes a Retention that does nothing until Run.
func NewRetention(cfg RetentionConfig) *Retention {
	if cfg.Every <= 0 {
		cfg.Every = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Retention{cfg: cfg}
}

// Run deletes what is too old, at once and then every so often, until ctx ends.
func (r *Retention) Run(ctx context.Context) {
	for {
		if n, err := r.Round(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Logger.Warn("eventlog: old events could not be deleted; trying again later", "deleted", n, "error", err)
		} else if n > 0 {
			r.cfg.Logger.Info("eventlog: old events deleted", "deleted", n)
		}
		if sleep(ctx, r.cfg.Every) != nil {
			return
		}
	}
}

// maxLeap is how far the clock may stand ahead of the newest event, and that one of the one before, and still be believed.
const maxLeap = 365 * 24 * time.Hour

// skew is how far the clocks of replicas may lie apart: the newest event bears the time of the one that is ahead.
const skew = time.Minute

// Round deletes what is too old now and returns how many events that were.
//
// It deletes nothing while the clock stands a minute before the newest event or over a year ahead of it: a board without a
// battery clock must not take all of its log for ancient. Nor does it believe such a clock because events bear its time by now: over a gap of
// a year in the log it deletes nothing either, until the log on this side of the gap is as old as events are kept.
func (r *Retention) Round(ctx context.Context) (deleted int, err error) {
	days, err := r.cfg.Days(ctx)
	if err != nil {
		return 0, fmt.Errorf("eventlog: how long events are kept: %w", err)
	}
	if days <= 0 {
		return 0, nil
	}
	newest, err := r.cfg.Purger.NewestEvent(ctx)
	if err != nil {
		return 0, fmt.Errorf("eventlog: find the newest event: %w", err)
	}
	if newest.IsZero() {
		return 0, nil
	}
	now := r.cfg.Now().UTC()
	cutoff := Cutoff(now, days)
	believed := !now.Before(newest.Add(-skew)) && now.Sub(newest) <= maxLeap
	if believed {
		if believed, err = r.unbroken(ctx, newest, cutoff); err != nil {
			return 0, err
		}
	}
	if !believed {
		if !r.paused {
			r.paused = true
			r.cfg.Logger.Warn("eventlog: the clock does not go with the events; none are deleted until it does", "now", now, "newest_event", newest)
		}
		return 0, nil
	}
	if r.paused {
		r.paused = false
		r.cfg.Logger.Info("eventlog: the clock goes with the events again", "now", now)
	}
	return Purge(ctx, r.cfg.Purger, cutoff, r.cfg.Pace, nil)
}

// unbroken reports whether the log goes back from its newest event to the cutoff, or to its beginning, without a gap of over maxLeap.
func (r *Retention) unbroken(ctx context.Context, newest, cutoff time.Time) (bool, error) {
	for at := newest; at.After(cutoff); {
		first, err := r.cfg.Purger.FirstEventSince(ctx, at.Add(-maxLeap))
		if err != nil {
			return false, fmt.Errorf("eventlog: look for a gap in the log: %w", err)
		}
		if first.IsZero() || !first.Before(at) {
			oldest, err := r.cfg.Purger.FirstEventSince(ctx, time.UnixMicro(math.MinInt64))
			if err != nil {
				return false, fmt.Errorf("eventlog: look for a gap in the log: %w", err)
			}
			return oldest.IsZero() || !oldest.Before(at), nil
		}
		at = first
	}
	return true, nil
}
