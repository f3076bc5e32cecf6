package decide

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// users is an immutable table of users by ref, in pages of up to leafMost. The zero value is empty.
type users struct {
	firsts []uint64 // the ref of each page's first user, shifted up like the keys
	pages  []userPage
}

// userPage holds neighbours: for each one number, ref<<32 | active<<31 | where its groups begin in sets.
// Equal sets of groups stand in a page once, as a rule.
type userPage struct {
	keys []uint64
	sets []byte
}

const (
	userActive = 1 << 31
	userGroups = userActive - 1 // the bits that say where the groups begin
)

// user is one row of the table, unpacked.
type user struct {
	ref    ref
	active bool
	gone   bool   // in an edit: take it out
	set    []byte // groups as appendSet writes them; more may follow
}

// find looks u up and returns its set of groups.
func (t *users) find(u ref) (set []byte, active, ok bool) {
	key := uint64(u)<<32 | 0xffffffff
	i := floor(t.firsts, key, guess(t.firsts, key))
	if i < 0 {
		return nil, false, false
	}
	page := &t.pages[i]
	var near int
	if i+1 < len(t.firsts) { // the neighbour's first is at hand; the page's own last entry is one more cache line
		near = min(between(t.firsts[i], t.firsts[i+1], uint64(u)<<32, len(page.keys)), len(page.keys)-1)
	} else {
		near = guess(page.keys, uint64(u)<<32)
	}
	at := floor(page.keys, key, near)
	if at < 0 || ref(page.keys[at]>>32) != u {
		return nil, false, false
	}
	return page.sets[page.keys[at]&userGroups:], page.keys[at]&userActive != 0, true
}

// row unpacks the i-th user of p.
func (p *userPage) row(i int) user {
	k := p.keys[i]
	return user{ref: ref(k >> 32), active: k&userActive != 0, set: p.sets[k&userGroups:]}
}

// add appends rows (ascending by ref, distinct), cut into pages of about size each.
func (t *users) add(rows []user, size int) {
	for parts := (len(rows) + size - 1) / size; parts > 0; parts-- {
		n := len(rows) / parts
		t.firsts = append(t.firsts, uint64(rows[0].ref)<<32)
		t.pages = append(t.pages, newUserPage(rows[:n]))
		rows = rows[n:]
	}
}

func newUserPage(rows []user) userPage {
	keys := make([]uint64, len(rows))
	var sets []byte
	var lately [64]struct{ at, n int } // sets written lately, by a hash
	for i, u := range rows {
		set := u.set[:setLen(u.set)]
		hash := uint32(2166136261)
		for _, c := range set {
			hash = (hash ^ uint32(c)) * 16777619
		}
		seen := &lately[hash>>26]
		if seen.n == 0 || string(sets[seen.at:seen.at+seen.n]) != string(set) {
			seen.at, seen.n = len(sets), len(set)
			sets = append(sets, set...)
		}
		keys[i] = uint64(u.ref)<<32 | uint64(seen.at)
		if u.active {
			keys[i] |= userActive
		}
	}
	return userPage{keys: keys, sets: exactly(sets)}
}

// edit returns t with rows (ascending by ref, distinct) put in place of those of the same refs. Untouched pages are shared with t.
func (t *users) edit(rows []user) users {
	if len(rows) == 0 {
		return *t
	}
	out := users{firsts: make([]uint64, 0, len(t.firsts)+1), pages: make([]userPage, 0, len(t.pages)+1)}
	if len(t.pages) == 0 {
		out.add(mergeUsers(nil, rows), leafSize)
		return out
	}
	for i := range t.pages {
		n := len(rows)
		if i+1 < len(t.firsts) {
			n, _ = slices.BinarySearchFunc(rows, t.firsts[i+1], func(u user, first uint64) int {
				return int(int64(u.ref) - int64(first>>32))
			})
		}
		if n == 0 {
			out.firsts = append(out.firsts, t.firsts[i])
			out.pages = append(out.pages, t.pages[i])
			continue
		}
		merged := mergeUsers(&t.pages[i], rows[:n])
		size := leafMost
		if len(merged) > leafMost {
			size = leafSize
		}
		out.add(merged, size)
		rows = rows[n:]
	}
	return out
}

func mergeUsers(page *userPage, rows []user) []user {
	var out []user
	if page != nil {
		for i := range page.keys {
			old := page.row(i)
			for len(rows) > 0 && rows[0].ref < old.ref {
				if !rows[0].gone {
					out = append(out, rows[0])
				}
				rows = rows[1:]
			}
			if len(rows) == 0 || rows[0].ref != old.ref {
				out = append(out, old)
			}
		}
	}
	for _, u := range rows {
		if !u.gone {
			out = append(out, u)
		}
	}
	return out
}

func (t *users) len() int {
	n := 0
	for i := range t.pages {
		n += len(t.pages[i].keys)
	}
	return n
}

func (t *users) bytes() int64 {
	n := cap(t.firsts)*8 + cap(t.pages)*int(unsafe.Sizeof(userPage{}))
	for i := range t.pages {
		n += cap(t.pages[i].keys)*8 + cap(t.pages[i].sets)
	}
	return int64(n)
}

// appendSet writes a set of groups: the distances between ascending refs as varints (one byte each on most sites), then 0.
// It sorts groups; group 0 is no group.
func appendSet(out []byte, groups []ref) []byte {
	slices.Sort(groups)
	last := ref(0)
	for _, g := range groups {
		if g != last {
			out = binary.AppendUvarint(out, uint64(g-last))
			last = g
		}
	}
	return append(out, 0)
}

// nextGroup reads one group of a set, after the group last; 0 = there are no more.
func nextGroup(set []byte, last ref) (group ref, rest []byte) {
	if c := set[0]; c < 0x80 {
		if c == 0 {
			return 0, nil
		}
		return last + ref(c), set[1:]
	}
	step, n := binary.Uvarint(set)
	return last + ref(step), set[n:]
}

// setLen is how long the set at the beginning of set is, its final 0 included.
func setLen(set []byte) int {
	for i := 0; ; i++ {
		if set[i] == 0 { // no varint has a zero byte inside: it would not be the shortest form
			return i + 1
		}
	}
}
