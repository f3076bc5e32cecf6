package decide

import (
	"unsafe"

	"github.com/openway-access/openway/internal/access"
)

// Snapshot is one state of the policy, ready to decide. It never changes; With makes the next one, which shares
// with it whatever did not change. The zero value knows no gate.
//
// A million users cost some 80 bytes each (a credential and ten groups included) in a few thousand blocks without pointers inside, which
// the garbage collector does not look into.
type Snapshot struct {
	mark             access.PolicyMark
	idleDays         int
	defaultReleaseMS int
	gates            gates
	users            users
	credentials      credentials
	names            *refs   // shared by all snapshots of one descent; takes a lock, so deciding keeps away from it
	great            []int64 // the ids behind great refs
}

// Mark names the policy that s holds.
func (s *Snapshot) Mark() access.PolicyMark { return s.mark }

// Stats says how much a Snapshot holds.
type Stats struct {
	Users       int
	Gates       int
	Permissions int // that grant something: suspended ones are not kept
	Credentials int
	Bytes       int64 // of memory, all in all: the next four and a little

	UserBytes       int64 // users with their groups
	GateBytes       int64
	PermissionBytes int64
	CredentialBytes int64
}

// Stats counts what s holds; it walks over s's blocks, not its objects.
func (s *Snapshot) Stats() Stats {
	st := Stats{
		Users: s.users.len(), Credentials: s.credentials.n,
		UserBytes: s.users.bytes(), CredentialBytes: s.credentials.bytes(),
	}
	for _, g := range s.gates.list {
		st.Permissions += g.permissions()
		if g.known {
			st.Gates++
		}
	}
	st.GateBytes, st.PermissionBytes = s.gates.bytes()
	st.Bytes = int64(unsafe.Sizeof(*s)) + st.UserBytes + st.CredentialBytes + st.GateBytes + st.PermissionBytes +
		int64(len(s.great))*3*8 // the id, and its entry in the numbering
	return st
}
