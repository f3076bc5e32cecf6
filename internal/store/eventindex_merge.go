package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/posting"
)

// segment is a row of event_segment.
type segment struct {
	id, level, first, last int64
	state                  string
	inputs                 int
	done                   posting.Posting
}

// segments lists the parts of the index, oldest events first.
func (s *Store) segments(ctx context.Context, on interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
},
) (all []segment, err error) {
	rows, err := on.QueryContext(ctx, `SELECT id, level, first_id, last_id, state, inputs, done_key, done_id FROM event_segment ORDER BY first_id, id`)
	if err != nil {
		return nil, fmt.Errorf("list the index's segments: %w", s.kind.fault(err))
	}
	defer rows.Close()
	for rows.Next() {
		var g segment
		if err := rows.Scan(&g.id, &g.level, &g.first, &g.last, &g.state, &g.inputs, &g.done.Key, &g.done.ID); err != nil {
			return nil, fmt.Errorf("list the index's segments: %w", err)
		}
		all = append(all, g)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list the index's segments: %w", s.kind.fault(err))
	}
	return all, nil
}

// mergeSegments goes on with a merge, of the lowest level first, or begins one.
func (s *Store) mergeSegments(ctx context.Context) (worked bool, err error) {
	all, err := s.segments(ctx, s.read)
	if err != nil {
		return false, err
	}
	var target *segment
	for i, g := range all {
		if g.state == "building" && (target == nil || g.level < target.level) {
			target = &all[i]
		}
	}
	if next := s.nextMerge(all, target); next != nil {
		return true, s.beginMerge(ctx, next)
	}
	if target == nil {
		return false, nil
	}
	if err := s.mergeOn(ctx, *target, inputsOf(all, *target)); err != nil {
		return false, fmt.Errorf("merge the events' index: %w", err)
	}
	return true, nil
}

// inputsOf are the living segments that a building one is made of.
func inputsOf(all []segment, target segment) (inputs []segment) {
	for _, g := range all {
		if g.state == "live" && g.level == target.level-1 && target.first <= g.first && g.last <= target.last {
			inputs = append(inputs, g)
		}
	}
	return inputs
}

// nextMerge is the segment to be built of the oldest of a level, when there are enough of them, and it is below the level that is built now.
func (s *Store) nextMerge(all []segment, building *segment) *segment {
	byLevel := map[int64][]segment{}
	top := int64(0)
	for _, g := range all {
		if g.state == "live" {
			byLevel[g.level] = append(byLevel[g.level], g)
			top = max(top, g.level)
		}
	}
	for level := int64(0); level <= top && (building == nil || level+1 < building.level); level++ {
		if same := byLevel[level]; len(same) >= s.sizes.fan {
			return &segment{level: level + 1, first: same[0].first, last: same[s.sizes.fan-1].last, inputs: s.sizes.fan}
		}
	}
	return nil
}

func (s *Store) beginMerge(ctx context.Context, g *segment) error {
	err := s.inIndexStep(ctx, func(tx *Tx) (bool, error) {
		n, err := tx.exec(`INSERT INTO event_segment (level, first_id, last_id, state, inputs, done_key, done_id) SELECT $1, $2, $3, 'building', $4, 0, -1
			WHERE NOT EXISTS (SELECT 1 FROM event_segment WHERE level = $1 AND state <> 'dead' AND first_id <= $3 AND last_id >= $2)`,
			g.level, g.first, g.last, g.inputs)
		return n > 0, err
	})
	if err != nil {
		return fmt.Errorf("begin to merge the events' index: %w", err)
	}
	return nil
}

// mergeOn takes the next postings of the inputs over into target.
func (s *Store) mergeOn(ctx context.Context, target segment, inputs []segment) error {
	if len(inputs) != target.inputs { // a purge has taken one
		return s.inIndexStep(ctx, func(tx *Tx) (bool, error) {
			_, err := tx.exec(`UPDATE event_segment SET state = 'dead' WHERE id = $1 AND state = 'building'`, target.id)
			return true, err
		})
	}
	sources := make([]*runSource, len(inputs))
	for i, g := range inputs {
		sources[i] = &runSource{s: s, segment: g.id, done: target.done, room: runRooms.Get().(*[]posting.Run)}
		defer sources[i].end()
		if err := sources[i].next(ctx); err != nil {
			return err
		}
	}
	var packer posting.Packer
	done, state := target.done, "building"
	for packer.Size() < s.sizes.step {
		var least *runSource // of those that are equal the first, whose ids are the lowest
		for _, src := range sources {
			if len(src.runs) > 0 && (least == nil || src.runs[0].Key < least.runs[0].Key) {
				least = src
			}
		}
		if least == nil {
			state = "live"
			break
		}
		r := least.runs[0]
		packer.Add(r)
		done = posting.Posting{Key: r.Key, ID: r.Last}
		if err := least.next(ctx); err != nil {
			return err
		}
	}
	return s.inIndexStep(ctx, func(tx *Tx) (bool, error) {
		n, err := tx.exec(`UPDATE event_segment SET state = $1, done_key = $2, done_id = $3 WHERE id = $4 AND state = 'building' AND done_key = $5 AND done_id = $6`,
			state, done.Key, done.ID, target.id, target.done.Key, target.done.ID)
		if err != nil || n == 0 {
			return false, err
		}
		ids := make([]string, len(inputs))
		for i, g := range inputs {
			ids[i] = fmt.Sprint(g.id)
		}
		var alive int
		these := ` WHERE state = 'live' AND id IN (` + strings.Join(ids, ", ") + `)`
		if err := tx.queryRow(`SELECT COUNT(*) FROM event_segment` + these).Scan(&alive); err != nil || alive != len(inputs) {
			return false, err
		}
		if state == "live" {
			if _, err := tx.exec(`UPDATE event_segment SET state = 'dead'` + these); err != nil {
				return false, err
			}
		}
		return true, tx.insertChunks(target.id, packer.Chunks())
	})
}

// dropSegment deletes some chunks of a dead segment, or the segment when it has none.
func (s *Store) dropSegment(ctx context.Context) (worked bool, err error) {
	var dead int64
	err = s.kind.fault(s.read.QueryRowContext(ctx, `SELECT id FROM event_segment WHERE state = 'dead' LIMIT 1`).Scan(&dead))
	if errors.Is(err, access.ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = s.inIndexStep(ctx, func(tx *Tx) (bool, error) {
			const some = ` FROM event_chunk WHERE segment_id = $1 ORDER BY key, first_id LIMIT $2)`
			if _, err := tx.exec(`DELETE FROM event_chunk_body WHERE id IN (SELECT body_id`+some, dead, s.sizes.drop); err != nil {
				return false, err
			}
			n, err := tx.exec(`DELETE FROM event_chunk WHERE (segment_id, key, first_id) IN (SELECT segment_id, key, first_id`+some, dead, s.sizes.drop)
			if err == nil && n == 0 {
				_, err = tx.exec(`DELETE FROM event_segment WHERE id = $1`, dead)
			}
			return true, err
		})
	}
	if err != nil {
		return false, fmt.Errorf("drop a part of the events' index: %w", err)
	}
	return true, nil
}

// runSource reads the runs of a segment that come after a posting, in order.
type runSource struct {
	s       *Store
	segment int64
	done    posting.Posting // runs up to this are passed over
	at      *posting.Chunk  // the one that runs are of
	ahead   []posting.Chunk // read already, the next one first
	runs    []posting.Run   // the next one first; none: the end
	room    *[]posting.Run  // the memory of runs
}

var runRooms = sync.Pool{New: func() any { return new([]posting.Run) }}

// end gives the memory back.
func (r *runSource) end() {
	clear((*r.room)[:cap(*r.room)]) // they hold chunks, also those before the last
	runRooms.Put(r.room)
}

// next passes to the next run.
func (r *runSource) next(ctx context.Context) error {
	if len(r.runs) > 0 {
		r.runs = r.runs[1:]
	}
	for len(r.runs) == 0 {
		c, err := r.chunk(ctx)
		if err != nil || c == nil {
			return err
		}
		r.at = c
		if *r.room, err = c.Runs((*r.room)[:0]); err != nil {
			return err
		}
		r.runs = *r.room
		for len(r.runs) > 0 && (posting.Posting{Key: r.runs[0].Key, ID: r.runs[0].Last}).Compare(r.done) <= 0 {
			r.runs = r.runs[1:]
		}
	}
	return nil
}

// chunk reads the chunk after the one at hand; the first is the one in which the first run after done may stand. nil is the end.
func (r *runSource) chunk(ctx context.Context) (*posting.Chunk, error) {
	from := r.done
	if r.at != nil {
		from = r.at.Start
	} else if c, err := r.s.readChunk(ctx, r.s.read, chunkUpTo, r.segment, r.done); c != nil || err != nil {
		return c, err
	}
	if len(r.ahead) == 0 {
		var err error
		if r.ahead, err = r.s.chunksAfter(ctx, r.segment, from); err != nil || len(r.ahead) == 0 {
			return nil, err
		}
	}
	c := &r.ahead[0]
	r.ahead = r.ahead[1:]
	return c, nil
}

// Which chunk of segment $1 to read: the last that begins at or before the posting ($2, $3), or the first that begin after it.
const (
	readsChunk = `SELECT c.key, c.first_id, b.body FROM event_chunk c JOIN event_chunk_body b ON b.id = c.body_id WHERE c.segment_id = $1 AND `
	chunkUpTo  = readsChunk + `(c.key, c.first_id) <= ($2, $3) ORDER BY c.key DESC, c.first_id DESC LIMIT 1`
	chunkAfter = readsChunk + `(c.key, c.first_id) > ($2, $3) ORDER BY c.key, c.first_id LIMIT $4`
)

// readChunk reads a chunk; nil when there is none.
func (s *Store) readChunk(ctx context.Context, on interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, which string, segment int64, p posting.Posting,
) (*posting.Chunk, error) {
	var c posting.Chunk
	err := s.kind.fault(on.QueryRowContext(ctx, which, segment, p.Key, p.ID).Scan(&c.Start.Key, &c.Start.ID, &c.Body))
	switch {
	case errors.Is(err, access.ErrNotFound):
		return nil, nil //nolint:nilnil // no chunk is no error
	case err != nil:
		return nil, fmt.Errorf("read a chunk of the index: %w", err)
	}
	return &c, nil
}

// chunksAfter reads some chunks of a segment that follow a posting.
func (s *Store) chunksAfter(ctx context.Context, segment int64, p posting.Posting) (chunks []posting.Chunk, err error) {
	rows, err := s.read.QueryContext(ctx, chunkAfter, segment, p.Key, p.ID, s.sizes.ahead)
	if err != nil {
		return nil, fmt.Errorf("read chunks of the index: %w", s.kind.fault(err))
	}
	defer rows.Close()
	for rows.Next() {
		var c posting.Chunk
		if err := rows.Scan(&c.Start.Key, &c.Start.ID, &c.Body); err != nil {
			return nil, fmt.Errorf("read chunks of the index: %w", err)
		}
		chunks = append(chunks, c)
	}
	return chunks, s.kind.fault(rows.Err())
}
