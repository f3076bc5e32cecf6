package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestGrowth fills a log by ordinary appends, in ten parts, and asks what the admin pages ask. OPENWAY_TEST_GROWTH says how many events (20,000 unless
// set). With a million or more it uses databases on the disk, with the durability that people have, tells what an event cost and how long
// answers took, and holds both to being flat: from the first parts to the last events cost at most 15 % more, and answers take at most 15 % and 1 ms more.
// ./scripts/drill.sh growth does it with ten million.
func TestGrowth(t *testing.T) {
	total := 20_000
	if v := os.Getenv("OPENWAY_TEST_GROWTH"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("OPENWAY_TEST_GROWTH: %v", err)
		}
		total = n
	} else {
		t.Parallel()
	}
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) { grow(t, engine, total) })
	}
}

// bustle makes the events of a site with 100 gates and 10,000 users, of whom each has a device; every sixth is denied, every 100,000th for
// a reason that nobody else has.
type bustle struct {
	mark access.PolicyMark
	n    int64
}

// batch is the next n events.
func (g *bustle) batch(n int) *access.EventBatch {
	b := &access.EventBatch{Policy: g.mark}
	for range n {
		b.Events = append(b.Events, g.event())
	}
	return b
}

func (g *bustle) event() *access.Event {
	g.n++
	mix := uint64(g.n) * 0x9e3779b97f4a7c15
	e := allowed(g.mark, fmt.Sprintf("0197b6a2-7f9c-7a10-%04x-%012x", mix>>48, g.n))
	e.At = noon.Add(time.Duration(g.n) * 20 * time.Millisecond)
	e.GateID, e.UserID = int64(mix>>40%100)+1, int64(mix>>20%10_000)+1
	if mix>>10%4 == 0 {
		e.DeviceID = e.UserID
	}
	if g.n%6 == 0 {
		e.Decision, e.Reason = access.Deny, access.NoPermission
	}
	if g.n%100_000 == 50_000 {
		e.Decision, e.Reason = access.Deny, access.DeviceMismatch
	}
	return e
}

// measured reports whether so many events are enough to compare times.
func measured(total int) bool { return total >= 1_000_000 }

func grow(t *testing.T, engine string, total int) {
	database := storetest.New(t, engine).DSN
	if measured(total) {
		if engine == store.Postgres {
			database = processtest.NewPostgres(t, "", "max_wal_size = '4GB'", "shared_buffers = '256MB'").URL()
		} else {
			database = filepath.Join(t.TempDir(), "openway.db")
		}
	}
	s := migrated(t, database)
	mark, err := s.PolicyMark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lane, seq := mustClaim(t, s), int64(0)
	g := &bustle{mark: mark}
	const size, parts = 64, 10
	batch := &access.EventBatch{Policy: mark}
	var costs []time.Duration // of an event, in each part
	var early []answerTime
	for part := range parts {
		var cost time.Duration
		for range total / parts / size {
			batch.Events = batch.Events[:0]
			for range size {
				batch.Events = append(batch.Events, g.event())
			}
			seq++
			begun := time.Now()
			mustAppend(t, s, lane, seq, batch)
			cost += time.Since(begun)
		}
		// What the index was left behind is a part of what the events cost.
		begun := time.Now()
		if err := s.IndexEvents(t.Context()); err != nil {
			t.Fatal(err)
		}
		behind := time.Since(begun)
		costs = append(costs, (cost+behind)/time.Duration(total/parts/size*size))
		t.Logf("%s, %d events: one cost %v in batches of %d; the index took %v to follow at the end", engine, g.n, costs[part], size, behind.Round(time.Millisecond))
		if part == 0 {
			early = questions(t, s, g)
		}
	}
	late := questions(t, s, g)
	for i, was := range early {
		is := late[i]
		t.Logf("%s: %-28s %8.3f ms at %d events, %8.3f ms at %d", engine, was.question, ms(was.took), total/parts, ms(is.took), g.n)
		if measured(total) && is.took > was.took*115/100+time.Millisecond {
			t.Errorf("%s: %s takes %v instead of %v", engine, was.question, is.took, was.took)
		}
	}
	first, last := middleOf(costs[:3]), middleOf(costs[parts-3:])
	t.Logf("%s: an event cost %v in the first three parts and %v in the last (%.2f x)", engine, first, last, float64(last)/float64(first))
	if measured(total) && last > first*115/100 {
		t.Errorf("%s: events cost %v in the first parts and %v in the last", engine, first, last)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func middleOf(d []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

// answerTime is how long a question of the admin pages took, the median of some.
type answerTime struct {
	question string
	took     time.Duration
}

// questions asks what the admin pages ask. What there is something of in a log of a million is to be found with the first page.
func questions(t *testing.T, s *store.Store, g *bustle) (all []answerTime) {
	t.Helper()
	half := noon.Add(time.Duration(g.n/2) * 20 * time.Millisecond)
	const nothing, something = false, true
	for _, q := range []struct {
		name   string
		found  bool // in a log of a million
		filter func(i int64) access.EventFilter
	}{
		{"newest", something, func(int64) access.EventFilter { return access.EventFilter{} }},
		{"gate", something, func(i int64) access.EventFilter { return access.EventFilter{GateID: i} }},
		{"gate, page from the middle", something, func(i int64) access.EventFilter { return access.EventFilter{GateID: i, Before: g.n / 2} }},
		{"user", something, func(i int64) access.EventFilter { return access.EventFilter{UserID: i * 97} }},
		{"user, page from the middle", something, func(i int64) access.EventFilter { return access.EventFilter{UserID: i * 97, Before: g.n / 2} }},
		{"device", something, func(i int64) access.EventFilter { return access.EventFilter{DeviceID: i * 97} }},
		{"an hour", something, func(int64) access.EventFilter { return access.EventFilter{From: half, To: half.Add(time.Hour)} }},
		{"gate in an hour", something, func(i int64) access.EventFilter {
			return access.EventFilter{GateID: i, From: half, To: half.Add(time.Hour)}
		}},
		{"denied", something, func(int64) access.EventFilter { return access.EventFilter{Decision: access.Deny} }},
		{"rare reason", something, func(int64) access.EventFilter { return access.EventFilter{Reason: access.DeviceMismatch} }},
		{"no such reason", nothing, func(int64) access.EventFilter { return access.EventFilter{Reason: access.DeviceNotFound} }},
		{"group without members", nothing, func(int64) access.EventFilter { return access.EventFilter{GroupID: 1} }},
		{"gate and rare reason", nothing, func(i int64) access.EventFilter {
			return access.EventFilter{GateID: i, Reason: access.DeviceMismatch}
		}},
		{"request", something, func(i int64) access.EventFilter {
			return access.EventFilter{RequestID: (&bustle{n: g.n * i / 100}).event().RequestID}
		}},
	} {
		var took []time.Duration
		for i := range int64(25) {
			begun := time.Now()
			page, err := s.EventPage(t.Context(), q.filter(1+i*4))
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(begun))
			if q.found && len(page.Events) == 0 && g.n >= 1_000_000 {
				t.Errorf("%s, at %d events: nothing found", q.name, g.n)
			}
		}
		all = append(all, answerTime{q.name, middleOf(took)})
	}
	return all
}
