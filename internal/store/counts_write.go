package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// countPart is some of what a round adds: what one transaction writes.
//
// On SQLite nobody else writes meanwhile, and a round of 400 rows held the gates up for 3 to 7 ms, which was most of what their slowest hundredth
// waited for. So there the transaction that says how far the round comes only puts its parts down (event_count_part), and each is written and struck
// out in a small transaction of its own. Whoever counts next goes on where another has ended.
type countPart struct {
	Hours []hourSum  `json:"hours,omitempty"`
	Seen  []GateSeen `json:"seen,omitempty"`
	Day   int64      `json:"day,omitempty"`
	Users []int64    `json:"users,omitempty"` // let in on that day
}

// hourSum is how many decisions of a kind a round adds to an hour of a gate.
type hourSum struct {
	Gate, Hour       int64
	Decision, Reason string
	Count            int64
}

// How much goes into a part on SQLite: half a millisecond of a busy server. A user takes a quarter of the time of another row.
const (
	partRows  = 3 * rowsPerStatement
	partUsers = 4 * partRows
)

// parts cuts a round into parts, in the order of the keys, so that nothing depends on chance; and says how many rows they are.
func (t *tally) parts(mostRows, mostUsers int) (parts []countPart, rows int) {
	keys := slices.SortedFunc(maps.Keys(t.hours), func(a, b hourKey) int {
		return cmp.Or(cmp.Compare(a.gate, b.gate), cmp.Compare(a.hour, b.hour), cmp.Compare(a.decision, b.decision), cmp.Compare(a.reason, b.reason))
	})
	for some := range slices.Chunk(keys, mostRows) {
		var p countPart
		for _, k := range some {
			p.Hours = append(p.Hours, hourSum{k.gate, k.hour, k.decision, k.reason, t.hours[k]})
		}
		parts = append(parts, p)
	}
	for gates := range slices.Chunk(slices.Sorted(maps.Keys(t.seen)), mostRows) {
		var p countPart
		for _, gate := range gates {
			p.Seen = append(p.Seen, t.seen[gate])
		}
		parts = append(parts, p)
	}
	rows = len(t.hours) + len(t.seen)
	for _, day := range slices.Sorted(maps.Keys(t.days)) {
		for users := range slices.Chunk(t.days[day], mostUsers) {
			parts = append(parts, countPart{Day: day, Users: users})
		}
		rows += len(t.days[day])
	}
	return parts, rows
}

// addCounts writes what a round adds, or (later) puts it down for addPart, with how far that comes; and says how many rows it is.
func (tx *Tx) addCounts(lanes []countedLane, sums *tally) (rows int, later bool, err error) {
	mostRows, mostUsers := partRows, partUsers
	if tx.s.write == nil {
		mostRows, mostUsers = math.MaxInt, math.MaxInt
	}
	parts, rows := sums.parts(mostRows, mostUsers)
	later = tx.s.write != nil && len(parts) > 1
	for _, p := range parts {
		if later {
			err = tx.putDown(p)
		} else {
			err = tx.add(p)
		}
		if err != nil {
			return 0, false, err
		}
	}
	for _, l := range lanes {
		if _, err := tx.exec(`UPDATE writer SET counted_seq = $1, counted = $2 WHERE id = $3`, l.seq, l.done, l.id); err != nil {
			return 0, false, err
		}
	}
	return rows, later, nil
}

func (tx *Tx) putDown(p countPart) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO event_count_part (body) VALUES ($1)`, string(text))
	return err
}

// addPart writes the oldest part that a round has put down. It reports whether there was one, and whether it was the last.
func (s *Store) addPart(ctx context.Context) (there, last bool, err error) {
	if s.write == nil {
		return false, false, nil
	}
	if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM event_count_part)`).Scan(&there); err != nil || !there {
		return false, false, s.kind.fault(err)
	}
	err = s.atDeskThatIs(ctx, lazy, func(tx *Tx) (bool, error) {
		var id int64
		var text string
		err := tx.queryRow(`SELECT id, body FROM event_count_part ORDER BY id LIMIT 1`).Scan(&id, &text)
		if errors.Is(err, access.ErrNotFound) { // another process was quicker
			return false, nil
		}
		var p countPart
		if err == nil {
			err = json.Unmarshal([]byte(text), &p)
		}
		if err == nil {
			err = tx.add(p)
		}
		if err == nil {
			_, err = tx.exec(`DELETE FROM event_count_part WHERE id = $1`, id)
		}
		if err == nil {
			err = tx.queryRow(`SELECT NOT EXISTS (SELECT 1 FROM event_count_part)`).Scan(&last)
		}
		return true, err
	})
	return true, last, err
}

// add writes a part.
func (tx *Tx) add(p countPart) error {
	var hours, seen [][]any
	for _, h := range p.Hours {
		hours = append(hours, []any{h.Gate, h.Hour, h.Decision, h.Reason, h.Count})
	}
	for _, g := range p.Seen {
		seen = append(seen, []any{g.GateID, micros(g.At), string(g.Decision), string(g.Reason), g.EventID})
	}
	_, err := tx.putRows(`event_hour (gate_id, hour, decision, reason, count)`,
		`ON CONFLICT (gate_id, hour, decision, reason) DO UPDATE SET count = event_hour.count + excluded.count`, hours)
	if err == nil {
		_, err = tx.putRows(`gate_seen (gate_id, at, decision, reason, event_id)`, `ON CONFLICT (gate_id) DO UPDATE
			SET at = excluded.at, decision = excluded.decision, reason = excluded.reason, event_id = excluded.event_id WHERE excluded.at >= gate_seen.at`, seen)
	}
	if err == nil {
		err = tx.addPeople(p.Day, p.Users)
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

// rowsPerStatement is how many rows putRows inserts at a time on SQLite. What is left goes one by one: so there are two texts, which stay prepared.
const rowsPerStatement = 16

// putRows inserts rows into a table and its columns, and returns how many that changed. rest follows the values.
func (tx *Tx) putRows(into, rest string, rows [][]any) (n int64, err error) {
	if tx.s.write == nil {
		return tx.putRowsPostgres(into, rest, rows)
	}
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

// putRowsPostgres does it by one statement, which costs a fraction to parse. Values are numbers or texts, the same in each row.
func (tx *Tx) putRowsPostgres(into, rest string, rows [][]any) (n int64, err error) {
	if len(rows) == 0 {
		return 0, nil
	}
	var arrays []string
	var args []any
	for i := range rows[0] {
		kind := "bigint"
		var column any
		if _, ok := rows[0][i].(string); ok {
			kind, column = "text", columnOf[string](rows, i)
		} else {
			column = columnOf[int64](rows, i)
		}
		args = append(args, column)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+1, kind))
	}
	return tx.exec(`INSERT INTO `+into+` SELECT * FROM unnest(`+strings.Join(arrays, ", ")+`) `+rest, args...)
}

func columnOf[T any](rows [][]any, i int) []T {
	column := make([]T, len(rows))
	for j, row := range rows {
		column[j] = row[i].(T) //nolint:forcetypeassert // the caller made it
	}
	return column
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
