package gatekeeper

// Health is how the decider is doing, for people. Counters run since the process began.
type Health struct {
	PolicyVersion int64
	Queued        int // decisions that wait to be recorded
	Recorded      uint64
	Refused       uint64 // decisions that were answered UNAVAILABLE
	Unsettled     int    // batches of which nobody knows yet whether they were written
	Lost          uint64 // folded denials and notes that could not be kept
	Users         int
	Gates         int
	Permissions   int // that grant something
	Credentials   int
	PolicyBytes   int64
}

// Health reads it from memory, nearly for nothing.
func (g *Gatekeeper) Health() Health {
	mark, policy := g.Policy()
	events := g.Events()
	return Health{
		PolicyVersion: mark.Version, Queued: events.Queued, Recorded: events.Recorded, Refused: events.Refused, Unsettled: events.Fences, Lost: events.Dropped,
		Users: policy.Users, Gates: policy.Gates, Permissions: policy.Permissions, Credentials: policy.Credentials, PolicyBytes: policy.Bytes,
	}
}
