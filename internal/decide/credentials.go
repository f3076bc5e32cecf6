package decide

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"unsafe"

	"github.com/openway-access/openway/internal/access"
)

// credentials is an immutable table of credentials by lookup, in 2^bits shards. The upper bits of the lookup choose the shard, the next
// few a place in it, and because digests are spread evenly the rest tell nearly where in that place a credential stands: finding one is
// one reach into memory, as a rule. Digests that are not spread evenly (nobody can make many) are found all the same, only slower.
type credentials struct {
	bits   uint8
	shards []shard
	byID   sorted // ref<<32 | the lookup's tag
	n      int
}

const (
	shardSize = 512  // credentials a shard, at most, when the number of shards is chosen
	shardMost = 1024 // on average, when it is chosen anew
	placeBits = 5
	placeMask = 1<<placeBits - 1
)

// key is a lookup as numbers that order like its bytes.
type key [4]uint64

func newKey(l *access.Lookup) key {
	return key{binary.BigEndian.Uint64(l[:8]), binary.BigEndian.Uint64(l[8:16]), binary.BigEndian.Uint64(l[16:24]), binary.BigEndian.Uint64(l[24:])}
}

// tag is the first four bytes of the lookup.
func (k *key) tag() uint32 { return uint32(k[0] >> 32) }

// shard holds its credentials ordered by lookup, then id.
type shard struct {
	rows   []row
	more   []more                 // what few credentials have
	places [1 << placeBits]uint16 // where the rows of each place begin; not kept with more rows than fit the type
}

// row is one credential, 48 bytes.
type row struct {
	key    key
	id     ref
	user   ref
	device ref
	bits   uint32 // flags, and the day of last use or, with rowMore, the index into more
}

const (
	rowInactive = 1 << 31
	rowIdles    = 1 << 30
	rowMore     = 1 << 29
	rowDay      = 1<<24 - 1 // days since 1970 that fit: until the year 47903
)

// more is what does not fit into a row.
type more struct {
	from, until int64
	day         int32
}

// credential is one row of the table, unpacked.
type credential struct {
	key      key
	id       ref
	user     ref
	device   ref
	inactive bool
	idles    bool
	more
}

func newCredential(names *refs, c access.PolicyCredential) credential {
	return credential{
		key: newKey(&c.Lookup), id: names.ref(c.ID), user: names.ref(c.UserID), device: names.ref(c.DeviceID),
		inactive: c.Inactive, idles: c.IdleExpires, more: more{from: c.ValidFrom, until: c.ValidUntil, day: c.LastUsedDay},
	}
}

// shardOf is the number of the shard for a tag.
func (t *credentials) shardOf(tag uint32) int { return int(tag >> (32 - t.bits)) }

// find returns the credential with this lookup, nil if there is none.
func (t *credentials) find(l *access.Lookup) (*shard, *row) {
	if t.n == 0 {
		return nil, nil
	}
	k := newKey(l)
	sh := &t.shards[t.shardOf(k.tag())]
	rows := sh.rows
	at := sh.near(k[0] << t.bits)
	for range 64 {
		switch {
		case at < 0 || at >= len(rows):
			return nil, nil
		case rows[at].key == k:
			return sh, &rows[at]
		case rows[at].key[0] < k[0]:
			at++
			if at < len(rows) && rows[at].key[0] > k[0] {
				return nil, nil
			}
			continue
		case rows[at].key[0] > k[0]:
			at--
			if at >= 0 && rows[at].key[0] < k[0] {
				return nil, nil
			}
			continue
		}
		break // two lookups that share eight bytes
	}
	for at = sh.first(k[0]); at < len(rows) && rows[at].key[0] == k[0]; at++ {
		if rows[at].key == k {
			return sh, &rows[at]
		}
	}
	return nil, nil
}

// near is the index where a lookup would stand if the rows of its place were spread quite evenly. inside is how the lookup begins
// after the bits that chose the shard.
func (sh *shard) near(inside uint64) int {
	if len(sh.rows) > math.MaxUint16 {
		return len(sh.rows) / 2
	}
	p := inside >> (64 - placeBits)
	from, to := int(sh.places[p]), len(sh.rows)
	if p < placeMask {
		to = int(sh.places[p+1])
	}
	return from + int(inside<<placeBits>>32*uint64(to-from)>>32)
}

// place fills in places. The rows must be in order.
func (sh *shard) place(bits uint8) {
	if len(sh.rows) > math.MaxUint16 {
		return
	}
	at := 0
	for p := range sh.places {
		for at < len(sh.rows) && int(sh.rows[at].key[0]<<bits>>(64-placeBits)) < p {
			at++
		}
		sh.places[p] = uint16(at)
	}
}

// first is the index of the first row that is not below one whose lookup begins so.
func (sh *shard) first(begin uint64) int {
	return sort.Search(len(sh.rows), func(i int) bool { return sh.rows[i].key[0] >= begin })
}

// moreOf returns what r has beside its row.
func (sh *shard) moreOf(r *row) more {
	if r.bits&rowMore == 0 {
		return more{day: int32(r.bits & rowDay)}
	}
	return sh.more[r.bits&rowDay]
}

func (sh *shard) unpack(i int) credential {
	r := &sh.rows[i]
	return credential{
		key: r.key, id: r.id, user: r.user, device: r.device,
		inactive: r.bits&rowInactive != 0, idles: r.bits&rowIdles != 0, more: sh.moreOf(r),
	}
}

// add appends c; order is the caller's business.
func (sh *shard) add(c credential) {
	r := row{key: c.key, id: c.id, user: c.user, device: c.device}
	if c.inactive {
		r.bits |= rowInactive
	}
	if c.idles {
		r.bits |= rowIdles
	}
	if c.from == 0 && c.until == 0 && c.day >= 0 && c.day <= rowDay {
		r.bits |= uint32(c.day)
	} else {
		r.bits |= rowMore | uint32(len(sh.more))
		sh.more = append(sh.more, c.more)
	}
	sh.rows = append(sh.rows, r)
}

func newShard(n int) shard { return shard{rows: make([]row, 0, n)} }

// order is how credentials stand in a shard.
func order(a, b *key, aID, bID ref) int {
	for i := range a {
		if a[i] != b[i] {
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(aID, bID)
}

// shardBits chooses the number of shards for n credentials.
func shardBits(n int) uint8 {
	bits := uint8(0)
	for bits < 24 && n>>bits > shardSize {
		bits++
	}
	return bits
}

// newCredentials builds the table from blocks of credentials in any order. It lets go of each block as soon as it can.
func newCredentials(blocks []*shard) credentials {
	n := 0
	for _, b := range blocks {
		n += len(b.rows)
	}
	t := credentials{bits: shardBits(n), n: n}
	t.shards = make([]shard, 1<<t.bits)
	sizes := make([]int, len(t.shards))
	byID := make([]uint64, 0, n)
	for _, b := range blocks {
		for i := range b.rows {
			r := &b.rows[i]
			sizes[t.shardOf(r.key.tag())]++
			byID = append(byID, uint64(r.id)<<32|uint64(r.key.tag()))
		}
	}
	if !slices.IsSorted(byID) {
		slices.Sort(byID)
	}
	t.byID = newSorted(byID)
	for i, size := range sizes {
		t.shards[i] = newShard(size)
	}
	for k, b := range blocks {
		for i := range b.rows {
			t.shards[t.shardOf(b.rows[i].key.tag())].add(b.unpack(i))
		}
		blocks[k] = nil
	}
	for i := range t.shards {
		sh := &t.shards[i]
		slices.SortFunc(sh.rows, func(a, b row) int { return order(&a.key, &b.key, a.id, b.id) })
		sh.more = exactly(sh.more)
		sh.place(t.bits)
	}
	return t
}

// credentialEdit is what happens to one shard.
type credentialEdit struct {
	drop []ref
	add  []credential
}

// edit returns t without the credentials drop names and with add, whose ids are replaced where t has them.
func (t *credentials) edit(drop []ref, add []credential) credentials {
	if len(drop) == 0 && len(add) == 0 {
		return *t
	}
	if len(t.shards) == 0 {
		t = &credentials{shards: make([]shard, 1)}
	}
	out := *t
	edits := make(map[int]*credentialEdit) // by number of the shard
	at := func(tag uint32) *credentialEdit {
		i := t.shardOf(tag)
		if edits[i] == nil {
			edits[i] = &credentialEdit{}
		}
		return edits[i]
	}
	var outIDs, inIDs []uint64
	remove := func(id ref) {
		if entry, ok := t.byID.from(uint64(id) << 32); ok && ref(entry>>32) == id {
			outIDs = append(outIDs, entry)
			e := at(uint32(entry))
			e.drop = append(e.drop, id)
		}
	}
	for _, id := range drop {
		remove(id)
	}
	for i := range add {
		remove(add[i].id)
		inIDs = append(inIDs, uint64(add[i].id)<<32|uint64(add[i].key.tag()))
		e := at(add[i].key.tag())
		e.add = append(e.add, add[i])
	}
	out.shards = slices.Clone(t.shards)
	for i, e := range edits {
		sh := &out.shards[i]
		before := len(sh.rows)
		*sh = sh.edit(e, out.bits)
		out.n += len(sh.rows) - before
	}
	slices.Sort(outIDs)
	slices.Sort(inIDs)
	out.byID = t.byID.edit(outIDs, inIDs)
	if out.n > shardMost<<out.bits { // a site that grew: choose the number of shards anew
		blocks := make([]*shard, len(out.shards))
		for i := range blocks {
			blocks[i] = &out.shards[i]
		}
		return newCredentials(blocks)
	}
	return out
}

// edit returns sh with e done to it.
func (sh *shard) edit(e *credentialEdit, bits uint8) shard {
	slices.Sort(e.drop)
	slices.SortFunc(e.add, func(a, b credential) int { return order(&a.key, &b.key, a.id, b.id) })
	out := newShard(len(sh.rows) + len(e.add))
	add := e.add
	for i := range sh.rows {
		if _, dropped := slices.BinarySearch(e.drop, sh.rows[i].id); dropped {
			continue
		}
		c := sh.unpack(i)
		for len(add) > 0 && order(&add[0].key, &c.key, add[0].id, c.id) < 0 {
			out.add(add[0])
			add = add[1:]
		}
		out.add(c)
	}
	for _, c := range add {
		out.add(c)
	}
	if cap(out.rows) > len(out.rows) {
		out.rows = exactly(out.rows)
	}
	out.more = exactly(out.more)
	out.place(bits)
	return out
}

// byRef finds a credential by its own name.
func (t *credentials) byRef(id ref) (credential, bool) {
	entry, ok := t.byID.from(uint64(id) << 32)
	if !ok || ref(entry>>32) != id {
		return credential{}, false
	}
	sh := &t.shards[t.shardOf(uint32(entry))]
	for i := sh.first(entry << 32); i < len(sh.rows); i++ {
		if sh.rows[i].id == id {
			return sh.unpack(i), true
		}
	}
	return credential{}, false
}

func (t *credentials) bytes() int64 {
	n := cap(t.shards) * int(unsafe.Sizeof(shard{}))
	for i := range t.shards {
		n += cap(t.shards[i].rows)*int(unsafe.Sizeof(row{})) + cap(t.shards[i].more)*int(unsafe.Sizeof(more{}))
	}
	return int64(n) + t.byID.bytes()
}
