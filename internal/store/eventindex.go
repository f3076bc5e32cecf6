package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"sync"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/posting"
)

// The index over the events (ADR 8). With B-trees over (gate, id) and (user, id) each event of a batch dirties a page of
// each, and that cost four times what the event itself does. So an append writes events only, and the index follows:
//
//   - Events with ids up to event_index.mark are in it. What is above, about a slice of events (a block on a busy log), is looked through row by
//     row, so that an event is found from the moment its batch is committed.
//   - Each slice of events becomes a segment: postings (key, event id) in order of key. Segments are never changed; so many of a level
//     are merged into one of the next, in small steps, and a query asks a few segments, newest first.
//   - Nothing is taken on trust: rows that the index leads to are held against the whole filter, and a row that is gone is passed over.
//
// Each step is one transaction that leaves all of it whole, works out from the tables what is to be done, and checks before it
// commits that nobody else did it meanwhile. So a crash costs at most the work of one step, any process may go on where another ended, and a program
// that knows nothing of the index may append beside it.

// The sizes of the index.
type indexSizes struct {
	slice int // events in a segment of level 0
	fan   int // segments of a level that are merged into one of the next
	step  int // bytes of chunks written in a step of a merge
	drop  int // chunks deleted in a step
	spans int // slices in a span of level 1
	ahead int // chunks that a merge reads of an input at once
}

var defaultSizes = indexSizes{slice: 1024, fan: 8, step: 64 << 10, drop: 64, spans: 64, ahead: 1}

// What an event can be found by. The value of a text is a hash of it.
const (
	byGate = iota + 1
	byUser
	byDevice
	byKind
	byDecision
	byReason
	byRequest
	dimensions = byRequest
)

// indexKey is a key of the index: of values that differ some may share one.
func indexKey(dimension int, value int64) int64 {
	const bits = 56
	return int64(dimension)<<bits | value&(1<<bits-1)
}

func indexTextKey(dimension int, value string) int64 {
	h := fnv.New32a()
	h.Write([]byte(value)) //nolint:errcheck // it cannot fail
	return indexKey(dimension, int64(h.Sum32()))
}

// indexKeys appends the keys of an event, or those of a filter that asks for events like it. What nearly every event has is no key.
func indexKeys(keys []int64, gate, user, device int64, kind access.EventKind, decision access.Outcome, reason access.Reason, request string) []int64 {
	for dimension, value := range [...]int64{byGate: gate, byUser: user, byDevice: device} {
		if value != 0 {
			keys = append(keys, indexKey(dimension, value))
		}
	}
	if kind != "" && kind != access.DecisionEvent {
		keys = append(keys, indexTextKey(byKind, string(kind)))
	}
	if decision != "" && decision != access.Allow {
		keys = append(keys, indexTextKey(byDecision, string(decision)))
	}
	if reason != "" && reason != access.OK {
		keys = append(keys, indexTextKey(byReason, string(reason)))
	}
	if request != "" {
		keys = append(keys, indexTextKey(byRequest, request))
	}
	return keys
}

// indexed is an event as the index sees it. There is no pointer in it: many are kept, and the garbage collector would look through them.
type indexed struct {
	id, at, writer, seq int64
	count               int // of its keys
	keys                [dimensions]int64
}

// IndexEvents brings the index over the events up to date, which the server does by itself in the background: for those who wrote
// many events by other ways than AppendBatch, above all that were there before, and want queries to be quick at once. (Queries are right at any
// time. On PostgreSQL the last may be left for later, while somebody appends.)
func (s *Store) IndexEvents(ctx context.Context) error {
	for {
		if worked, err := s.indexStep(ctx, false); err != nil {
			return fmt.Errorf("index the events: %w", err)
		} else if !worked {
			return nil
		}
	}
}

// ForgetEventIndex makes the index over the events begin anew. It is for a transaction that writes events with ids of its own
// choice that are not all above those that were there, or changes events: the index takes them for what they were. Until the index has been
// made again (IndexEvents) queries look through the events themselves.
func (tx *Tx) ForgetEventIndex() error {
	for _, statement := range []string{
		`UPDATE event_index SET mark = 0, epoch = epoch + 1`,
		`UPDATE event_segment SET state = 'dead'`,
		`DELETE FROM event_span`,
	} {
		if _, err := tx.exec(statement); err != nil {
			return fmt.Errorf("forget the index of events: %w", err)
		}
	}
	return nil
}

// indexStep does the next small piece of work on the index. worked is false when there is nothing to do. The patient leave slices of a busy log
// alone, which is sure to fill a block soon.
func (s *Store) indexStep(ctx context.Context, patient bool) (worked bool, err error) {
	if worked, err = s.indexEvents(ctx, patient); worked || err != nil {
		return worked, err
	}
	if worked, err = s.mergeSegments(ctx); worked || err != nil {
		return worked, err
	}
	return s.dropSegment(ctx)
}

// inIndexStep runs a step in one transaction. On PostgreSQL it first waits for those who are at another one: there is one at a time.
func (s *Store) inIndexStep(ctx context.Context, fn func(*Tx) (commit bool, err error)) error {
	return s.inLazyWrite(ctx, func(tx *Tx) (bool, error) {
		if err := tx.holdIndex(); err != nil {
			return false, err
		}
		return fn(tx)
	})
}

// holdIndex keeps others from the index until the transaction ends.
func (tx *Tx) holdIndex() error {
	if tx.s.write != nil { // nobody else writes
		return nil
	}
	var mark int64
	return tx.queryRow(`SELECT mark FROM event_index WHERE id = 1` + tx.s.kind.forUpdate()).Scan(&mark)
}

// indexRoom is the memory of events that are being indexed.
type indexRoom struct {
	events   []indexed
	postings []posting.Posting
}

var indexRooms = sync.Pool{New: func() any { return new(indexRoom) }}

// indexEvents makes a segment of the next slice of events, when there are so many. On SQLite a busy log has a block of them, as many slices as are merged at
// once, which are made a segment of level 1 without being merged.
func (s *Store) indexEvents(ctx context.Context, patient bool) (worked bool, err error) {
	var mark, epoch int64
	var stand bool // segments of slices, which are to be merged before a block may follow them
	err = s.read.QueryRowContext(ctx, `SELECT mark, epoch, EXISTS (SELECT 1 FROM event_segment WHERE level = 0 AND state = 'live') FROM event_index WHERE id = 1`).
		Scan(&mark, &epoch, &stand)
	if err != nil {
		return false, fmt.Errorf("see how far the index goes: %w", s.kind.fault(err))
	}
	slice := s.sizes.slice
	least, most := slice, slice
	upTo := eventRef{id: math.MaxInt64}
	if s.write == nil {
		if upTo, err = s.settled(ctx, mark+int64(slice)); err != nil || upTo.id < mark+int64(slice) {
			return false, err
		}
	} else if !stand {
		most = s.fresh.block
		if patient && s.fresh.patience() > 0 {
			least = most
		}
	}
	room := indexRooms.Get().(*indexRoom)
	defer indexRooms.Put(room)
	room.events = s.fresh.take(room.events[:0], epoch, mark, upTo.id, slice, most)
	events := room.events
	all, err := s.areAll(ctx, mark, events)
	switch {
	case err != nil:
		return false, err
	case all && len(events) < least && s.write != nil:
		return false, nil
	case !all || len(events) < slice:
		if events, err = s.eventsToIndex(ctx, mark, upTo.id, slice); err != nil {
			return false, err
		}
	}
	if len(events) < slice {
		return false, nil
	}
	level := 0
	if len(events) > slice {
		level = 1
	}
	room.postings = slices.Grow(room.postings[:0], 5*len(events))
	for _, e := range events {
		for _, k := range e.keys[:e.count] {
			room.postings = append(room.postings, posting.Posting{Key: k, ID: e.id})
		}
	}
	chunks := posting.Pack(room.postings)
	first, last := mark+1, events[len(events)-1].id
	err = s.inIndexStep(ctx, func(tx *Tx) (bool, error) {
		if s.write == nil {
			if there, err := tx.stands(upTo); err != nil || !there {
				s.settling.unsettle()
				return false, err
			}
		}
		n, err := tx.exec(`UPDATE event_index SET mark = $1 WHERE id = 1 AND mark = $2 AND epoch = $3`, last, mark, epoch)
		if err != nil || n == 0 {
			return false, err
		}
		from := first
		for part := range slices.Chunk(events, slice) {
			if err := tx.insertSpan(from, part); err != nil {
				return false, err
			}
			from = part[len(part)-1].id + 1
		}
		var segment int64
		err = tx.queryRow(`INSERT INTO event_segment (level, first_id, last_id, state, inputs, done_key, done_id)
			VALUES ($1, $2, $3, 'live', 0, 0, 0) RETURNING id`, level, first, last).Scan(&segment)
		if err != nil {
			return false, err
		}
		return true, tx.insertChunks(segment, chunks)
	})
	if err != nil {
		return false, fmt.Errorf("index the events %d to %d: %w", first, last, err)
	}
	return true, nil
}

// areAll reports whether events, which were committed as this process knows, are those that lie between an id and the last of them.
//
// On SQLite that is so when there is no room for others. On PostgreSQL some are left out of the ids, others append in between, of some batches of our own
// nobody told us that they landed, and a standby that takes over may have lost some and give their ids to others. So each batch is to have as many there as
// we know: it lands whole, and is never another one.
func (s *Store) areAll(ctx context.Context, mark int64, events []indexed) (bool, error) {
	n := len(events)
	switch {
	case n == 0:
		return false, nil
	case s.write != nil:
		return events[n-1].id-mark == int64(n), nil
	}
	type batch struct{ writer, seq int64 }
	known := make(map[batch]int)
	for _, e := range events {
		known[batch{e.writer, e.seq}]++
	}
	rows, err := s.read.QueryContext(ctx, `SELECT writer_id, seq, COUNT(*) FROM (SELECT writer_id, seq FROM events WHERE id > $1 AND id <= $2 LIMIT $3) AS e
		GROUP BY writer_id, seq`, mark, events[n-1].id, n+1)
	if err != nil {
		return false, fmt.Errorf("count the events to index: %w", s.kind.fault(err))
	}
	defer rows.Close()
	same := 0
	for rows.Next() {
		var b batch
		var count int
		if err := rows.Scan(&b.writer, &b.seq, &count); err != nil {
			return false, fmt.Errorf("count the events to index: %w", err)
		}
		if known[b] != count {
			return false, nil
		}
		same++
	}
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("count the events to index: %w", s.kind.fault(err))
	}
	return same == len(known), nil
}

// eventsToIndex reads the n events that follow an id, up to another.
func (s *Store) eventsToIndex(ctx context.Context, mark, upTo int64, n int) (events []indexed, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, occurred_at, COALESCE(gate_id, 0), COALESCE(user_id, 0), COALESCE(device_id, 0), kind, decision, reason, request_id
		FROM events WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3`, mark, upTo, n)
	if err != nil {
		return nil, fmt.Errorf("read the events to index: %w", s.kind.fault(err))
	}
	defer rows.Close()
	for rows.Next() {
		var e indexed
		var gate, user, device int64
		var kind, decision, reason, request string
		if err := rows.Scan(&e.id, &e.at, &gate, &user, &device, &kind, &decision, &reason, &request); err != nil {
			return nil, fmt.Errorf("read the events to index: %w", err)
		}
		e.count = len(indexKeys(e.keys[:0], gate, user, device, access.EventKind(kind), access.Outcome(decision), access.Reason(reason), request))
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the events to index: %w", s.kind.fault(err))
	}
	return events, nil
}

func (tx *Tx) insertChunks(segment int64, chunks []posting.Chunk) error {
	if tx.s.write == nil {
		return tx.insertChunksPostgres(segment, chunks)
	}
	for _, c := range chunks {
		var body int64
		if err := tx.queryRow(`INSERT INTO event_chunk_body (body) VALUES ($1) RETURNING id`, c.Body).Scan(&body); err != nil {
			return err
		}
		if _, err := tx.exec(`INSERT INTO event_chunk (segment_id, key, first_id, body_id) VALUES ($1, $2, $3, $4)`,
			segment, c.Start.Key, c.Start.ID, body); err != nil {
			return err
		}
	}
	return nil
}

// oldestID selects the id of the oldest event. It looks from the first slice on that has events: those that a purge has deleted before it stand in
// PostgreSQL's B-tree until they are vacuumed, and each look would walk over all of them.
const oldestID = `SELECT MIN(id) FROM events WHERE id >= COALESCE(
	(SELECT MIN(first_id) FROM event_span WHERE level = 0 AND max_at >= min_at), (SELECT mark + 1 FROM event_index WHERE id = 1))`

// dropOldIndex gives up the parts of the index whose events are all gone.
func (tx *Tx) dropOldIndex() error {
	if err := tx.holdIndex(); err != nil {
		return err
	}
	var oldest int64
	if err := tx.queryRow(`SELECT COALESCE((` + oldestID + `), (SELECT mark + 1 FROM event_index WHERE id = 1))`).Scan(&oldest); err != nil {
		return err
	}
	_, spans := tx.exec(`DELETE FROM event_span WHERE level IN (0, 1) AND first_id < $1 AND last_id < $1`, oldest)
	_, segments := tx.exec(`UPDATE event_segment SET state = 'dead' WHERE last_id < $1 AND state <> 'dead'`, oldest)
	return errors.Join(spans, segments)
}
