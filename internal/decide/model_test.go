package decide

import (
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/openway-access/openway/internal/access"
)

// model is the policy as anybody would write it down, and deliberately nothing else.
type model struct {
	idleDays    int
	site        access.PolicySite
	gates       map[int64]access.PolicyGate
	users       map[int64]access.PolicyUser
	permissions map[int64]access.PolicyPermission
	credentials map[int64]access.PolicyCredential
	mark        access.PolicyMark

	deleted map[int64]access.PolicyUser // whose memberships compile tells all the same
}

func modelOf(idleDays int, d access.PolicyDelta) *model {
	m := &model{
		idleDays: idleDays, gates: map[int64]access.PolicyGate{}, users: map[int64]access.PolicyUser{},
		permissions: map[int64]access.PolicyPermission{}, credentials: map[int64]access.PolicyCredential{},
		deleted: map[int64]access.PolicyUser{},
	}
	m.apply(d)
	return m
}

func (m *model) apply(d access.PolicyDelta) {
	m.mark = d.Mark
	if d.Site != nil {
		m.site = *d.Site
	}
	for _, g := range d.Gates {
		m.gates[g.ID] = g
	}
	for _, u := range d.Users {
		m.users[u.ID] = u
		delete(m.deleted, u.ID)
	}
	for _, p := range d.Permissions {
		m.permissions[p.ID] = p
	}
	for _, c := range d.Credentials {
		m.credentials[c.ID] = c
	}
	for _, id := range d.GoneGates {
		delete(m.gates, id)
	}
	for _, id := range d.GoneUsers {
		if u, ok := m.users[id]; ok {
			m.deleted[id] = u
		}
		delete(m.users, id)
	}
	for _, id := range d.GonePermissions {
		delete(m.permissions, id)
	}
	for _, id := range d.GoneCredentials {
		delete(m.credentials, id)
	}
}

// compile builds a snapshot from scratch, told in the order that mix makes of an index.
func (m *model) compile(mix func([]int) []int) *Snapshot {
	b := NewBuilder(m.idleDays)
	b.Site(m.site)
	tell(m.gates, mix, b.Gate)
	tell(m.users, mix, func(u access.PolicyUser) { b.User(access.PolicyUser{ID: u.ID, Active: u.Active}) })
	members := maps.Clone(m.users)
	maps.Copy(members, m.deleted)
	tell(members, mix, func(u access.PolicyUser) {
		for _, g := range u.Groups {
			b.Member(u.ID, g)
		}
	})
	tell(m.permissions, mix, b.Permission)
	tell(m.credentials, mix, b.Credential)
	return b.Snapshot(m.mark)
}

func tell[E any](rows map[int64]E, mix func([]int) []int, to func(E)) {
	ids := slices.Sorted(maps.Keys(rows))
	order := make([]int, len(ids))
	for i := range order {
		order[i] = i
	}
	for _, i := range mix(order) {
		to(rows[ids[i]])
	}
}

// shuffled is a mix for compile.
func shuffled(seed uint64) func([]int) []int {
	return func(order []int) []int {
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
		return order
	}
}

func (m *model) decide(r Request) Decision {
	deny := Decision{Outcome: access.Deny, Reason: access.UnknownGate}
	var gate *access.PolicyGate
	for _, g := range m.gates {
		if g.Code == r.Gate {
			gate = &g
		}
	}
	if gate == nil {
		return deny
	}
	deny.GateID = gate.ID

	deny.Reason = access.TokenInvalid
	var c *access.PolicyCredential
	for _, l := range r.Lookups {
		for _, candidate := range m.credentials {
			if c == nil && candidate.Lookup == l {
				c = &candidate
			}
		}
	}
	if c == nil {
		return deny
	}
	deny.CredentialID, deny.UserID, deny.DeviceID = c.ID, c.UserID, c.DeviceID
	u, known := m.users[c.UserID]
	inPeriod := func(from, until int64) bool { return r.At >= from && (until == 0 || r.At < until) }
	if !known || !u.Active || !inPeriod(c.ValidFrom, c.ValidUntil) {
		return deny
	}
	today := int(r.At / access.MicrosPerDay)
	used := max(int(c.LastUsedDay), r.LastUsedDay)
	if c.IdleExpires && m.idleDays > 0 && today-used > m.idleDays {
		deny.IdleEnded = true
		return deny
	}

	deny.Touch = today > used
	if c.Inactive {
		deny.Reason = access.DeviceInactive
		return deny
	}

	var own, groups int64
	for _, p := range m.permissions {
		if p.GateID != gate.ID || !p.Allow || !inPeriod(p.ValidFrom, p.ValidUntil) {
			continue
		}
		if p.UserID == u.ID && p.GroupID == 0 && (own == 0 || p.ID < own) {
			own = p.ID
		}
		if p.UserID == 0 && slices.Contains(u.Groups, p.GroupID) && (groups == 0 || p.ID < groups) {
			groups = p.ID
		}
	}
	if own == 0 {
		own = groups
	}
	if own == 0 {
		deny.Reason = access.NoPermission
		return deny
	}
	allow := deny
	allow.Outcome, allow.Reason, allow.PermissionID, allow.ReleaseMS = access.Allow, access.OK, own, gate.ReleaseMS
	if allow.ReleaseMS == 0 {
		allow.ReleaseMS = m.site.DefaultReleaseMS
	}
	return allow
}
