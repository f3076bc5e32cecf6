// Package gatekeeper is the live decider at the gates: it throttles, decides from the newest snapshot of the policy, has the decision
// recorded, and answers.
//
// It imports decide, eventlog, credential, throttle and access, and names what it needs of the database (PolicySource, and
// eventlog.Appender in Config.Events).
//
// # What it promises
//
// No record, no act: Verify answers ALLOW only after the event of that decision is durable. When it cannot be made durable in time
// (eventlog), the answer is DENY with reason UNAVAILABLE.
//
// No stale ALLOW: an ALLOW is never given to a request that begins after a change that takes it away has returned. Precisely: let a command,
// a page or an API call that changes the policy return to its caller at instant T, on whatever process of the site. A request begins when
// the server starts to read it, which is after its sender sent its first byte. If a request begins after T, its answer, if it is ALLOW, follows from
// a policy that includes the change (or from a newer one). A request that had begun before T may be decided either way.
//
// That holds because an event is written only where the policy that decided it is still the newest (in the statement that inserts it), and is decided
// again otherwise. It needs neither clocks that agree, nor the poll, nor any word between processes; these only save a second round. It does
// need that a commit that was acknowledged is not lost: one primary, synchronous commit.
//
// Two kinds of answer stand outside: RATE_LIMIT is no decision on the policy, and denials that are folded (see folds) follow the snapshot at hand, which
// may lag by Config.Poll: from a source of more than ten wrong requests a second, a request that has just become right may be denied once more.
package gatekeeper
