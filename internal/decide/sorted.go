package decide

import (
	"slices"
	"unsafe"
)

// A leaf is the unit that is copied when something changes. Compiling fills leaves with leafSize entries; one that outgrows leafMost is cut.
// Leaves have no spare room: their entries are exactly what they were allocated for.
const (
	leafSize = 512
	leafMost = 1024
)

// sorted is an immutable ascending sequence of distinct numbers, each a key in its upper 32 bits and what belongs to it in the lower.
// It is a plain slice until it outgrows a leaf. The zero value is empty.
type sorted struct {
	keys []uint64
	tree *leaves // instead of keys
}

type leaves struct {
	firsts []uint64   // the first entry of each leaf
	leaf   [][]uint64 // none is empty
}

// newSorted keeps a copy of keys, which must be ascending and distinct.
func newSorted(keys []uint64) sorted {
	if len(keys) <= leafMost {
		return sorted{keys: exactly(keys)}
	}
	t := &leaves{}
	t.add(keys, leafSize)
	return sorted{tree: t}
}

// add appends keys, cut evenly into leaves of at most size.
func (t *leaves) add(keys []uint64, size int) {
	for parts := (len(keys) + size - 1) / size; parts > 0; parts-- {
		n := len(keys) / parts
		t.firsts = append(t.firsts, keys[0])
		t.leaf = append(t.leaf, exactly(keys[:n]))
		keys = keys[n:]
	}
}

func exactly[E any](in []E) []E {
	if len(in) == 0 {
		return nil
	}
	out := make([]E, len(in))
	copy(out, in)
	return out
}

// from returns the first entry that is not below key.
func (s *sorted) from(key uint64) (entry uint64, ok bool) {
	keys := s.keys
	if t := s.tree; t != nil {
		i := floor(t.firsts, key, guess(t.firsts, key))
		if i < 0 {
			return t.firsts[0], true
		}
		keys = t.leaf[i]
		if key > keys[len(keys)-1] {
			if i+1 == len(t.leaf) {
				return 0, false
			}
			return t.firsts[i+1], true
		}
	}
	i := floor(keys, key, guess(keys, key))
	if i >= 0 && keys[i] == key {
		return key, true
	}
	if i+1 < len(keys) {
		return keys[i+1], true
	}
	return 0, false
}

// blocks calls yield with each leaf in turn.
func (s sorted) blocks(yield func([]uint64) bool) {
	if s.tree == nil {
		if len(s.keys) > 0 {
			yield(s.keys)
		}
		return
	}
	for _, leaf := range s.tree.leaf {
		if !yield(leaf) {
			return
		}
	}
}

func (s sorted) len() int {
	n := 0
	for leaf := range s.blocks {
		n += len(leaf)
	}
	return n
}

// bytes is what s occupies, not counting the struct itself.
func (s sorted) bytes() int64 {
	n := 0
	if s.tree != nil {
		n = int(unsafe.Sizeof(leaves{})) + cap(s.tree.firsts)*8 + cap(s.tree.leaf)*int(unsafe.Sizeof([]uint64{}))
	}
	for leaf := range s.blocks {
		n += cap(leaf) * 8
	}
	return int64(n)
}

// edit returns s without the entries of remove and with those of add, both ascending. An entry in both stays.
// Leaves that nothing falls into are shared with s.
func (s sorted) edit(remove, add []uint64) sorted {
	if len(remove) == 0 && len(add) == 0 {
		return s
	}
	if s.tree == nil {
		return newSorted(merge(s.keys, remove, add))
	}
	old := s.tree
	t := &leaves{firsts: make([]uint64, 0, len(old.firsts)+1), leaf: make([][]uint64, 0, len(old.leaf)+1)}
	total := 0
	for i, leaf := range old.leaf {
		nr, na := len(remove), len(add)
		if i+1 < len(old.firsts) {
			nr, _ = slices.BinarySearch(remove, old.firsts[i+1])
			na, _ = slices.BinarySearch(add, old.firsts[i+1])
		}
		switch {
		case nr == 0 && na == 0:
			t.firsts = append(t.firsts, old.firsts[i])
			t.leaf = append(t.leaf, leaf)
			total += len(leaf)
		default:
			merged := merge(leaf, remove[:nr], add[:na])
			total += len(merged)
			t.add(merged, leafMost)
		}
		remove, add = remove[nr:], add[na:]
	}
	if total <= leafSize { // small again
		return newSorted(slices.Concat(t.leaf...))
	}
	return sorted{tree: t}
}

// merge is old without remove and with add; all ascending, the result distinct.
func merge(old, remove, add []uint64) []uint64 {
	out := make([]uint64, 0, len(old)+len(add))
	for len(old) > 0 || len(add) > 0 {
		if len(add) > 0 && (len(old) == 0 || add[0] <= old[0]) {
			if len(out) == 0 || out[len(out)-1] != add[0] {
				out = append(out, add[0])
			}
			if len(old) > 0 && old[0] == add[0] {
				old = old[1:]
			}
			add = add[1:]
			continue
		}
		for len(remove) > 0 && remove[0] < old[0] {
			remove = remove[1:]
		}
		if len(remove) == 0 || remove[0] != old[0] {
			out = append(out, old[0])
		}
		old = old[1:]
	}
	return out
}

// guess is where key would stand in keys if they were spread evenly. Ids nearly are, so that looking there first
// touches two or three cache lines instead of ten.
func guess(keys []uint64, key uint64) int {
	n := len(keys)
	if n < 2 {
		return 0
	}
	return between(keys[0], keys[n-1], key, n-1)
}

// between is how far key has come from low to high, as an index of 0..most.
func between(low, high, key uint64, most int) int {
	if key <= low {
		return 0
	}
	if key >= high {
		return most
	}
	return min(int(float64(key-low)/float64(high-low)*float64(most)), most)
}

// floor returns the index of the last of keys that is not above key, -1 if all are above. It starts at the index near and is the
// faster the nearer that is; it is right, and logarithmic, wherever that is.
func floor(keys []uint64, key uint64, near int) int {
	n := len(keys)
	if n == 0 {
		return -1
	}
	low, high := near, near // keys[low] <= key < keys[high], once both are found
	if keys[near] <= key {
		for step := 1; ; step *= 2 {
			high = low + step
			if high >= n {
				high = n
				break
			}
			if keys[high] > key {
				break
			}
			low = high
		}
	} else {
		for step := 1; ; step *= 2 {
			low = high - step
			if low < 0 {
				low = -1
				break
			}
			if keys[low] <= key {
				break
			}
			high = low
		}
	}
	for high-low > 1 {
		if mid := int(uint(low+high) >> 1); keys[mid] <= key {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}
