package posting

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// unpack lists all that chunks hold.
func unpack(t rapid.TB, chunks []Chunk) (all []Posting) {
	t.Helper()
	for _, c := range chunks {
		runs, err := c.Runs(nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 0 || c.Start != (Posting{runs[0].Key, runs[0].First}) {
			t.Fatalf("a chunk that starts with %v holds %v", c.Start, runs)
		}
		for _, r := range runs {
			ids, err := r.appendIDs(nil, math.MaxInt64)
			if err != nil || len(ids) != r.Count || ids[len(ids)-1] != r.Last {
				t.Fatalf("run %v unpacks to %v (%v)", r, ids, err)
			}
			for _, id := range ids {
				all = append(all, Posting{r.Key, id})
			}
		}
		if len(c.Body) > chunkSize+runHead {
			t.Fatalf("a body of %d bytes", len(c.Body))
		}
	}
	return all
}

// What was packed, at once or merged from stretches of ids, is what comes out, and each key finds its ids.
func TestPackAndMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []Posting
		var parts [][]Chunk
		id := rapid.Int64Range(0, 1<<40).Draw(t, "first id")
		keys := rapid.SliceOfN(rapid.Int64Range(0, math.MaxInt64), 1, 5).Draw(t, "keys")
		for range rapid.IntRange(1, 5).Draw(t, "parts") {
			var part []Posting
			for range rapid.IntRange(0, 3000).Draw(t, "ids") {
				id += rapid.SampledFrom([]int64{1, 1, 2, 300, 70_000}).Draw(t, "step")
				part = append(part, Posting{rapid.SampledFrom(keys).Draw(t, "key"), id})
			}
			want = append(want, part...)
			parts = append(parts, Pack(part))
		}
		slices.SortFunc(want, Posting.Compare)
		var runs []Run
		for _, part := range parts {
			for _, c := range part {
				rs, err := c.Runs(nil)
				if err != nil {
					t.Fatal(err)
				}
				runs = append(runs, rs...)
			}
		}
		slices.SortStableFunc(runs, func(a, b Run) int { return Posting{a.Key, a.First}.Compare(Posting{b.Key, b.First}) })
		var p Packer
		for _, r := range runs {
			p.Add(r)
		}
		chunks := p.Chunks()
		if got := unpack(t, chunks); !slices.Equal(got, want) {
			t.Fatalf("%d postings were packed, %d came out, or others", len(want), len(got))
		}
		key, most := rapid.SampledFrom(keys).Draw(t, "sought"), rapid.Int64Range(0, id+1).Draw(t, "most")
		var ids, wantIDs []int64
		var err error
		for _, c := range chunks {
			if ids, err = c.IDs(ids, key, most); err != nil {
				t.Fatal(err)
			}
		}
		for _, w := range want {
			if w.Key == key && w.ID <= most {
				wantIDs = append(wantIDs, w.ID)
			}
		}
		if !slices.Equal(ids, wantIDs) {
			t.Fatalf("IDs(%d, at most %d) = %v, want %v", key, most, ids, wantIDs)
		}
	})
}

// A body that is cut short or garbled is an error, or other postings; never a panic or an endless loop.
func FuzzRuns(f *testing.F) {
	var all []Posting
	for i := range int64(2000) {
		all = append(all, Posting{i % 7, i})
	}
	f.Add(Pack(all)[0].Body)
	f.Add([]byte{0, 2, 0, 1, 255})
	f.Fuzz(func(t *testing.T, body []byte) {
		c := Chunk{Body: body}
		if _, err := c.Runs(nil); err != nil {
			return
		}
		if ids, err := c.IDs(nil, 0, 1000); err == nil && len(ids) > len(body) {
			t.Errorf("%d bytes hold %d ids", len(body), len(ids))
		}
	})
}

func TestCorruptChunk(t *testing.T) {
	whole := Pack([]Posting{{1, 5}, {1, 9}, {4, 7}})[0]
	for n := 1; n < len(whole.Body); n++ {
		runs, err := Chunk{Start: whole.Start, Body: whole.Body[:n]}.Runs(nil)
		if err == nil && len(runs) == 2 {
			t.Errorf("%d of %d bytes read as a whole chunk: %v", n, len(whole.Body), runs)
		}
	}
}

func BenchmarkPack(b *testing.B) {
	var all []Posting
	for i := range int64(1024) {
		all = append(all, Posting{i % 100, i}, Posting{1<<40 + i*7919%10_000, i}, Posting{1<<41 + i*2654435761%(1<<32), i})
	}
	for b.Loop() {
		Pack(slices.Clone(all))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/event")
}
