// Package decide answers whether a credential may pass a gate now, from an immutable snapshot of the whole policy.
//
// It is pure: no clock (the time is in the Request), no I/O, no logging, no context. It imports access alone.
// Decide takes no lock and allocates nothing, so any number of goroutines may share a Snapshot.
package decide

import "github.com/openway-access/openway/internal/access"

// Request asks for one decision.
type Request struct {
	Gate    string          // the gate's code, compared byte for byte
	Lookups []access.Lookup // the digests under which the presented token may be known, tried in order: the first one found counts
	At      int64           // when the request was accepted, Unix microseconds UTC

	// LastUsedDay is the day of the credential's last use where the caller knows better than the snapshot (after a Decision with
	// IdleEnded it asks the database); days since 1970-01-01 UTC, 0 = go by the snapshot. The later one counts.
	LastUsedDay int
}

// Decision is the answer to a Request. An id is 0 where the checks did not get as far as knowing it.
type Decision struct {
	Outcome      access.Outcome
	Reason       access.Reason
	ReleaseMS    int   // how long the lock opens, milliseconds; 0 unless the outcome is ALLOW
	GateID       int64 // 0 = unknown gate
	UserID       int64 // the credential's user, also when that user is inactive or deleted
	CredentialID int64
	DeviceID     int64
	PermissionID int64 // what granted an ALLOW: the user's own permission with the lowest id, else the one with the lowest id among the groups'
	Touch        bool  // the credential counted (anything but TOKEN_INVALID) and was last used on an earlier day than At's
	IdleEnded    bool  // TOKEN_INVALID for no other reason than idling: the day of last use should be confirmed with the database
}

// Decide answers r. The checks are those of API v1 from UNKNOWN_GATE on, in its order; the first that fails names the reason.
func (s *Snapshot) Decide(r Request) Decision {
	return Decision{Outcome: access.Deny, Reason: access.UnknownGate}
}
