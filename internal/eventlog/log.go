package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Config says what a Log works with. Zero values of numbers and times stand for the defaults.
type Config struct {
	Appender Appender
	Policies Policies
	Lanes    int // batches in flight, 1..8, default 1. With two one is written while the other waits for the disk

	QueueLength   int           // calls of Append that may wait to be taken into a batch; more are refused at once. Default 4096: a tenth of a second of a busy server
	MaxBatch      int           // events in one commit. Default 512
	MaxPosted     int           // posted events kept while the database is away. Default 16384
	MaxWait       time.Duration // how long Append may take. Default 3 s
	CommitTimeout time.Duration // after which a commit is given up as lost. Default 10 s
	Pause         time.Duration // after a second failure; doubles up to 32 times that. Default 20 ms
	Quiet         time.Duration // how long after the last refusal the refusals are noted in the log. Default 1 s

	// Committed is told of each batch that landed, for metrics; nil = nobody. It must be quick.
	Committed func(events int, took time.Duration)

	Now    func() time.Time // for the instants that stand in system events; nil = time.Now
	Logger *slog.Logger     // nil = discarded
	Landed func()           // told after each commit that landed, by the lane: it must not wait. nil = nobody
}

// Log is a durable event log that many goroutines append to at once.
type Log struct {
	cfg    Config
	begun  time.Time // of the monotonic clock by which waits are measured
	run    context.Context
	cut    context.CancelFunc // ends everything that still touches the database
	lanes  sync.WaitGroup
	aside  sync.WaitGroup // the reaper and the fencer
	leave  chan struct{}  // closed when the reaper may go
	watch  chan struct{}  // wakes the reaper
	fences fences

	mu       sync.Mutex
	work     sync.Cond // there is something to take, or nothing more will come
	queue    []*Entry  // entries that are waited for, oldest first
	pending  []*Entry  // posted entries, oldest first
	suspects []*Entry  // posted entries that the database did not take alone
	proven   bool      // it has taken others since
	notes    notes
	aloft    int        // entries that lanes have in hand
	aged     bool       // the oldest in the queue has waited longer than a commit should take
	flying   [][]*Entry // by lane: the entries of the batch in flight that are waited for
	started  bool
	closed   bool // nothing more is accepted by Append
	gone     bool // nothing more is accepted by Post
	dropWarn bool
	watched  bool // the reaper is awake

	batches, events, refusals, unanswered, redecided, dropped atomic.Uint64
}

// New makes a log that does nothing until Start.
func New(cfg Config) *Log {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	wait := func(v *time.Duration, def time.Duration) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&cfg.Lanes, 1)
	cfg.Lanes = min(cfg.Lanes, 8)
	set(&cfg.QueueLength, 4096)
	set(&cfg.MaxBatch, 512)
	set(&cfg.MaxPosted, 16384)
	wait(&cfg.MaxWait, DefaultMaxWait)
	wait(&cfg.CommitTimeout, 10*time.Second)
	wait(&cfg.Pause, 20*time.Millisecond)
	wait(&cfg.Quiet, time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Landed == nil {
		cfg.Landed = func() {}
	}
	l := &Log{cfg: cfg, begun: time.Now(), leave: make(chan struct{}), watch: make(chan struct{}, 1), flying: make([][]*Entry, cfg.Lanes)}
	l.work.L = &l.mu
	l.run, l.cut = context.WithCancel(context.Background())
	l.fences.wake = make(chan struct{}, 1)
	return l
}

// clock is the time since the log was made, nanoseconds. It does not follow the wall clock's steps.
func (l *Log) clock() int64 { return int64(time.Since(l.begun)) }

func (l *Log) now() time.Time { return l.cfg.Now().UTC().Truncate(time.Microsecond) }

// Start claims the lanes and begins to write. It fails when the database cannot be reached.
func (l *Log) Start(ctx context.Context) error {
	ids := make([]int64, 0, l.cfg.Lanes)
	for range l.cfg.Lanes {
		id, err := l.cfg.Appender.ClaimWriter(ctx)
		if err != nil {
			for _, id := range ids {
				err = errors.Join(err, l.cfg.Appender.RetireWriter(ctx, id))
			}
			return fmt.Errorf("eventlog: claim a lane: %w", err)
		}
		ids = append(ids, id)
	}
	l.mu.Lock()
	l.started = true
	l.mu.Unlock()
	for i, id := range ids {
		ln := &lane{log: l, index: i, writer: id, seq: 1}
		l.lanes.Go(ln.loop)
	}
	l.aside.Go(l.reap)
	l.aside.Go(l.settleFences)
	return nil
}

// Append records the entry and returns when it is durable. It returns access.ErrUnavailable, wrapped, when the entry was not recorded
// in time, when too many wait already, when nobody knows whether it was written, or when the log is closed.
//
// ctx is looked at once, before the entry is accepted: an accepted decision is recorded whether its client still listens or not, and
// the wait is short anyway.
func (l *Log) Append(ctx context.Context, e *Entry) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("eventlog: append: %w: %w", access.ErrUnavailable, err)
	}
	clean(&e.Event)
	e.Event.PolicyVersion = e.Mark.Version
	if e.done == nil {
		e.done = make(chan struct{}, 1)
	}
	e.faults = 0
	e.state.Store(waiting)
	e.due = l.clock() + int64(l.cfg.MaxWait-e.Waited)

	l.mu.Lock()
	if !l.started || l.closed {
		l.mu.Unlock()
		l.refusals.Add(1)
		return errClosed
	}
	if len(l.queue) >= l.cfg.QueueLength {
		l.refuse(&e.Event)
		l.mu.Unlock()
		l.refusals.Add(1)
		return errFull
	}
	l.queue = append(l.queue, e)
	l.lookAfter()
	if l.enough() {
		l.work.Signal()
	}
	l.mu.Unlock()

	<-e.done
	if e.state.Load() != recorded {
		l.refusals.Add(1)
		return errLate
	}
	return nil
}

// The ways in which Append fails.
var (
	errClosed = fmt.Errorf("eventlog: closed: %w", access.ErrUnavailable)
	errFull   = fmt.Errorf("eventlog: the queue is full: %w", access.ErrUnavailable)
	errLate   = fmt.Errorf("eventlog: not recorded in time: %w", access.ErrUnavailable)
)

// Post hands over an event that nobody waits for (folded denials, what the system has to say). It is kept until it is recorded; only
// when MaxPosted of them wait are further ones dropped, and counted.
func (l *Log) Post(e *Entry) {
	clean(&e.Event)
	if e.Event.PolicyVersion == 0 {
		e.Event.PolicyVersion = e.Mark.Version
	}
	e.done, e.faults, e.suspect = nil, 0, false
	l.mu.Lock()
	defer l.mu.Unlock()
	l.post(e)
}

// post does it with l.mu held.
func (l *Log) post(e *Entry) {
	if l.gone || len(l.pending)+len(l.suspects) >= l.cfg.MaxPosted {
		l.dropped.Add(1)
		if !l.dropWarn {
			l.dropWarn = true
			l.cfg.Logger.Error("eventlog: events that nobody waits for are lost: too many wait to be recorded, or the log is closed", "waiting", len(l.pending), "closed", l.gone)
		}
		return
	}
	l.pending = append(l.pending, e)
	if l.enough() {
		l.work.Signal()
	}
}

// Refuse counts a decision that was answered unavailable for another reason than Append's error, so that the log will say so as well.
func (l *Log) Refuse(ev *access.Event) {
	l.refusals.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse(ev)
}

// refuse counts a decision that was answered unavailable and is not in the log. l.mu is held.
func (l *Log) refuse(ev *access.Event) {
	l.notes.add(ev.GateID, 1, ev.At, ev.At)
	l.notes.last = l.clock()
	l.lookAfter()
}

// Stats reads the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	queued := len(l.queue)
	l.mu.Unlock()
	return Stats{
		Queued: queued, Batches: l.batches.Load(), Recorded: l.events.Load(), Refused: l.refusals.Load(),
		Unanswered: l.unanswered.Load(), Redecided: l.redecided.Load(), Fences: l.fences.len(), Dropped: l.dropped.Load(),
	}
}

// closeGrace is how long Close waits, once its context has ended, for calls of the database to notice.
const closeGrace = time.Second

// Close refuses new entries, records those that were accepted, and returns when all are recorded or answered and the lanes are given up. When ctx
// ends first, what still waits is answered unavailable, and the error says what could not be written.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	if l.closed || !l.started {
		l.closed = true
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.work.Broadcast()
	l.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.lanes.Wait()
		close(l.leave)
		l.aside.Wait()
	}()
	stuck := false
	select {
	case <-ended:
	case <-ctx.Done():
		l.cut()
		l.mu.Lock()
		l.work.Broadcast()
		l.mu.Unlock()
		grace := time.NewTimer(closeGrace)
		defer grace.Stop()
		select {
		case <-ended:
		case <-grace.C:
			stuck = true // a disk that hangs cannot be interrupted
		}
	}
	l.cut()

	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	for _, batch := range append(l.flying, l.queue) {
		for _, e := range batch {
			e.settle(refused)
		}
	}
	lost, unsettled := len(l.pending)+len(l.suspects)+len(l.notes.byGate), l.fences.len()
	l.queue, l.pending, l.suspects = nil, nil, nil
	if lost+unsettled > 0 || stuck {
		return fmt.Errorf("eventlog: close: %d events without a waiter and the fate of %d batches could not be written (database stuck: %t): %w", lost, unsettled, stuck, access.ErrUnavailable)
	}
	return nil
}
