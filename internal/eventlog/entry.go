package eventlog

import (
	"context"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
)

// Entry is one event on its way into the log. After Append has returned nil it belongs to the caller again, who may use it for another
// event; after an error it belongs to the log for good, and so does an entry given to Post.
type Entry struct {
	Event access.Event
	Mark  access.PolicyMark // the policy that decided; not looked at when Redecide is nil

	// Redecide decides again: it sets Mark and the fields of Event that a decision sets, from the current policy. It must not block, and
	// is called by another goroutine than the caller of Append, which waits meanwhile (or has given up). False: nobody can decide it by that policy, and
	// Append fails. Nil: the event holds under any policy.
	Redecide func(*Entry) bool
	Waited   time.Duration // what Config.MaxWait has been used up of before Append

	done  chan struct{} // holds one token when the entry is settled; nil for posted entries
	state atomic.Int32
	due   int64 // when the time is up, nanoseconds of Log.clock
	note  bool  // a NoteUnavailable that goes back into the count if it is not written

	faults  int  // how often it was refused alone, for what is in it
	suspect bool // set aside for that
}

// The states of an entry that someone waits for. From waiting it moves once.
const (
	waiting int32 = iota
	recorded
	refused
)

// settle ends the wait with the given state. It reports false if the wait had ended before.
func (e *Entry) settle(state int32) bool {
	if !e.state.CompareAndSwap(waiting, state) {
		return false
	}
	e.done <- struct{}{}
	return true
}

// clean makes sure that no text can keep the batch from being written: one bad byte must not cost others their answers.
func clean(ev *access.Event) {
	ev.PresentedGate = cleanText(ev.PresentedGate, 64)
	ev.RequestID = cleanText(ev.RequestID, 128)
	ev.Address = cleanText(ev.Address, 64)
	ev.Fingerprint = cleanText(ev.Fingerprint, 12)
	if ev.Count == 0 {
		ev.Count = 1
	}
	if ev.Kind == "" {
		ev.Kind = access.DecisionEvent
	}
}

// cleanText returns s as valid UTF-8 without NUL, cut to at most longest characters.
func cleanText(s string, longest int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	if len(s) <= longest {
		return s
	}
	n := 0
	for i := range s {
		if n == longest {
			return s[:i]
		}
		n++
	}
	return s
}

// Appender writes batches of events. store.Store is one.
type Appender interface {
	// ClaimWriter makes a new lane. Its batches are numbered from 1.
	ClaimWriter(ctx context.Context) (id int64, err error)
	// RetireWriter gives a lane up.
	RetireWriter(ctx context.Context, id int64) error
	// AppendBatch writes the batch only while b.Policy is the newest policy, else landed is false. An error that is not
	// access.ErrOutcomeUnknown says that nothing was written, now or later.
	AppendBatch(ctx context.Context, writer, seq int64, b *access.EventBatch) (landed bool, err error)
	// AppendBatchHeld keeps the policy from moving, asks decide for the batch under it, and writes it.
	AppendBatchHeld(ctx context.Context, writer, seq int64, decide func(ctx context.Context, now access.PolicyMark) (*access.EventBatch, error)) error
	// FenceBatch settles a batch whose outcome is unknown: either it landed, with count events, or from now on it cannot.
	FenceBatch(ctx context.Context, writer, seq int64) (landed bool, count int, err error)
}

// Policies is the policy that decides now.
type Policies interface {
	// Mark is the policy under which Entry.Redecide decides now.
	Mark() access.PolicyMark
	// CatchUp moves to the newest committed policy as of the call.
	CatchUp(ctx context.Context) error
}

// Stats counts what a log did since it began.
type Stats struct {
	Queued     int    // entries that wait to be taken into a batch, now
	Batches    uint64 // commits that landed
	Recorded   uint64 // events in them, of whatever kind
	Refused    uint64 // calls of Append that ended with access.ErrUnavailable
	Unanswered uint64 // decisions that landed although they were answered unavailable
	Redecided  uint64 // batches that the database refused because the policy had moved
	Fences     int    // batches whose fate is not settled yet, now
	Dropped    uint64 // posted events lost because too many waited
}

// DefaultMaxWait is how long a decision may wait to be recorded (API v1).
const DefaultMaxWait = 3 * time.Second
