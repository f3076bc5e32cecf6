package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
)

// picky refuses batches for what is in them: events whose request id says poison, or with all set everything.
type picky struct {
	*faulty
	all     atomic.Bool
	batches atomic.Int64
}

var errPoison = errors.New("value out of range")

func newPicky(t *testing.T) *picky {
	return &picky{faulty: newFaulty(t, newMemory(), func(step) fault { return fine })}
}

func (p *picky) AppendBatch(ctx context.Context, writer, seq int64, b *access.EventBatch) (bool, error) {
	p.batches.Add(1)
	<-time.After(time.Millisecond) // as long as a commit takes
	if p.all.Load() || slices.ContainsFunc(b.Events, func(e *access.Event) bool { return strings.HasPrefix(e.RequestID, "poison") }) {
		return false, errPoison
	}
	return p.faulty.AppendBatch(ctx, writer, seq, b)
}

// One event that the database never takes costs nobody else an answer, and is not tried for ever.
func TestOnePoisonousEventBlocksNobody(t *testing.T) {
	for lanes := 1; lanes <= 3; lanes++ {
		synctest.Test(t, func(t *testing.T) {
			p := newPicky(t)
			l := start(t, eventlog.Config{Appender: p, Policies: p, Lanes: lanes})
			for i := range 3 {
				l.Post(&eventlog.Entry{Event: access.Event{Kind: access.SystemEvent, At: time.Now(), RequestID: fmt.Sprint("poison-posted-", i)}})
				l.Post(&eventlog.Entry{Event: access.Event{Kind: access.DecisionEvent, At: time.Now(), RequestID: fmt.Sprint("posted-", i)}})
			}
			var wg sync.WaitGroup
			for caller := range 400 {
				wg.Go(func() {
					for i := range 5 {
						id := fmt.Sprintf("%d-%d", caller, i)
						poison := caller%100 == 7 && i == 1
						if poison {
							id = "poison-" + id
						}
						if err := l.Append(t.Context(), entry(id, 1, p)); poison != errors.Is(err, access.ErrUnavailable) || !poison && err != nil {
							t.Errorf("Append of %s: %v", id, err)
						}
					}
				})
			}
			wg.Wait()
			<-time.After(5 * time.Second) // the refusals are noted
			tried := p.batches.Load()
			for i := range 50 {
				if err := l.Append(t.Context(), entry(fmt.Sprint("after-", i), 1, p)); err != nil {
					t.Errorf("Append after the poison: %v", err)
				}
			}
			if n := p.batches.Load() - tried; n != 50 {
				t.Errorf("50 appends one by one took %d batches after the poison was given up, want 50", n)
			}
			stop(t, l)
			a := takeAccount(t, p)
			if n := len(a.decisions); n != 400*5-4+3+50 || a.unavailable != 4 || a.unanswered != 0 {
				t.Errorf("%d decisions and notes of %d unavailable, %d unanswered; want %d, 4, 0", n, a.unavailable, a.unanswered, 400*5-4+3+50)
			}
			if s := l.Stats(); s.Dropped != 3 || s.Refused != 4 {
				t.Errorf("%d posted events were given up and %d decisions refused, want 3 and 4", s.Dropped, s.Refused)
			}
		})
	}
}

// While the database takes nothing at all, for a reason of no known kind, nothing that is only posted is lost, and nobody waits too long.
func TestADatabaseThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPicky(t)
		p.all.Store(true)
		l := start(t, eventlog.Config{Appender: p, Policies: p, MaxBatch: 64})
		const posted, asked = 100, 300
		for i := range posted {
			l.Post(&eventlog.Entry{Event: access.Event{Kind: access.DecisionEvent, At: time.Now(), RequestID: fmt.Sprint("posted-", i)}})
		}
		var wg sync.WaitGroup
		for i := range asked {
			wg.Go(func() {
				began := time.Now()
				if err := l.Append(t.Context(), entry(fmt.Sprint("lost-", i), 1, p)); !errors.Is(err, access.ErrUnavailable) {
					t.Errorf("Append: %v", err)
				}
				if took := time.Since(began); took > eventlog.DefaultMaxWait+200*time.Millisecond {
					t.Errorf("Append took %v", took)
				}
			})
		}
		wg.Wait()
		tried := p.batches.Load()
		<-time.After(time.Minute)
		if n := p.batches.Load() - tried; n > 200 {
			t.Errorf("a database that takes nothing was asked %d times in a minute", n)
		}
		if id, err := p.ClaimWriter(t.Context()); err != nil || id > 30 {
			t.Errorf("%d lanes were claimed meanwhile (%v)", id-1, err)
		}
		p.all.Store(false)
		if err := l.Append(t.Context(), entry("found", 1, p)); err != nil {
			t.Errorf("Append when all is well again: %v", err)
		}
		<-time.After(10 * time.Second)
		stop(t, l)
		a := takeAccount(t, p)
		if n := len(a.decisions); n != posted+1 || a.unavailable != asked {
			t.Errorf("the log holds %d decisions and notes of %d unavailable, want %d and %d", n, a.unavailable, posted+1, asked)
		}
	})
}
