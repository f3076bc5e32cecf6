package store_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// counts is all that is counted, as text.
func counts(t *testing.T, s *store.Store, gates []int64, days []time.Time) (lines []string) {
	t.Helper()
	err := s.View(t.Context(), func(tx *store.Tx) error {
		for _, g := range append(gates, 0) {
			hours, err := tx.HourCounts(g, noon.Add(-1000*time.Hour), noon.Add(1000*time.Hour))
			if err != nil {
				return err
			}
			for _, h := range hours {
				lines = append(lines, fmt.Sprintf("gate %d %s %s %s %d", g, h.Hour.Format(time.RFC3339), h.Decision, h.Reason, h.Count))
			}
		}
		seen, err := tx.GatesSeen(gates)
		if err != nil {
			return err
		}
		for _, g := range gates {
			if x, ok := seen[g]; ok {
				lines = append(lines, fmt.Sprintf("gate %d seen %s %s %s %d", g, x.At.Format(time.RFC3339Nano), x.Decision, x.Reason, x.EventID))
			}
		}
		for _, d := range days {
			n, _, err := tx.PeopleOn(d, d.Location())
			if err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("people on %s %d", d.UTC().Format(time.RFC3339), n))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// countAll counts until nothing is left and returns how many events that were.
func countAll(t *testing.T, s *store.Store) (n int) {
	t.Helper()
	for {
		k, more, err := s.CountEvents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n += k; !more {
			return n
		}
	}
}

// naiveCounts are the sums of events, from scratch.
func naiveCounts(all []access.Event, gates []int64, zone *time.Location, days []time.Time) (lines []string) {
	hours, seen := map[string]int{}, map[int64]access.Event{}
	people := map[string]map[int64]bool{}
	last := func(e access.Event) time.Time {
		if e.Until.After(e.At) {
			return e.Until
		}
		return e.At
	}
	for _, e := range all {
		if e.Kind != access.DecisionEvent {
			continue
		}
		l := e.At.In(zone)
		hour := time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), 0, 0, 0, zone).UTC().Format(time.RFC3339)
		key := fmt.Sprintf("%s %s %s", hour, e.Decision, e.Reason)
		hours["gate 0 "+key] += e.Count
		if e.GateID != 0 {
			hours[fmt.Sprintf("gate %d %s", e.GateID, key)] += e.Count
			if x, ok := seen[e.GateID]; !ok || !last(e).Before(last(x)) {
				seen[e.GateID] = e
			}
		}
		if e.Decision == access.Allow && e.UserID != 0 {
			day := time.Date(l.Year(), l.Month(), l.Day(), 0, 0, 0, 0, zone).UTC().Format(time.RFC3339)
			if people[day] == nil {
				people[day] = map[int64]bool{}
			}
			people[day][e.UserID] = true
		}
	}
	for k, n := range hours {
		lines = append(lines, fmt.Sprint(k, " ", n))
	}
	for _, g := range gates {
		if e, ok := seen[g]; ok {
			lines = append(lines, fmt.Sprintf("gate %d seen %s %s %s %d", g, last(e).Format(time.RFC3339Nano), e.Decision, e.Reason, e.ID))
		}
	}
	for _, d := range days {
		day := d.UTC().Format(time.RFC3339)
		lines = append(lines, fmt.Sprintf("people on %s %d", day, len(people[day])))
	}
	slices.Sort(lines)
	return lines
}

// Two processes that count at once, and one that comes late, count every event once, in the hours of a zone that is not whole hours away
// from UTC; and what is purged stays counted.
func TestCountEvents(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			db := storetest.New(t, engine)
			s := storetest.OpenWith(t, store.Options{Database: db.DSN})
			other := storetest.OpenWith(t, store.Options{Database: db.DSN})
			zone, err := time.LoadLocation("Asia/Kathmandu")
			if err != nil {
				t.Fatal(err)
			}
			mustExec(t, raw(t, db), `UPDATE site SET zone = 'Asia/Kathmandu'`)
			rnd := rand.New(rand.NewPCG(11, 11))
			mark := mustMark(t, s)
			var all []access.Event
			write := func(batches int) {
				lane := mustClaim(t, s)
				for seq := range int64(batches) {
					b := &access.EventBatch{Policy: mark}
					for range 1 + rnd.IntN(30) {
						e := allowed(mark, "r")
						e.At = noon.Add(time.Duration(rnd.IntN(40*3600)) * time.Second)
						e.GateID, e.UserID = rnd.Int64N(4), rnd.Int64N(30)
						switch rnd.IntN(4) {
						case 0:
							e.Decision, e.Reason = access.Deny, access.NoPermission
						case 1:
							e.Decision, e.Reason, e.Count, e.Until = access.Deny, access.RateLimit, 1+rnd.IntN(100), e.At.Add(time.Minute)
						case 2:
							if rnd.IntN(10) == 0 {
								e.Kind, e.Reason, e.Decision = access.SystemEvent, access.NoteUnavailable, ""
							}
						}
						b.Events = append(b.Events, e)
					}
					mustAppend(t, s, lane, seq+1, b)
				}
				if err := s.RetireWriter(t.Context(), lane); err != nil {
					t.Fatal(err)
				}
				if all, err = everyEvent(t, s); err != nil {
					t.Fatal(err)
				}
			}
			gates := []int64{1, 2, 3}
			var days []time.Time
			for d := range 3 {
				days = append(days, store.DayOf(noon.AddDate(0, 0, d), zone))
			}
			check := func(what string) {
				t.Helper()
				got := counts(t, s, gates, days)
				slices.Sort(got)
				if d := gocmp.Diff(naiveCounts(all, gates, zone, days), got); d != "" {
					t.Fatalf("%s: want (-), got (+):\n%s", what, d)
				}
			}
			if n := countAll(t, s); n != 0 {
				t.Errorf("%d events counted in an empty log", n)
			}
			write(40)
			write(40)
			var both sync.WaitGroup
			for _, p := range []*store.Store{s, other} {
				both.Go(func() {
					for more := true; more; {
						var err error
						if _, more, err = p.CountEvents(t.Context()); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			both.Wait()
			check("two at once")
			write(120) // more than one round
			if n, want := countAll(t, other), len(all); n == 0 || n > want {
				t.Errorf("%d events counted later, want some of %d", n, want)
			}
			check("later")
			if n := countAll(t, s); n != 0 {
				t.Errorf("%d events counted again", n)
			}
			err = s.View(t.Context(), func(tx *store.Tx) error {
				at, waiting, err := tx.CountedAt()
				if err == nil && (at.IsZero() || !waiting.IsZero()) {
					t.Errorf("CountedAt = %v, %v; want some time, and that nothing waits", at, waiting)
				}
				silent, err2 := tx.SilentGates(false, 10)
				if err2 == nil && len(silent) != 0 { // the gates of the events were never entered
					t.Errorf("silent gates %v, want none", silent)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.PurgeEvents(t.Context(), noon.Add(10*time.Hour), 100000); err != nil {
				t.Fatal(err)
			}
			check("after a purge")
			// Months later the sums of the gates and the users go, those of the site stay for a year and more.
			late := storetest.OpenWith(t, store.Options{Database: db.DSN, Now: func() time.Time { return noon.AddDate(0, 3, 0) }})
			for n := 50; n >= 50; {
				if n, err = late.PruneCounts(t.Context(), 50); err != nil {
					t.Fatal(err)
				}
			}
			var site, gate, users int
			if err := raw(t, db).QueryRow(`SELECT (SELECT COUNT(*) FROM event_hour WHERE gate_id = 0), (SELECT COUNT(*) FROM event_hour WHERE gate_id > 0),
				(SELECT COUNT(*) FROM user_day)`).Scan(&site, &gate, &users); err != nil {
				t.Fatal(err)
			}
			if site == 0 || gate != 0 || users != 0 {
				t.Errorf("after three months %d sums of the site, %d of gates and %d users are left; want some, none, none", site, gate, users)
			}
		})
	}
}

// everyEvent reads the whole log, oldest first.
func everyEvent(t *testing.T, s *store.Store) (all []access.Event, err error) {
	f := access.EventFilter{Limit: 1000}
	for {
		page, err := s.Events(t.Context(), f)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < 1000 {
			slices.Reverse(all)
			return all, nil
		}
		f.Before = page[len(page)-1].ID
	}
}

// Where clocks are put forward at midnight the day begins an hour later, and not on the day before.
func TestDayOf(t *testing.T) {
	for _, tc := range []struct{ zone, at, want string }{
		{"America/Havana", "2026-03-08T15:00:00-04:00", "2026-03-08T01:00:00-04:00"},
		{"America/Santiago", "2026-09-06T23:59:00-03:00", "2026-09-06T01:00:00-03:00"},
		{"Asia/Beirut", "2026-03-29T12:00:00+03:00", "2026-03-29T01:00:00+03:00"},
		{"America/Havana", "2026-11-01T12:00:00-05:00", "2026-11-01T00:00:00-04:00"}, // put back at 1 o'clock
		{"Europe/Riga", "2026-03-29T12:00:00+03:00", "2026-03-29T00:00:00+02:00"},
	} {
		zone, err := time.LoadLocation(tc.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, tc.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := store.DayOf(at, zone).Format(time.RFC3339); got != tc.want {
			t.Errorf("the day of %s in %s begins at %s, want %s", tc.at, tc.zone, got, tc.want)
		}
	}
}

// An import that wipes the log comes between the reading and the writing of a round: what was read is not written down.
func TestCountEventsBesideAWipe(t *testing.T) {
	db := storetest.New(t, store.Postgres) // an import into SQLite has the file for itself
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	mustAppend(t, s, mustClaim(t, s), 1, batchOf(mustMark(t, s), "x", "y"))
	looks := 0
	other := storetest.OpenWith(t, store.Options{Database: db.DSN, Now: func() time.Time {
		if looks++; looks == 2 { // the transaction that writes has begun
			if _, err := s.Import(t.Context(), anybody, func(im *store.Import) error { return im.Wipe() }); err != nil {
				t.Error(err)
			}
		}
		return time.Now()
	}})
	looks = 0
	if n, _, err := other.CountEvents(t.Context()); n != 0 || err != nil || looks < 2 {
		t.Errorf("CountEvents = %d, %v after %d looks at the clock; want nothing counted", n, err, looks)
	}
	countAll(t, other)
	var sums int
	if err := raw(t, db).QueryRow(`SELECT (SELECT COUNT(*) FROM event_hour) + (SELECT COUNT(*) FROM gate_seen) + (SELECT COUNT(*) FROM people_day)`).Scan(&sums); err != nil || sums != 0 {
		t.Errorf("%d sums of events that were wiped (%v)", sums, err)
	}
}

// A standby that takes over may have lost the last batches. What the process remembers of them is not counted, and what it appends then is.
func TestCountWhatStands(t *testing.T) {
	for _, engine := range storetest.Engines() {
		for _, soon := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/counted before the lane goes on=%v", engine, soon), func(t *testing.T) {
				db := storetest.New(t, engine)
				s := storetest.OpenWith(t, store.Options{Database: db.DSN})
				mark, lane := mustMark(t, s), mustClaim(t, s)
				mustAppend(t, s, lane, 1, batchOf(mark, "a", "b"))
				mustAppend(t, s, lane, 2, batchOf(mark, "c", "d", "e"))
				for _, lost := range []string{"events", "event_batch"} {
					mustExec(t, raw(t, db), `DELETE FROM `+lost+` WHERE seq = 2`)
				}
				n := 0
				if soon {
					n += countAll(t, s)
				}
				mustAppend(t, s, lane, 3, batchOf(mark, "f"))
				if n += countAll(t, s); n != 3 {
					t.Errorf("%d events were counted, want the 3 that stand", n)
				}
			})
		}
	}
}

// An import wipes the log beside a server that remembers what it has not counted yet, and whom it has counted. It counts nothing of before, and all that comes after.
func TestCountAfterAWipe(t *testing.T) {
	db := storetest.New(t, store.Postgres) // an import into SQLite has the file for itself
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	importer := storetest.OpenWith(t, store.Options{Database: db.DSN})
	lane := mustClaim(t, s)
	mustAppend(t, s, lane, 1, batchOf(mustMark(t, s), "w"))
	countAll(t, s)
	mustAppend(t, s, lane, 2, batchOf(mustMark(t, s), "x", "y"))
	if _, err := importer.Import(t.Context(), anybody, func(im *store.Import) error { return im.Wipe() }); err != nil {
		t.Fatal(err)
	}
	countAll(t, s)
	sums := func(what string) (n int) {
		t.Helper()
		if err := raw(t, db).QueryRow(`SELECT ` + what).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := sums(`(SELECT COUNT(*) FROM event_hour) + (SELECT COUNT(*) FROM gate_seen) + (SELECT COUNT(*) FROM people_day)`); n != 0 {
		t.Errorf("%d sums of events that were wiped", n)
	}
	mustAppend(t, s, lane, 3, batchOf(mustMark(t, s), "z"))
	countAll(t, s)
	if n := sums(`COALESCE(SUM(people), 0) FROM people_day`); n != 1 {
		t.Errorf("%d people were let in after the wipe, want 1", n)
	}
}

// The answer to an append is late: others see its events, and count them, before this process knows that they landed. They are counted once.
func TestCountOnce(t *testing.T) {
	for _, who := range []string{"this process", "another"} {
		t.Run("counted by "+who, func(t *testing.T) {
			db := storetest.New(t, store.Postgres)
			wire, dsn := processtest.NewWire(t, db.DSN)
			s := storetest.OpenWith(t, store.Options{Database: dsn})
			store.RestUpkeep(s)
			first := s
			if who == "another" {
				first = storetest.OpenWith(t, store.Options{Database: db.DSN})
			}
			mark, lane := mustMark(t, s), mustClaim(t, s)
			mustAppend(t, s, lane, 1, batchOf(mark, "a", "A")) // of as many events, so that the statement is prepared
			countAll(t, s)
			held, let := wire.Hold(t, func(sent []byte) bool { return bytes.Contains(sent, []byte("openway_append")) })
			done := make(chan error, 1)
			go func() {
				_, err := s.AppendBatch(t.Context(), lane, 2, batchOf(mark, "b", "c"))
				done <- err
			}()
			select {
			case <-held:
			case err := <-done:
				t.Fatalf("the append ended (%v) before its answer was held back", err)
			}
			var stands bool
			if err := raw(t, db).QueryRow(`SELECT EXISTS (SELECT 1 FROM event_batch WHERE writer_id = $1 AND seq = 2)`, lane).Scan(&stands); err != nil || !stands {
				t.Fatalf("the batch whose answer is held back stands: %v, %v", stands, err)
			}
			countAll(t, first)
			countAll(t, s)
			let()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			countAll(t, s)
			var sum int
			if err := raw(t, db).QueryRow(`SELECT SUM(count) FROM event_hour WHERE gate_id = 0`).Scan(&sum); err != nil || sum != 4 {
				t.Errorf("the sums say %d (%v), want 4", sum, err)
			}
		})
	}
}

// On SQLite a round's sums are written part by part. A process that ends in between leaves the rest to whoever counts next; an import wipes it.
func TestCountParts(t *testing.T) {
	for _, end := range []string{"counted on", "wiped"} {
		t.Run(end, func(t *testing.T) {
			db := storetest.New(t, store.SQLite)
			ended := storetest.OpenWith(t, store.Options{Database: db.DSN})
			mark := mustMark(t, ended)
			b := &access.EventBatch{Policy: mark}
			for i := range 500 {
				e := allowed(mark, "r")
				e.At = noon.Add(time.Duration(i) * 10 * time.Minute)
				e.GateID, e.UserID = int64(i%3+1), int64(i)
				b.Events = append(b.Events, e)
			}
			mustAppend(t, ended, mustClaim(t, ended), 1, b)
			gates, zone := []int64{1, 2, 3}, time.UTC
			var days []time.Time
			for d := range 5 {
				days = append(days, store.DayOf(noon.AddDate(0, 0, d), zone))
			}
			for round := range 3 {
				if _, more, err := ended.CountEvents(t.Context()); err != nil || !more {
					t.Fatalf("round %d: more = %v, %v; want more to do", round, more, err)
				}
			}
			s := storetest.OpenWith(t, store.Options{Database: db.DSN})
			all, err := everyEvent(t, s)
			if err != nil {
				t.Fatal(err)
			}
			some, want := counts(t, s, gates, days), naiveCounts(all, gates, zone, days)
			if slices.Sort(some); slices.Equal(some, want) {
				t.Fatal("all is counted already: the test tests nothing")
			}
			waits := func() bool {
				t.Helper()
				var waiting time.Time
				if err := s.View(t.Context(), func(tx *store.Tx) (err error) { _, waiting, err = tx.CountedAt(); return err }); err != nil {
					t.Fatal(err)
				}
				return !waiting.IsZero()
			}
			if !waits() {
				t.Error("CountedAt says that nothing waits to be counted, with parts left")
			}
			if end == "wiped" {
				if _, err := s.Import(t.Context(), anybody, func(im *store.Import) error { return im.Wipe() }); err != nil {
					t.Fatal(err)
				}
				want = naiveCounts(nil, gates, zone, days)
			}
			countAll(t, s)
			got := counts(t, s, gates, days)
			slices.Sort(got)
			if d := gocmp.Diff(want, got); d != "" {
				t.Errorf("want (-), got (+):\n%s", d)
			}
			if waits() {
				t.Error("CountedAt says that some wait to be counted")
			}
		})
	}
}

// A round of few rows is written at once.
func TestCountFew(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	e := allowed(mustMark(t, s), "r")
	e.GateID, e.UserID = 1, 2
	mustAppend(t, s, mustClaim(t, s), 1, &access.EventBatch{Policy: mustMark(t, s), Events: []*access.Event{e}})
	if n, more, err := s.CountEvents(t.Context()); n != 1 || more || err != nil {
		t.Errorf("CountEvents = %d, more %v, %v; want 1 and nothing left", n, more, err)
	}
	var sum int
	if err := raw(t, db).QueryRow(`SELECT SUM(count) FROM event_hour`).Scan(&sum); err != nil || sum != 2 {
		t.Errorf("the hours of the gate and of the site say %d (%v), want one each", sum, err)
	}
}
