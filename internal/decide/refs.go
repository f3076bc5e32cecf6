package decide

import (
	"math"
	"sync"
)

// A ref is a 32-bit name for a 64-bit id, so that a million objects cost half as much. Ids below 2^31 name themselves (no database
// that counts from 1 ever leaves them); greater ones are numbered in the order in which they are met. Refs below bigRef order
// like their ids. Ids are positive; 0 is nobody.
type ref = uint32

const bigRef ref = 1 << 31

// refs numbers the great ids. One serves all snapshots that descend from one Builder: a number, once given, stays, also when its
// object is gone (compiling anew starts afresh).
type refs struct {
	mu     sync.Mutex
	number map[int64]ref
	ids    []int64 // by number; only ever appended to
}

// ref names id, which may be new.
func (r *refs) ref(id int64) ref {
	if id >= 0 && id < int64(bigRef) {
		return ref(id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := r.number[id]; ok {
		return n
	}
	if len(r.ids) > math.MaxInt32 {
		panic("decide: more than 2^31 ids above 2^31") // they alone would fill 16 GB
	}
	if r.number == nil {
		r.number = make(map[int64]ref)
	}
	n := bigRef | ref(len(r.ids))
	r.ids = append(r.ids, id)
	r.number[id] = n
	return n
}

// great returns the ids behind the refs from bigRef on, as far as they are given now. What is in it never changes.
func (r *refs) great() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids[:len(r.ids):len(r.ids)]
}

// id is the id that r names.
func (s *Snapshot) id(r ref) int64 {
	if r < bigRef {
		return int64(r)
	}
	return s.great[r&^bigRef]
}
