package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/posting"
)

// The index over the events on PostgreSQL. It is the one of eventindex.go; what differs is that others append at the same time, and commit
// their ids in any order: the mark may only pass an id when each lower one is committed or never will be. Such an id is settled.

// postgresSizes make fewer and larger parts: each statement is a round trip.
var postgresSizes = indexSizes{slice: 4096, fan: 12, step: 256 << 10, drop: 256, spans: 64, ahead: 6}

// settling finds settled ids. The newest event that can be seen has an id M. Whoever may still commit a lower one drew it before M was drawn, and has
// held his lock on the table since before that. So once all have gone who hold that lock now, M is settled.
//
// Sequences may fall back when the server crashes or a standby takes over: then ids below M could be given again. But what is durable of
// an event is durable of its id. So the step that moves the mark looks whether M is still there, as the same event.
type settling struct {
	mu    sync.Mutex
	now   eventRef // is settled
	next  eventRef // will be when those who are in waits are gone; zero: none
	waits map[string]struct{}
}

// eventRef is an event and its batch. The zero one is none.
type eventRef struct{ id, writer, seq int64 }

// settled returns an event with a settled id, at least the one wanted if there is such a one by now.
func (s *Store) settled(ctx context.Context, wanted int64) (eventRef, error) {
	g := &s.settling
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now.id >= wanted {
		return g.now, nil
	}
	if g.next.id == 0 {
		err := s.kind.fault(s.read.QueryRowContext(ctx, `SELECT id, writer_id, seq FROM events ORDER BY id DESC LIMIT 1`).Scan(&g.next.id, &g.next.writer, &g.next.seq))
		if errors.Is(err, access.ErrNotFound) {
			return g.now, nil
		}
		if err == nil {
			s.lastID.Store(g.next.id) // so that a hint is not older than what others wrote a moment ago
			g.waits, err = s.appending(ctx)
		}
		if err != nil {
			g.next = eventRef{}
			return g.now, fmt.Errorf("see who appends: %w", err)
		}
	} else {
		now, err := s.appending(ctx)
		if err != nil {
			return g.now, fmt.Errorf("see who appends: %w", err)
		}
		for who := range g.waits {
			if _, still := now[who]; !still {
				delete(g.waits, who)
			}
		}
	}
	if len(g.waits) == 0 {
		g.now, g.next = g.next, eventRef{}
	}
	return g.now, nil
}

// unsettle forgets what was taken for settled.
func (g *settling) unsettle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now, g.next = eventRef{}, eventRef{}
}

// waiting reports whether somebody is waited for.
func (g *settling) waiting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.next.id != 0
}

// appending lists the transactions that may have written events and are not over. Each writer of a table holds this lock until its end.
func (s *Store) appending(ctx context.Context) (map[string]struct{}, error) {
	all := map[string]struct{}{}
	rows, err := s.read.QueryContext(ctx, `SELECT virtualtransaction FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'
		AND relation = 'events'::regclass AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())`)
	if err != nil {
		return nil, s.kind.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		var who string
		if err := rows.Scan(&who); err != nil {
			return nil, err
		}
		all[who] = struct{}{}
	}
	return all, s.kind.fault(rows.Err())
}

// stands reports whether an event is there.
func (tx *Tx) stands(e eventRef) (there bool, err error) {
	err = tx.queryRow(`SELECT EXISTS (SELECT 1 FROM events WHERE id = $1 AND writer_id = $2 AND seq = $3)`, e.id, e.writer, e.seq).Scan(&there)
	return there, err
}

// insertChunksPostgres inserts all chunks by one statement.
func (tx *Tx) insertChunksPostgres(segment int64, chunks []posting.Chunk) error {
	keys, ids, begins, lengths := make([]int64, len(chunks)), make([]int64, len(chunks)), make([]int64, len(chunks)), make([]int64, len(chunks))
	var bodies []byte // all in one: an array of them would travel as text
	for i, c := range chunks {
		keys[i], ids[i], begins[i], lengths[i] = c.Start.Key, c.Start.ID, int64(len(bodies))+1, int64(len(c.Body))
		bodies = append(bodies, c.Body...)
	}
	_, err := tx.exec(`WITH given AS MATERIALIZED (
			SELECT nextval(pg_get_serial_sequence('event_chunk_body', 'id')) AS id, key, first_id, substring($4::bytea FROM begins::int FOR lasts::int) AS body
			FROM unnest($2::bigint[], $3::bigint[], $5::bigint[], $6::bigint[]) AS u (key, first_id, begins, lasts)),
		bodies AS (INSERT INTO event_chunk_body (id, body) SELECT id, body FROM given)
		INSERT INTO event_chunk (segment_id, key, first_id, body_id) SELECT $1, key, first_id, id FROM given`, segment, keys, ids, bodies, begins, lengths)
	return err
}

// How the index is kept on PostgreSQL: it is looked at when so many events were appended here, and else every followEvery, for what others
// append. followRest is how many times as long as its work it rests then, unless so many were appended again.
const (
	followEvery = time.Second
	followSoon  = 10 * time.Millisecond
	followRest  = 4
)

// followEvents keeps the index over the events up to date until ctx ends.
func (s *Store) followEvents(ctx context.Context) {
	failed := false
	rest := time.NewTimer(followEvery)
	defer rest.Stop()
	for {
		select {
		case <-rest.C:
		case <-s.fresh.wake:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		worked, err := s.indexStep(ctx, true)
		wait := followEvery
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failed { // events are recorded and found all the same
				s.log.WarnContext(ctx, "the upkeep of the index over the events fails; trying again", "error", err)
			}
		case worked:
			wait = followRest * time.Since(began)
		case s.settling.waiting():
			wait = followSoon
		}
		failed = err != nil
		rest.Reset(wait)
	}
}
