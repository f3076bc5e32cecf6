package eventlog

import (
	"context"
	"errors"
	"slices"

	"github.com/openway-access/openway/internal/access"
)

// A batch that the database refuses for what is in it would be refused for as long as that is in it. So such a batch is halved until the event
// at fault stands alone. Its request is answered unavailable then; one that nobody waits for is set aside as a suspect, out of
// everybody's way, and given up when it fails once more after the database has taken others.

// part is a share of a batch that waits in its lane's hands.
type part struct{ waiters, posted []*Entry }

// blames reports whether an error is about the batch and not about the database: of no kind that trying again would cure.
func blames(err error) bool {
	return !errors.Is(err, access.ErrUnavailable) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// patientFailures is how many failures in a row finding one event in the largest batch can take, and some. More of them are the database's fault after all.
const patientFailures = 20

// sift halves the batch at hand, or gives up the one event that is left of it. It reports whether there is something to try at once.
func (ln *lane) sift(cause error) (again bool) {
	l := ln.log
	if ln.sifted++; ln.sifted > patientFailures {
		l.pause(ln.sifted - patientFailures)
	}
	if n := len(ln.waiters) + len(ln.posted); n > 1 {
		ln.halve((n + 1) / 2)
		return true
	}
	waited := len(ln.waiters) == 1
	var e *Entry
	if waited {
		e = ln.waiters[0]
	} else {
		e = ln.posted[0]
	}
	if e.faults++; e.faults == 1 {
		if ln.sifted <= patientFailures { // perhaps the lane is at fault: its connection, or its numbering
			l.fences.add(fence{writer: ln.writer, settled: true})
			ln.writer = 0
		}
		return true
	}
	if waited || e.suspect {
		l.cfg.Logger.Error("eventlog: the database does not take an event, and it is given up", "writer", ln.writer, "waited_for", waited,
			"kind", e.Event.Kind, "reason", e.Event.Reason, "gate", e.Event.GateID, "request_id", e.Event.RequestID, "error", cause)
	}
	l.mu.Lock()
	ln.fly(nil) // before the waiters are cleared: the reaper may be looking at them
	clear(ln.waiters)
	clear(ln.posted)
	ln.waiters, ln.posted = ln.waiters[:0], ln.posted[:0]
	switch {
	case waited:
		l.refuse(&e.Event)
	case e.suspect:
		l.dropped.Add(1)
	default:
		e.suspect = true
		l.suspects = append(l.suspects, e)
	}
	l.mu.Unlock()
	if waited {
		e.settle(refused)
	}
	return false
}

// halve keeps the first n entries at hand and puts the others off.
func (ln *lane) halve(n int) {
	w := min(n, len(ln.waiters))
	p := n - w
	ln.later = append(ln.later, part{ln.waiters[w:], ln.posted[p:]})
	ln.waiters, ln.posted = ln.waiters[:w:w], ln.posted[:p:p]
}

// next takes up what was put off last. It reports false when there is nothing.
func (ln *lane) next() bool {
	last := len(ln.later) - 1
	if last < 0 {
		return false
	}
	ln.waiters, ln.posted = ln.later[last].waiters, ln.later[last].posted
	ln.later[last] = part{}
	ln.later = ln.later[:last]
	return true
}

// fly tells the reaper who waits for what the lane has in hand; nil: nothing is left of the batch at hand. l.mu is held.
func (ln *lane) fly(waiters []*Entry) {
	if len(ln.later) > 0 {
		waiters = slices.Clone(waiters)
		for _, p := range ln.later {
			waiters = append(waiters, p.waiters...)
		}
	} else if waiters == nil {
		ln.log.aloft -= ln.taken
		ln.taken = 0
	}
	ln.log.flying[ln.index] = waiters
}

// trial reports whether a suspect is to have its second chance: others were written since the last one had. l.mu is held.
func (l *Log) trial() bool { return l.proven && len(l.suspects) > 0 }
