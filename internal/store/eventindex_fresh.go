package store

import (
	"cmp"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// freshEvents are events that this process appended lately, so that the index need not read them again. It is a help and no more: whether they
// are all that there are is seen when a segment is made of them.
type freshEvents struct {
	mu     sync.Mutex
	epoch  int64 // of the index; when it is begun anew, what is here may be of another database
	events []indexed
	slice  int           // events in a slice
	block  int           // and in a block; as many: there are no blocks
	wanted int           // after so many, wake
	since  int           // how many there are that nobody was woken for
	wait   time.Duration // how long a block of events is waited for, on a busy log
	came   int           // how many came since last
	last   time.Time     // when the last slice of events had come
	busy   time.Time     // until then slices are left alone: there will be a block
	wake   chan struct{} // holds a token when there may be something to index
}

// maxFresh bounds the memory, in slices: when the index does not keep up, the oldest are read from the database.
const maxFresh = 16

// blockPatience is how long a block is waited for after the last slice that came fast.
const blockPatience = 500 * time.Millisecond

// setIndexSizes is for a store with which nobody works yet. On PostgreSQL slices are larger, and there are no blocks.
func (s *Store) setIndexSizes(sizes indexSizes) {
	s.sizes = sizes
	f := &s.fresh
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slice, f.block, f.wanted = sizes.slice, sizes.slice, sizes.slice
	if s.write != nil {
		f.block *= sizes.fan
	}
}

// nudge wakes who indexes.
func (f *freshEvents) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// add takes a batch that was committed.
func (f *freshEvents) add(b *access.EventBatch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.events) > maxFresh*f.slice {
		f.events = f.events[:0]
	}
	for _, e := range b.Events {
		x := indexed{id: e.ID, at: micros(e.At), writer: e.WriterID, seq: e.Seq}
		x.count = len(indexKeys(x.keys[:0], e.GateID, e.UserID, e.DeviceID, e.Kind, e.Decision, e.Reason, e.RequestID))
		f.events = append(f.events, x)
	}
	if f.came += len(b.Events); f.came >= f.slice && f.block > f.slice {
		now := time.Now()
		if now.Sub(f.last) < f.wait*time.Duration(f.came)/time.Duration(f.block) { // at this pace the next block is worth waiting for
			if f.busy.IsZero() {
				f.nudge() // he sleeps without a clock
			}
			f.busy, f.wanted = now.Add(f.wait), f.block
		}
		f.last, f.came = now, 0
	}
	if f.since += len(b.Events); f.since >= f.wanted {
		f.since = 0
		f.nudge()
	}
}

// take appends those that follow an id, up to another: many of them if there are so many, else few at most. What is below is forgotten.
func (f *freshEvents) take(to []indexed, epoch, mark, upTo int64, few, many int) []indexed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch != epoch {
		f.epoch, f.events = epoch, f.events[:0]
	}
	byID := func(a, b indexed) int { return cmp.Compare(a.id, b.id) }
	if !slices.IsSortedFunc(f.events, byID) { // on PostgreSQL lanes draw their ids side by side
		slices.SortFunc(f.events, byID)
	}
	after := func(id int64) int {
		return sort.Search(len(f.events), func(i int) bool { return f.events[i].id > id })
	}
	f.events = slices.Delete(f.events, 0, after(mark))
	f.since = len(f.events) % f.wanted
	n := after(upTo)
	if n < many {
		n = min(n, few)
	}
	return append(to, f.events[:min(n, many)]...)
}

// patience is how long to wait for a block yet.
func (f *freshEvents) patience() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy.IsZero() {
		return 0
	}
	left := time.Until(f.busy)
	if left <= 0 {
		f.busy, f.wanted = time.Time{}, f.slice
		f.nudge() // what was left alone is looked at again, whoever has found that out
	}
	return max(left, 0)
}
