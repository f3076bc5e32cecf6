package decide

import (
	"cmp"
	"slices"

	"github.com/openway-access/openway/internal/access"
)

// With returns the policy that d makes of s, as if compiled from scratch. s stays as it is, and the two share the blocks that d
// does not reach into: a permission costs a pass over the permissions' ids and the copy of one block, anything else a few blocks.
//
// What d calls gone or changed need not be known, and the order of its lists does not matter. Should an object be in d twice, gone
// goes before changed, and of two changes the later in the list counts.
// A deleted user's or gate's permissions and credentials are forgotten only when they are named themselves: until then they grant nothing.
// A delta that asks for a rebuild cannot be applied: s itself is returned, and its mark tells.
func (s *Snapshot) With(d access.PolicyDelta) *Snapshot {
	if d.Rebuild {
		return s
	}
	out := *s
	out.mark = d.Mark
	if out.names == nil {
		out.names = &refs{}
	}
	if d.Site != nil {
		out.defaultReleaseMS = d.Site.DefaultReleaseMS
	}
	out.users = s.users.edit(userEdits(out.names, d))
	drop, add := s.grantEdits(out.names, d)
	out.gates = s.gates.edit(d.Gates, d.GoneGates, drop, add, out.names)

	out.credentials = s.credentials.edit(credentialEdits(out.names, d))
	out.great = out.names.great()
	return &out
}

// WithUse returns s knowing that these credentials were used on day (days since 1970-01-01 UTC): last use does not belong to the policy
// proper, so the mark stays. Days only rise; ids that s does not know are skipped.
func (s *Snapshot) WithUse(day int, credentialIDs []int64) *Snapshot {
	if s.credentials.n == 0 {
		return s
	}
	var used []credential
	seen := make(map[int64]bool, len(credentialIDs))
	for _, id := range credentialIDs {
		if seen[id] {
			continue
		}
		seen[id] = true
		if c, ok := s.credentials.byRef(s.names.ref(id)); ok && int(c.day) < day {
			c.day = int32(day)
			used = append(used, c)
		}
	}
	if len(used) == 0 {
		return s
	}
	out := *s
	out.credentials = s.credentials.edit(nil, used)
	return &out
}

// last returns, by name, the last of changed, without those of gone.
func last[E any](names *refs, changed []E, id func(*E) int64, gone []int64) map[ref]*E {
	out := make(map[ref]*E, len(changed))
	for i := range changed {
		out[names.ref(id(&changed[i]))] = &changed[i]
	}
	for _, id := range gone {
		delete(out, names.ref(id))
	}
	return out
}

// userEdits says which users come, ascending, and which go.
func userEdits(names *refs, d access.PolicyDelta) []user {
	var rows []user
	var groups []ref
	for r, u := range last(names, d.Users, func(u *access.PolicyUser) int64 { return u.ID }, d.GoneUsers) {
		groups = groups[:0]
		for _, g := range u.Groups {
			groups = append(groups, names.ref(g))
		}
		rows = append(rows, user{ref: r, active: u.Active, set: appendSet(nil, groups)})
	}
	for _, id := range d.GoneUsers {
		rows = append(rows, user{ref: names.ref(id), gone: true})
	}
	slices.SortFunc(rows, func(a, b user) int { return cmp.Compare(a.ref, b.ref) })
	return rows
}

// grantEdits says which grants of s go and which come.
func (s *Snapshot) grantEdits(names *refs, d access.PolicyDelta) (drop, add []grant) {
	var concerned refSet
	for _, id := range d.GonePermissions {
		concerned.add(names.ref(id))
	}
	for r, p := range last(names, d.Permissions, func(p *access.PolicyPermission) int64 { return p.ID }, d.GonePermissions) {
		concerned.add(r)
		if gr, ok := newGrant(names, *p); ok {
			add = append(add, gr)
		}
	}
	return s.gates.collect(&concerned), add
}

// credentialEdits says which credentials go and which come.
func credentialEdits(names *refs, d access.PolicyDelta) (gone []ref, come []credential) {
	for _, id := range d.GoneCredentials {
		gone = append(gone, names.ref(id))
	}
	for _, c := range last(names, d.Credentials, func(c *access.PolicyCredential) int64 { return c.ID }, d.GoneCredentials) {
		come = append(come, newCredential(names, *c))
	}
	return gone, come
}

// refSet is a set of refs that answers fast when it is small: permissions carry no index by id (it would cost as much as they
// do), so the few that a delta names are looked for among all.
type refSet struct {
	one    ref // while there is only one
	n      int
	filter [64]uint64 // which 12-bit remainders occur
	all    map[ref]struct{}
}

func (s *refSet) add(r ref) {
	if s.n == 0 {
		s.one, s.all = r, make(map[ref]struct{})
	}
	s.n++
	s.all[r] = struct{}{}
	s.filter[r>>6&63] |= 1 << (r & 63)
}

func (s *refSet) empty() bool { return s.n == 0 }

func (s *refSet) has(r ref) bool {
	if s.n == 1 {
		return r == s.one
	}
	if s.filter[r>>6&63]&(1<<(r&63)) == 0 {
		return false
	}
	_, ok := s.all[r]
	return ok
}
