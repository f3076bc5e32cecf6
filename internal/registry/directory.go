package registry

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// directory holds the names of all living users, gates and groups in memory, so that any part of any name is found in a few milliseconds
// on both engines alike (ADR 10). It is read at the first search, and brought up to date before each one from the audit, as
// replicas bring their policy up to date.
type directory struct {
	current atomic.Pointer[names]
	turn    sync.Mutex // who brings current up to date
}

// names is an immutable state of the directory.
type names struct {
	mark  access.PolicyMark
	kinds map[string]nameTable
}

// nameTable holds the names of one kind of object, in blocks by id.
type nameTable []*nameBlock

// nameBlock holds neighbours: for each its texts without case, each begun and the last ended by a line break, all in one piece, because that is
// searched as fast as memory is read.
type nameBlock struct {
	ids  []int64
	off  []bool
	ends []uint32
	text []byte
}

// blockNames is how many names a block is filled with.
const blockNames = 512

// directoryKinds are the kinds of object that are in it.
var directoryKinds = [...]string{access.ObjectUser, access.ObjectGate, access.ObjectGroup}

// names returns the directory as of now.
func (r *Registry) names(ctx context.Context) (*names, error) {
	d := &r.directory
	mark, err := r.store.PolicyMark(ctx)
	if err != nil {
		return nil, err
	}
	if n := d.current.Load(); n != nil && n.mark == mark {
		return n, nil
	}
	d.turn.Lock()
	defer d.turn.Unlock()
	was := d.current.Load()
	n, err := reading(ctx, r, func(tx *store.Tx) (*names, error) { return was.updated(tx) })
	if err != nil {
		return nil, fmt.Errorf("read the directory of names: %w", err)
	}
	d.current.Store(n)
	return n, nil
}

// updated is n as of the transaction's snapshot. n may be nil.
func (n *names) updated(tx *store.Tx) (*names, error) {
	out := &names{mark: tx.Mark, kinds: make(map[string]nameTable, len(directoryKinds))}
	var changed map[string][]int64
	whole := false
	if n != nil {
		var err error
		if changed, whole, err = tx.ChangedSince(n.mark); err != nil {
			return nil, err
		}
	}
	for _, kind := range directoryKinds {
		if !whole {
			var fill blockFiller
			if err := tx.EachName(kind, nil, true, fill.add); err != nil {
				return nil, err
			}
			out.kinds[kind] = fill.done()
			continue
		}
		out.kinds[kind] = n.kinds[kind]
		if ids := changed[kind]; len(ids) > 0 {
			var fill blockFiller
			if err := tx.EachName(kind, ids, false, fill.add); err != nil {
				return nil, err
			}
			out.kinds[kind] = n.kinds[kind].with(ids, fill.done())
		}
	}
	return out, nil
}

// blockFiller makes blocks of rows that come in order of ids.
type blockFiller struct {
	blocks nameTable
	block  *nameBlock
}

func (f *blockFiller) add(row store.NameRow) {
	b := f.next(row.ID, row.Off)
	for _, t := range row.Texts {
		if t = strings.TrimSpace(t); t != "" {
			b.text = append(b.text, '\n')
			b.text = append(b.text, access.Fold(strings.ReplaceAll(t, "\n", " "))...)
		}
	}
	b.text = append(b.text, '\n')
	b.ends = append(b.ends, uint32(len(b.text)))
}

// copy adds the i-th name of another block.
func (f *blockFiller) copy(from *nameBlock, i int) {
	b := f.next(from.ids[i], from.off[i])
	b.text = append(b.text, from.entry(i)...)
	b.ends = append(b.ends, uint32(len(b.text)))
}

func (f *blockFiller) next(id int64, off bool) *nameBlock {
	if f.block == nil || len(f.block.ids) == blockNames {
		f.close()
		f.block = &nameBlock{}
	}
	f.block.ids, f.block.off = append(f.block.ids, id), append(f.block.off, off)
	return f.block
}

// close puts the block at hand away, without room to spare.
func (f *blockFiller) close() {
	if b := f.block; b != nil {
		f.blocks = append(f.blocks, &nameBlock{ids: slices.Clip(b.ids), off: slices.Clip(b.off), ends: slices.Clip(b.ends), text: bytes.Clone(b.text)})
	}
	f.block = nil
}

func (f *blockFiller) done() nameTable {
	f.close()
	return f.blocks
}

func (b *nameBlock) entry(i int) []byte {
	begin := uint32(0)
	if i > 0 {
		begin = b.ends[i-1]
	}
	return b.text[begin:b.ends[i]]
}

// with is t where changed ids are gone, but for those in fresh. Blocks without any of them are shared with t.
func (t nameTable) with(changed []int64, fresh nameTable) nameTable {
	changed = slices.Sorted(slices.Values(changed))
	var out nameTable
	var fill blockFiller
	type place struct {
		b *nameBlock
		i int
	}
	var come []place
	for _, b := range fresh {
		for i := range b.ids {
			come = append(come, place{b, i})
		}
	}
	rest := changed
	for k, b := range t {
		// The ids up to where the next block begins belong to this one.
		n := len(rest)
		if k+1 < len(t) {
			n, _ = slices.BinarySearch(rest, t[k+1].ids[0])
		}
		if n == 0 {
			out = append(out, b)
			continue
		}
		mine := rest[:n]
		rest = rest[n:]
		for i, id := range b.ids {
			for len(come) > 0 && come[0].b.ids[come[0].i] < id {
				fill.copy(come[0].b, come[0].i)
				come = come[1:]
			}
			if _, gone := slices.BinarySearch(mine, id); !gone {
				fill.copy(b, i)
			}
		}
		for len(come) > 0 && (k+1 == len(t) || come[0].b.ids[come[0].i] < t[k+1].ids[0]) {
			fill.copy(come[0].b, come[0].i)
			come = come[1:]
		}
		fill.close()
		out, fill.blocks = append(out, fill.blocks...), nil
	}
	for _, p := range come { // t was empty
		fill.copy(p.b, p.i)
	}
	return append(out, fill.done()...)
}

// How well a name fits what is looked for: the first word begins one of its texts, begins a word, or stands somewhere.
const (
	fitsBegin = iota
	fitsWord
	fitsPart
	fitsEnd
)

// place is where a list of found names stands: fit, then id.
type place struct {
	fit int
	id  int64
}

func (p place) String() string { return fmt.Sprintf("%d.%d", p.fit, p.id) }

// parsePlace reads what String wrote; "" is the beginning.
func parsePlace(s string) (p place, err error) {
	if s == "" {
		return p, nil
	}
	var rest string
	if n, _ := fmt.Sscanf(s, "%d.%d%s", &p.fit, &p.id, &rest); n != 2 || p.fit < 0 || p.fit >= fitsEnd || p.id < 0 {
		return place{}, access.Invalid{{Field: "after", Code: access.CodeOther, Text: "is not the place of a page; go back to the first one"}}
	}
	return p, nil
}

// search yields the places of names that hold every word of query, from the best to the worst and by id among equals, after a place, until
// yield says no. Each step reads on through memory as far as it takes.
func (t nameTable) search(query string, after place, yield func(p place, off bool) bool) {
	words := foldedWords(query)
	if len(words) == 0 {
		t.scan(after.id, nil, func(b *nameBlock, i, _ int) bool { return yield(place{fitsBegin, b.ids[i]}, b.off[i]) })
		return
	}
	first := []byte(words[0])
	for fit := after.fit; fit < fitsEnd; fit++ {
		needle, from := first, int64(0)
		if fit == fitsBegin {
			needle = append([]byte{'\n'}, first...)
		}
		if fit == after.fit {
			from = after.id
		}
		going := t.scan(from, needle, func(b *nameBlock, i, _ int) bool {
			entry := b.entry(i)
			if fit != fitsBegin && fitOf(entry, first) != fit {
				return true
			}
			for _, w := range words[1:] {
				if !bytes.Contains(entry, []byte(w)) {
					return true
				}
			}
			return yield(place{fit, b.ids[i]}, b.off[i])
		})
		if !going {
			return
		}
	}
}

// scan calls found for each name after an id that holds needle (nil: for each), once, until found says no.
func (t nameTable) scan(after int64, needle []byte, found func(b *nameBlock, i, at int) bool) (going bool) {
	k := sort.Search(len(t), func(k int) bool { return t[k].ids[len(t[k].ids)-1] > after })
	for _, b := range t[k:] {
		i := sort.Search(len(b.ids), func(i int) bool { return b.ids[i] > after })
		pos := 0
		if i > 0 {
			pos = int(b.ends[i-1])
		}
		for i < len(b.ids) {
			if needle != nil {
				at := bytes.Index(b.text[pos:], needle)
				if at < 0 {
					break
				}
				pos += at
				i += sort.Search(len(b.ends)-i, func(k int) bool { return int(b.ends[i+k]) > pos })
			}
			if !found(b, i, pos) {
				return false
			}
			pos = int(b.ends[i])
			i++
		}
	}
	return true
}

// fitOf is how well an entry fits a word that is in it.
func fitOf(entry, word []byte) int {
	best := fitsPart
	for pos := 0; ; {
		at := bytes.Index(entry[pos:], word)
		if at < 0 {
			return best
		}
		pos += at
		switch entry[pos-1] {
		case '\n':
			return fitsBegin
		case ' ', '.', '-', '_', '@', '+', '/', '(', '\'':
			best = fitsWord
		}
		pos++
	}
}

// foldedWords splits a search at white space into words without case.
func foldedWords(query string) []string { return strings.Fields(access.Fold(query)) }
