package store_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// BenchmarkGrowth fills a log by ordinary appends, and tells for each part what an event cost and how long the questions of the admin pages
// take then. OPENWAY_BENCH_EVENTS says how many events (default 100,000); they come in ten parts. Run it with -benchtime 1x:
//
//	OPENWAY_BENCH_EVENTS=10000000 go test ./internal/store -run - -bench Growth -benchtime 1x -timeout 1h
func BenchmarkGrowth(b *testing.B) {
	total := 100_000
	if v := os.Getenv("OPENWAY_BENCH_EVENTS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			b.Fatalf("OPENWAY_BENCH_EVENTS: %v", err)
		}
		total = n
	}
	for _, engine := range storetest.Engines() {
		b.Run(engine, func(b *testing.B) {
			for b.Loop() {
				grow(b, engine, total)
			}
		})
	}
}

// bustle makes the events of a site with 100 gates and 10,000 users, of whom each has a device; every sixth is denied, every 100,000th for
// a reason that nobody else has.
type bustle struct {
	mark access.PolicyMark
	n    int64
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

func grow(b *testing.B, engine string, total int) {
	s := storetest.OpenWith(b, store.Options{Database: storetest.New(b, engine).DSN})
	mark, err := s.PolicyMark(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	lane, seq := mustClaim(b, s), int64(0)
	g := &bustle{mark: mark}
	const size = 64
	batch := &access.EventBatch{Policy: mark}
	for part := 0; ; part++ {
		if part == 0 || part == 1 || part == 5 || part == 10 {
			fmt.Printf("%s, %d events: %s\n", engine, g.n, questions(b, s, g))
		}
		if part == 10 {
			return
		}
		var wait time.Duration
		begun, cpu := time.Now(), processTime(b)
		for range total / 10 / size {
			made := time.Now()
			batch.Events = batch.Events[:0]
			for range size {
				batch.Events = append(batch.Events, g.event())
			}
			wait += time.Since(made)
			seq++
			mustAppend(b, s, lane, seq, batch)
		}
		events := float64(total / 10 / size * size)
		fmt.Printf("%s, part %d: %.2f us an event in batches of %d, %.2f us of this process's time\n", engine, part+1,
			float64((time.Since(begun)-wait).Microseconds())/events, size, float64((processTime(b)-cpu-wait).Microseconds())/events)
	}
}

// questions asks what the admin pages ask, and says how long the answers took (the median of some).
func questions(b *testing.B, s *store.Store, g *bustle) (text string) {
	half := noon.Add(time.Duration(g.n/2) * 20 * time.Millisecond)
	for _, q := range []struct {
		name   string
		filter func(i int64) access.EventFilter
	}{
		{"newest", func(int64) access.EventFilter { return access.EventFilter{} }},
		{"gate", func(i int64) access.EventFilter { return access.EventFilter{GateID: i} }},
		{"gate, page from the middle", func(i int64) access.EventFilter { return access.EventFilter{GateID: i, Before: g.n / 2} }},
		{"user", func(i int64) access.EventFilter { return access.EventFilter{UserID: i * 97} }},
		{"user, page from the middle", func(i int64) access.EventFilter { return access.EventFilter{UserID: i * 97, Before: g.n / 2} }},
		{"device", func(i int64) access.EventFilter { return access.EventFilter{DeviceID: i * 97} }},
		{"an hour", func(int64) access.EventFilter { return access.EventFilter{From: half, To: half.Add(time.Hour)} }},
		{"gate in an hour", func(i int64) access.EventFilter {
			return access.EventFilter{GateID: i, From: half, To: half.Add(time.Hour)}
		}},
		{"denied", func(int64) access.EventFilter { return access.EventFilter{Decision: access.Deny} }},
		{"rare reason", func(int64) access.EventFilter { return access.EventFilter{Reason: access.DeviceMismatch} }},
		{"no such reason", func(int64) access.EventFilter { return access.EventFilter{Reason: access.DeviceNotFound} }},
		{"group without members", func(int64) access.EventFilter { return access.EventFilter{GroupID: 1} }},
		{"gate and rare reason", func(i int64) access.EventFilter {
			return access.EventFilter{GateID: i, Reason: access.DeviceMismatch}
		}},
		{"request", func(i int64) access.EventFilter {
			return access.EventFilter{RequestID: (&bustle{n: g.n * i / 100}).event().RequestID}
		}},
	} {
		var took []time.Duration
		for i := range int64(25) {
			begun := time.Now()
			if _, err := s.EventPage(b.Context(), q.filter(1+i*4)); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		text += fmt.Sprintf("\n  %-28s %8.3f ms", q.name, float64(took[len(took)/2].Microseconds())/1000)
	}
	return text
}

// processTime is how long this process has used a processor.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
