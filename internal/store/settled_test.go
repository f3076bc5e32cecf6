package store_test

import (
	"fmt"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// smallIndex is a store whose index goes by four events, and only when a test takes a step, with a lane to append by.
func smallIndex(t *testing.T, engine string) (db storetest.Database, s *store.Store, mark access.PolicyMark, lane int64) {
	t.Helper()
	db = storetest.New(t, engine)
	s = storetest.OpenWith(t, store.Options{Database: db.DSN})
	store.SetIndexSizes(s, 4, 3, 60, 2, 1000)
	store.RestUpkeep(s)
	return db, s, mustMark(t, s), mustClaim(t, s)
}

// Whoever drew a low id and commits late is waited for: the mark of the index passes no id that may still come.
func TestIndexWaitsForWhoAppends(t *testing.T) {
	const insert = `INSERT INTO events (kind, occurred_at, recorded_at, writer_id, seq, gate_id, policy_version, decision, reason, count, address, request_id, fingerprint)
		VALUES ('decision', 1, 1, 900, 1, 77, 1, 'ALLOW', 'OK', 1, '', 'late', '')`
	for _, commits := range []bool{true, false} {
		t.Run(fmt.Sprint("commits=", commits), func(t *testing.T) {
			db, s, mark, lane := smallIndex(t, store.Postgres)
			index := func() (at int64) {
				t.Helper()
				for range 10 {
					if _, err := store.IndexStep(t.Context(), s); err != nil {
						t.Fatal(err)
					}
				}
				if err := raw(t, db).QueryRow(`SELECT mark FROM event_index`).Scan(&at); err != nil {
					t.Fatal(err)
				}
				return at
			}
			slow, err := raw(t, db).Begin()
			if err != nil {
				t.Fatal(err)
			}
			defer slow.Rollback()                        //nolint:errcheck // after its end it does nothing
			if _, err := slow.Exec(insert); err != nil { // draws id 1
				t.Fatal(err)
			}
			seq := int64(0)
			for range 4 {
				seq++
				mustAppend(t, s, lane, seq, batchOf(mark, "a", "b", "c"))
			}
			if at := index(); at != 0 {
				t.Fatalf("the index goes to %d while id 1 is not settled", at)
			}
			if commits {
				err = slow.Commit()
			} else {
				err = slow.Rollback()
			}
			if err != nil {
				t.Fatal(err)
			}
			if at := index(); at < 8 {
				t.Errorf("the index goes to %d when all is settled, want at least 8", at)
			}
			got, err := s.Events(t.Context(), access.EventFilter{GateID: 77})
			if err != nil || len(got) == 1 != commits {
				t.Errorf("%d events of the late one's gate, %v", len(got), err)
			}
		})
	}
}

// After a crash ids may be given again. An event that was taken for settled and is gone, or another one, settles nothing.
func TestIndexDoubtsWhatIsGone(t *testing.T) {
	db, s, mark, lane := smallIndex(t, store.Postgres)
	mustAppend(t, s, lane, 1, batchOf(mark, "a", "b", "c", "d", "e", "f", "g", "h"))
	if _, err := store.IndexStep(t.Context(), s); err != nil { // 8 is settled, and 4 the mark
		t.Fatal(err)
	}
	mustExec(t, raw(t, db), `UPDATE events SET seq = 99 WHERE id = 8`)
	for _, want := range []int64{4, 8} { // first it doubts, then it looks anew
		var at int64
		if _, err := store.IndexStep(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := raw(t, db).QueryRow(`SELECT mark FROM event_index`).Scan(&at); err != nil {
			t.Fatal(err)
		}
		if at != want {
			t.Errorf("the index goes to %d, want %d", at, want)
		}
	}
}

// A standby that takes over may have lost events, and give their ids to others; of a batch that landed the answer may be lost. What this process
// remembers is no help then: the index has what stands, and finds it.
func TestIndexDoubtsWhatItRemembers(t *testing.T) {
	tests := map[string]struct {
		append [][]string // batches of the lane, the first with seq 1; nil: an id is drawn and not used
		lost   string     // events that the standby does not have
		others string     // events that are there in their place: values of id, writer_id, seq
		find   int        // how many of them
	}{
		"an id was given to another process":         {[][]string{{"a", "b", "c", "d", "e", "f", "g", "h"}}, `id = 2`, `(2, 900, 1)`, 1},
		"ids were given to an unanswered batch":      {[][]string{{"a", "b"}, {"c", "d"}}, `seq = 2`, `(3, $1::bigint, 3), (4, $1, 3)`, 2},
		"another batch of its size was not answered": {[][]string{{"a", "b", "c"}, nil, {"lost"}, {"d", "e"}}, `seq = 3`, `(4, $1::bigint, 2)`, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db, s, mark, lane := smallIndex(t, store.Postgres)
			for i, ids := range tt.append {
				if ids == nil {
					mustExec(t, raw(t, db), `SELECT nextval(pg_get_serial_sequence('events', 'id'))`)
					continue
				}
				mustAppend(t, s, lane, int64(i+1), batchOf(mark, ids...))
			}
			mustExec(t, raw(t, db), `DELETE FROM events WHERE `+tt.lost)
			mustExec(t, raw(t, db), `INSERT INTO events (id, kind, occurred_at, recorded_at, writer_id, seq, gate_id, policy_version, decision, reason, count, address, request_id, fingerprint)
				SELECT id, 'decision', 1, 1, w, seq, 77, 1, 'ALLOW', 'OK', 1, '', 'another', '' FROM (VALUES `+tt.others+`) AS o (id, w, seq) WHERE $1::bigint > 0`, lane)
			for range 4 {
				if _, err := store.IndexStep(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			var at int64
			if err := raw(t, db).QueryRow(`SELECT mark FROM event_index`).Scan(&at); err != nil || at == 0 {
				t.Errorf("the index goes to %d (%v)", at, err)
			}
			got, err := s.Events(t.Context(), access.EventFilter{GateID: 77})
			if err != nil || len(got) != tt.find {
				t.Errorf("%d events of the others' gate, %v; want %d", len(got), err, tt.find)
			}
		})
	}
}

// Most of a slice was appended by another process: what this one remembers is less than a slice, and the index goes on all the same.
func TestIndexOfOthersEvents(t *testing.T) {
	db, s, mark, lane := smallIndex(t, store.Postgres)
	other := storetest.OpenWith(t, store.Options{Database: db.DSN})
	store.RestUpkeep(other)
	mustAppend(t, s, lane, 1, batchOf(mark, "a", "b"))
	mustAppend(t, other, mustClaim(t, other), 1, batchOf(mark, "c", "d", "e", "f"))
	if worked, err := store.IndexStep(t.Context(), s); err != nil || !worked {
		t.Errorf("IndexStep = %v, %v; want a slice made", worked, err)
	}
}

// What this process appended is not read again: what is changed behind its back is not noticed.
func TestIndexReadsNothingOfItsOwn(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			db, s, mark, lane := smallIndex(t, engine)
			mustAppend(t, s, lane, 1, batchOf(mark, "a", "b", "c", "d"))
			mustExec(t, raw(t, db), `UPDATE events SET gate_id = 77 WHERE id = 2`)
			if worked, err := store.IndexStep(t.Context(), s); err != nil || !worked {
				t.Fatalf("IndexStep = %v, %v", worked, err)
			}
			if got, err := s.Events(t.Context(), access.EventFilter{GateID: 77}); err != nil || len(got) != 0 {
				t.Errorf("%d events of the new gate, %v; want none: the event was read", len(got), err)
			}
		})
	}
}
