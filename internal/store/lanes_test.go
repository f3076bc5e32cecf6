package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// readLane reads all batches of a lane with their events, so many at a time.
func readLane(t *testing.T, s *store.Store, lane int64, batches, events int) (seqs []int64, requests []string) {
	t.Helper()
	after := int64(0)
	for {
		got, list, err := s.LaneEvents(t.Context(), lane, after, batches, events)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return seqs, requests
		}
		for _, b := range got {
			seqs = append(seqs, b.Seq)
		}
		for _, e := range list {
			if e.WriterID != lane || e.Seq <= after || e.Seq > got[len(got)-1].Seq {
				t.Fatalf("event of batch %d.%d among those of lane %d after %d", e.WriterID, e.Seq, lane, after)
			}
			requests = append(requests, e.RequestID)
		}
		after = got[len(got)-1].Seq
	}
}

// Batches of several lanes that write at the same time, with events that occurred long before the others of their batch, and fences: each
// lane reads back exactly what it wrote, in order, however it is cut.
func TestLaneEvents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		mark := mustMark(t, s)
		var want [3][]string
		var ids [3]int64
		var writing sync.WaitGroup
		for i := range ids {
			ids[i] = mustClaim(t, s)
			writing.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(i), 7))
				for seq := int64(1); seq <= 60; seq++ {
					if rnd.IntN(10) == 0 {
						if landed, _, err := s.FenceBatch(t.Context(), ids[i], seq); err != nil || landed {
							t.Error(landed, err)
						}
						continue
					}
					b := &access.EventBatch{Policy: mark}
					for n := range 1 + rnd.IntN(30) {
						e := allowed(mark, fmt.Sprint(i, "-", seq, "-", n))
						e.At = noon.Add(time.Duration(seq)*time.Second + time.Duration(rnd.IntN(1000))*time.Millisecond)
						if rnd.IntN(20) == 0 { // folded for a minute
							e.At = e.At.Add(-time.Minute)
						}
						want[i] = append(want[i], e.RequestID)
						b.Events = append(b.Events, e)
					}
					if landed, err := s.AppendBatch(t.Context(), ids[i], seq, b); err != nil || !landed {
						t.Error(landed, err)
					}
				}
			})
		}
		writing.Wait()
		for i, lane := range ids {
			for _, cut := range [][2]int{{1, 1}, {7, 1000}, {500, 10}, {500, 5000}} {
				seqs, got := readLane(t, s, lane, cut[0], cut[1])
				if len(seqs) != 60 || !slices.IsSorted(seqs) {
					t.Errorf("lane %d, %v at a time: batches %v, want 1 to 60", lane, cut, seqs)
				}
				if d := gocmp.Diff(want[i], got); d != "" {
					t.Errorf("lane %d, %v at a time: want (-), got (+):\n%s", lane, cut, d)
				}
			}
		}
		lanes, err := s.Lanes(t.Context(), time.Now())
		if err != nil || len(lanes) != 3 || lanes[0].Newest != 60 || lanes[0].RecordedAt.IsZero() {
			t.Errorf("Lanes = %+v, %v; want three at 60", lanes, err)
		}
		if err := s.RetireWriter(t.Context(), ids[1]); err != nil {
			t.Fatal(err)
		}
		for retired, want := range map[time.Duration]int{-time.Hour: 3, time.Hour: 2} {
			if lanes, err := s.Lanes(t.Context(), time.Now().Add(retired)); err != nil || len(lanes) != want {
				t.Errorf("lanes given up after %v from now: %d (%v), want %d", retired, len(lanes), err, want)
			}
		}
		if seq, err := s.LaneSeqAt(t.Context(), ids[0], time.Now().Add(time.Hour)); err != nil || seq != 60 {
			t.Errorf("LaneSeqAt in an hour = %d, %v; want 60", seq, err)
		}
		if seq, err := s.LaneSeqAt(t.Context(), ids[0], time.Now().Add(-time.Hour)); err != nil || seq != 0 {
			t.Errorf("LaneSeqAt an hour ago = %d, %v; want 0", seq, err)
		}
	})
}

// The lanes of a process that was killed are closed by the next one on SQLite; on PostgreSQL they may be those of another server.
func TestRetireAbandoned(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, dead, s *store.Store) {
		for range 3 {
			lane := mustClaim(t, dead)
			mustAppend(t, dead, lane, 1, batchOf(mustMark(t, dead), fmt.Sprint("of lane ", lane)))
		}
		own := mustClaim(t, s)
		for range 2 { // and again, when there is nothing to do
			if err := s.RetireAbandoned(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := 1
		if db.Engine == store.Postgres {
			want = 4
		}
		lanes, err := s.Lanes(t.Context(), time.Now().Add(time.Hour))
		if err != nil || len(lanes) != want || lanes[len(lanes)-1].ID != own {
			t.Errorf("open lanes: %+v (%v), want %d, with %d", lanes, err, want, own)
		}
		mustAppend(t, s, own, 1, batchOf(mustMark(t, s), "goes on"))
	})
}

// What is left of batches of which some events were purged, or whose events have ids far apart, is found all the same.
func TestLaneEventsFarApart(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, s, _ *store.Store) {
		mark, lane := mustMark(t, s), mustClaim(t, s)
		for seq := int64(1); seq <= 3; seq++ {
			b := batchOf(mark, fmt.Sprint(seq, "-old"), fmt.Sprint(seq, "-new"))
			b.Events[0].At, b.Events[1].At = time.Now().Add(-time.Hour), time.Now()
			mustAppend(t, s, lane, seq, b)
		}
		mustExec(t, raw(t, db), `UPDATE events SET id = id + 1000000 WHERE request_id = '2-new'`)
		if _, got := readLane(t, s, lane, 1, 10); gocmp.Diff([]string{"1-old", "1-new", "2-old", "2-new", "3-old", "3-new"}, got) != "" {
			t.Errorf("got %v, want all six", got)
		}
		if _, _, err := s.PurgeEvents(t.Context(), time.Now().Add(-time.Minute), 100); err != nil {
			t.Fatal(err)
		}
		if _, got := readLane(t, s, lane, 1, 10); gocmp.Diff([]string{"1-new", "2-new", "3-new"}, got) != "" {
			t.Errorf("after a purge: got %v, want the three new ones", got)
		}
	})
}
