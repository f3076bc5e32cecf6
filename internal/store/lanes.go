package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Reading the log in the order of its commits: lane by lane, batch by batch. (The lists of pages read by the events' ids: eventquery.go.)

// Lanes lists the lanes that may still write, and those that were given up after an instant, each with its newest batch. It reads a few
// rows a lane.
func (s *Store) Lanes(ctx context.Context, retiredAfter time.Time) (lanes []access.Lane, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		lanes, err = tx.lanes(retiredAfter)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the lanes: %w", err)
	}
	return lanes, nil
}

func (tx *Tx) lanes(retiredAfter time.Time) ([]access.Lane, error) {
	var lanes []access.Lane
	err := tx.each(`SELECT w.id, w.started_at,
			COALESCE((SELECT b.seq FROM event_batch b WHERE b.writer_id = w.id ORDER BY b.seq DESC LIMIT 1), 0),
			(SELECT b.recorded_at FROM event_batch b WHERE b.writer_id = w.id ORDER BY b.seq DESC LIMIT 1)
		FROM writer w WHERE w.retired_at IS NULL OR w.retired_at > $1 ORDER BY w.id`, []any{micros(retiredAfter)}, func(row scanner) error {
		var l access.Lane
		err := row.Scan(&l.ID, asTime(&l.StartedAt), &l.Newest, asTime(&l.RecordedAt))
		lanes = append(lanes, l)
		return err
	})
	return lanes, err
}

// LaneSeqAt is the number of a lane's newest batch that was recorded no later than an instant; 0 if there is none. It reads as many rows
// as the lane recorded since.
func (s *Store) LaneSeqAt(ctx context.Context, writer int64, at time.Time) (seq int64, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT COALESCE((SELECT seq FROM event_batch WHERE writer_id = $1 AND recorded_at <= $2 ORDER BY seq DESC LIMIT 1), 0)`,
		writer, micros(at)).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("where lane %d was at %s: %w", writer, at.UTC().Format(time.RFC3339), s.kind.fault(err))
	}
	return seq, nil
}

// LaneEvents returns the batches of a lane after one of its numbers, oldest first, with their events in the order in which they were
// written: at most so many batches, and no more once maxEvents events are read. It reads little more than what it returns, however
// many events there are. Events that were purged are missing.
func (s *Store) LaneEvents(ctx context.Context, writer, after int64, maxBatches, maxEvents int) (batches []access.LaneBatch, events []access.Event, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		if batches, err = tx.laneBatches(writer, after, maxBatches, maxEvents); err != nil {
			return err
		}
		events, err = tx.batchEvents(batches)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read lane %d after its batch %d: %w", writer, after, err)
	}
	return batches, events, nil
}

// NewestEvents returns the newest n events, newest first, and where the lanes stand in the same snapshot of the database.
func (s *Store) NewestEvents(ctx context.Context, n int, retiredAfter time.Time) (events []access.Event, lanes []access.Lane, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		if lanes, err = tx.lanes(retiredAfter); err != nil || n == 0 {
			return err
		}
		return tx.each(selectEvent+` ORDER BY id DESC LIMIT $1`, []any{n}, func(row scanner) error {
			e, err := scanEvent(row)
			events = append(events, e)
			return err
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read the newest events: %w", err)
	}
	return events, lanes, nil
}

// laneBatches lists batches of a lane after one of its numbers, oldest first: at least one, if there is one, and no more than maxEvents
// events are in them but for the last.
func (tx *Tx) laneBatches(writer, after int64, maxBatches, maxEvents int) ([]access.LaneBatch, error) {
	var batches []access.LaneBatch
	rows, err := tx.query(`SELECT seq, count, COALESCE(first_id, 0), oldest_at, recorded_at FROM event_batch WHERE writer_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`, writer, after, maxBatches)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for n := 0; n < maxEvents && rows.Next(); {
		b := access.LaneBatch{WriterID: writer}
		if err := rows.Scan(&b.Seq, &b.Count, &b.FirstID, asTime(&b.OldestAt), asTime(&b.RecordedAt)); err != nil {
			return nil, err
		}
		batches = append(batches, b)
		n += b.Count
	}
	return batches, tx.s.kind.fault(rows.Err())
}

// batchEvents returns the events of batches of one lane, which stand in order.
func (tx *Tx) batchEvents(batches []access.LaneBatch) ([]access.Event, error) {
	var events []access.Event
	err := tx.findBatches(batches, func(anew bool, where string, args []any) (int, error) {
		if anew {
			events = events[:0]
		}
		before := len(events)
		err := tx.each(selectEvent+` WHERE `+where, args, func(row scanner) error {
			e, err := scanEvent(row)
			events = append(events, e)
			return err
		})
		return len(events) - before, err
	})
	slices.SortFunc(events, func(a, b access.Event) int { return cmp.Compare(a.ID, b.ID) })
	return events, err
}

// findBatches calls read with conditions until it has seen all events of batches of one lane, and no others. read says how many it saw; when it is to
// begin anew, what it saw before is void.
//
// Events have no index on their batch: it would cost every insert. But a batch's events were given ids close to one another, and event_batch
// mostly says where they begin.
func (tx *Tx) findBatches(batches []access.LaneBatch, read func(anew bool, where string, args []any) (n int, err error)) error {
	batches = slices.DeleteFunc(slices.Clone(batches), func(b access.LaneBatch) bool { return b.Count == 0 })
	if len(batches) == 0 {
		return nil
	}
	want := 0
	for _, b := range batches {
		want += b.Count
	}
	first, last := batches[0], batches[len(batches)-1]
	const theirs = `id BETWEEN $1 AND $2 AND writer_id = $3 AND seq BETWEEN $4 AND $5 ORDER BY id LIMIT $6`
	args := func(low, high int64) []any { return []any{low, high, first.WriterID, first.Seq, last.Seq, want} }
	// On PostgreSQL other lanes draw ids at the same time, and a hint is older than the batch: what others wrote meanwhile stands before it.
	const widest = 16_384
	if first.FirstID != 0 && last.FirstID != 0 && last.FirstID-first.FirstID <= int64(want)+widest {
		for _, slack := range []int64{64 + int64(want/4), 1024 + int64(want), widest} {
			n, err := read(true, theirs, args(first.FirstID, last.FirstID+int64(last.Count)+slack))
			if err != nil || n == want {
				return err
			}
		}
	}
	// No hint, one that does not hold, or some were purged: by the slices of the index in which events of that time are, and then above its mark.
	stretches, err := tx.idsOfTime(timeOf(batches))
	if err != nil {
		return err
	}
	for i, ids := range stretches {
		n, err := read(i == 0, theirs, args(ids[0], ids[1]))
		if want -= n; err != nil || want == 0 {
			return err
		}
	}
	return nil
}

// timeOf is when events of batches of one lane may have occurred.
func timeOf(batches []access.LaneBatch) (from, to int64) {
	from = math.MaxInt64
	for _, b := range batches {
		from, to = min(from, micros(b.OldestAt)), max(to, micros(b.RecordedAt))
	}
	// An event may bear a later time than its batch when the clock was set back.
	return from, to + int64(time.Hour/time.Microsecond)
}
