// Package eventlog makes decisions durable: it gathers the requests that wait, writes them in one commit (group commit) and then wakes
// them. It also deletes events that are older than the site keeps them. It holds no policy and no SQL, imports access alone, and names the
// little it needs of others: Appender, Policies and Purger. The log is read back from the store.
//
// # What it promises
//
// Append returns nil only after the entry's event is durable, and an event for which Append returned nil stands in the log exactly once.
// Every other call of Append ends with access.ErrUnavailable within Config.MaxWait of the call (and a fraction of a second), whatever the
// database does.
//
// There is no timer in the way of a commit: an idle log commits at once, and what arrives while a commit is in flight makes up the next
// batch. A lane is one committing connection with one batch in flight.
//
// # Policy
//
// A batch carries one policy mark, and the database takes it only while that is the newest. Entries decided under an older mark than
// the current one are decided again before the commit. A batch that is refused catches up and is decided again; refused twice, it is
// written while the policy is held still (Appender.AppendBatchHeld), so that it always gets through.
//
// # When a commit goes wrong
//
// What happens to the entries of a batch depends on what is known of it:
//
//   - Surely not written (an error that is not access.ErrOutcomeUnknown): those whose time is not up go back to the head of the queue and
//     are tried again, with growing pauses; the others are dropped and were answered unavailable.
//   - Surely not written, for what is in it (an error of no kind): the batch is halved until the event at fault stands alone, so that it
//     costs nobody else an answer. It is given up, in words in the server's log; one that nobody waits for only after the database has taken others.
//   - Not known (access.ErrOutcomeUnknown): nothing is tried again. Everyone who waits is answered unavailable at once, the lane is given up
//     and claimed anew, and the fate of the batch is settled aside (Appender.FenceBatch), as often as it takes. If it landed, a system event
//     access.NoteUnanswered says how many decisions stand in the log that nobody was told; if not, the fence keeps it from landing later.
//   - Still in flight when an entry's time is up: the entry is answered unavailable. It cannot be taken out of the commit any more. If the batch
//     lands, the entry stands in the log as a decision that was never answered, and NoteUnanswered counts it; if it does not, it is not tried again.
//
// So an ALLOW can stand in the log whose gate was told DENY, and a NoteUnanswered naming its batch then stands there as well. The opposite, an
// ALLOW that was told and is not in the log, cannot be.
//
// Each refusal is counted in exactly one system event: NoteUnanswered if the decision is in the log after all, else access.NoteUnavailable, one per
// gate, written once the refusals have ceased for a second and the database takes events again. Only a process that ends before that takes its counts with it,
// and who comes when the log is closed, or has gone before Append, is not counted there.
package eventlog
