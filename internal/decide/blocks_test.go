package decide

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawKeys draws an ascending sequence, evenly spread or in clusters.
func drawKeys(t *rapid.T, label string, most int) []uint64 {
	var one *rapid.Generator[uint64]
	switch rapid.IntRange(0, 3).Draw(t, label+" spread") {
	case 0:
		one = rapid.Uint64()
	case 1:
		one = rapid.Uint64Range(0, uint64(most)*2)
	case 2:
		one = rapid.SampledFrom([]uint64{0, 1, math.MaxUint64, math.MaxUint64 - 1, 1 << 63})
	default:
		one = rapid.Custom(func(t *rapid.T) uint64 {
			return rapid.Uint64Range(0, 9).Draw(t, "high") << rapid.IntRange(0, 60).Draw(t, "by")
		})
	}
	keys := rapid.SliceOfN(one, 0, most).Draw(t, label)
	slices.Sort(keys)
	return slices.Compact(keys)
}

func TestFloor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := drawKeys(t, "keys", 40)
		probes := append(slices.Clone(keys), 0, math.MaxUint64, rapid.Uint64().Draw(t, "probe"))
		for _, k := range keys {
			probes = append(probes, k-1, k+1)
		}
		for _, probe := range probes {
			want := -1
			for i, k := range keys {
				if k <= probe {
					want = i
				}
			}
			nears := []int{guess(keys, probe)}
			for i := range keys {
				nears = append(nears, i)
			}
			for _, near := range nears {
				if got := floor(keys, probe, near); got != want {
					t.Fatalf("floor(%v, %d, %d): got %d, want %d", keys, probe, near, got, want)
				}
			}
		}
	})
}

// TestSorted edits sequences that are long enough to be cut, against plain slices.
func TestSorted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.Uint64Range(1, 1<<40).Draw(t, "step")
		var keys []uint64
		for i := range rapid.IntRange(0, 5*leafSize).Draw(t, "length") {
			keys = append(keys, uint64(i)*step+step)
		}
		s := newSorted(keys)
		for range 4 {
			var remove, add []uint64
			if n := len(keys); n > 0 && rapid.Bool().Draw(t, "remove") {
				from := rapid.IntRange(0, n-1).Draw(t, "from")
				remove = slices.Clone(keys[from:rapid.IntRange(from, n).Draw(t, "to")])
			}
			base := rapid.Uint64Range(0, step*6*leafSize).Draw(t, "base")
			for i := range rapid.SampledFrom([]int{0, 1, 3, 700, 2500}).Draw(t, "add") {
				add = append(add, base+uint64(i)*(step/3+1))
			}
			old := slices.Clone(keys)
			before := s
			s = s.edit(remove, add)
			keys = slices.DeleteFunc(slices.Clone(keys), func(k uint64) bool {
				_, gone := slices.BinarySearch(remove, k)
				return gone
			})
			keys = append(keys, add...)
			slices.Sort(keys)
			keys = slices.Compact(keys)
			wantSequence(t, before, old)
			wantSequence(t, s, keys)
		}
	})
}

func wantSequence(t *rapid.T, s sorted, want []uint64) {
	t.Helper()
	got := slices.Concat(slices.Collect(s.blocks)...)
	if !slices.Equal(got, want) {
		t.Fatalf("got %d entries, want %d, or others", len(got), len(want))
	}
	if s.len() != len(want) {
		t.Fatalf("len: got %d, want %d", s.len(), len(want))
	}
	if len(want) <= leafSize && s.tree != nil {
		t.Fatalf("%d entries: got a tree, want a slice", len(want))
	}
	for leaf := range s.blocks {
		if len(leaf) == 0 || len(leaf) > leafMost {
			t.Fatalf("a leaf has %d entries, want 1..%d", len(leaf), leafMost)
		}
	}
	for i, k := range want {
		if i%7 > 0 && len(want) > 100 {
			continue
		}
		for _, probe := range []uint64{k - 1, k, k + 1} {
			at, _ := slices.BinarySearch(want, probe)
			entry, ok := s.from(probe)
			if ok != (at < len(want)) || ok && entry != want[at] {
				t.Fatalf("from(%d): got %d, %t, want index %d of %d", probe, entry, ok, at, len(want))
			}
		}
	}
}

// TestShardsOfCrowdedLookups: digests that are not spread evenly are found too.
func TestShardsOfCrowdedLookups(t *testing.T) {
	m := modelOf(0, goldenSite(t).delta)
	const n = 3000
	for i := range n {
		c := m.credentials[2]
		c.ID = int64(1000 + i)
		c.Lookup = lookup("crowd")
		c.Lookup[0], c.Lookup[1], c.Lookup[2], c.Lookup[3] = 0, 0, byte(i>>11), byte(i>>3)
		c.Lookup[30], c.Lookup[31] = byte(i>>8), byte(i)
		m.credentials[c.ID] = c
	}
	s := m.compile(shuffled(1))
	for id, c := range m.credentials {
		r := Request{Gate: "gate-01", At: 1}
		r.Lookups = append(r.Lookups, c.Lookup)
		if d := s.Decide(r); d.CredentialID != id {
			t.Fatalf("credential %d: got %s", id, show(d))
		}
	}
}
