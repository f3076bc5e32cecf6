package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Counting decisions beside the gate path, batch by batch, so that pages read sums (see migration 0003). What is counted stays counted
// when its events are purged.

const (
	// countBatches and countEvents bound one round: what its transaction changes, and how long SQLite's one writer is held.
	countBatches = 500
	countEvents  = 500
	// How long sums are kept: those of single gates, and those of the whole site.
	keepGateHours = 35 * 24 * time.Hour
	keepSiteHours = 400 * 24 * time.Hour
	keepUserDays  = 3 * 24 * time.Hour
)

// HourCount is how often something was decided in an hour.
type HourCount struct {
	Hour     time.Time // at which the hour of the site's zone begins
	Decision access.Outcome
	Reason   access.Reason
	Count    int64
}

// GateSeen is the last decision at a gate.
type GateSeen struct {
	GateID   int64
	At       time.Time
	Decision access.Outcome
	Reason   access.Reason
	EventID  int64
}

// tally is what one round adds.
type tally struct {
	zone  *time.Location
	hours map[hourKey]int64
	days  map[int64]map[int64]bool // users who were let in, by day
	seen  map[int64]GateSeen
}

type hourKey struct {
	gate, hour       int64
	decision, reason string
}

// CountEvents counts the decisions of some batches that are not counted yet: the oldest of each lane, bounded in number. It reads first and
// then writes the sums in one small transaction, together with how far it has come; of several who do it at once one gets through, and the
// others have counted nothing. n is how many events were looked at; more says that there is more to count at once.
func (s *Store) CountEvents(ctx context.Context) (n int, more bool, err error) {
	var (
		round int64
		lanes []countedLane
		sums  tally
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
		sums = tally{zone: zone, hours: map[hourKey]int64{}, days: map[int64]map[int64]bool{}, seen: map[int64]GateSeen{}}
		lanes, n, more, err = tx.uncounted(&sums)
		return err
	})
	if err == nil && len(lanes) > 0 {
		err = s.atDesk(ctx, func(tx *Tx) (bool, error) {
			moved, err := tx.exec(`UPDATE event_counter SET round = round + 1, counted_at = $1 WHERE id = 1 AND round = $2`, micros(tx.Now), round)
			if err != nil {
				return false, err
			}
			if moved == 0 { // another process has counted meanwhile, perhaps the same
				n, more = 0, true
				return false, nil
			}
			return true, tx.addCounts(lanes, &sums)
		})
	}
	if err != nil {
		return 0, false, fmt.Errorf("count events: %w", err)
	}
	return n, more, nil
}

// countedLane is how far a round comes with a lane.
type countedLane struct {
	id, seq int64
	done    bool // it is retired, and nothing of it is left
}

// uncounted adds what is not counted yet to sums, and says how far that comes.
func (tx *Tx) uncounted(sums *tally) (lanes []countedLane, n int, more bool, err error) {
	type open struct {
		countedLane
		retired bool
	}
	var all []open
	err = tx.each(`SELECT id, counted_seq, retired_at IS NOT NULL FROM writer WHERE NOT counted ORDER BY id`, nil, func(row scanner) error {
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
		if n >= countEvents || read >= countBatches {
			return lanes, n, true, nil
		}
		batches, err := tx.laneBatches(l.id, l.seq, countBatches-read, countEvents-n)
		if err != nil {
			return nil, 0, false, err
		}
		if len(batches) == 0 {
			if l.retired { // for good: a lane is fenced before it is retired
				lanes = append(lanes, countedLane{l.id, l.seq, true})
			}
			continue
		}
		events, err := tx.batchEvents(batches)
		if err != nil {
			return nil, 0, false, err
		}
		for i := range events {
			sums.add(&events[i])
		}
		for _, b := range batches {
			n += b.Count
		}
		read += len(batches)
		lanes = append(lanes, countedLane{id: l.id, seq: batches[len(batches)-1].Seq})
	}
	return lanes, n, n >= countEvents || read >= countBatches, nil
}

// add counts one event. What the service itself had to say is no decision.
func (t *tally) add(e *access.Event) {
	if e.Kind != access.DecisionEvent {
		return
	}
	k := hourKey{hour: micros(hourOf(e.At, t.zone)), decision: string(e.Decision), reason: string(e.Reason)}
	t.hours[k] += countOf(e)
	if e.GateID != 0 {
		k.gate = e.GateID
		t.hours[k] += countOf(e)
		at := e.At
		if e.Until.After(at) {
			at = e.Until
		}
		if last, ok := t.seen[e.GateID]; !ok || !at.Before(last.At) {
			t.seen[e.GateID] = GateSeen{e.GateID, at, e.Decision, e.Reason, e.ID}
		}
	}
	if e.Decision == access.Allow && e.UserID != 0 {
		day := micros(DayOf(e.At, t.zone))
		if t.days[day] == nil {
			t.days[day] = map[int64]bool{}
		}
		t.days[day][e.UserID] = true
	}
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

// addCounts writes what a round adds, in the order of the keys, so that nothing depends on chance.
func (tx *Tx) addCounts(lanes []countedLane, sums *tally) error {
	keys := slices.SortedFunc(maps.Keys(sums.hours), func(a, b hourKey) int {
		return cmp.Or(cmp.Compare(a.gate, b.gate), cmp.Compare(a.hour, b.hour), cmp.Compare(a.decision, b.decision), cmp.Compare(a.reason, b.reason))
	})
	var hours, seen [][]any
	for _, k := range keys {
		hours = append(hours, []any{k.gate, k.hour, k.decision, k.reason, sums.hours[k]})
	}
	for _, gate := range slices.Sorted(maps.Keys(sums.seen)) {
		g := sums.seen[gate]
		seen = append(seen, []any{g.GateID, micros(g.At), string(g.Decision), string(g.Reason), g.EventID})
	}
	_, err := tx.putRows(`event_hour (gate_id, hour, decision, reason, count)`,
		`ON CONFLICT (gate_id, hour, decision, reason) DO UPDATE SET count = event_hour.count + excluded.count`, hours)
	if err == nil {
		_, err = tx.putRows(`gate_seen (gate_id, at, decision, reason, event_id)`, `ON CONFLICT (gate_id) DO UPDATE
			SET at = excluded.at, decision = excluded.decision, reason = excluded.reason, event_id = excluded.event_id WHERE excluded.at >= gate_seen.at`, seen)
	}
	for _, day := range slices.Sorted(maps.Keys(sums.days)) {
		if err == nil {
			err = tx.addPeople(day, slices.Sorted(maps.Keys(sums.days[day])))
		}
	}
	for _, l := range lanes {
		if err == nil {
			_, err = tx.exec(`UPDATE writer SET counted_seq = $1, counted = $2 WHERE id = $3`, l.seq, l.done, l.id)
		}
	}
	return err
}

// addPeople counts those of some users who were not let in on that day before.
func (tx *Tx) addPeople(day int64, users []int64) error {
	rows := make([][]any, len(users))
	for i, u := range users {
		rows[i] = []any{day, u}
	}
	fresh, err := tx.putRows(`user_day (day, user_id)`, `ON CONFLICT DO NOTHING`, rows)
	if err != nil || fresh == 0 {
		return err
	}
	_, err = tx.exec(`INSERT INTO people_day (day, people) VALUES ($1, $2) ON CONFLICT (day) DO UPDATE SET people = people_day.people + excluded.people`, day, fresh)
	return err
}

// rowsPerStatement is how many rows putRows inserts at a time. What is left goes one by one: so there are two texts, which stay prepared.
const rowsPerStatement = 50

// putRows inserts rows into a table and its columns, and returns how many that changed. rest follows the values.
func (tx *Tx) putRows(into, rest string, rows [][]any) (n int64, err error) {
	for len(rows) > 0 {
		k := 1
		if len(rows) >= rowsPerStatement {
			k = rowsPerStatement
		}
		args := slices.Concat(rows[:k]...)
		var values strings.Builder
		for i := range args {
			switch {
			case i == 0:
				values.WriteString("($")
			case i%len(rows[0]) == 0:
				values.WriteString("), ($")
			default:
				values.WriteString(", $")
			}
			values.WriteString(strconv.Itoa(i + 1))
		}
		changed, err := tx.exec(`INSERT INTO `+into+` VALUES `+values.String()+`) `+rest, args...)
		if err != nil {
			return n, err
		}
		n += changed
		rows = rows[k:]
	}
	return n, nil
}

// PruneCounts deletes sums that are older than they are kept: a gate's after 35 days, the site's after 400, who was let in after 3. It deletes
// at most limit rows of each; n < limit says that no more are left.
func (s *Store) PruneCounts(ctx context.Context, limit int) (n int, err error) {
	err = s.atDesk(ctx, func(tx *Tx) (bool, error) {
		n = 0
		for _, q := range []struct {
			query  string
			before time.Duration
		}{
			{`DELETE FROM event_hour WHERE (gate_id, hour, decision, reason) IN (SELECT h.gate_id, h.hour, h.decision, h.reason
				FROM gate_seen g JOIN event_hour h ON h.gate_id = g.gate_id AND h.hour < $1 LIMIT $2)`, keepGateHours},
			{`DELETE FROM event_hour WHERE (gate_id, hour, decision, reason) IN
				(SELECT gate_id, hour, decision, reason FROM event_hour WHERE gate_id = 0 AND hour < $1 LIMIT $2)`, keepSiteHours},
			{`DELETE FROM user_day WHERE (day, user_id) IN (SELECT day, user_id FROM user_day WHERE day < $1 LIMIT $2)`, keepUserDays},
			{`DELETE FROM people_day WHERE day IN (SELECT day FROM people_day WHERE day < $1 LIMIT $2)`, keepSiteHours},
		} {
			gone, err := tx.exec(q.query, micros(tx.Now.Add(-q.before)), limit)
			if err != nil {
				return false, err
			}
			n = max(n, int(gone))
		}
		return n > 0, nil
	})
	if err != nil {
		return 0, fmt.Errorf("prune the counts: %w", err)
	}
	return n, nil
}

// HourCounts lists the sums of a gate, or (0) of the whole site, from an instant on until before another, by hour.
func (tx *Tx) HourCounts(gateID int64, from, to time.Time) ([]HourCount, error) {
	var list []HourCount
	err := tx.each(`SELECT hour, decision, reason, count FROM event_hour WHERE gate_id = $1 AND hour >= $2 AND hour < $3 ORDER BY hour, decision, reason`,
		[]any{gateID, micros(from), micros(to)}, func(row scanner) error {
			var h HourCount
			err := row.Scan(asTime(&h.Hour), &h.Decision, &h.Reason, &h.Count)
			list = append(list, h)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read the counts by hour: %w", err)
	}
	return list, nil
}

// PeopleOn is how many people were let in on the day that begins at an instant (DayOf).
func (tx *Tx) PeopleOn(day time.Time) (n int64, err error) {
	err = tx.queryRow(`SELECT people FROM people_day WHERE day = $1`, micros(day)).Scan(&n)
	if errors.Is(err, access.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read how many people were let in: %w", err)
	}
	return n, nil
}

// GatesSeen returns the last decisions at gates, by gate. Gates without any are missing.
func (tx *Tx) GatesSeen(gateIDs []int64) (map[int64]GateSeen, error) {
	seen := make(map[int64]GateSeen, len(gateIDs))
	for chunk := range slices.Chunk(gateIDs, idsPerQuery) {
		list, err := tx.gatesSeen(`WHERE gate_id IN ` + idList(chunk))
		if err != nil {
			return nil, err
		}
		for _, g := range list {
			seen[g.GateID] = g
		}
	}
	return seen, nil
}

// SilentGates lists the living gates that were last seen the longest time ago, or (newest) a moment ago. Gates that were never seen are not in it.
func (tx *Tx) SilentGates(newest bool, limit int) ([]GateSeen, error) {
	order := ""
	if newest {
		order = " DESC"
	}
	return tx.gatesSeen(`JOIN gate ON gate.id = gate_id AND gate.deleted_at IS NULL ORDER BY at`+order+` LIMIT $1`, limit)
}

func (tx *Tx) gatesSeen(rest string, args ...any) ([]GateSeen, error) {
	var list []GateSeen
	err := tx.each(`SELECT gate_id, at, decision, reason, event_id FROM gate_seen `+rest, args, func(row scanner) error {
		var g GateSeen
		err := row.Scan(&g.GateID, asTime(&g.At), &g.Decision, &g.Reason, &g.EventID)
		list = append(list, g)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read when gates were last seen: %w", err)
	}
	return list, nil
}

// CountedAt is when events were last counted, and whether some are waiting to be.
func (tx *Tx) CountedAt() (at time.Time, behind bool, err error) {
	if err := tx.queryRow(`SELECT NULLIF(counted_at, 0) FROM event_counter WHERE id = 1`).Scan(asTime(&at)); err != nil {
		return time.Time{}, false, fmt.Errorf("read how far events are counted: %w", err)
	}
	err = tx.queryRow(`SELECT EXISTS (SELECT 1 FROM writer w WHERE NOT w.counted
		AND EXISTS (SELECT 1 FROM event_batch b WHERE b.writer_id = w.id AND b.seq > w.counted_seq))`).Scan(&behind)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read how far events are counted: %w", err)
	}
	return at, behind, nil
}
