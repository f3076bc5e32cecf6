package store_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// randomEvents are n events in batches, occurring about noon in no strict order.
func randomEvents(t *testing.T, s *store.Store, rnd *rand.Rand, n int) []access.Event {
	t.Helper()
	mark, lane := mustMark(t, s), mustClaim(t, s)
	var all []access.Event
	for seq := int64(1); len(all) < n; seq++ {
		b := &access.EventBatch{Policy: mark}
		for range 1 + rnd.IntN(20) {
			e := allowed(mark, fmt.Sprint("r", rnd.IntN(40)))
			e.At = noon.Add(time.Duration(len(all))*time.Second + time.Duration(rnd.IntN(20_000))*time.Millisecond)
			e.GateID, e.UserID, e.DeviceID = rnd.Int64N(4), rnd.Int64N(5), rnd.Int64N(3)
			if rnd.IntN(2) == 0 {
				e.Decision, e.Reason = access.Deny, []access.Reason{access.NoPermission, access.TokenInvalid}[rnd.IntN(2)]
			}
			if rnd.IntN(9) == 0 {
				e.Kind = access.SystemEvent
			}
			b.Events = append(b.Events, e)
		}
		mustAppend(t, s, lane, seq, b)
		for _, e := range b.Events {
			e.ID = int64(len(all) + 1)
			all = append(all, *e)
		}
	}
	return all
}

// naive filters as the words of EventFilter say.
func naive(all []access.Event, f access.EventFilter, members []int64) []access.Event {
	var got []access.Event
	for _, e := range all {
		if (f.Before == 0 || e.ID < f.Before) && (f.GateID == 0 || e.GateID == f.GateID) && (f.UserID == 0 || e.UserID == f.UserID) &&
			(f.GroupID == 0 || slices.Contains(members, e.UserID)) && (f.DeviceID == 0 || e.DeviceID == f.DeviceID) && (f.Kind == "" || e.Kind == f.Kind) &&
			(f.Decision == "" || e.Decision == f.Decision) && (f.Reason == "" || e.Reason == f.Reason) && (f.RequestID == "" || e.RequestID == f.RequestID) &&
			(f.From.IsZero() || !e.At.Before(f.From)) && (f.To.IsZero() || e.At.Before(f.To)) {
			got = append(got, e)
		}
	}
	slices.SortFunc(got, func(a, b access.Event) int { return cmp.Compare(b.ID, a.ID) })
	if f.Limit == store.All {
		return got
	}
	return got[:min(len(got), f.Limit)]
}

func TestEventsFilter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		const seed = 3
		rnd := rand.New(rand.NewPCG(seed, seed))
		e := &edits{rnd: rnd}
		mustDo(t, s, e.start)
		group, members := e.groups[0], e.users[1:3]
		mustDo(t, s, func(tx *store.Tx) error {
			for _, u := range members {
				if _, err := tx.AddMember(group, u); err != nil {
					return err
				}
			}
			return tx.Record(access.ObjectMember, members[0], "create", nil, nil)
		})
		all := randomEvents(t, s, rnd, 300)
		maybe := func(n int) bool { return rnd.IntN(n) == 0 }
		for range 400 {
			f := access.EventFilter{Limit: 1 + rnd.IntN(60)}
			if maybe(3) {
				f.Before = 1 + rnd.Int64N(int64(len(all)))
			}
			if maybe(4) {
				f.GateID = 1 + rnd.Int64N(4)
			}
			if maybe(4) {
				f.UserID = 1 + rnd.Int64N(5)
			}
			if maybe(5) {
				f.GroupID = group
			}
			if maybe(6) {
				f.DeviceID = 1 + rnd.Int64N(2)
			}
			if maybe(6) {
				f.Kind = access.SystemEvent
			}
			if maybe(5) {
				f.Decision = access.Deny
			}
			if maybe(6) {
				f.Reason = access.NoPermission
			}
			if maybe(8) {
				f.RequestID = fmt.Sprint("r", rnd.IntN(40))
			}
			if maybe(3) {
				f.From = noon.Add(time.Duration(rnd.IntN(200)) * time.Second)
			}
			if maybe(3) {
				f.To = noon.Add(time.Duration(100+rnd.IntN(200)) * time.Second)
			}
			got, err := s.Events(t.Context(), f)
			if err != nil {
				t.Fatalf("Events(%+v): %v", f, err)
			}
			if d := gocmp.Diff(naive(all, f, members), got); d != "" {
				t.Fatalf("seed %d: Events(%+v), want (-), got (+):\n%s", seed, f, d)
			}
		}
		if got, err := s.Events(t.Context(), access.EventFilter{}); err != nil || len(got) != 50 {
			t.Errorf("a page without a limit has %d events (%v), want 50", len(got), err)
		}
	})
}

func TestPurgeEvents(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, s, other *store.Store) {
		if at, err := s.NewestEvent(t.Context()); err != nil || !at.IsZero() {
			t.Errorf("NewestEvent of none = %v, %v; want the zero time", at, err)
		}
		all := randomEvents(t, s, rand.New(rand.NewPCG(5, 5)), 200)
		newest := slices.MaxFunc(all, func(a, b access.Event) int { return a.At.Compare(b.At) }).At
		if at, err := s.NewestEvent(t.Context()); err != nil || !at.Equal(newest) {
			t.Errorf("NewestEvent = %v, %v; want %v", at, err, newest)
		}
		if at, err := s.FirstEventSince(t.Context(), newest); err != nil || !at.Equal(newest) {
			t.Errorf("FirstEventSince the newest = %v, %v; want %v", at, err, newest)
		}
		if at, err := s.FirstEventSince(t.Context(), newest.Add(time.Microsecond)); err != nil || !at.IsZero() {
			t.Errorf("FirstEventSince after the newest = %v, %v; want the zero time", at, err)
		}
		oldest := slices.MinFunc(all, func(a, b access.Event) int { return a.At.Compare(b.At) }).At
		if at, err := s.FirstEventSince(t.Context(), time.UnixMicro(math.MinInt64)); err != nil || !at.Equal(oldest) {
			t.Errorf("FirstEventSince ever = %v, %v; want %v", at, err, oldest)
		}
		before := noon.Add(100 * time.Second)
		want := 0
		for _, e := range all {
			if e.At.Before(before) {
				want++
			}
		}
		deleted := 0
		for {
			n, more, err := other.PurgeEvents(t.Context(), before, 30)
			if err != nil || n > 30 {
				t.Fatalf("PurgeEvents = %d, %v; want at most 30", n, err)
			}
			if deleted += n; !more {
				break
			}
		}
		if deleted != want {
			t.Errorf("PurgeEvents deleted %d, want %d", deleted, want)
		}
		left, err := s.Events(t.Context(), access.EventFilter{Limit: 1000})
		if err != nil || len(left) != len(all)-want || slices.ContainsFunc(left, func(e access.Event) bool { return e.At.Before(before) }) {
			t.Errorf("%d events are left (%v), want the %d that are not older", len(left), err, len(all)-want)
		}
		var batches int
		count := func() int {
			if err := raw(t, db).QueryRow(`SELECT COUNT(*) FROM event_batch`).Scan(&batches); err != nil {
				t.Fatal(err)
			}
			return batches
		}
		// The batches were recorded just now, and are kept as long as that.
		if n := count(); n != int(all[len(all)-1].Seq) {
			t.Errorf("%d batches are left, want all %d", n, all[len(all)-1].Seq)
		}
		lane := mustClaim(t, s)
		mustAppend(t, s, lane, 1, batchOf(mustMark(t, s), "x"))
		mustExec(t, raw(t, db), `UPDATE event_batch SET recorded_at = 5`)
		for range 20 {
			if _, _, err := s.PurgeEvents(t.Context(), time.Now().Add(time.Hour), 100); err != nil {
				t.Fatal(err)
			}
		}
		if n := count(); n != 2 {
			t.Errorf("%d batches are left, want the newest of each of two lanes", n)
		}
		if got := requestIDs(t, s); got != "" {
			t.Errorf("the log holds %q after everything was purged", got)
		}
	})
}

// A purge of a long log that has no index yet makes one on its way, since a look through all of it would keep the gates waiting.
func TestPurgeIndexesFirst(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, s, _ *store.Store) {
		store.RestUpkeep(s)
		const all = 30_000
		mustExec(t, raw(t, db), fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO events (kind, occurred_at, recorded_at, writer_id, seq, policy_version, decision, reason, count, address, request_id, fingerprint)
			SELECT 'decision', i * 1000, i * 1000, 1, i, 1, 'DENY', 'NO_PERMISSION', 1, '', 'r' || i, '' FROM n`, all))
		deleted, more := 0, true
		for more {
			var n int
			var err error
			if n, more, err = s.PurgeEvents(t.Context(), time.UnixMicro((all-99)*1000), 1500); err != nil {
				t.Fatal(err)
			}
			deleted += n
		}
		left, err := s.Events(t.Context(), access.EventFilter{Limit: store.All})
		if deleted != all-100 || len(left) != 100 || err != nil {
			t.Errorf("%d were deleted and %d are left (%v), want %d and 100", deleted, len(left), err, all-100)
		}
		var mark int64
		if err := raw(t, db).QueryRow(`SELECT mark FROM event_index`).Scan(&mark); err != nil || mark == 0 {
			t.Errorf("the index goes to %d (%v), want it to have been made", mark, err)
		}
	})
}
