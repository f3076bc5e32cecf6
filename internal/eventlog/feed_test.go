package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// lane appends batches to a store as the log does.
type testLane struct {
	s    *store.Store
	mark access.PolicyMark
	id   int64
	seq  int64
}

func newTestLane(t *testing.T, s *store.Store) *testLane {
	t.Helper()
	mark, err := s.PolicyMark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.ClaimWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &testLane{s: s, mark: mark, id: id}
}

// write appends a batch of n events, named lane-seq-number, and returns the names.
func (l *testLane) write(t *testing.T, n int) (names []string) {
	t.Helper()
	l.seq++
	b := &access.EventBatch{Policy: l.mark}
	for i := range n {
		name := fmt.Sprintf("%d-%d-%d", l.id, l.seq, i)
		names = append(names, name)
		b.Events = append(b.Events, &access.Event{
			Kind: access.DecisionEvent, At: time.Now().UTC().Truncate(time.Microsecond), Decision: access.Deny, Reason: access.NoPermission, Count: 1, RequestID: name,
		})
	}
	if landed, err := l.s.AppendBatch(t.Context(), l.id, l.seq, b); err != nil || !landed {
		t.Fatalf("append: %v, %v", landed, err)
	}
	return names
}

func startFeed(t *testing.T, cfg eventlog.FeedConfig) *eventlog.Feed {
	t.Helper()
	if cfg.Poll == 0 {
		cfg.Poll, cfg.Gap = 5*time.Millisecond, time.Millisecond
	}
	f := eventlog.NewFeed(cfg)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return f
}

func names(events []access.Event) (out []string) {
	for _, e := range events {
		out = append(out, e.RequestID)
	}
	return out
}

// collect reads a subscription until it has n events.
func collect(t *testing.T, s *eventlog.Subscription, n int) (got []string, cursor string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(got) < n {
		d, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("after %d of %d events: %v", len(got), n, err)
		}
		got, cursor = append(got, names(d.Events)...), d.Cursor
	}
	return got, cursor
}

func mustSubscribe(t *testing.T, f *eventlog.Feed, cursor string) *eventlog.Subscription {
	t.Helper()
	s, err := f.Subscribe(t.Context(), cursor)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sameInLanes reports whether got has exactly the events of want, and those of each lane in order.
func sameInLanes(got, want []string) bool {
	lane := func(all []string) map[string][]string {
		by := map[string][]string{}
		for _, n := range all {
			id, _, _ := strings.Cut(n, "-")
			by[id] = append(by[id], n)
		}
		return by
	}
	g, w := lane(got), lane(want)
	if len(g) != len(w) {
		return false
	}
	for id := range w {
		if !slices.Equal(g[id], w[id]) {
			return false
		}
	}
	return true
}

// A reader that loses its connection again and again, and goes on at one replica or the other while three lanes write, one of them
// claimed in between and given up, sees every event once.
func TestFeedResumesAnywhere(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			db := storetest.New(t, engine)
			var stores [2]*store.Store
			var feeds [2]*eventlog.Feed
			for i := range feeds {
				stores[i] = storetest.OpenWith(t, store.Options{Database: db.DSN})
				feeds[i] = startFeed(t, eventlog.FeedConfig{Reader: stores[i]})
			}
			first := newTestLane(t, stores[0])
			before := first.write(t, 5)
			shown, cursor, err := feeds[0].Newest(t.Context(), 3)
			if err != nil || !slices.Equal(names(shown), []string{before[4], before[3], before[2]}) {
				t.Fatalf("Newest = %v, %v; want the last three, newest first", names(shown), err)
			}
			var mu sync.Mutex
			var want []string
			const each = 150
			var writing sync.WaitGroup
			writer := func(l *testLane, n int) {
				for range n {
					w := l.write(t, 1+rand.IntN(3))
					mu.Lock()
					want = append(want, w...)
					mu.Unlock()
				}
			}
			writing.Go(func() { writer(first, each) })
			writing.Go(func() {
				for range 3 { // a lane that comes and goes
					l := newTestLane(t, stores[1])
					writer(l, each/3)
					if err := stores[1].RetireWriter(t.Context(), l.id); err != nil {
						t.Error(err)
					}
				}
			})
			var got []string
			total := func() int { mu.Lock(); defer mu.Unlock(); return len(want) }
			finished := make(chan struct{})
			go func() { writing.Wait(); close(finished) }()
			done := func() bool {
				select {
				case <-finished:
					return true
				default:
					return false
				}
			}
			for round := 0; !done() || len(got) < total(); round++ {
				s := mustSubscribe(t, feeds[round%2], cursor)
				n := min(1+rand.IntN(10), max(1, total()-len(got)))
				if len(got) < total() {
					var more []string
					more, cursor = collect(t, s, n)
					got = append(got, more...)
				}
				s.Close()
			}
			if !sameInLanes(got, want) {
				t.Errorf("got %d events, want %d; each once, in order", len(got), len(want))
			}
		})
	}
}

// Several subscribers hear of the same events, of own ones as soon as they are told of (the poll would take an hour), and one that
// does not listen is dropped without harm to the others; it goes on from its cursor.
func TestFeedSharesOneReader(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		f := startFeed(t, eventlog.FeedConfig{Reader: s, Poll: time.Hour, Gap: time.Millisecond, Buffer: 10})
		lane := newTestLane(t, s)
		lane.write(t, 1)
		_, cursor, err := f.Newest(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		a, b, lazy := mustSubscribe(t, f, cursor), mustSubscribe(t, f, cursor), mustSubscribe(t, f, cursor)
		defer a.Close()
		defer b.Close()
		defer lazy.Close()
		var want []string
		for range 8 {
			w := lane.write(t, 3)
			want = append(want, w...)
			f.Wake()
			for _, s := range []*eventlog.Subscription{a, b} {
				if got, _ := collect(t, s, 3); !slices.Equal(got, w) {
					t.Fatalf("got %v, want %v", got, w)
				}
			}
		}
		got, err := []string(nil), error(nil)
		for err == nil {
			var d eventlog.Delivery
			if d, err = lazy.Next(t.Context()); err == nil {
				got, cursor = append(got, names(d.Events)...), d.Cursor
			}
		}
		if !errors.Is(err, eventlog.ErrFeedSlow) || len(got) == 0 || len(got) > 10 {
			t.Errorf("the slow one got %d events, then %v; want some, at most 10, then %v", len(got), err, eventlog.ErrFeedSlow)
		}
		again := mustSubscribe(t, f, cursor)
		defer again.Close()
		more, _ := collect(t, again, len(want)-len(got))
		if got = append(got, more...); !slices.Equal(got, want) {
			t.Errorf("with what it got later: %v, want %v", got, want)
		}
	})
}

// A cursor that another process gave is ahead of what this one has read: what it covers does not come again.
func TestFeedTakesACursorAheadOfIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		f := startFeed(t, eventlog.FeedConfig{Reader: s, Poll: time.Hour, Gap: time.Millisecond})
		lane := newTestLane(t, s)
		_, cursor, err := f.Newest(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		slow := mustSubscribe(t, f, cursor)
		defer slow.Close()
		all := append(lane.write(t, 2), lane.write(t, 2)...)
		_, ahead, err := f.Newest(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		quick := mustSubscribe(t, f, ahead)
		defer quick.Close()
		last := lane.write(t, 2)
		f.Wake() // now it reads the three batches in one piece
		if got, _ := collect(t, quick, 2); !slices.Equal(got, last) {
			t.Errorf("from ahead: got %v, want %v", got, last)
		}
		if got, _ := collect(t, slow, 6); !slices.Equal(got, append(all, last...)) {
			t.Errorf("from the beginning: got %v, want all of %v", got, append(all, last...))
		}
	})
}

func TestFeedRefusesCursors(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		now := time.Now()
		f := startFeed(t, eventlog.FeedConfig{Reader: s, Replay: 5, Now: func() time.Time { return now }})
		lane := newTestLane(t, s)
		lane.write(t, 1)
		cursor := func() string {
			_, c, err := f.Newest(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		refused := func(what, c string, want error) {
			t.Helper()
			if sub, err := f.Subscribe(t.Context(), c); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
				if err == nil {
					sub.Close()
				}
			}
		}
		good := cursor()
		mustSubscribe(t, f, good).Close()
		refused("nothing", "", eventlog.ErrCursorInvalid)
		refused("a word", "latest", eventlog.ErrCursorInvalid)
		refused("a part", good[:len(good)-3], eventlog.ErrCursorInvalid)
		flip := byte('A')
		if good[6] == flip {
			flip = 'B'
		}
		refused("a changed one", good[:6]+string(flip)+good[7:], eventlog.ErrCursorInvalid)
		for range 6 {
			lane.write(t, 1)
		}
		refused("one that is too far behind", good, eventlog.ErrCursorOld)

		fresh := cursor()
		other := storetest.Open(t, s.Engine())
		elsewhere := eventlog.NewFeed(eventlog.FeedConfig{Reader: other})
		if _, err := elsewhere.Subscribe(t.Context(), fresh); !errors.Is(err, eventlog.ErrCursorInvalid) {
			t.Errorf("one of another database: %v, want %v", err, eventlog.ErrCursorInvalid)
		}
		for range 3 {
			lane.write(t, 1)
		}
		if _, _, err := s.PurgeEvents(t.Context(), time.Now().Add(time.Minute), 1000); err != nil {
			t.Fatal(err)
		}
		refused("one whose events were purged", fresh, eventlog.ErrCursorOld)
		last := cursor()
		now = now.Add(25 * time.Hour)
		refused("yesterday's", last, eventlog.ErrCursorOld)
	})
}

// A lane that was quiet for hours is not listed in a cursor, and what it records then comes all the same, once.
func TestFeedKnowsQuietLanes(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			db := storetest.New(t, engine)
			now := time.Now()
			s := storetest.OpenWith(t, store.Options{Database: db.DSN, Now: func() time.Time { return now }})
			f := eventlog.NewFeed(eventlog.FeedConfig{Reader: s, Now: func() time.Time { return now }})
			quiet := newTestLane(t, s)
			quiet.write(t, 2)
			now = now.Add(3 * time.Hour)
			_, cursor, err := f.Newest(t.Context(), 0)
			if err != nil || len(cursor) > 25 {
				t.Fatalf("cursor %q, %v; want a short one", cursor, err)
			}
			now = now.Add(time.Minute)
			want := quiet.write(t, 2)
			mustSubscribe(t, f, cursor).Close()
			now = now.Add(30 * time.Minute)
			want = append(want, quiet.write(t, 2)...)
			sub := mustSubscribe(t, f, cursor)
			defer sub.Close()
			if got, _ := collect(t, sub, 4); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// Whoever comes to a feed that has ended is told, instead of waiting for ever.
func TestAClosedFeedSaysSo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		f := eventlog.NewFeed(eventlog.FeedConfig{Reader: s})
		ended, end := context.WithCancel(t.Context())
		end()
		f.Run(ended)
		l := newTestLane(t, s)
		_, cursor, err := f.Newest(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		want := l.write(t, 2)
		sub, err := f.Subscribe(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		// What was recorded by now is told, or left for the next feed.
		d, err := sub.Next(ctx)
		if err == nil {
			if got := names(d.Events); !slices.Equal(got, want) {
				t.Errorf("told of %v, want %v", got, want)
			}
			_, err = sub.Next(ctx)
		}
		if !errors.Is(err, eventlog.ErrFeedClosed) {
			t.Errorf("Next of a closed feed: %v, want %v", err, eventlog.ErrFeedClosed)
		}
	})
}
