package eventlog

import (
	"time"

	"github.com/openway-access/openway/internal/access"
)

// maxNotes bounds how many gates have their refusals counted apart; those of further gates count together, under no gate.
const maxNotes = 4096

// notes counts the refusals, by gate, until the log can say so.
type notes struct {
	byGate map[int64]span
	last   int64 // when the last refusal was, by Log.clock
}

// span is some refusals at one gate: how many, and when the first and the last of them were accepted.
type span struct {
	count       int
	first, last time.Time
}

// refusal is one decision that was answered unavailable.
type refusal struct {
	gate int64
	at   time.Time
}

func (n *notes) add(gate int64, count int, first, last time.Time) {
	if n.byGate == nil {
		n.byGate = make(map[int64]span)
	}
	s, known := n.byGate[gate]
	if !known && len(n.byGate) >= maxNotes {
		gate = 0
		s, known = n.byGate[0]
	}
	if !known {
		n.byGate[gate] = span{count, first, last}
		return
	}
	s.count += count
	if first.Before(s.first) {
		s.first = first
	}
	if last.After(s.last) {
		s.last = last
	}
	n.byGate[gate] = s
}

// take turns at most limit of the counts into entries to be written.
func (n *notes) take(to []*Entry, limit int) []*Entry {
	for gate, s := range n.byGate {
		if limit--; limit < 0 {
			break
		}
		delete(n.byGate, gate)
		to = append(to, &Entry{note: true, Event: access.Event{
			Kind: access.SystemEvent, Reason: access.NoteUnavailable, GateID: gate, At: s.first, Until: s.last, Count: s.count,
		}})
	}
	return to
}

// notesDue reports whether refusals are to be written: they have ceased, or the log is closing. l.mu is held.
func (l *Log) notesDue() bool {
	return len(l.notes.byGate) > 0 && (l.closed || l.clock()-l.notes.last >= int64(l.cfg.Quiet))
}

// reap answers those whose time is up, wherever their entries are, and wakes a lane when refusals are to be written. It sleeps while there
// is nothing to look after.
func (l *Log) reap() {
	for {
		select {
		case <-l.watch:
		case <-l.leave:
			return
		}
		tick := time.NewTicker(l.reapEvery())
		for busy := true; busy; {
			select {
			case <-tick.C:
				busy = l.expire()
			case <-l.leave:
				busy = false
			}
		}
		tick.Stop()
	}
}

// reapEvery is how often the reaper looks.
func (l *Log) reapEvery() time.Duration { return max(l.cfg.MaxWait/32, time.Millisecond) }

// lookAfter makes sure that the reaper is awake. l.mu is held.
func (l *Log) lookAfter() {
	if !l.watched {
		l.watched = true
		l.watch <- struct{}{} // has room: the reaper took the last one before it cleared watched
	}
}

// expire reports whether there is something left to look after.
func (l *Log) expire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	// Those in flight cannot be taken out: their lane finds them refused, and says what became of them.
	for _, batch := range l.flying {
		for _, e := range batch {
			if e.due <= now {
				e.settle(refused)
			}
		}
	}
	if len(l.queue) > 0 {
		keep := l.queue[:0]
		for _, e := range l.queue {
			if e.due <= now && e.settle(refused) {
				l.refuse(&e.Event)
				continue
			}
			keep = append(keep, e)
		}
		clear(l.queue[len(keep):])
		l.queue = keep
	}
	if len(l.queue) > 0 && l.queue[0].due-now <= int64(l.cfg.MaxWait-l.reapEvery()) {
		l.aged = true
	}
	if l.notesDue() || l.enough() {
		l.work.Signal()
	}
	l.watched = len(l.queue) > 0 || len(l.notes.byGate) > 0 || l.inFlight()
	return l.watched
}
