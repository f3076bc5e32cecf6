package access

import (
	"strings"
	"time"
)

// PolicyMark names one state of the policy. Two marks are the same policy only if both numbers agree: the stamp is drawn
// at random with each change, so that a restored or failed-over database cannot pass off an old version number as the same policy.
type PolicyMark struct {
	Version int64
	Stamp   int64
}

// EventKind tells decisions from what the service itself has to say.
type EventKind string

// The kinds of event.
const (
	DecisionEvent EventKind = "decision"
	SystemEvent   EventKind = "system" // Reason says what: see the Note constants
)

// What a system event can say, in its Reason.
const (
	// NoteUnavailable: decisions at this gate could not be recorded between At and Until; Count of them were answered 503.
	NoteUnavailable Reason = "SERVICE_UNAVAILABLE"
	// NoteUnanswered: a batch whose commit had an unknown outcome is in the log although its requests were answered 503;
	// Count of them, in batch (Lane, Seq) named in RequestID as "lane-N-seq-M".
	NoteUnanswered Reason = "RECORDED_NOT_ANSWERED"
)

// Event is the durable record of one decision (not of a passage: nobody knows whether the door was then used), or of several equal
// denials folded into one. It holds ids, never names, and never what was presented, but for an unknown gate's code.
type Event struct {
	ID            int64
	Kind          EventKind
	At            time.Time // when the request was accepted
	RecordedAt    time.Time // when its batch was written
	WriterID      int64     // the lane that wrote it
	Seq           int64     // the batch's number in that lane
	GateID        int64     // 0 = unknown gate
	PresentedGate string    // only when the gate is unknown: at most 64 characters of what was presented
	UserID        int64
	CredentialID  int64
	DeviceID      int64
	PermissionID  int64 // the permission that granted an ALLOW
	ControllerID  int64 // reserved for controllers with an identity
	PolicyVersion int64 // the policy that decided
	Decision      Outcome
	Reason        Reason
	Count         int       // how many equal denials stand folded here; 1 = just this one
	Until         time.Time // zero unless folded: when the last of them came
	Address       string    // the client's, without port
	RequestID     string
	Fingerprint   string // 12 hex of an HMAC of the presented token, to tell "the same unknown token again"; "" = none presented
}

// EventFilter selects events; zero fields do not matter. It pages by id, newest first: give the last id seen as Before.
type EventFilter struct {
	Before    int64 // only ids below this one
	GateID    int64
	UserID    int64
	GroupID   int64 // users who are members now
	DeviceID  int64
	Kind      EventKind
	Decision  Outcome
	Reason    Reason
	From      time.Time
	To        time.Time // half-open
	RequestID string
	Limit     int // 1..1000; 0 = 50
}

// EventBatch is what one commit of a lane writes.
type EventBatch struct {
	Policy PolicyMark // the batch lands only while this is the newest policy
	Events []*Event
}

// Lane is a writer of events as those see it who read the log in the order of its commits.
type Lane struct {
	ID         int64
	Newest     int64     // the seq of its newest batch; 0 = none yet
	RecordedAt time.Time // of its newest batch; zero = none yet
	StartedAt  time.Time
}

// LaneBatch is one commit of a lane, without its events.
type LaneBatch struct {
	WriterID   int64
	Seq        int64
	Count      int   // of events; 0 fences a commit whose outcome was unknown
	FirstID    int64 // no event of it has a lower id, and mostly they begin near it; 0 = not known. A hint: after a failover ids are given again
	OldestAt   time.Time
	RecordedAt time.Time
}

// maxPresentedGate is how many characters of an unknown gate's code are kept.
const maxPresentedGate = 64

// shortestRun is how many hex digits in a row look like a token.
const shortestRun = 32

// ShownGate is a gate's code as a client presented it, fit for logs and events: of a bounded length, and covered where something in it
// looks like a token (32 and more hex digits), because a client that swaps or joins the two fields must not have its token written down.
func ShownGate(code string) string {
	code = coverTokens(code)
	n := 0
	for i := range code {
		if n == maxPresentedGate {
			return code[:i]
		}
		n++
	}
	return code
}

// coverTokens leaves of each run of hex digits that may be a token only its ends.
func coverTokens(s string) string {
	if len(s) < shortestRun {
		return s
	}
	var out strings.Builder
	done, run := 0, 0 // s[:done] is in out; the digits at hand begin at run
	for i := 0; i <= len(s); i++ {
		if i < len(s) && isHexDigit(s[i]) {
			continue
		}
		if i-run >= shortestRun {
			out.WriteString(s[done:run+4] + "…" + s[i-4:i])
			done = i
		}
		run = i + 1
	}
	if done == 0 {
		return s
	}
	return out.String() + s[done:]
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
