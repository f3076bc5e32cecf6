package decide

import (
	"cmp"
	"encoding/binary"
	"slices"
	"unsafe"
)

// users is an immutable table of users by ref, in pages of up to leafMost. The zero value is empty.
type users struct {
	firsts []uint64 // the ref of each page's first user
	pages  []userPage
}

// userPage holds neighbours. Where a user stands is guessed from the ref, so that the processor fetches the ref (to be sure) and
// the record at the same time: finding a user, groups included, is one reach into memory.
type userPage struct {
	refs    []ref
	records []record
	long    []byte // sets of groups that do not fit into a record; equal ones stand here once
}

// record is one user: a byte of flags, then the set of groups or, with userLong, where in long it begins (four bytes).
type record [16]byte

const (
	userActive = 1 << 7
	userLong   = 1 << 6
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
	i := floor(t.firsts, uint64(u), guess(t.firsts, uint64(u)))
	if i < 0 {
		return nil, false, false
	}
	page := &t.pages[i]
	n := len(page.refs)
	var end uint64
	if i+1 < len(t.firsts) { // at hand, while the page's own last ref is far away
		end = t.firsts[i+1]
	} else {
		end = uint64(page.refs[n-1]) + 1
	}
	at := min(between(t.firsts[i], end, uint64(u), n), n-1)
	if page.refs[at] != u {
		if at, ok = slices.BinarySearch(page.refs, u); !ok {
			return nil, false, false
		}
	}
	set, active = page.record(at)
	return set, active, true
}

// record reads the i-th user of p.
func (p *userPage) record(i int) (set []byte, active bool) {
	r := &p.records[i]
	if r[0]&userLong != 0 {
		return p.long[binary.LittleEndian.Uint32(r[1:5]):], r[0]&userActive != 0
	}
	return r[1:], r[0]&userActive != 0
}

// add appends rows (ascending by ref, distinct), cut evenly into pages of at most size.
func (t *users) add(rows []user, size int) {
	for parts := (len(rows) + size - 1) / size; parts > 0; parts-- {
		n := len(rows) / parts
		t.firsts = append(t.firsts, uint64(rows[0].ref))
		t.pages = append(t.pages, newUserPage(rows[:n]))
		rows = rows[n:]
	}
}

func newUserPage(rows []user) userPage {
	p := userPage{refs: make([]ref, len(rows)), records: make([]record, len(rows))}
	lately := make(map[string]uint32) // the long sets of this page
	for i, u := range rows {
		p.refs[i] = u.ref
		r := &p.records[i]
		if u.active {
			r[0] |= userActive
		}
		set := u.set[:setLen(u.set)]
		if len(set) < len(r) {
			copy(r[1:], set)
			continue
		}
		at, known := lately[string(set)]
		if !known {
			at = uint32(len(p.long))
			lately[string(set)] = at
			p.long = append(p.long, set...)
		}
		r[0] |= userLong
		binary.LittleEndian.PutUint32(r[1:5], at)
	}
	p.long = exactly(p.long)
	return p
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
				return cmp.Compare(uint64(u.ref), first)
			})
		}
		if n == 0 {
			out.firsts = append(out.firsts, t.firsts[i])
			out.pages = append(out.pages, t.pages[i])
			continue
		}
		out.add(mergeUsers(&t.pages[i], rows[:n]), leafMost)
		rows = rows[n:]
	}
	return out
}

func mergeUsers(page *userPage, rows []user) []user {
	var out []user
	if page != nil {
		out = make([]user, 0, len(page.refs)+len(rows))
		for i, r := range page.refs {
			for len(rows) > 0 && rows[0].ref < r {
				if !rows[0].gone {
					out = append(out, rows[0])
				}
				rows = rows[1:]
			}
			if len(rows) == 0 || rows[0].ref != r {
				set, active := page.record(i)
				out = append(out, user{ref: r, active: active, set: set})
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
		n += len(t.pages[i].refs)
	}
	return n
}

func (t *users) bytes() int64 {
	n := cap(t.firsts)*8 + cap(t.pages)*int(unsafe.Sizeof(userPage{}))
	for i := range t.pages {
		n += cap(t.pages[i].refs)*4 + cap(t.pages[i].records)*len(record{}) + cap(t.pages[i].long)
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
