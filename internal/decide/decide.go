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
//
// UNKNOWN_GATE: no gate has exactly this code.
// TOKEN_INVALID: no credential has one of the lookups; or its user is unknown or inactive; or At is outside the credential's
// validity (half-open); or it idled out. A credential that idles out and was last used on day D is good through day D + idleDays
// (days of UTC, whole) and ends with the first instant of day D + idleDays + 1; one whose last use is unknown counts as D = 0.
// DEVICE_INACTIVE: the credential is inactive, because its device is revoked.
// NO_PERMISSION: no permission for the gate that is not suspended names the user or one of the user's groups and holds at At (half-open).
// Being suspended denies nothing: another permission may still let the user pass.
func (s *Snapshot) Decide(r Request) Decision {
	d := Decision{Outcome: access.Deny, Reason: access.UnknownGate}
	// The credential is looked for first, though it counts second: it is far away in memory, and the processor looks the gate up while it waits.
	sh, c := s.credential(r.Lookups)
	i, ok := s.gates.byCode[r.Gate]
	if !ok {
		return d
	}
	g := s.gates.list[i]
	d.GateID = s.id(g.ref)

	d.Reason = access.TokenInvalid
	if c == nil {
		return d
	}
	d.CredentialID, d.UserID, d.DeviceID = s.id(c.id), s.id(c.user), s.id(c.device)
	groups, active, _ := s.users.find(c.user)
	m := sh.moreOf(c)
	if !active || !holds(m.from, m.until, r.At) {
		return d
	}
	used, today := max(int(m.day), r.LastUsedDay), day(r.At)
	if s.idleDays > 0 && c.bits&rowIdles != 0 && used+s.idleDays < today {
		d.IdleEnded = true
		return d
	}

	d.Touch = used < today
	if c.bits&rowInactive != 0 {
		d.Reason = access.DeviceInactive
		return d
	}

	s.ask(g, c.user, groups, r.At, &d)
	return d
}

// DecideUser answers what Decide would for a good credential of a user: whether the user may pass, whatever is presented. A user who is unknown or
// inactive is TOKEN_INVALID, as at the gate. It is for explaining, not for the gate: it takes a lock.
func (s *Snapshot) DecideUser(gateCode string, userID, at int64) Decision {
	d := Decision{Outcome: access.Deny, Reason: access.UnknownGate}
	i, ok := s.gates.byCode[gateCode]
	if !ok {
		return d
	}
	g := s.gates.list[i]
	d.GateID, d.UserID, d.Reason = s.id(g.ref), userID, access.TokenInvalid
	user := s.names.ref(userID)
	groups, active, _ := s.users.find(user)
	if !active {
		return d
	}
	s.ask(g, user, groups, at, &d)
	return d
}

// ask ends d with what the permissions at g say of a user who is known and active.
func (s *Snapshot) ask(g *gate, user ref, groups []byte, at int64, d *Decision) {
	if d.PermissionID = s.granted(g, user, groups, at); d.PermissionID == 0 {
		d.Reason = access.NoPermission
		return
	}
	d.Outcome, d.Reason, d.ReleaseMS = access.Allow, access.OK, g.releaseMS
	if d.ReleaseMS == 0 {
		d.ReleaseMS = s.defaultReleaseMS
	}
}

// Knows reports whether something with one of these lookups may be presented at a gate, whatever would come of it.
func (s *Snapshot) Knows(lookups []access.Lookup) bool {
	_, found := s.credential(lookups)
	return found != nil
}

// credential finds the first of lookups that is known.
func (s *Snapshot) credential(lookups []access.Lookup) (*shard, *row) {
	for i := range lookups {
		if sh, c := s.credentials.find(&lookups[i]); c != nil {
			return sh, c
		}
	}
	return nil, nil
}

// granted is the permission that lets the user pass g at the instant at, 0 if none does.
func (s *Snapshot) granted(g *gate, user ref, groups []byte, at int64) int64 {
	best := int64(0)
	if g.someUsers.has(user) {
		best = s.plain(&g.users, user, 0)
	}
	if g.dated != nil {
		best = s.dated(g.dated.users, user, at, best)
	}
	if best != 0 {
		return best
	}
	for group, rest := nextGroup(groups, 0); group != 0; group, rest = nextGroup(rest, group) {
		if g.someGroups.has(group) {
			best = s.plain(&g.groups, group, best)
		}
		if g.dated != nil {
			best = s.dated(g.dated.groups, group, at, best)
		}
	}
	return best
}

// plain returns the lower of best (0 = none yet) and the ids of subject's undated permissions.
func (s *Snapshot) plain(permissions *sorted, subject ref, best int64) int64 {
	entry, ok := permissions.from(uint64(subject) << 32)
	for ok && ref(entry>>32) == subject {
		best = lower(best, s.id(ref(entry)))
		if ref(entry) < bigRef {
			break // refs below order like their ids, so this was the lowest
		}
		entry, ok = permissions.from(entry + 1)
	}
	return best
}

// dated returns the lower of best (0 = none yet) and the ids of subject's permissions that hold at the instant at.
func (s *Snapshot) dated(grants []grant, subject ref, at, best int64) int64 {
	for _, gr := range of(grants, subject) {
		if holds(gr.from, gr.until, at) {
			best = lower(best, s.id(gr.permission))
		}
	}
	return best
}

func lower(best, id int64) int64 {
	if best == 0 || id < best {
		return id
	}
	return best
}

// day is the UTC day that an instant falls on, days since 1970-01-01, also before it.
func day(at int64) int {
	d := at / access.MicrosPerDay
	if at%access.MicrosPerDay < 0 {
		d--
	}
	return int(d)
}
