package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// When events occurred. They have no index over the time: of each slice in the index it is known when the first and the last of its events
// occurred (event_span), and those above the mark are looked through. Ids grow as time goes on, so few slices are read that hold nothing of a range.

// insertSpan says when the events of a slice occurred, which begins with an id.
func (tx *Tx) insertSpan(first int64, events []indexed) error {
	oldest, newest := events[0].at, events[0].at
	for _, e := range events {
		oldest, newest = min(oldest, e.at), max(newest, e.at)
	}
	_, err := tx.exec(`INSERT INTO event_span (level, first_id, last_id, min_at, max_at) VALUES (0, $1, $2, $3, $4)`, first, events[len(events)-1].id, oldest, newest)
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO event_span (level, first_id, last_id, min_at, max_at)
		SELECT 1, MIN(first_id), MAX(last_id), MIN(min_at), MAX(max_at) FROM event_span
		WHERE level = 0 AND first_id > (SELECT COALESCE(MAX(last_id), 0) FROM event_span WHERE level = 1) HAVING COUNT(*) >= $1`, tx.s.sizes.spans)
	return err
}

// aboveMark is the condition of events that are not in the index yet. PostgreSQL takes it for a third of all: who does not ask in the order of the ids, for a
// few, is to see to it that it does not read the whole log.
const aboveMark = `id > (SELECT mark FROM event_index WHERE id = 1)`

// NewestEvent is when the latest event occurred; the zero time when there is none.
func (s *Store) NewestEvent(ctx context.Context) (at time.Time, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		found, err := tx.firstOf(`-occurred_at`, `-max_at`, math.MinInt64)
		if found != nil {
			at = time.UnixMicro(-*found).UTC()
		}
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("look for the newest event: %w", err)
	}
	return at, nil
}

// FirstEventSince is when the oldest of the events occurred that did not occur before an instant; the zero time when there is none.
func (s *Store) FirstEventSince(ctx context.Context, since time.Time) (at time.Time, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		found, err := tx.firstOf(`occurred_at`, `min_at`, micros(since))
		if found != nil {
			at = time.UnixMicro(*found).UTC()
		}
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("look for the first event since %s: %w", since.UTC().Format(time.RFC3339), err)
	}
	return at, nil
}

// firstOf is the smallest value that events have which occurred at an instant or later; nil when there is none. bound is such that no event of a slice has
// a smaller one. It need not be that of an event: some may be gone. So slices are read one by one until no other can have a smaller one, mostly one.
func (tx *Tx) firstOf(value, bound string, since int64) (first *int64, err error) {
	least := func(where string, args ...any) error {
		var v sql.NullInt64
		err := tx.queryRow(`SELECT MIN(`+value+`) FROM events WHERE occurred_at >= $1 AND `+where, append([]any{since}, args...)...).Scan(&v)
		if err == nil && v.Valid && (first == nil || v.Int64 < *first) {
			first = &v.Int64
		}
		return err
	}
	if tx.s.write == nil {
		if _, err := tx.exec(`SET LOCAL enable_seqscan = off`); err != nil {
			return nil, err
		}
	}
	if err := least(aboveMark); err != nil {
		return nil, err
	}
	type span struct{ first, last, bound int64 }
	for _, most := range []int64{16, math.MaxInt32} { // the second look is for a clock that was set back and forth
		var spans []span
		err := tx.each(`SELECT first_id, last_id, `+bound+` FROM event_span WHERE level = 0 AND max_at >= $1 AND max_at >= min_at ORDER BY 3 LIMIT $2`, []any{since, most}, func(row scanner) error {
			var s span
			err := row.Scan(&s.first, &s.last, &s.bound)
			spans = append(spans, s)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, s := range spans {
			if first != nil && s.bound >= *first {
				return first, nil
			}
			if err := least(`id BETWEEN $2 AND $3`, s.first, s.last); err != nil {
				return nil, err
			}
		}
		if int64(len(spans)) < most {
			break
		}
	}
	return first, nil
}

// idsOfTime lists the stretches of ids, ascending and without overlap, in which events of a range of time may be: slices of the index, and then all above its mark.
func (tx *Tx) idsOfTime(from, to int64) (stretches [][2]int64, err error) {
	err = tx.each(`SELECT first_id, last_id FROM event_span WHERE level = 0 AND min_at <= $1 AND max_at >= $2
		UNION ALL SELECT mark + 1, $3 FROM event_index WHERE id = 1 ORDER BY 1`, []any{to, from, int64(math.MaxInt64)}, func(row scanner) error {
		var first, last int64
		err := row.Scan(&first, &last)
		if n := len(stretches); n > 0 && stretches[n-1][1]+1 == first {
			stretches[n-1][1] = last
		} else {
			stretches = append(stretches, [2]int64{first, last})
		}
		return err
	})
	return stretches, err
}

// purgeAhead is how many events above the mark a purge looks through, and purgeSlices how many slices: on SQLite the gates wait meanwhile.
const (
	purgeAhead  = 20_000
	purgeSlices = 8
)

// PurgeEvents deletes at most limit events that occurred before an instant (a folded one: began), those first that were recorded first, and as many
// batches of a few lanes recorded before it, but never a lane's newest one. It is one small transaction; more says that others may be left.
//
// Events are indexed before they are purged, where many are not. When that is not possible yet (on PostgreSQL, while others append much faster than the index follows),
// those above its mark are left for a later purge.
//
// A power cut may undo the last of them on SQLite: nobody waits for the disk, and the next purge deletes those events again.
func (s *Store) PurgeEvents(ctx context.Context, before time.Time, limit int) (n int, more bool, err error) {
	if limit <= 0 {
		return 0, false, fmt.Errorf("purge events: %d at a time", limit)
	}
	few := true // events are above the mark
	var lanes []int64
	err = s.View(ctx, func(tx *Tx) (err error) { lanes, err = tx.lanesWithOld(micros(before)); return err })
	if err != nil {
		return 0, false, fmt.Errorf("purge events: %w", err)
	}
	err = s.atDeskThatIs(ctx, lazy, func(tx *Tx) (bool, error) {
		if n, more, err = tx.purgeIndexed(micros(before), limit); err != nil {
			return false, err
		}
		if !more {
			if few, err = tx.fewAboveMark(); err != nil {
				return false, err
			}
		}
		if !more && few {
			gone, err := tx.purge(micros(before), limit-n, aboveMark)
			if err != nil {
				return false, err
			}
			n += gone
			more = n == limit
		}
		if err := tx.dropOldIndex(); err != nil {
			return false, err
		}
		more = more || len(lanes) == lanesPurged
		return true, tx.purgeBatches(lanes, micros(before), limit)
	})
	if err == nil && !few {
		var indexed bool
		indexed, err = s.indexForPurge(ctx)
		more = more || indexed
	}
	if err != nil {
		return n, false, fmt.Errorf("purge events: %w", err)
	}
	return n, more, nil
}

// lanesPurged is of how many lanes a purge deletes batches at a time.
const lanesPurged = 8

// lanesWithOld looks for lanes with batches that were recorded before an instant, beside their newest. There are as many lanes as there were starts of
// servers, so this is asked before the gates have to wait.
func (tx *Tx) lanesWithOld(before int64) ([]int64, error) {
	var lanes []int64
	err := tx.each(`SELECT w.id FROM writer w WHERE (SELECT b.recorded_at FROM event_batch b WHERE b.writer_id = w.id ORDER BY b.seq LIMIT 1) < $1
		AND EXISTS (SELECT 1 FROM event_batch b WHERE b.writer_id = w.id ORDER BY b.seq LIMIT 1 OFFSET 1) ORDER BY w.id LIMIT $2`, []any{before, lanesPurged}, func(row scanner) error {
		var id int64
		err := row.Scan(&id)
		lanes = append(lanes, id)
		return err
	})
	return lanes, err
}

// purgeBatches deletes at most so many batches of lanes, oldest first. A lane whose oldest a clock set ahead has dated later is left until that time.
func (tx *Tx) purgeBatches(lanes []int64, before int64, limit int) error {
	for _, lane := range lanes {
		gone, err := tx.exec(`DELETE FROM event_batch WHERE writer_id = $1 AND seq IN (SELECT seq FROM
			(SELECT seq, recorded_at FROM event_batch WHERE writer_id = $1 AND seq < (SELECT MAX(seq) FROM event_batch WHERE writer_id = $1) ORDER BY seq LIMIT $2) AS oldest
			WHERE recorded_at < $3)`, lane, limit, before)
		if err != nil {
			return err
		}
		if limit -= int(gone); limit <= 0 {
			break
		}
	}
	return nil
}

// indexForPurge indexes events until few are above the mark, or for as long as that can be done now, and reports whether it did anything.
func (s *Store) indexForPurge(ctx context.Context) (worked bool, err error) {
	for {
		if did, err := s.indexStep(ctx, false); err != nil || !did {
			return worked, err
		}
		worked = true
		var few bool
		err := s.View(ctx, func(tx *Tx) (err error) { few, err = tx.fewAboveMark(); return err })
		if err != nil || few {
			return worked, err
		}
	}
}

// fewAboveMark reports whether a purge may look through the events above the mark. Ids may be missing, so they are counted.
func (tx *Tx) fewAboveMark() (bool, error) {
	var ahead int
	err := tx.queryRow(`SELECT COUNT(*) FROM (SELECT id FROM events WHERE `+aboveMark+` ORDER BY id LIMIT $1) AS ahead`, purgeAhead+1).Scan(&ahead)
	return ahead <= purgeAhead, err
}

// purgeIndexed deletes from a few slices.
func (tx *Tx) purgeIndexed(before int64, limit int) (n int, more bool, err error) {
	if err := tx.holdIndex(); err != nil {
		return 0, false, err
	}
	for range purgeSlices {
		var first, last int64
		err := tx.each(`SELECT first_id, last_id FROM event_span WHERE level = 0 AND min_at < $1 ORDER BY first_id LIMIT 1`, []any{before}, func(row scanner) error {
			return row.Scan(&first, &last)
		})
		if err != nil || last == 0 {
			return n, false, err
		}
		gone, err := tx.purge(before, limit-n, `id BETWEEN $3 AND $4`, first, last)
		if n += gone; err != nil || n == limit {
			return n, true, err
		}
		// What is left of the slice. Of an empty one the first occurred after the last: that is in no range of time.
		_, err = tx.exec(`UPDATE event_span SET (min_at, max_at) = (SELECT COALESCE(MIN(occurred_at), $1), COALESCE(MAX(occurred_at), $2) FROM events WHERE id BETWEEN $3 AND $4)
			WHERE level = 0 AND first_id = $3`, int64(math.MaxInt64), int64(math.MinInt64), first, last)
		if err != nil {
			return n, false, err
		}
	}
	return n, true, nil
}

// purge deletes at most so many events that occurred before an instant and meet a condition.
func (tx *Tx) purge(before int64, limit int, where string, bounds ...any) (int, error) {
	gone, err := tx.exec(`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE occurred_at < $1 AND `+where+` ORDER BY id LIMIT $2)`, append([]any{before, limit}, bounds...)...)
	return int(gone), err
}

// spanList are all ids of the slices in which something occurred in a range of time.
type spanList struct {
	x           *indexReader
	from, to    int64
	begun       bool
	low         int64 // slices up to this id were not looked at one by one
	first, last int64 // of the slices at hand; last is 0 before the first, and first above last when there is none any more
}

func newSpanList(x *indexReader, f access.EventFilter) *spanList {
	l := &spanList{x: x, from: math.MinInt64, to: math.MaxInt64}
	if !f.From.IsZero() {
		l.from = micros(f.From)
	}
	if !f.To.IsZero() {
		l.to = micros(f.To)
	}
	return l
}

func (l *spanList) most(id int64) (int64, error) {
	switch {
	case l.last == 0:
	case l.first > l.last:
		return -1, nil
	case id >= l.first:
		return min(id, l.last), nil
	}
	if !l.begun {
		if err := l.x.tx.QueryRowContext(l.x.ctx, `SELECT COALESCE(MAX(last_id), 0) FROM event_span WHERE level = 1`).Scan(&l.low); err != nil {
			return -1, err
		}
		l.begun = true
	}
	for {
		if found, err := l.find(0, l.low, id); err != nil || found {
			return min(id, l.last), err
		}
		found, err := l.find(1, 0, min(id, l.low))
		if err != nil || !found {
			l.first, l.last = 1, -1
			return -1, err
		}
		id, l.low = min(id, l.last), l.first-1
	}
}

// find looks for the last spans of a level that begin above low, and at most at id, and in which something occurred in the range. It
// sets first and last to where the stretch of them begins and ends.
func (l *spanList) find(level int, low, id int64) (found bool, err error) {
	rows, err := l.x.tx.QueryContext(l.x.ctx, `SELECT first_id, last_id FROM event_span
		WHERE level = $1 AND first_id > $2 AND first_id <= $3 AND min_at < $4 AND max_at >= $5 ORDER BY first_id DESC LIMIT $6`,
		level, low, id, l.to, l.from, spansAtOnce)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		var first, last int64
		switch err := rows.Scan(&first, &last); {
		case err != nil:
			return false, err
		case !found:
			found, l.last = true, last
		case last+1 != l.first:
			return true, nil
		}
		l.first = first
		if level > 0 { // the slices in it follow one by one
			break
		}
	}
	return found, rows.Err()
}

// spansAtOnce are read by one query: where one fits the range, so do those before it, mostly.
const spansAtOnce = 64
