package store

import (
	"context"
	"slices"
	"sync"

	"github.com/openway-access/openway/internal/access"
)

// landed are the events that a lane of this process has appended and that are not counted yet: counting them (counts.go) need not read them. It is
// a help and no more: what it does not know is read.
type landed struct {
	mu     sync.Mutex
	after  int64 // it knows all the batches after this one of the lane
	events []landedEvent
	kinds  []outcome // what came of them
}

// landedEvent is what counting asks of an event. There is no pointer in it: many are kept, and the garbage collector would look through them.
type landedEvent struct {
	seq, id, at, until, gate, user, count int64
	kind                                  int32 // in landed.kinds
}

// outcome is what came of a decision.
type outcome struct {
	decision access.Outcome
	reason   access.Reason
}

// maxLanded bounds the memory of a lane, 5 MB: what is not counted by then is read after all.
const maxLanded = 1 << 16

// drop forgets the first n. Much more room than that is given up when nothing is left.
func (l *landed) drop(n int) {
	l.events = slices.Delete(l.events, 0, n)
	if len(l.events) == 0 && cap(l.events) > 4*n+1024 {
		l.events = nil
	}
}

// add takes a batch.
func (l *landed) add(seq int64, b *access.EventBatch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events)+len(b.Events) > maxLanded {
		l.after = seq - 1
		l.drop(len(l.events))
	}
	for _, e := range b.Events {
		kind := slices.Index(l.kinds, outcome{e.Decision, e.Reason})
		if kind < 0 {
			kind, l.kinds = len(l.kinds), append(l.kinds, outcome{e.Decision, e.Reason})
		}
		x := landedEvent{seq: seq, id: e.ID, at: micros(e.At), gate: e.GateID, user: e.UserID, count: countOf(e), kind: int32(kind)}
		if !e.Until.IsZero() {
			x.until = micros(e.Until)
		}
		if e.Kind != access.DecisionEvent {
			x.gate = -1
		}
		l.events = append(l.events, x)
	}
}

// remembered are the oldest batches that a lane has landed and that are not counted.
type remembered struct {
	groups      []eventGroup
	upto        int64 // the last of the batches; without any, the one up to which the database is to be read
	n           int   // how many events they have
	first, last int64 // ids of events
}

// take gives away the oldest batches, with about as many events as are wanted, when they are those that follow a batch of the lane.
func (l *landed) take(after int64, most int) remembered {
	if l == nil {
		return remembered{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.events) && l.events[n].seq <= after { // somebody else has counted it, perhaps before we were told that it landed
		n++
	}
	l.drop(n)
	l.after = max(l.after, after)
	if after < l.after || len(l.events) == 0 {
		return remembered{upto: l.after}
	}
	r := remembered{upto: after}
	for r.n < len(l.events) && (r.n < most || l.events[r.n].seq == r.upto) {
		r.upto = l.events[r.n].seq
		r.n++
	}
	r.groups, r.first, r.last = groupEvents(l.events[:r.n], l.kinds), l.events[0].id, l.events[r.n-1].id
	l.drop(r.n)
	l.after = r.upto
	return r
}

// forget gives up all that it knows, and says up to which batch the database is to be read.
func (l *landed) forget() (upto int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.events); n > 0 {
		l.after = l.events[n-1].seq
		l.drop(n)
	}
	return l.after
}

// allStand reports whether what is remembered of a lane, after a batch, stands now. A standby that takes over may have lost the last batches of
// that time, after which the lane may have gone on; an import wipes all events up to some, but not what names their batches.
func (s *Store) allStand(ctx context.Context, writer, after int64, r remembered) (all bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT COALESCE(SUM(count), 0) = $4 AND EXISTS (SELECT 1 FROM events WHERE id = $5 AND writer_id = $1)
		AND EXISTS (SELECT 1 FROM events WHERE id = $6 AND writer_id = $1 AND seq = $3) FROM event_batch WHERE writer_id = $1 AND seq > $2 AND seq <= $3`,
		writer, after, r.upto, r.n, r.first, r.last).Scan(&all)
	return all, s.kind.fault(err)
}

// standsAfter reports whether events of a lane stand now in the batches after one, up to another.
func (s *Store) standsAfter(ctx context.Context, writer, after, upto int64) (stands bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM event_batch WHERE writer_id = $1 AND seq > $2 AND seq <= $3 AND count > 0)`,
		writer, after, upto).Scan(&stands)
	return stands, s.kind.fault(err)
}

// groupEvents puts events together that are counted alike, as tallyQuery does.
func groupEvents(events []landedEvent, kinds []outcome) []eventGroup {
	type key struct {
		gate, quarter, folded int64
		kind                  int32
	}
	places := make(map[key]int)
	var groups []eventGroup
	for i := range events {
		e := &events[i]
		k := key{e.gate, e.at / quarterMicros, e.until, e.kind}
		at, ok := places[k]
		if !ok {
			at = len(groups)
			places[k] = at
			groups = append(groups, eventGroup{gate: k.gate, quarter: k.quarter, folded: k.folded, decision: string(kinds[k.kind].decision), reason: string(kinds[k.kind].reason)})
		}
		g := &groups[at]
		g.count += e.count
		g.latest = max(g.latest, (e.at-k.quarter*quarterMicros)<<32+e.id&(1<<32-1))
		g.lastID = max(g.lastID, e.id)
		if kinds[e.kind].decision == access.Allow && e.user != 0 {
			g.people = append(g.people, e.user)
		}
	}
	return groups
}

// landedOf is what a lane of this process remembers; nil for those of others.
func (s *Store) landedOf(writer int64) *landed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[writer]; l != nil {
		return &l.landed
	}
	return nil
}
