package eventlog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// A lane writes one batch after another. Its fields belong to its own goroutine; what others look at is in Log, under Log.mu.
type lane struct {
	log      *Log
	index    int
	writer   int64 // 0 = to be claimed
	seq      int64 // of the next batch
	failures int   // in a row

	taken   int      // how many of Log.aloft are its own
	waiters []*Entry // of the batch at hand
	posted  []*Entry // of the batch at hand, notes included
	later   []part   // of a batch that was halved: to be tried when the part at hand has come to its end
	sifted  int      // failures that were blamed on batches, in a row
	batch   access.EventBatch
}

func (ln *lane) loop() {
	for ln.take() {
		ln.record()
		for ln.next() {
			ln.record()
		}
	}
	if ln.writer != 0 && ln.log.run.Err() == nil {
		ctx, cancel := context.WithTimeout(ln.log.run, ln.log.cfg.CommitTimeout)
		defer cancel()
		if err := ln.log.cfg.Appender.RetireWriter(ctx, ln.writer); err != nil {
			ln.log.cfg.Logger.Warn("eventlog: a lane could not be marked as given up", "writer", ln.writer, "error", err)
		}
	}
}

// take waits for something to write and takes at most MaxBatch of it. It reports false when nothing more will come.
func (ln *lane) take() bool {
	l := ln.log
	// Requests that are at hand on this processor join the batch rather than wait for the next. Where there are none this is nothing.
	runtime.Gosched()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.run.Err() != nil {
			return false
		}
		if l.trial() {
			ln.waiters, ln.posted = ln.waiters[:0], append(ln.posted[:0], l.suspects[0])
			l.suspects, l.proven = drop(l.suspects, 1), false
			return true
		}
		if l.notesDue() || l.enough() {
			break
		}
		if l.closed && l.fences.len() == 0 && !l.inFlight() {
			l.work.Broadcast() // the other lanes may go as well
			return false
		}
		l.work.Wait()
	}
	// What nobody waits for gets a quarter of the room, or what the others leave.
	limit := l.cfg.MaxBatch
	if l.notesDue() {
		ln.posted = l.notes.take(ln.posted[:0], max(1, limit/8))
	} else {
		ln.posted = ln.posted[:0]
	}
	room := limit - len(ln.posted) - min(len(l.pending), max(1, limit/8))
	n := min(len(l.queue), max(1, room))
	ln.waiters = append(ln.waiters[:0], l.queue[:n]...)
	l.queue, l.aged = drop(l.queue, n), false
	l.flying[ln.index] = ln.waiters

	n = min(len(l.pending), max(0, limit-len(ln.posted)-len(ln.waiters)))
	ln.posted = append(ln.posted, l.pending[:n]...)
	l.pending = drop(l.pending, n)
	ln.taken = len(ln.waiters) + len(ln.posted)
	l.aloft += ln.taken
	if l.enough() {
		l.work.Signal() // for the next lane
	}
	return true
}

// enough reports whether so many wait that a batch is worth its commit: any number while few are in flight, and else half as many again as are in
// flight. So an idle server commits at once, and a busy one has one batch on its way to the disk while the next, of about that size, is written:
// with less, batches become many and small, and a commit costs as much as a score of events. When what is in flight hangs, nobody waits
// for it: see expire. l.mu is held.
func (l *Log) enough() bool {
	n := len(l.queue) + len(l.pending)
	return n > 0 && (l.aloft <= few || 2*n >= 3*l.aloft || n >= l.cfg.MaxBatch || l.aged)
}

// few are so few that whoever comes next does better with a commit of his own than waiting for theirs: the server is not busy.
const few = 4

// inFlight reports whether a lane has waiters in hand, who may come back to the queue. l.mu is held.
func (l *Log) inFlight() bool {
	for _, f := range l.flying {
		if f != nil {
			return true
		}
	}
	return false
}

// drop removes the first n, keeping the room.
func drop(s []*Entry, n int) []*Entry {
	m := copy(s, s[n:])
	clear(s[m:])
	return s[:m]
}

// record brings the batch at hand to its end: written, given back to the queue, or left to be settled aside.
func (ln *lane) record() {
	l := ln.log
	for refusals := 0; ; refusals++ {
		if !ln.thin() {
			return
		}
		if ln.writer == 0 {
			if err := ln.claim(); err != nil {
				ln.giveBack(err)
				return
			}
			if !ln.thin() { // that may have taken long
				return
			}
		}
		ctx, cancel := context.WithTimeout(l.run, l.cfg.CommitTimeout)
		began := l.clock()
		landed, err := ln.attempt(ctx, refusals >= 2)
		refused := err != nil && blames(err)
		if err == nil && !landed {
			l.redecided.Add(1)
			err = l.cfg.Policies.CatchUp(ctx)
		}
		cancel()
		switch {
		case errors.Is(err, access.ErrOutcomeUnknown):
			ln.abandon(err)
			return
		case refused:
			if !ln.sift(err) {
				return
			}
			refusals = -1
		case err != nil:
			ln.giveBack(err)
			return
		case landed:
			if l.cfg.Committed != nil {
				l.cfg.Committed(len(ln.batch.Events), time.Duration(l.clock()-began))
			}
			ln.finish()
			return
		}
	}
}

// attempt tries to write the batch once: only while the policy stands, or (held) keeping it from moving.
func (ln *lane) attempt(ctx context.Context, held bool) (landed bool, err error) {
	a, p := ln.log.cfg.Appender, ln.log.cfg.Policies
	if !held {
		if !ln.prepare(p.Mark()) {
			return false, nil // the policy moves faster than we decide
		}
		return a.AppendBatch(ctx, ln.writer, ln.seq, &ln.batch)
	}
	err = a.AppendBatchHeld(ctx, ln.writer, ln.seq, func(ctx context.Context, now access.PolicyMark) (*access.EventBatch, error) {
		if p.Mark() != now {
			if err := p.CatchUp(ctx); err != nil {
				return nil, fmt.Errorf("catch up with the held policy: %w: %w", access.ErrUnavailable, err)
			}
		}
		if !ln.prepare(now) {
			return nil, fmt.Errorf("caught up with policy %v, but the policy held is %v: %w", p.Mark(), now, access.ErrUnavailable)
		}
		return &ln.batch, nil
	})
	return err == nil, err
}

// prepare fills the batch with events that were all decided under the given policy. It reports false when the policy moved meanwhile, or when some could
// not be decided, who are told so.
func (ln *lane) prepare(mark access.PolicyMark) bool {
	ln.batch.Policy = mark
	events, undecided := ln.batch.Events[:0], false
	for _, part := range [2][]*Entry{ln.waiters, ln.posted} {
		for _, e := range part {
			if e.Redecide != nil {
				if e.Mark != mark {
					if !e.Redecide(e) {
						undecided = true
						e.settle(refused)
						continue
					}
					clean(&e.Event)
					if e.Mark != mark {
						return false
					}
				}
				e.Event.PolicyVersion = mark.Version
			} else if e.Event.PolicyVersion == 0 {
				e.Event.PolicyVersion = mark.Version
			}
			events = append(events, &e.Event)
		}
	}
	ln.batch.Events = events
	return !undecided
}

// thin drops the waiters whose time is up from the batch. It reports false when nothing is left.
func (ln *lane) thin() bool {
	l := ln.log
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := ln.waiters[:0]
	for _, e := range ln.waiters {
		if e.state.Load() == refused {
			l.refuse(&e.Event)
			continue
		}
		keep = append(keep, e)
	}
	clear(ln.waiters[len(keep):])
	ln.waiters = keep
	if len(keep)+len(ln.posted) == 0 {
		ln.fly(nil)
		return false
	}
	ln.fly(keep)
	return true
}

// finish wakes those whose events are durable, and notes those that were told otherwise when their time was up.
func (ln *lane) finish() {
	l := ln.log
	seq, writer := ln.seq, ln.writer
	ln.seq++
	l.batches.Add(1)
	l.events.Add(uint64(len(ln.batch.Events)))

	// An entry that is woken belongs to its caller: nobody else may look at it any more.
	l.mu.Lock()
	ln.fly(nil)
	if len(l.suspects) > 0 {
		l.proven = true
		l.work.Signal()
	}
	l.mu.Unlock()
	late := 0
	for i, e := range ln.waiters {
		if !e.settle(recorded) {
			late++
		}
		ln.waiters[i] = nil
	}
	clear(ln.posted)
	clear(ln.batch.Events)
	l.cfg.Landed()
	if ln.failures > 1 {
		l.cfg.Logger.Info("eventlog: events are written again", "lane", ln.index, "writer", writer)
	}
	ln.failures, ln.sifted = 0, 0
	if late > 0 {
		l.noteUnanswered(writer, seq, late)
	}
}

// noteUnanswered leaves word that decisions stand in the log whose gates were told UNAVAILABLE.
func (l *Log) noteUnanswered(writer, seq int64, count int) {
	l.unanswered.Add(uint64(count))
	l.Post(&Entry{Event: access.Event{
		Kind: access.SystemEvent, Reason: access.NoteUnanswered, At: l.now(), Count: count,
		RequestID: fmt.Sprintf("lane-%d-seq-%d", writer, seq),
	}})
}

// giveBack puts a batch that was surely not written back to the head of the queue, and pauses before the lane takes it up again.
func (ln *lane) giveBack(cause error) {
	l := ln.log
	ln.failures++
	l.mu.Lock()
	back := make([]*Entry, 0, len(ln.waiters)+len(l.queue))
	for _, e := range ln.waiters {
		if e.state.Load() == refused {
			l.refuse(&e.Event)
			continue
		}
		back = append(back, e)
	}
	l.queue = append(back, l.queue...)
	l.pendAgain(ln.posted)
	ln.fly(nil)
	l.work.Signal()
	l.mu.Unlock()
	clear(ln.waiters)
	clear(ln.posted)
	if ln.failures == 2 && l.run.Err() == nil { // the first failure is tried again at once
		l.cfg.Logger.Error("eventlog: events cannot be written; gates are told UNAVAILABLE until they can", "lane", ln.index, "writer", ln.writer, "error", cause)
	}
	// A connection may be broken in a way that only a new one cures; trying a new lane ever more seldom keeps their number small.
	if ln.writer != 0 && ln.failures >= 2 && ln.failures&(ln.failures-1) == 0 {
		l.fences.add(fence{writer: ln.writer, settled: true})
		ln.writer = 0
	}
	if ln.failures >= 2 {
		l.pause(ln.failures - 2)
	}
}

// pendAgain puts posted entries that were surely not written back to where they came from. l.mu is held.
func (l *Log) pendAgain(posted []*Entry) {
	back := make([]*Entry, 0, len(posted)+len(l.pending))
	for _, e := range posted {
		if e.note {
			l.notes.add(e.Event.GateID, e.Event.Count, e.Event.At, e.Event.Until)
			l.lookAfter()
			continue
		}
		if e.suspect {
			l.suspects = append(l.suspects, e)
			continue
		}
		back = append(back, e)
	}
	l.pending = append(back, l.pending...)
}

// abandon gives the lane up, with a batch of which nobody knows whether it was written.
func (ln *lane) abandon(cause error) {
	l := ln.log
	f := fence{writer: ln.writer, seq: ln.seq, events: len(ln.waiters) + len(ln.posted)}
	l.mu.Lock()
	ln.fly(nil)
	l.work.Signal() // this lane may rest now
	l.mu.Unlock()
	for _, e := range ln.waiters {
		f.waiters = append(f.waiters, refusal{gate: e.Event.GateID, at: e.Event.At})
		e.settle(refused)
	}
	f.posted = append(f.posted, ln.posted...)
	l.fences.add(f)
	clear(ln.waiters)
	clear(ln.posted)
	ln.writer = 0
	ln.failures++
	l.cfg.Logger.Error("eventlog: nobody knows whether a batch was written; its gates are told UNAVAILABLE", "writer", f.writer, "seq", f.seq, "events", f.events, "error", cause)
	if ln.failures >= 2 {
		l.pause(ln.failures - 2)
	}
}

// claim makes the lane anew.
func (ln *lane) claim() error {
	ctx, cancel := context.WithTimeout(ln.log.run, ln.log.cfg.CommitTimeout)
	defer cancel()
	id, err := ln.log.cfg.Appender.ClaimWriter(ctx)
	if err != nil {
		return fmt.Errorf("claim a lane: %w", err)
	}
	ln.writer, ln.seq = id, 1
	return nil
}

// pause waits, longer the more often it was called before (n), at most 32 times Config.Pause.
func (l *Log) pause(n int) {
	t := time.NewTimer(l.cfg.Pause << min(n, 5))
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.run.Done():
	}
}
