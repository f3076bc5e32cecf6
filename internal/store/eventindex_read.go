package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/posting"
)

// indexKeysOf are the keys of the events that a filter wants.
func indexKeysOf(f access.EventFilter) []int64 {
	return indexKeys(nil, f.GateID, f.UserID, f.DeviceID, f.Kind, f.Decision, f.Reason, f.RequestID)
}

// pageByIndex finds a page through the index: first among the events that it does not have yet, then segment by segment, or by the time alone.
func (s *Store) pageByIndex(ctx context.Context, f access.EventFilter, q *pageQuery, keys []int64) (p EventPage, err error) {
	tx, err := s.read.BeginTx(ctx, s.kind.snapshot())
	if err != nil {
		return p, err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	// The many small queries do without the context, which would cost a goroutine for each; it is looked at between segments.
	x := &indexReader{s: s, ctx: context.WithoutCancel(ctx), tx: tx, q: q, rows: s.lookAhead, work: s.lookAhead * postingsPerRow}
	var oldest, newest, mark int64
	err = tx.QueryRowContext(ctx, `SELECT COALESCE((`+oldestID+`), 1), COALESCE((SELECT MAX(id) FROM events), 0), mark FROM event_index WHERE id = 1`).
		Scan(&oldest, &newest, &mark)
	if err != nil {
		return p, err
	}
	at := newest // the newest id that was not looked at
	if f.Before != 0 {
		at = min(at, f.Before-1)
	}
	if at > mark {
		low := mark
		if at-mark > int64(s.lookAhead) { // the index lags far behind, or ids are missing
			err := s.kind.fault(tx.QueryRowContext(ctx, `SELECT id FROM events WHERE id > $1 AND id <= $2 ORDER BY id DESC LIMIT 1 OFFSET $3`, mark, at, s.lookAhead).Scan(&low))
			if err != nil && !errors.Is(err, access.ErrNotFound) {
				return p, err
			}
		}
		if err := x.add(&p, " AND id > "+strconv.FormatInt(low, 10)+" AND id <= "+strconv.FormatInt(at, 10)); err != nil || p.Next != 0 {
			return p, err
		}
		if low > mark {
			p.Next = low + 1
			return p, nil
		}
		at = mark
	}
	if q.ranged {
		x.spans = newSpanList(x, f)
	}
	if len(keys) == 0 {
		err = x.ofSpans(ctx, &p, at, oldest)
		return p, err
	}
	all, err := s.segments(ctx, tx)
	if err != nil {
		return p, err
	}
	looked := 0
	for i, g := range slices.Backward(all) {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		if g.state != "live" || g.first > at || g.last < oldest {
			continue
		}
		at = min(at, g.last)
		if looked++; looked == askedAlone && s.write == nil {
			if err := x.readAhead(all[:i+1], keys, at, oldest); err != nil {
				return p, err
			}
		}
		if x.spans != nil {
			if at, err = x.spans.most(at); err != nil {
				return p, err
			}
		}
		for at >= max(g.first, oldest) {
			if err := x.candidates(g, keys, at, oldest, q.limit-len(p.Events)); err != nil {
				return p, err
			}
			at = x.at
			spent := x.rows <= 0 || x.work <= 0
			if len(x.ids) >= x.wanted || spent {
				if err := x.addFound(&p); err != nil || p.Next != 0 {
					return p, err
				}
			}
			if spent {
				p.Next = at + 1
				return p, nil
			}
		}
	}
	err = x.addFound(&p)
	return p, err
}

// addFound adds the events of ids to a page.
func (x *indexReader) addFound(p *EventPage) error {
	if len(x.ids) == 0 {
		return nil
	}
	ids := strings.Join(x.ids, ", ")
	x.ids = x.ids[:0]
	return x.add(p, " AND id IN ("+ids+")")
}

// add adds events that pass the filter and a further condition to a page, which is full if it has a Next then.
func (x *indexReader) add(p *EventPage, condition string) error {
	q := x.q.listQuery
	q.limit = x.q.limit - len(p.Events)
	q.where = append(slices.Clone(q.where), "1 = 1"+condition)
	found, err := scanEvents(x.tx.QueryContext(x.ctx, q.text(selectEvent), q.args...))
	if err != nil {
		return err
	}
	if p.Events = append(p.Events, found...); len(p.Events) >= x.q.limit {
		p.Next = p.Events[len(p.Events)-1].ID
	}
	return nil
}

// postingsPerRow is how many postings may be read for each row that may: they cost so much less.
const postingsPerRow = 50

// indexReader reads the index and the events in one transaction.
type indexReader struct {
	s    *Store
	ctx  context.Context
	tx   *sql.Tx
	seek *sql.Stmt
	q    *pageQuery

	ahead map[keyOfSegment]*posting.Chunk // what readAhead has read; nil: the segment has nothing up to there

	spans  *spanList // nil: any time will do
	ids    []string  // of events that are to be read, newest first: of several segments at once, where each has few
	wanted int       // when ids has so many they are read
	at     int64     // candidates has looked at all ids above
	rows   int       // how many may still be read
	work   int       // how many postings
}

// ofSpans adds events of the range of time to a page, from an id downwards.
func (x *indexReader) ofSpans(ctx context.Context, p *EventPage, at, oldest int64) (err error) {
	for at >= oldest {
		if err := ctx.Err(); err != nil {
			return err
		}
		if at, err = x.spans.most(at); err != nil || at < oldest {
			return err
		}
		low := max(x.spans.first, oldest, at-int64(x.rows)+1)
		if err := x.add(p, " AND id >= "+strconv.FormatInt(low, 10)+" AND id <= "+strconv.FormatInt(at, 10)); err != nil || p.Next != 0 {
			return err
		}
		x.rows -= int(at - low + 1)
		at = low - 1
		if x.rows <= 0 {
			p.Next = low
			return nil
		}
	}
	return nil
}

// candidates adds ids of a segment to x.ids, at most at and at least oldest, that bear all keys (or, of few, one), newest first: enough of them for a page of
// which so many are missing. x.at is set to the id below which it did not look.
func (x *indexReader) candidates(g segment, keys []int64, at, oldest int64, missing int) (err error) {
	x.wanted = missing
	if x.q.sifts {
		x.wanted = max(missing, fewRows) // some will be read in vain
	}
	low := max(g.first, oldest)
	own := make([]*keyList, 0, len(keys))
	var short *keyList
	for _, k := range keys {
		l := &keyList{x: x, segment: g.id, key: k}
		if at, err = l.most(at); err != nil {
			return err
		}
		if at < low {
			x.at = low - 1
			return nil
		}
		if l.complete() && len(l.ids) <= fewRows && (short == nil || len(l.ids) < len(short.ids)) {
			short = l
		}
		own = append(own, l)
	}
	lists := make([]sortedIDs, 0, len(keys)+1)
	if x.spans != nil {
		lists = append(lists, x.spans)
	}
	for _, l := range own {
		if short != nil && !l.complete() && l.start.ID > short.ids[0] { // not at hand as far down: it is not asked
			x.wanted = max(missing, fewRows)
			continue
		}
		lists = append(lists, l)
	}
	// At least once, so that each call comes further whatever it has cost to begin.
	for first := true; first || at >= low && len(x.ids) < x.wanted && x.rows > 0 && x.work > 0; first = false {
		was := at
		for _, l := range lists {
			if at, err = l.most(at); err != nil {
				return err
			}
			if at < low {
				x.at = low - 1
				return nil
			}
		}
		if at == was { // all agree
			x.ids = append(x.ids, strconv.FormatInt(at, 10))
			x.rows--
			at--
		}
	}
	x.at = at
	return nil
}

// fewRows is so few that reading the rows of a key costs less than looking for each of its ids in the list of another key, whose chunks lie
// apart: a gate, and what rarely happens. So many are read at a time as well where some are read in vain.
const fewRows = 200

// sortedIDs is a list of ids that is walked downwards.
type sortedIDs interface {
	// most is the largest id in it that is at most the given one; -1 if there is none. From call to call the given one does not grow.
	most(id int64) (int64, error)
}

// keyList are the ids of a key in a segment.
type keyList struct {
	x       *indexReader
	segment int64
	key     int64
	opened  bool
	start   posting.Posting // of the chunk that ids are of
	ids     []int64         // ascending
}

// complete reports whether ids holds all that are left of the key.
func (l *keyList) complete() bool { return l.opened && l.start.Key != l.key }

func (l *keyList) most(id int64) (int64, error) {
	for {
		n, found := slices.BinarySearch(l.ids, id)
		if found {
			n++
		}
		if l.ids = l.ids[:n]; n > 0 {
			return l.ids[n-1], nil
		}
		if l.opened {
			if l.complete() {
				return -1, nil // the chunk begins before the key's first id
			}
			id = min(id, l.start.ID-1)
		}
		c, err := l.x.chunk(l.segment, posting.Posting{Key: l.key, ID: id})
		if err != nil || c == nil {
			return -1, err
		}
		l.opened, l.start = true, c.Start
		if l.ids, err = c.IDs(l.ids[:0], l.key, id); err != nil {
			return -1, err
		}
		l.x.work -= len(l.ids) + 1
	}
}

// keyOfSegment is a list of ids.
type keyOfSegment struct{ segment, key int64 }

// askedAlone is which segment, counted from the newest that a page looks at, is read together with all before it: what is not rare is found without.
const askedAlone = 3

// readAhead reads the chunks in which candidates looks first, of many segments at once. On PostgreSQL each look is a round trip, and who looks for what is
// rare looks into all of them.
func (x *indexReader) readAhead(segments []segment, keys []int64, at, oldest int64) error {
	x.ahead = make(map[keyOfSegment]*posting.Chunk)
	var ids []int64
	for _, g := range segments {
		if g.state != "live" || g.last < oldest {
			continue
		}
		ids = append(ids, g.id)
		for _, k := range keys {
			x.ahead[keyOfSegment{g.id, k}] = nil
		}
	}
	rows, err := x.tx.QueryContext(x.ctx, `SELECT s.id, k.key, c.key, c.first_id, b.body FROM unnest($1::bigint[]) AS s(id) CROSS JOIN unnest($2::bigint[]) AS k(key)
		CROSS JOIN LATERAL (SELECT key, first_id, body_id FROM event_chunk WHERE segment_id = s.id AND (key, first_id) <= (k.key, $3) ORDER BY key DESC, first_id DESC LIMIT 1) AS c
		JOIN event_chunk_body b ON b.id = c.body_id`, ids, keys, at)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var of keyOfSegment
		var c posting.Chunk
		if err := rows.Scan(&of.segment, &of.key, &c.Start.Key, &c.Start.ID, &c.Body); err != nil {
			return err
		}
		x.ahead[of] = &c
	}
	return rows.Err()
}

// chunk reads the chunk that holds a posting, if any does.
func (x *indexReader) chunk(segment int64, p posting.Posting) (*posting.Chunk, error) {
	if c, read := x.ahead[keyOfSegment{segment, p.Key}]; read && (c == nil || c.Start.Compare(p) <= 0) {
		return c, nil
	}
	if x.s.write == nil { // a pooler may know another statement by the name that a prepared one would have
		return x.s.readChunk(x.ctx, x.tx, chunkUpTo, segment, p)
	}
	if x.seek == nil {
		var err error
		if x.seek, err = x.tx.PrepareContext(x.ctx, chunkUpTo); err != nil { // the transaction closes it
			return nil, err
		}
	}
	return x.s.readChunk(x.ctx, kept{x.seek}, "", segment, p)
}

// kept is a prepared statement in the place of one that is told its text.
type kept struct{ *sql.Stmt }

func (k kept) QueryRowContext(ctx context.Context, _ string, args ...any) *sql.Row {
	return k.Stmt.QueryRowContext(ctx, args...)
}
