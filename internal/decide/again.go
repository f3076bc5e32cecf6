package decide

import (
	"encoding/binary"

	"github.com/openway-access/openway/internal/access"
)

// DecideCredential answers what Decide would for a credential by its id, as if its token was presented: for explaining, not for the gate. One that is unknown
// (it was revoked, or never was) is TOKEN_INVALID, as its token would be. It takes a lock.
func (s *Snapshot) DecideCredential(gateCode string, credentialID, at int64) Decision {
	r := Request{Gate: gateCode, At: at}
	if s.credentials.n > 0 {
		if c, ok := s.credentials.byRef(s.names.ref(credentialID)); ok {
			r.Lookups = []access.Lookup{c.key.lookup()}
		}
	}
	return s.Decide(r)
}

// lookup is the lookup that k was made of.
func (k *key) lookup() (l access.Lookup) {
	for i, part := range k {
		binary.BigEndian.PutUint64(l[8*i:], part)
	}
	return l
}
