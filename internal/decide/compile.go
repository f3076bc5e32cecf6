package decide

import (
	"cmp"
	"slices"

	"github.com/openway-access/openway/internal/access"
)

// Builder compiles a policy that it is told row by row. It implements access.PolicySink, which says in what order; rows in any other
// order, and rows that name things which are not (yet) told, are fine too. Each object is told once. Ids are positive. One goroutine may tell memberships
// while another tells all else, unless users bring groups of their own.
type Builder struct {
	idleDays    int
	site        access.PolicySite
	names       *refs
	gates       map[ref]*draft
	users       []uint64 // ref<<1 | active
	member      ref      // whose groups are being told
	groups      []ref    // the groups told for member so far
	members     []ref    // users whose groups are in sets
	memberAt    []int    // where
	sets        []byte
	credentials []*shard // blocks in the order told
}

// draft is a gate while it is told.
type draft struct {
	gate
	userKeys, groupKeys []uint64
	dated               dated
}

// blockSize is how many credentials the Builder keeps in one piece.
const blockSize = 4096

// NewBuilder returns an empty Builder. Credentials that idle out do so after idleDays days without use; 0 = never.
func NewBuilder(idleDays int) *Builder {
	return &Builder{idleDays: max(idleDays, 0), names: &refs{}, gates: make(map[ref]*draft)}
}

// Site tells what holds for the whole site.
func (b *Builder) Site(site access.PolicySite) { b.site = site }

func (b *Builder) gate(id int64) *draft {
	r := b.names.ref(id)
	g := b.gates[r]
	if g == nil {
		g = &draft{gate: gate{ref: r}}
		b.gates[r] = g
	}
	return g
}

// Gate tells a gate.
func (b *Builder) Gate(g access.PolicyGate) {
	d := b.gate(g.ID)
	d.known, d.code, d.releaseMS = true, g.Code, g.ReleaseMS
}

// User tells a user. Groups may come with it or by Member.
func (b *Builder) User(u access.PolicyUser) {
	entry := uint64(b.names.ref(u.ID)) << 1
	if u.Active {
		entry |= 1
	}
	b.users = append(b.users, entry)
	for _, g := range u.Groups {
		b.Member(u.ID, g)
	}
}

// Member tells that a user is in a group.
func (b *Builder) Member(userID, groupID int64) {
	if r := b.names.ref(userID); r != b.member {
		b.endMember()
		b.member = r
	}
	b.groups = append(b.groups, b.names.ref(groupID))
}

// endMember puts away the groups told for one user.
func (b *Builder) endMember() {
	if len(b.groups) == 0 {
		return
	}
	b.members = append(b.members, b.member)
	b.memberAt = append(b.memberAt, len(b.sets))
	b.sets = appendSet(b.sets, b.groups)
	b.groups = b.groups[:0]
}

// Permission tells a permission.
func (b *Builder) Permission(p access.PolicyPermission) {
	gr, ok := newGrant(b.names, p)
	if !ok {
		return
	}
	g := b.gate(p.GateID)
	entry := uint64(gr.subject)<<32 | uint64(gr.permission)
	switch {
	case gr.plain() && gr.group:
		g.groupKeys = append(g.groupKeys, entry)
	case gr.plain():
		g.userKeys = append(g.userKeys, entry)
	case gr.group:
		g.dated.groups = append(g.dated.groups, gr)
	default:
		g.dated.users = append(g.dated.users, gr)
	}
}

// Credential tells a credential.
func (b *Builder) Credential(c access.PolicyCredential) {
	n := len(b.credentials)
	if n == 0 || len(b.credentials[n-1].rows) == blockSize {
		size := blockSize
		if n == 0 {
			size = 16 // a small site's block grows by itself
		}
		block := newShard(size)
		b.credentials = append(b.credentials, &block)
		n++
	}
	b.credentials[n-1].add(newCredential(b.names, c))
}

// Snapshot compiles what the builder was told, under the mark of that policy. The builder is empty afterwards.
func (b *Builder) Snapshot(mark access.PolicyMark) *Snapshot {
	s := &Snapshot{mark: mark, idleDays: b.idleDays, defaultReleaseMS: b.site.DefaultReleaseMS, names: b.names}
	s.gates = b.compileGates()
	b.gates = nil
	s.users = b.compileUsers()
	b.users, b.members, b.memberAt, b.sets = nil, nil, nil, nil
	s.credentials = newCredentials(b.credentials)
	s.great = b.names.great()
	*b = *NewBuilder(b.idleDays)
	return s
}

func (b *Builder) compileGates() gates {
	list := make([]*gate, 0, len(b.gates))
	for _, d := range b.gates {
		slices.Sort(d.userKeys)
		slices.Sort(d.groupKeys)
		g := d.gate
		g.users, g.groups = newSorted(d.userKeys), newSorted(d.groupKeys)
		g.filter()
		if len(d.dated.users)+len(d.dated.groups) > 0 {
			slices.SortFunc(d.dated.users, orderGrants)
			slices.SortFunc(d.dated.groups, orderGrants)
			g.dated = &dated{users: exactly(d.dated.users), groups: exactly(d.dated.groups)}
		}
		list = append(list, &g)
	}
	slices.SortFunc(list, func(a, b *gate) int { return cmp.Compare(a.ref, b.ref) })
	return index(list)
}

func (b *Builder) compileUsers() users {
	b.endMember()
	if !slices.IsSorted(b.users) {
		slices.Sort(b.users)
	}
	if !slices.IsSorted(b.members) { // which it is not either when one was told in several runs
		b.regroup()
	}
	var t users
	page := make([]user, 0, leafSize)
	next, none := 0, []byte{0}
	for i, entry := range b.users {
		u := user{ref: ref(entry >> 1), active: entry&1 != 0, set: none}
		for next < len(b.members) && b.members[next] < u.ref {
			next++ // members who are no users
		}
		if next < len(b.members) && b.members[next] == u.ref {
			u.set = b.sets[b.memberAt[next]:]
		}
		page = append(page, u)
		if len(page) == leafSize || i == len(b.users)-1 {
			t.add(page, leafSize)
			page = page[:0]
		}
	}
	t.firsts, t.pages = exactly(t.firsts), exactly(t.pages)
	return t
}

// regroup orders members that were not told by user.
func (b *Builder) regroup() {
	groups := make(map[ref][]ref)
	for i, m := range b.members {
		set := b.sets[b.memberAt[i]:]
		for g, rest := nextGroup(set, 0); g != 0; g, rest = nextGroup(rest, g) {
			groups[m] = append(groups[m], g)
		}
	}
	b.members, b.memberAt, b.sets = b.members[:0], b.memberAt[:0], nil
	for m := range groups {
		b.members = append(b.members, m)
	}
	slices.Sort(b.members)
	for _, m := range b.members {
		b.memberAt = append(b.memberAt, len(b.sets))
		b.sets = appendSet(b.sets, groups[m])
	}
}

// grant is a permission as far as it matters: one that may let its subject pass.
type grant struct {
	from, until int64 // Unix microseconds, half-open, 0 = no end on that side
	gate        ref
	subject     ref // a user or a group
	permission  ref
	group       bool
}

// newGrant says what p grants; ok is false for one that grants nothing: suspended, or not naming exactly one of user and group.
func newGrant(names *refs, p access.PolicyPermission) (gr grant, ok bool) {
	if !p.Allow || p.ID == 0 || (p.UserID == 0) == (p.GroupID == 0) {
		return grant{}, false
	}
	gr = grant{
		from: p.ValidFrom, until: p.ValidUntil,
		gate: names.ref(p.GateID), permission: names.ref(p.ID), subject: names.ref(p.UserID),
	}
	if p.GroupID != 0 {
		gr.subject, gr.group = names.ref(p.GroupID), true
	}
	return gr, true
}

// plain reports whether gr holds at all times.
func (gr *grant) plain() bool { return gr.from == 0 && gr.until == 0 }

// holds reports whether at lies in the half-open interval [from, until), either of which may be 0: no end on that side.
func holds(from, until, at int64) bool {
	return (from == 0 || from <= at) && (until == 0 || at < until)
}
