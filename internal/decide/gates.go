package decide

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"unsafe"

	"github.com/openway-access/openway/internal/access"
)

// gates is an immutable table of gates with the permissions at each. Gates are few beside users: one allocation each is fine,
// and the index by code is made anew when a gate changes (a permission changes none).
type gates struct {
	list   []*gate        // by ref
	byCode map[string]int // index into list
}

// gate is a gate and who may pass it. Permissions may name a gate before it is known: then it has them, but no code.
type gate struct {
	ref       ref
	known     bool
	releaseMS int // 0 = the site's default
	code      string
	users     sorted // plain permissions: user<<32 | permission
	groups    sorted // plain permissions: group<<32 | permission
	dated     *dated // nil = none

	// Which users and groups may be in the above: a set of refs modulo 256. Most are not, and need no search.
	someUsers  filter
	someGroups filter
}

// filter is a set of refs modulo 256.
type filter [4]uint64

func (f *filter) add(r ref) { f[r>>6&3] |= 1 << (r & 63) }

func (f *filter) has(r ref) bool { return f[r>>6&3]&(1<<(r&63)) != 0 }

// note adds the keys of s. A set that fills a leaf has them all, or nearly.
func (f *filter) note(s sorted) {
	if s.tree != nil {
		*f = filter{math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64}
	}
	for _, entry := range s.keys {
		f.add(ref(entry >> 32))
	}
}

// dated are a gate's permissions that do not hold at all times, by subject, then permission.
type dated struct {
	users  []grant
	groups []grant
}

// index returns the table of list, which must be ordered by ref. Of several gates with one code (a database has none) the one with the lowest ref has it.
func index(list []*gate) gates {
	byCode := make(map[string]int, len(list))
	for i, g := range list {
		if _, taken := byCode[g.code]; g.known && !taken {
			byCode[g.code] = i
		}
	}
	return gates{list: list, byCode: byCode}
}

// search is where the gate g stands in list, or belongs.
func (t *gates) search(g ref) (int, bool) {
	return sort.Find(len(t.list), func(i int) int { return cmp.Compare(g, t.list[i].ref) })
}

// orderGrants is how grants stand at a gate.
func orderGrants(a, b grant) int {
	return cmp.Or(cmp.Compare(a.subject, b.subject), cmp.Compare(a.permission, b.permission))
}

// with returns g without drop and with add, all of this gate.
func (g *gate) with(drop, add []grant) *gate {
	out := *g
	out.users = g.users.edit(plain(drop, false), plain(add, false))
	out.groups = g.groups.edit(plain(drop, true), plain(add, true))
	var d dated
	if g.dated != nil {
		d = *g.dated
	}
	d.users = editGrants(d.users, drop, add, false)
	d.groups = editGrants(d.groups, drop, add, true)
	out.dated = nil
	if len(d.users)+len(d.groups) > 0 {
		out.dated = &d
	}
	out.filter()
	return &out
}

// filter brings the filters up to date.
func (g *gate) filter() {
	g.someUsers, g.someGroups = filter{}, filter{}
	g.someUsers.note(g.users)
	g.someGroups.note(g.groups)
}

// plain picks the undated grants of users or groups, as the entries of a gate, ascending.
func plain(grants []grant, group bool) []uint64 {
	var out []uint64
	for _, gr := range grants {
		if gr.group == group && gr.plain() {
			out = append(out, uint64(gr.subject)<<32|uint64(gr.permission))
		}
	}
	slices.Sort(out)
	return out
}

func editGrants(old, drop, add []grant, group bool) []grant {
	concerns := func(gr grant) bool { return gr.group == group && !gr.plain() }
	if !slices.ContainsFunc(drop, concerns) && !slices.ContainsFunc(add, concerns) {
		return old
	}
	gone := make(map[ref]bool, len(drop))
	for _, gr := range drop {
		gone[gr.permission] = true
	}
	var out []grant
	for _, gr := range old {
		if !gone[gr.permission] {
			out = append(out, gr)
		}
	}
	for _, gr := range add {
		if concerns(gr) {
			out = append(out, gr)
		}
	}
	slices.SortFunc(out, orderGrants)
	return exactly(out)
}

func (g *gate) empty() bool {
	return !g.known && g.dated == nil && g.users.len() == 0 && g.groups.len() == 0
}

func (g *gate) permissions() int {
	n := g.users.len() + g.groups.len()
	if g.dated != nil {
		n += len(g.dated.users) + len(g.dated.groups)
	}
	return n
}

// of returns those of grants (ordered) that are given to subject.
func of(grants []grant, subject ref) []grant {
	low := sort.Search(len(grants), func(i int) bool { return grants[i].subject >= subject })
	high := low
	for high < len(grants) && grants[high].subject == subject {
		high++
	}
	return grants[low:high]
}

// collect returns every grant whose permission wanted holds.
func (t *gates) collect(wanted *refSet) []grant {
	var found []grant
	if wanted.empty() {
		return nil
	}
	for _, g := range t.list {
		for _, set := range []struct {
			sorted
			group bool
		}{{g.users, false}, {g.groups, true}} {
			for leaf := range set.blocks {
				for _, entry := range leaf {
					if wanted.has(ref(entry)) {
						found = append(found, grant{gate: g.ref, subject: ref(entry >> 32), permission: ref(entry), group: set.group})
					}
				}
			}
		}
		if g.dated == nil {
			continue
		}
		for _, grants := range [][]grant{g.dated.users, g.dated.groups} {
			for _, gr := range grants {
				if wanted.has(gr.permission) {
					found = append(found, gr)
				}
			}
		}
	}
	return found
}

// edit returns t with gates changed or gone and grants dropped and added.
func (t *gates) edit(changed []access.PolicyGate, goneGates []int64, drop, add []grant, names *refs) gates {
	if len(changed)+len(goneGates)+len(drop)+len(add) == 0 {
		return *t
	}
	type work struct {
		set       *gate // known, code and release time as they become
		drop, add []grant
	}
	edits := make(map[ref]*work)
	at := func(g ref) *work {
		if edits[g] == nil {
			edits[g] = &work{}
		}
		return edits[g]
	}
	for _, g := range changed {
		at(names.ref(g.ID)).set = &gate{known: true, code: g.Code, releaseMS: g.ReleaseMS}
	}
	for _, id := range goneGates {
		at(names.ref(id)).set = &gate{}
	}
	for _, gr := range drop {
		w := at(gr.gate)
		w.drop = append(w.drop, gr)
	}
	for _, gr := range add {
		w := at(gr.gate)
		w.add = append(w.add, gr)
	}
	list := slices.Clone(t.list)
	reindex, come, gone := false, []*gate(nil), false
	for g, w := range edits {
		i, found := t.search(g)
		old := &gate{ref: g}
		if found {
			old = t.list[i]
		}
		now := old.with(w.drop, w.add)
		if w.set != nil {
			reindex = reindex || now.known != w.set.known || now.code != w.set.code
			now.known, now.code, now.releaseMS = w.set.known, w.set.code, w.set.releaseMS
		}
		switch {
		case found:
			list[i] = now
			gone = gone || now.empty()
		case !now.empty():
			come = append(come, now)
		}
	}
	if len(come) == 0 && !gone {
		if reindex {
			return index(list)
		}
		return gates{list: list, byCode: t.byCode}
	}
	list = append(list, come...)
	list = slices.DeleteFunc(list, (*gate).empty)
	slices.SortFunc(list, func(a, b *gate) int { return cmp.Compare(a.ref, b.ref) })
	return index(list)
}

// bytes is what the gates occupy, their permissions apart.
func (t *gates) bytes() (own, permissions int64) {
	own = int64(cap(t.list)) * 8
	for _, g := range t.list {
		own += int64(unsafe.Sizeof(gate{})) + int64(len(g.code))
		if g.known {
			own += 2 * int64(unsafe.Sizeof("")+unsafe.Sizeof(0)) // its share of the index by code, which is about half full
		}
		permissions += g.users.bytes() + g.groups.bytes()
		if g.dated != nil {
			permissions += int64(unsafe.Sizeof(dated{})) + int64(cap(g.dated.users)+cap(g.dated.groups))*int64(unsafe.Sizeof(grant{}))
		}
	}
	return own, permissions
}
