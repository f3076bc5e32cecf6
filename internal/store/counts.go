package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Counting decisions beside the gate path, batch by batch, so that pages read sums (see migration 0003). What is counted stays counted
// when its events are purged.

const (
	// countBatches bounds what one round reads, together with the number of events, which follows from what the rounds before have written
	// (see counting): between leastEvents and mostEvents. manyAtOnce is how many rows a round writes, about, however many events it counts.
	countBatches = 2048
	leastEvents  = 256
	mostEvents   = 32_768
	manyAtOnce   = 512
	manyInParts  = 2048 // on SQLite, where they are written part by part
	// How long sums are kept: those of single gates, and those of the whole site.
	keepGateHours = 35 * 24 * time.Hour
	keepSiteHours = 400 * 24 * time.Hour
	keepUserDays  = 3 * 24 * time.Hour
)

// tally is what one round adds.
type tally struct {
	zone  *time.Location
	hours map[hourKey]int64
	days  map[int64][]int64 // users who were let in, by day, but for those who are known
	known map[int64]idSet   // those who are written, or put down to be, for the day already
	seen  map[int64]GateSeen
}

func newTally(zone *time.Location, known map[int64]idSet) tally {
	return tally{zone: zone, hours: map[hourKey]int64{}, days: map[int64][]int64{}, known: known, seen: map[int64]GateSeen{}}
}

type hourKey struct {
	gate, hour       int64
	decision, reason string
}

// counting is what a process remembers between its rounds. The database is the truth: with nothing of this a round only does more.
type counting struct {
	mu       sync.Mutex      // one round at a time
	events   int             // how many the next round is to count, about
	round    int64           // the last one that was seen
	epoch    int64           // of the index over the events, which an import begins anew
	caughtUp bool            // the last round has left nothing to be counted
	people   map[int64]idSet // of the last days, who was written, or put down, as let in: the same people pass again and again
}

// rememberDays is of how many days a process remembers who was let in, and rememberedIDs bounds what it remembers of a day (1 MiB).
const (
	rememberDays  = 2
	rememberedIDs = 8 << 20
)

// idSet is a set of small ids, a bit each. Others are never in it.
type idSet []uint64

func (s idSet) has(id int64) bool {
	return id >= 0 && id/64 < int64(len(s)) && s[id/64]>>(id%64)&1 != 0
}

func (s *idSet) add(id int64) {
	if id < 0 || id >= rememberedIDs {
		return
	}
	if need := int(id/64) + 1; need > len(*s) {
		*s = append(*s, make([]uint64, need-len(*s))...)
	}
	(*s)[id/64] |= 1 << (id % 64)
}

// CountEvents counts the decisions of some batches that are not counted yet: the oldest of each lane, bounded in number. It reads first and
// then writes the sums in one small transaction, together with how far it has come; of several who do it at once one gets through, and the
// others have counted nothing. On SQLite many sums are only put down by that, and the next calls write them, a part each. n is how many events
// were looked at; more says that there is more to do at once.
func (s *Store) CountEvents(ctx context.Context) (n int, more bool, err error) {
	c := &s.counting
	c.mu.Lock()
	defer c.mu.Unlock()
	switch there, more, err := s.addPart(ctx); {
	case err != nil:
		return 0, false, fmt.Errorf("count events: %w", err)
	case there:
		return 0, more || !c.caughtUp, nil
	}
	c.events = max(c.events, leastEvents)
	var (
		round int64
		lanes []countedLane
		sums  tally
		draft countDraft
	)
	err = s.View(ctx, func(tx *Tx) error {
		if err := tx.queryRow(`SELECT round FROM event_counter WHERE id = 1`).Scan(&round); err != nil {
			return err
		}
		site, err := tx.Site()
		if err != nil {
			return err
		}
		zone, err := time.LoadLocation(site.Zone)
		if err != nil {
			return fmt.Errorf("the site's zone: %w", err)
		}
		var epoch int64
		if err := tx.queryRow(`SELECT epoch FROM event_index WHERE id = 1`).Scan(&epoch); err != nil {
			return err
		}
		if round < c.round || epoch != c.epoch { // another database stands in the place of the one that was known, or it was wiped
			c.people = nil
		}
		c.round, c.epoch = round, epoch
		sums = newTally(zone, c.people)
		lanes, n, more, err = tx.uncounted(&sums, c.events)
		return err
	})
	if err == nil {
		draft, err = s.draft(lanes, &sums)
	}
	if err == nil && len(lanes) > 0 {
		landed := false
		// What is lost with the power is counted again: the sums and how far they go are lost together.
		err = s.atDeskThatIs(ctx, lazy, func(tx *Tx) (bool, error) {
			moved, err := tx.exec(`UPDATE event_counter SET round = round + 1, counted_at = $1 WHERE id = 1 AND round = $2`, micros(tx.Now), round)
			if err != nil {
				return false, err
			}
			if moved == 0 { // another process has counted meanwhile, perhaps the same
				n, more = 0, true
				return false, nil
			}
			landed = true
			return true, tx.addCounts(draft)
		})
		if err == nil && landed {
			c.learn(&sums, draft.rows, s.manyRows(), more)
			c.caughtUp = !more
			more = more || len(draft.later) > 0
		}
	}
	if err != nil {
		return 0, false, fmt.Errorf("count events: %w", err)
	}
	return n, more, nil
}

func (s *Store) manyRows() int {
	if s.write != nil {
		return manyInParts
	}
	return manyAtOnce
}

// learn remembers what a round has written.
func (c *counting) learn(sums *tally, rows, many int, more bool) {
	switch {
	case rows > 2*many:
		c.events = max(c.events/2, leastEvents)
	case more && rows <= many:
		c.events = min(c.events*2, mostEvents)
	}
	if c.people == nil {
		c.people = map[int64]idSet{}
	}
	for day, users := range sums.days {
		set := c.people[day]
		for _, u := range users {
			set.add(u)
		}
		c.people[day] = set
	}
	for len(c.people) > rememberDays {
		delete(c.people, slices.Min(slices.Collect(maps.Keys(c.people))))
	}
}

// countedLane is how far a round comes with a lane.
type countedLane struct {
	id, seq int64
	done    bool // it is retired, and nothing of it is left
}

// uncounted adds what is not counted yet to sums, about so many events, and says how far that comes.
func (tx *Tx) uncounted(sums *tally, most int) (lanes []countedLane, n int, more bool, err error) {
	type open struct {
		countedLane
		retired bool
	}
	var all []open
	// Lanes that killed processes left open on PostgreSQL stay so, and there is nothing to be asked of them.
	err = tx.each(`SELECT id, counted_seq, retired_at IS NOT NULL FROM writer WHERE NOT counted
		AND (retired_at IS NOT NULL OR counted_seq < (SELECT b.seq FROM event_batch b WHERE b.writer_id = writer.id ORDER BY b.seq DESC LIMIT 1)) ORDER BY id`, nil, func(row scanner) error {
		var l open
		err := row.Scan(&l.id, &l.seq, &l.retired)
		all = append(all, l)
		return err
	})
	if err != nil {
		return nil, 0, false, err
	}
	read := 0
	for _, l := range all {
		if n >= most || read >= countBatches {
			return lanes, n, true, nil
		}
		own := tx.s.landedOf(l.id)
		known := own.take(l.seq, most-n)
		if known.n > 0 {
			all, err := tx.s.allStand(tx.ctx, l.id, l.seq, known)
			if err != nil {
				return nil, 0, false, err
			}
			if !all {
				known = remembered{upto: own.forget()}
			}
		}
		seq := known.upto
		if known.n > 0 {
			for i := range known.groups {
				sums.add(&known.groups[i])
			}
			n += known.n
			lanes = append(lanes, countedLane{id: l.id, seq: seq})
			continue
		}
		batches, err := tx.laneBatches(l.id, l.seq, countBatches-read, most-n)
		if err != nil {
			return nil, 0, false, err
		}
		// What the process remembers follows: not a batch of it is to be read.
		batches = slices.DeleteFunc(batches, func(b access.LaneBatch) bool { return seq > l.seq && b.Seq > seq })
		if len(batches) == 0 && seq > l.seq { // those before it are gone, or were committed since this view was made
			stands, err := tx.s.standsAfter(tx.ctx, l.id, l.seq, seq)
			if err != nil {
				return nil, 0, false, err
			}
			if more = true; !stands {
				lanes = append(lanes, countedLane{id: l.id, seq: seq})
			}
			continue
		}
		if len(batches) == 0 {
			if l.retired { // for good: a lane is fenced before it is retired
				lanes = append(lanes, countedLane{l.id, l.seq, true})
			}
			continue
		}
		if err := tx.tallyBatches(sums, batches); err != nil {
			return nil, 0, false, err
		}
		for _, b := range batches {
			n += b.Count
		}
		read += len(batches)
		lanes = append(lanes, countedLane{id: l.id, seq: batches[len(batches)-1].Seq})
	}
	return lanes, n, more || n >= most || read >= countBatches, nil
}

// tallyQuery adds events up where they are, so that a few rows leave the database instead of all. The hours of every zone are made of
// quarters (900,000,000 us). Events that were folded are groups of their own, by their last instant; of the others one number finds the
// one of the latest instant: when in its quarter it occurred, and then the lower half of its id.
const tallyQuery = `SELECT gate, quarter, decision, reason, folded, CAST(SUM(count) AS BIGINT), COUNT(*),
		MAX((occurred_at - quarter * 900000000) * 4294967296 + (id & 4294967295)), MAX(id), COALESCE(string_agg(person, ','), '')
	FROM (SELECT CASE WHEN kind = 'decision' THEN COALESCE(gate_id, 0) ELSE -1 END AS gate, occurred_at / 900000000 AS quarter, decision, reason,
		COALESCE(until, 0) AS folded, count, occurred_at, id, CASE WHEN decision = 'ALLOW' THEN CAST(user_id AS TEXT) END AS person
		FROM events WHERE %s) AS e GROUP BY gate, quarter, decision, reason, folded`

// quarterMicros is a quarter of an hour, of which the hours of every zone are made.
const quarterMicros = 900_000_000

// eventGroup is a row of tallyQuery.
type eventGroup struct {
	gate, quarter, folded int64 // gate: 0 = none, -1 = what the service itself had to say, which is no decision
	decision, reason      string
	count                 int64
	latest, lastID        int64 // of the last by instant and then id, packed; the highest of all
	people                []int64
}

// tallyBatches adds the events of batches of one lane, which stand in order, to sums.
func (tx *Tx) tallyBatches(sums *tally, batches []access.LaneBatch) error {
	var groups []eventGroup
	err := tx.findBatches(batches, func(anew bool, where string, args []any) (n int, err error) {
		if anew {
			groups = groups[:0]
		}
		err = tx.each(fmt.Sprintf(tallyQuery, where), args, func(row scanner) error {
			var g eventGroup
			var rows int
			var people string
			err := row.Scan(&g.gate, &g.quarter, &g.decision, &g.reason, &g.folded, &g.count, &rows, &g.latest, &g.lastID, &people)
			for id := range strings.SplitSeq(people, ",") {
				if err == nil && id != "" {
					var user int64
					user, err = strconv.ParseInt(id, 10, 64)
					g.people = append(g.people, user)
				}
			}
			n += rows
			groups = append(groups, g)
			return err
		})
		return n, err
	})
	if err == nil {
		for i := range groups {
			sums.add(&groups[i])
		}
	}
	return err
}

// add counts events of a quarter that are alike.
func (t *tally) add(g *eventGroup) {
	if g.gate < 0 {
		return
	}
	at := time.UnixMicro(g.quarter * quarterMicros)
	k := hourKey{hour: micros(hourOf(at, t.zone)), decision: g.decision, reason: g.reason}
	t.hours[k] += g.count
	if g.gate != 0 {
		k.gate = g.gate
		t.hours[k] += g.count
		last := g.last()
		if was, ok := t.seen[g.gate]; !ok || cmp.Or(last.At.Compare(was.At), cmp.Compare(last.EventID, was.EventID)) > 0 {
			t.seen[g.gate] = last
		}
	}
	if len(g.people) == 0 {
		return
	}
	day := micros(DayOf(at, t.zone))
	known, users := t.known[day], t.days[day]
	for _, u := range g.people {
		if !known.has(u) {
			users = append(users, u)
		}
	}
	if len(users) > 0 {
		slices.Sort(users)
		t.days[day] = slices.Compact(users)
	}
}

// last is the last decision of a group.
func (g *eventGroup) last() GateSeen {
	seen := GateSeen{g.gate, time.UnixMicro(g.quarter*quarterMicros + g.latest>>32).UTC(), access.Outcome(g.decision), access.Reason(g.reason), 0}
	if g.folded >= micros(seen.At) { // then it is the last instant of all of them
		seen.At, seen.EventID = time.UnixMicro(g.folded).UTC(), g.lastID
		return seen
	}
	const half = 1 << 32
	if seen.EventID = g.lastID&^(half-1) | g.latest&(half-1); seen.EventID > g.lastID {
		seen.EventID -= half
	}
	return seen
}

// hourOf is when the hour of a zone began that an instant falls into. (Zones are not all whole hours away from UTC.)
func hourOf(at time.Time, zone *time.Location) time.Time {
	_, offset := at.In(zone).Zone()
	shift := time.Duration(offset) * time.Second
	return at.Add(shift).Truncate(time.Hour).Add(-shift)
}

// DayOf is when the day of a zone began that an instant falls into.
func DayOf(at time.Time, zone *time.Location) time.Time {
	y, m, d := at.In(zone).Date()
	begin := time.Date(y, m, d, 0, 0, 0, 0, zone)
	if begin.Day() != d { // clocks are put forward at midnight: the day begins later
		_, begin = begin.ZoneBounds()
	}
	return begin
}
