package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/eventlog"
)

// ages is a log of which only the age of the events matters, in hours before its clock's noon.
type ages struct {
	mu     sync.Mutex
	at     []time.Time // ascending
	limits []int
	err    error
}

func (a *ages) PurgeEvents(_ context.Context, before time.Time, limit int) (n int, more bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits = append(a.limits, limit)
	for n < limit && n < len(a.at) && a.at[n].Before(before) {
		n++
	}
	a.at = a.at[n:]
	return n, n == limit, a.err
}

func (a *ages) NewestEvent(context.Context) (time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.at) == 0 {
		return time.Time{}, nil
	}
	return a.at[len(a.at)-1], nil
}

func (a *ages) FirstEventSince(_ context.Context, since time.Time) (time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.at {
		if !at.Before(since) {
			return at, a.err
		}
	}
	return time.Time{}, a.err
}

func (a *ages) left() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.at)
}

func hourly(newest time.Time, n int) *ages {
	a := &ages{}
	for i := range n {
		a.at = append(a.at, newest.Add(-time.Duration(n-1-i)*time.Hour))
	}
	return a
}

var noon = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)

func TestRetentionRound(t *testing.T) {
	for _, c := range []struct {
		name    string
		days    int
		now     time.Time
		deleted int
		warned  bool
	}{
		{name: "older than two days", days: 2, now: noon, deleted: 51}, // the event that is two days old to the second stays
		{name: "kept for ever", days: 0, now: noon},
		{name: "nothing is that old", days: 5, now: noon},
		{name: "clock before the newest event", days: 2, now: noon.Add(-time.Minute - time.Second), warned: true},
		{name: "clock a little before the newest event, which a replica wrote", days: 2, now: noon.Add(-time.Minute), deleted: 51},
		{name: "clock a year ahead", days: 2, now: noon.Add(365 * 24 * time.Hour), deleted: 100},
		{name: "clock over a year ahead", days: 2, now: noon.Add(365*24*time.Hour + time.Second), warned: true},
		{name: "clock at 1970", days: 2, now: time.Unix(0, 0), warned: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := hourly(noon, 100)
			var log bytes.Buffer
			r := eventlog.NewRetention(eventlog.RetentionConfig{
				Purger: a, Pace: eventlog.Pace{Rows: 7}, Days: func(context.Context) (int, error) { return c.days, nil },
				Now: func() time.Time { return c.now }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			for range 3 { // a pause is warned about once
				n, err := r.Round(t.Context())
				if err != nil || (n != c.deleted && n != 0) {
					t.Errorf("deleted %d, %v, want %d", n, err, c.deleted)
				}
			}
			if left := len(a.at); left != 100-c.deleted {
				t.Errorf("%d of 100 events are left, want %d", left, 100-c.deleted)
			}
			want := 0
			if c.warned {
				want = 1
			}
			if n := strings.Count(log.String(), "level=WARN"); n != want {
				t.Errorf("%d warnings, want %d: %s", n, want, log.String())
			}
		})
	}
}

// A clock that leapt is not believed because events bear its time by now. The log before the leap goes when it is too old by the time after it.
func TestRetentionOverALeap(t *testing.T) {
	const year = 365 * 24 * time.Hour
	later := noon.Add(2*year + time.Hour)
	for _, c := range []struct {
		name    string
		days    int
		after   int // hours of events after the leap, to now
		deleted int
	}{
		{"the first event after the leap", 2, 1, 0},
		{"as long as events are kept, but for an hour", 2, 48, 0},
		{"longer than events are kept", 2, 50, 101},
		{"events are kept over the leap", 3 * 365, 50, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := later.Add(time.Duration(c.after) * time.Hour)
			a := hourly(noon, 100)
			a.at = append(a.at, hourly(now, c.after).at...)
			r := eventlog.NewRetention(eventlog.RetentionConfig{
				Purger: a, Days: func(context.Context) (int, error) { return c.days, nil }, Now: func() time.Time { return now },
			})
			if n, err := r.Round(t.Context()); err != nil || n != c.deleted {
				t.Errorf("deleted %d of %d, %v; want %d", n, 100+c.after, err, c.deleted)
			}
		})
	}
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hourly(noon, 50)
		var told []int
		began := time.Now()
		n, err := eventlog.Purge(t.Context(), a, eventlog.Cutoff(noon, 1), eventlog.Pace{Rows: 10, Pause: 5 * time.Millisecond}, func(n int) { told = append(told, n) })
		if err != nil || n != 25 {
			t.Errorf("purged %d, %v, want 25", n, err)
		}
		if len(told) != 3 || told[0] != 10 || told[1] != 20 || told[2] != 25 {
			t.Errorf("progress %v, want 10 20 25", told)
		}
		if took := time.Since(began); took != 10*time.Millisecond {
			t.Errorf("took %v, want two pauses of 5ms", took)
		}
		a.err = errors.New("broken")
		if _, err := eventlog.Purge(t.Context(), a, noon, eventlog.PaceFor("sqlite"), nil); !errors.Is(err, a.err) {
			t.Errorf("purge of a broken database: %v", err)
		}
		if got := a.limits[len(a.limits)-1]; got != 200 {
			t.Errorf("SQLite is purged in slices of %d, want 200", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		a = hourly(noon, 50)
		if n, err := eventlog.Purge(ctx, a, noon, eventlog.Pace{Rows: 10}, nil); n != 10 || !errors.Is(err, context.Canceled) {
			t.Errorf("purge that is cut short: %d, %v, want 10 and context.Canceled", n, err)
		}
	})
}

func TestRetentionRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := hourly(noon, 48)
		begun := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		r := eventlog.NewRetention(eventlog.RetentionConfig{
			Purger: a, Days: func(context.Context) (int, error) { return 1, nil }, Now: func() time.Time { return noon.Add(time.Since(begun)) },
		})
		done := make(chan struct{})
		go func() { r.Run(ctx); close(done) }()
		synctest.Wait()
		if n := a.left(); n != 25 {
			t.Errorf("%d events left at once, want 25", n)
		}
		pass(2*time.Hour + time.Minute)
		synctest.Wait()
		if n := a.left(); n != 23 {
			t.Errorf("%d events left after two hours, want 23", n)
		}
		cancel()
		<-done
	})
}
