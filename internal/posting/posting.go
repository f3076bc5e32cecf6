// Package posting packs which ids bear which keys, so that the ids of a key can be found again, newest first, without reading the
// others. It is what the index over the event log is made of: a posting is one (key, id), and postings in the order
// of key, then id, are cut into chunks of about a database page.
//
// It is pure and imports nothing of this module. Keys and ids are at least 0.
package posting

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
)

// chunkSize is how long a chunk's body may become, in bytes: with the rest of its row it just fits a database page of 4 KiB.
const chunkSize = 3900

// runHead is at least what the numbers before a run's deltas take.
const runHead = 40

// Posting says that an id bears a key.
type Posting struct{ Key, ID int64 }

// Compare orders postings by key, then id.
func (p Posting) Compare(q Posting) int {
	if c := cmp.Compare(p.Key, q.Key); c != 0 {
		return c
	}
	return cmp.Compare(p.ID, q.ID)
}

// Run is postings of one key: ids that ascend.
type Run struct {
	Key         int64
	First, Last int64 // ids
	Count       int
	deltas      []byte // uvarints: what each id after the first is above the one before
}

// Chunk is a stretch of postings. It begins with Start; Body holds them all.
type Chunk struct {
	Start Posting
	Body  []byte
}

// A body is one run after another, each of them: key - key before (uvarint; the first is Start's), count (uvarint), first - Start.ID
// (varint), and when count > 1: last - first (uvarint), length of the deltas (uvarint), deltas.

// Packer cuts runs into chunks. Runs are added in the order of their postings.
type Packer struct {
	chunks []Chunk
	open   Chunk // Body has the runs before run
	key    int64 // of the last run in open
	run    Run   // the last one, which may still grow
	size   int   // of the bodies in chunks
}

// Add adds a run, which begins after all that were added before. It keeps nothing of r's memory.
func (p *Packer) Add(r Run) {
	if p.run.Count > 0 && p.run.Key == r.Key && len(p.open.Body)+len(p.run.deltas)+len(r.deltas)+runHead <= chunkSize {
		p.run.deltas = binary.AppendUvarint(p.run.deltas, uint64(r.First-p.run.Last))
		p.run.deltas = append(p.run.deltas, r.deltas...)
		p.run.Last, p.run.Count = r.Last, p.run.Count+r.Count
		return
	}
	p.settle()
	p.run = Run{Key: r.Key, First: r.First, Last: r.Last, Count: r.Count, deltas: append(p.run.deltas[:0], r.deltas...)}
}

// settle writes the run at hand into a chunk.
func (p *Packer) settle() {
	r := &p.run
	if r.Count == 0 {
		return
	}
	if len(p.open.Body) > 0 && len(p.open.Body)+len(r.deltas)+runHead > chunkSize {
		p.cut()
	}
	if len(p.open.Body) == 0 {
		p.open = Chunk{Start: Posting{r.Key, r.First}, Body: make([]byte, 0, chunkSize+runHead)}
		p.key = r.Key
	}
	b := binary.AppendUvarint(p.open.Body, uint64(r.Key-p.key))
	b = binary.AppendUvarint(b, uint64(r.Count))
	b = binary.AppendVarint(b, r.First-p.open.Start.ID)
	if r.Count > 1 {
		b = binary.AppendUvarint(b, uint64(r.Last-r.First))
		b = binary.AppendUvarint(b, uint64(len(r.deltas)))
		b = append(b, r.deltas...)
	}
	p.open.Body, p.key = b, r.Key
	r.Count, r.deltas = 0, r.deltas[:0]
}

func (p *Packer) cut() {
	if len(p.open.Body) > 0 {
		p.chunks = append(p.chunks, p.open)
		p.size += len(p.open.Body)
		p.open = Chunk{}
	}
}

// Size is about how many bytes the chunks take by now.
func (p *Packer) Size() int { return p.size + len(p.open.Body) + len(p.run.deltas) }

// Chunks ends the packing and returns what came of it.
func (p *Packer) Chunks() []Chunk {
	p.settle()
	p.cut()
	return p.chunks
}

// Pack sorts postings and packs them. No posting may be there twice.
func Pack(all []Posting) []Chunk {
	slices.SortFunc(all, Posting.Compare)
	var p Packer
	for _, one := range all {
		p.Add(Run{Key: one.Key, First: one.ID, Last: one.ID, Count: 1})
	}
	return p.Chunks()
}

// errCorrupt: a body is not what a Packer made.
var errCorrupt = errors.New("a chunk of the event index is corrupt")

// Runs appends the runs of a chunk to runs. They share its memory.
func (c Chunk) Runs(runs []Run) ([]Run, error) {
	err := c.each(func(r Run) bool { runs = append(runs, r); return true })
	return runs, err
}

// each calls yield for each run until that says false.
func (c Chunk) each(yield func(Run) bool) error {
	b, key, bad := c.Body, c.Start.Key, false
	number := func() int64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || int64(v) < 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return int64(v)
	}
	for len(b) > 0 {
		key += number()
		r := Run{Key: key, Count: int(number())}
		v, n := binary.Varint(b)
		if bad || n <= 0 || r.Count == 0 {
			return errCorrupt
		}
		b = b[n:]
		r.First = c.Start.ID + v
		r.Last = r.First
		if r.Count > 1 {
			r.Last += number()
			n := number()
			if bad || n > int64(len(b)) {
				return errCorrupt
			}
			r.deltas, b = b[:n:n], b[n:]
		}
		if !yield(r) {
			return nil
		}
	}
	return nil
}

// IDs appends the ids of a key that are at most a given one to ids, in ascending order.
func (c Chunk) IDs(ids []int64, key, most int64) ([]int64, error) {
	var bad error
	err := c.each(func(r Run) bool {
		if r.Key != key || r.First > most {
			return r.Key < key
		}
		ids, bad = r.appendIDs(ids, most)
		return bad == nil
	})
	return ids, errors.Join(err, bad)
}

func (r Run) appendIDs(ids []int64, most int64) ([]int64, error) {
	id, b := r.First, r.deltas
	for i := 0; ; i++ {
		if id > most {
			return ids, nil
		}
		ids = append(ids, id)
		if i == r.Count-1 {
			return ids, nil
		}
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return ids, errCorrupt
		}
		id, b = id+int64(v), b[n:]
	}
}
