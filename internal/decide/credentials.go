package decide

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"unsafe"

	"github.com/openway-access/openway/internal/access"
)

// credentials is an immutable table of credentials by lookup, in 2^bits shards. The upper bits of the lookup choose the shard and,
// because digests are spread evenly, tell nearly where in it an entry stands: there is no index beside the entries.
// Digests that are not spread evenly (nobody can make many) are found all the same, only slower.
type credentials struct {
	bits   uint8
	shards []shard
	byID   sorted // ref<<32 | the first four bytes of the lookup
	n      int
}

const (
	shardSize = 512  // entries a shard, at most, when the number of shards is chosen
	shardMost = 2048 // on average, when it is chosen anew
)

// shard holds its credentials ordered by lookup, then id.
type shard struct {
	tags []uint32 // the first four bytes of the lookup, big-endian
	rows []row
	more []more // what few credentials have
}

// row is one credential, 44 bytes beside its tag.
type row struct {
	rest   [28]byte // of the lookup
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
	tag      uint32
	rest     [28]byte
	id       ref
	user     ref
	device   ref
	inactive bool
	idles    bool
	more
}

func newCredential(names *refs, c access.PolicyCredential) credential {
	out := credential{
		tag: tagOf(&c.Lookup), id: names.ref(c.ID), user: names.ref(c.UserID), device: names.ref(c.DeviceID),
		inactive: c.Inactive, idles: c.IdleExpires, more: more{from: c.ValidFrom, until: c.ValidUntil, day: c.LastUsedDay},
	}
	copy(out.rest[:], c.Lookup[4:])
	return out
}

func tagOf(l *access.Lookup) uint32 { return binary.BigEndian.Uint32(l[:4]) }

// shardOf is the number of the shard for a tag.
func (t *credentials) shardOf(tag uint32) int { return int(tag >> (32 - t.bits)) }

// find returns the credential with this lookup, nil if there is none.
func (t *credentials) find(l *access.Lookup) (*shard, *row) {
	if len(t.shards) == 0 {
		return nil, nil
	}
	tag := tagOf(l)
	sh := &t.shards[t.shardOf(tag)]
	rest := (*[28]byte)(l[4:])
	for i := sh.first(tag, t.bits); i < len(sh.tags) && sh.tags[i] == tag; i++ {
		if sh.rows[i].rest == *rest {
			return sh, &sh.rows[i]
		}
	}
	return nil, nil
}

// first is the index of the first entry whose tag is not below tag.
func (sh *shard) first(tag uint32, bits uint8) int {
	n := len(sh.tags)
	i := int(uint64(tag<<bits) * uint64(n) >> 32)
	for tries := 0; tries < 64; tries++ { // a few steps nearly always
		switch {
		case i < n && sh.tags[i] < tag:
			i++
		case i > 0 && sh.tags[i-1] >= tag:
			i--
		default:
			return i
		}
	}
	i, _ = slices.BinarySearch(sh.tags, tag)
	return i
}

// more returns what r has beside its row.
func (sh *shard) moreOf(r *row) more {
	if r.bits&rowMore == 0 {
		return more{day: int32(r.bits & rowDay)}
	}
	return sh.more[r.bits&rowDay]
}

func (sh *shard) unpack(i int) credential {
	r := &sh.rows[i]
	return credential{
		tag: sh.tags[i], rest: r.rest, id: r.id, user: r.user, device: r.device,
		inactive: r.bits&rowInactive != 0, idles: r.bits&rowIdles != 0, more: sh.moreOf(r),
	}
}

// add appends c; order is the caller's business.
func (sh *shard) add(c credential) {
	r := row{rest: c.rest, id: c.id, user: c.user, device: c.device}
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
	sh.tags = append(sh.tags, c.tag)
	sh.rows = append(sh.rows, r)
}

// trimmed is sh without spare room.
func (sh *shard) trimmed() shard {
	if cap(sh.rows) > len(sh.rows) {
		sh.tags, sh.rows = exactly(sh.tags), exactly(sh.rows)
	}
	sh.more = exactly(sh.more)
	return *sh
}

func newShard(n int) *shard {
	return &shard{tags: make([]uint32, 0, n), rows: make([]row, 0, n)}
}

// order is how credentials stand in a shard.
func order(a, b *credential) int {
	if c := cmp.Compare(a.tag, b.tag); c != 0 {
		return c
	}
	if c := bytes.Compare(a.rest[:], b.rest[:]); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// shardBits chooses the number of shards for n credentials.
func shardBits(n int) uint8 {
	bits := uint8(0)
	for bits < 24 && n>>bits > shardSize {
		bits++
	}
	return bits
}

// newCredentials builds the table from blocks of credentials in any order. It takes the blocks apart.
func newCredentials(blocks []*shard) credentials {
	n := 0
	for _, b := range blocks {
		n += len(b.tags)
	}
	t := credentials{bits: shardBits(n), n: n}
	t.shards = make([]shard, 1<<t.bits)
	sizes := make([]int, len(t.shards))
	byID := make([]uint64, 0, n)
	for _, b := range blocks {
		for i, tag := range b.tags {
			sizes[t.shardOf(tag)]++
			byID = append(byID, uint64(b.rows[i].id)<<32|uint64(tag))
		}
	}
	if !slices.IsSorted(byID) {
		slices.Sort(byID)
	}
	t.byID = newSorted(byID)
	byID = nil
	for i, size := range sizes {
		t.shards[i] = *newShard(size)
	}
	for k, b := range blocks {
		for i, tag := range b.tags {
			t.shards[t.shardOf(tag)].add(b.unpack(i))
		}
		blocks[k] = nil // so that its memory can go while the table grows
	}
	var scratch shard
	for i := range t.shards {
		t.shards[i].sort(&scratch)
	}
	return t
}

// sort orders sh's entries. scratch is overwritten.
func (sh *shard) sort(scratch *shard) {
	places := make([]uint64, len(sh.tags))
	for i, tag := range sh.tags {
		places[i] = uint64(tag)<<32 | uint64(i)
	}
	slices.Sort(places)
	scratch.rows = append(scratch.rows[:0], sh.rows...)
	for i, p := range places {
		sh.tags[i] = uint32(p >> 32)
		sh.rows[i] = scratch.rows[uint32(p)]
	}
	for i := 1; i < len(sh.tags); i++ { // equal tags are rare: an insertion sort of their rows
		for k := i; k > 0 && sh.tags[k] == sh.tags[k-1] && orderRows(&sh.rows[k], &sh.rows[k-1]) < 0; k-- {
			sh.rows[k], sh.rows[k-1] = sh.rows[k-1], sh.rows[k]
		}
	}
	sh.more = exactly(sh.more)
}

func orderRows(a, b *row) int {
	if c := bytes.Compare(a.rest[:], b.rest[:]); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
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
	out := *t
	if len(out.shards) == 0 {
		out.shards = make([]shard, 1)
	} else {
		out.shards = slices.Clone(t.shards)
	}
	edits := make(map[int]*credentialEdit)
	at := func(tag uint32) *credentialEdit {
		i := out.shardOf(tag)
		if edits[i] == nil {
			edits[i] = &credentialEdit{}
		}
		return edits[i]
	}
	var outIDs, inIDs []uint64
	remove := func(id ref) {
		if key, ok := t.byID.from(uint64(id) << 32); ok && ref(key>>32) == id {
			outIDs = append(outIDs, key)
			e := at(uint32(key))
			e.drop = append(e.drop, id)
		}
	}
	for _, id := range drop {
		remove(id)
	}
	for i := range add {
		remove(add[i].id)
		inIDs = append(inIDs, uint64(add[i].id)<<32|uint64(add[i].tag))
		e := at(add[i].tag)
		e.add = append(e.add, add[i])
	}
	for _, i := range slices.Sorted(maps.Keys(edits)) {
		before := len(out.shards[i].tags)
		out.shards[i] = out.shards[i].edit(edits[i])
		out.n += len(out.shards[i].tags) - before
	}
	slices.Sort(outIDs)
	slices.Sort(inIDs)
	out.byID = t.byID.edit(outIDs, inIDs)
	if out.n > len(out.shards)*shardMost { // a site that grew from nothing: choose the number of shards anew
		blocks := make([]*shard, len(out.shards))
		for i := range out.shards {
			blocks[i] = &out.shards[i]
		}
		return newCredentials(blocks)
	}
	return out
}

// edit returns sh with e done to it.
func (sh *shard) edit(e *credentialEdit) shard {
	slices.Sort(e.drop)
	slices.SortFunc(e.add, func(a, b credential) int { return order(&a, &b) })
	out := newShard(len(sh.tags) + len(e.add))
	add := e.add
	for i := range sh.tags {
		if _, dropped := slices.BinarySearch(e.drop, sh.rows[i].id); dropped {
			continue
		}
		c := sh.unpack(i)
		for len(add) > 0 && order(&add[0], &c) < 0 {
			out.add(add[0])
			add = add[1:]
		}
		out.add(c)
	}
	for _, c := range add {
		out.add(c)
	}
	return out.trimmed()
}

// byRef finds a credential by its own name.
func (t *credentials) byRef(id ref) (credential, bool) {
	key, ok := t.byID.from(uint64(id) << 32)
	if !ok || ref(key>>32) != id {
		return credential{}, false
	}
	tag := uint32(key)
	sh := &t.shards[t.shardOf(tag)]
	for i := sh.first(tag, t.bits); i < len(sh.tags) && sh.tags[i] == tag; i++ {
		if sh.rows[i].id == id {
			return sh.unpack(i), true
		}
	}
	return credential{}, false
}

func (t *credentials) bytes() int64 {
	n := cap(t.shards) * int(unsafe.Sizeof(shard{}))
	for i := range t.shards {
		sh := &t.shards[i]
		n += cap(sh.tags)*4 + cap(sh.rows)*int(unsafe.Sizeof(row{})) + cap(sh.more)*int(unsafe.Sizeof(more{}))
	}
	return int64(n) + t.byID.bytes()
}
