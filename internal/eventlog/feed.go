package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// FeedReader reads the log in the order of its commits. store.Store is one.
type FeedReader interface {
	// Lanes lists the lanes that may still write, and those that were given up after an instant.
	Lanes(ctx context.Context, retiredAfter time.Time) ([]access.Lane, error)
	// LaneSeqAt is the number of a lane's newest batch that was recorded no later than an instant.
	LaneSeqAt(ctx context.Context, writer int64, at time.Time) (int64, error)
	// LaneEvents returns batches of a lane after one of its numbers, in order, with their events.
	LaneEvents(ctx context.Context, writer, after int64, maxBatches, maxEvents int) ([]access.LaneBatch, []access.Event, error)
	// NewestEvents returns the newest n events, newest first, and where the lanes stand in the same snapshot.
	NewestEvents(ctx context.Context, n int, retiredAfter time.Time) ([]access.Event, []access.Lane, error)
}

// FeedConfig says what a Feed works with. Zero values of numbers and times stand for the defaults.
type FeedConfig struct {
	Reader FeedReader
	Poll   time.Duration // how often the log is looked at while somebody listens: how late another process's events come. Default 250 ms
	Gap    time.Duration // the shortest time between two looks, however often Wake is called. Default 25 ms
	Buffer int           // events that wait for a slow subscriber before it is dropped. Default 2000
	MaxAge time.Duration // how old a cursor may be to go on from. Default 24 h
	Replay int           // how many batches may have come since. Default 5000

	Now    func() time.Time // nil = time.Now
	Logger *slog.Logger     // nil = discarded
}

// Feed tells subscribers of events as they are recorded, by whatever process: each event once, those of a lane in the order in which they
// were recorded. All subscribers share one reader of the log, which rests while there are none.
type Feed struct {
	cfg  FeedConfig
	wake chan struct{}
	idle atomic.Bool // nobody listens

	mu    sync.Mutex
	subs  map[*Subscription]struct{}
	lanes map[int64]*laneAt // how far the log is read; nil while nobody listens. A laneAt in it is replaced, never changed
	ended bool              // Run has ended
}

// laneAt is how far a lane is read, and when that was recorded.
type laneAt struct {
	seq      int64
	recorded time.Time
}

// NewFeed makes a feed. It reads nothing until Run.
func NewFeed(cfg FeedConfig) *Feed {
	wait := func(v *time.Duration, def time.Duration) {
		if *v <= 0 {
			*v = def
		}
	}
	wait(&cfg.Poll, 250*time.Millisecond)
	wait(&cfg.Gap, 25*time.Millisecond)
	wait(&cfg.MaxAge, 24*time.Hour)
	if cfg.Buffer <= 0 {
		cfg.Buffer = 2000
	}
	if cfg.Replay <= 0 {
		cfg.Replay = 5000
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Feed{cfg: cfg, wake: make(chan struct{}, 1), subs: map[*Subscription]struct{}{}}
	f.idle.Store(true)
	return f
}

// Wake tells that this process has recorded something: subscribers hear of it now rather than at the next look. It costs next to nothing
// while nobody listens.
func (f *Feed) Wake() {
	if f.idle.Load() {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run reads the log for the subscribers until ctx ends; then they are told that the feed is closed.
func (f *Feed) Run(ctx context.Context) {
	tick := time.NewTicker(f.cfg.Poll)
	defer tick.Stop()
	defer f.end()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if f.idle.Load() {
				continue
			}
		case <-f.wake:
		}
		err := f.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			f.cfg.Logger.Warn("eventlog: the live feed cannot read the log; trying again", "error", err)
		case err == nil && failing:
			f.cfg.Logger.Info("eventlog: the live feed reads the log again")
		}
		failing = err != nil
		if sleep(ctx, f.cfg.Gap) != nil {
			return
		}
	}
}

// lookTimeout bounds one look at the log: a connection that died meanwhile is to be told soon.
const lookTimeout = 10 * time.Second

// look reads what was recorded since the last look and hands it to the subscribers.
func (f *Feed) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	lanes, err := f.cfg.Reader.Lanes(ctx, f.cfg.Now().Add(-quietAfter))
	if err != nil {
		return err
	}
	f.begin(lanes)
	for _, l := range lanes {
		for {
			after, listening := f.position(l.ID)
			if !listening || after.seq >= l.Newest {
				break
			}
			batches, events, err := f.cfg.Reader.LaneEvents(ctx, l.ID, after.seq, readBatches, readEvents)
			if err != nil {
				return err
			}
			if len(batches) == 0 {
				break // purged this very moment
			}
			f.hand(after, batches[len(batches)-1], events)
		}
	}
	return nil
}

// begin takes up lanes that were claimed since the last look, and forgets those that were given up long ago.
func (f *Feed) begin(lanes []access.Lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lanes == nil {
		return
	}
	known := make(map[int64]bool, len(lanes))
	for _, l := range lanes {
		known[l.ID] = true
		if f.lanes[l.ID] == nil {
			f.lanes[l.ID] = &laneAt{recorded: l.StartedAt}
		}
	}
	maps.DeleteFunc(f.lanes, func(id int64, _ *laneAt) bool { return !known[id] })
}

// position is where the feed stands in a lane. listening is false when nobody does.
func (f *Feed) position(lane int64) (at *laneAt, listening bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at = f.lanes[lane]
	return at, at != nil
}

// What is read of a lane at a time.
const (
	readBatches = 200
	readEvents  = 1000
)

// hand gives everybody what was read of a lane after a position, and moves on; unless nobody listens any more, or somebody else does since.
func (f *Feed) hand(after *laneAt, last access.LaneBatch, events []access.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lanes[last.WriterID] != after {
		return
	}
	f.lanes[last.WriterID] = &laneAt{last.Seq, last.RecordedAt}
	for s := range f.subs {
		if !s.take(last, events) {
			f.leave(s)
		}
	}
}

// leave takes a subscriber out. f.mu is held.
func (f *Feed) leave(s *Subscription) {
	delete(f.subs, s)
	if len(f.subs) == 0 {
		f.lanes = nil
		f.idle.Store(true)
	}
}

// Newest returns the newest n events (at most 1000), newest first, and the cursor to subscribe with: what is recorded after them comes
// then, without a gap and without a repeat.
func (f *Feed) Newest(ctx context.Context, n int) (events []access.Event, cursor string, err error) {
	now := f.cfg.Now()
	events, lanes, err := f.cfg.Reader.NewestEvents(ctx, min(max(n, 0), 1000), now.Add(-quietAfter))
	if err != nil {
		return nil, "", fmt.Errorf("eventlog: begin a feed: %w", err)
	}
	return events, cursorOf(now, positions(lanes)), nil
}

func positions(lanes []access.Lane) map[int64]*laneAt {
	at := make(map[int64]*laneAt, len(lanes))
	for _, l := range lanes {
		recorded := l.RecordedAt
		if recorded.IsZero() {
			recorded = l.StartedAt
		}
		at[l.ID] = &laneAt{l.Newest, recorded}
	}
	return at
}

// cursorOf is the cursor of someone who has read as far as that.
func cursorOf(now time.Time, lanes map[int64]*laneAt) string {
	c := cursor{at: now.Unix(), seqs: map[int64]int64{}}
	for id, l := range lanes {
		c.newest = max(c.newest, id)
		if now.Sub(l.recorded) < quietAfter {
			c.seqs[id] = l.seq
		}
	}
	return c.encode()
}

// Subscribe begins to listen after a cursor of Newest or of a Delivery, of this process or another on the same database. First come the events
// recorded since, then new ones as they are recorded. ErrCursorInvalid and ErrCursorOld say that it cannot go on from there. Close it.
func (f *Feed) Subscribe(ctx context.Context, cursor string) (*Subscription, error) {
	c, err := decodeCursor(cursor)
	if err != nil {
		return nil, err
	}
	since := time.Unix(c.at, 0)
	if f.cfg.Now().Sub(since) > f.cfg.MaxAge {
		return nil, ErrCursorOld
	}
	// A lane that is unlisted and was given up before the cursor was made had nothing more to say.
	now, err := f.cfg.Reader.Lanes(ctx, since.Add(-quietAfter))
	if err != nil {
		return nil, fmt.Errorf("eventlog: subscribe: %w", err)
	}
	s := &Subscription{feed: f, ready: make(chan struct{}, 1), lanes: map[int64]*laneAt{}}
	behind := int64(0)
	for _, l := range now {
		at := &laneAt{recorded: l.StartedAt}
		seq, listed := c.seqs[l.ID]
		switch {
		case listed:
			at.seq, at.recorded = seq, since
		case l.ID <= c.newest:
			if at.seq, err = f.cfg.Reader.LaneSeqAt(ctx, l.ID, since.Add(-quietAfter/2)); err != nil {
				return nil, fmt.Errorf("eventlog: subscribe: %w", err)
			}
			at.recorded = since.Add(-quietAfter)
		}
		if at.seq > l.Newest {
			return nil, fmt.Errorf("%w (it is of another database)", ErrCursorInvalid)
		}
		behind += l.Newest - at.seq
		s.lanes[l.ID] = at
	}
	for id := range c.seqs {
		if s.lanes[id] == nil {
			return nil, fmt.Errorf("%w (it is of another database)", ErrCursorInvalid)
		}
	}
	if behind > int64(f.cfg.Replay) {
		return nil, ErrCursorOld
	}
	s.until = s.join(now)
	for id, seq := range s.until {
		if s.lanes[id] == nil && id <= c.newest { // given up so long ago that nobody need read it
			s.lanes[id] = &laneAt{seq: seq}
		}
	}
	if err := s.whole(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// end ends all subscriptions, also those to come: nobody reads the log for them any more.
func (f *Feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for s := range f.subs {
		s.end(ErrFeedClosed)
		f.leave(s)
	}
}

// The ways in which a subscription ends. The cursor of its last delivery is good to go on from.
var (
	ErrFeedSlow   = errors.New("eventlog: too many events wait for this subscriber")
	ErrFeedClosed = errors.New("eventlog: the feed is closed")
)

// Delivery is what a subscriber is told at a time.
type Delivery struct {
	Events []access.Event // oldest first; shared with other subscribers: do not change them
	Cursor string         // to go on from after these
}

// Subscription is one subscriber. Next is for one goroutine.
type Subscription struct {
	feed  *Feed
	ready chan struct{}     // holds a token when there is something in queue, or it has ended
	lanes map[int64]*laneAt // how far the subscriber was told; Next's own
	until map[int64]int64   // how far to read before the queue, which begins there; nil once that is done

	mu     sync.Mutex
	queue  []portion
	queued int // events in it
	ended  error
}

// portion is a run of batches of one lane.
type portion struct {
	last   access.LaneBatch
	events []access.Event
}

// join makes s hear of what the feed reads from now on, and says where that begins.
func (s *Subscription) join(now []access.Lane) map[int64]int64 {
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lanes == nil {
		f.lanes = positions(now)
	}
	until := make(map[int64]int64, len(f.lanes))
	for id, l := range f.lanes {
		until[id] = l.seq
	}
	if f.ended {
		s.end(ErrFeedClosed)
		return until
	}
	f.subs[s] = struct{}{}
	f.idle.Store(false)
	return until
}

// whole sees whether all that came after the cursor is still there.
func (s *Subscription) whole(ctx context.Context) error {
	for id, at := range s.lanes {
		if at.seq >= s.until[id] {
			continue
		}
		batches, _, err := s.feed.cfg.Reader.LaneEvents(ctx, id, at.seq, 1, 1)
		if err != nil {
			return fmt.Errorf("eventlog: subscribe: %w", err)
		}
		if len(batches) == 0 || batches[0].Seq != at.seq+1 {
			return ErrCursorOld
		}
	}
	return nil
}

// take queues what was read. It reports false when too much waits: the subscriber is dropped. feed.mu is held.
func (s *Subscription) take(last access.LaneBatch, events []access.Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil && s.queued > 0 && s.queued+len(events) > s.feed.cfg.Buffer {
		s.ended = ErrFeedSlow
	}
	if s.ended == nil {
		s.queue = append(s.queue, portion{last, events})
		s.queued += len(events)
	}
	s.tell()
	return s.ended == nil
}

func (s *Subscription) end(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = cause
	}
	s.tell()
}

func (s *Subscription) tell() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// Next waits for events and returns them: at least one. The error is ctx's, or the database's (then try again), or ErrFeedSlow or
// ErrFeedClosed once everything that was queued before is delivered.
func (s *Subscription) Next(ctx context.Context) (Delivery, error) {
	if d, err := s.past(ctx); err != nil || len(d.Events) > 0 {
		return d, err
	}
	for {
		s.mu.Lock()
		queue, ended := s.queue, s.ended
		s.queue, s.queued = nil, 0
		s.mu.Unlock()
		var events []access.Event
		for _, p := range queue {
			events = append(events, s.unseen(p)...)
		}
		if len(events) > 0 {
			return s.delivery(events), nil
		}
		if ended != nil {
			return Delivery{}, ended
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		}
	}
}

// past reads what came between the cursor and the place where the queue begins, a portion at a time.
func (s *Subscription) past(ctx context.Context) (Delivery, error) {
	for _, id := range slices.Sorted(maps.Keys(s.until)) {
		for s.at(id).seq < s.until[id] {
			batches, events, err := s.feed.cfg.Reader.LaneEvents(ctx, id, s.at(id).seq, readBatches, readEvents)
			if err != nil {
				return Delivery{}, fmt.Errorf("eventlog: read the feed: %w", err)
			}
			if len(batches) == 0 {
				break // purged meanwhile
			}
			if events = s.unseen(portion{batches[len(batches)-1], events}); len(events) > 0 {
				return s.delivery(events), nil
			}
		}
		delete(s.until, id)
	}
	return Delivery{}, nil
}

func (s *Subscription) at(id int64) *laneAt {
	if s.lanes[id] == nil {
		s.lanes[id] = &laneAt{}
	}
	return s.lanes[id]
}

// unseen notes that s was told of p, and returns the part that is new to it: its cursor may have been ahead of the feed.
func (s *Subscription) unseen(p portion) []access.Event {
	at := s.at(p.last.WriterID)
	seen := at.seq
	if p.last.Seq <= seen {
		return nil
	}
	at.seq, at.recorded = p.last.Seq, p.last.RecordedAt
	i := 0
	for i < len(p.events) && p.events[i].Seq <= seen {
		i++
	}
	return p.events[i:]
}

// delivery puts the events of several lanes into the order in which they were recorded, as far as their clocks tell; those of one lane stay in theirs.
func (s *Subscription) delivery(events []access.Event) Delivery {
	latest := map[int64]time.Time{} // a clock may have been set back
	order := make([]time.Time, len(events))
	for i, e := range events {
		if e.RecordedAt.After(latest[e.WriterID]) {
			latest[e.WriterID] = e.RecordedAt
		}
		order[i] = latest[e.WriterID]
	}
	sort.Stable(byTime{events, order})
	return Delivery{Events: events, Cursor: cursorOf(s.feed.cfg.Now(), s.lanes)}
}

// byTime sorts events by the times that go with them.
type byTime struct {
	events []access.Event
	times  []time.Time
}

func (b byTime) Len() int           { return len(b.events) }
func (b byTime) Less(i, j int) bool { return b.times[i].Before(b.times[j]) }
func (b byTime) Swap(i, j int) {
	b.events[i], b.events[j] = b.events[j], b.events[i]
	b.times[i], b.times[j] = b.times[j], b.times[i]
}

// Close ends the subscription.
func (s *Subscription) Close() {
	f := s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leave(s)
	s.end(ErrFeedClosed)
}
