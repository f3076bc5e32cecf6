package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// countPart is some of what a round adds: what one transaction writes.
//
// On SQLite nobody else writes meanwhile, and a round of 400 rows held the gates up for 3 to 7 ms, which was most of what their slowest hundredth
// waited for. So there the transaction that says how far the round comes only puts its parts down (event_count_part), and each is written and struck
// out in a small transaction of its own. Whoever counts next goes on where another has ended: the names of the fields stay as they are.
type countPart struct {
	Hours  []hourSum   `json:"hours,omitempty"`
	Seen   []gateSum   `json:"seen,omitempty"`
	People []peopleSum `json:"people,omitempty"`
}

// hourSum is how many decisions of a kind a round adds to an hour of a gate.
type hourSum struct {
	Gate     int64  `json:"g"`
	Hour     int64  `json:"h"`
	Decision string `json:"d"`
	Reason   string `json:"r"`
	Count    int64  `json:"n"`
}

// gateSum is the last decision at a gate.
type gateSum struct {
	Gate     int64  `json:"g"`
	At       int64  `json:"t"` // microseconds
	Decision string `json:"d"`
	Reason   string `json:"r"`
	Event    int64  `json:"e"`
}

// peopleSum are users who were let in on a day.
type peopleSum struct {
	Day   int64   `json:"day"`
	Users []int64 `json:"users"`
}

// How much goes into a part on SQLite, in quarters of a row of numbers and texts, of which one takes four times as long to write as a user: a third of a
// millisecond of a busy server.
const (
	partSize = 4 * 32
	rowSize  = 4
)

// countDraft is what a round is to write, made before its transaction begins.
type countDraft struct {
	lanes []countedLane
	rows  int // of all parts
	parts []countPart
	later []string // the parts as JSON, when they are put down

	size int // of the last part
	most int // of any
}

// grow makes room for so much more, at most as much as a part has, and returns the part that has it.
func (d *countDraft) grow(size int) *countPart {
	if len(d.parts) == 0 || d.size+size > d.most {
		d.parts, d.size = append(d.parts, countPart{}), 0
	}
	d.size += size
	return &d.parts[len(d.parts)-1]
}

// draft cuts a round into parts, in the order of the keys, so that nothing depends on chance.
func (s *Store) draft(lanes []countedLane, t *tally) (d countDraft, err error) {
	d.lanes, d.most = lanes, partSize
	if s.write == nil {
		d.most = math.MaxInt
	}
	keys := slices.SortedFunc(maps.Keys(t.hours), func(a, b hourKey) int {
		return cmp.Or(cmp.Compare(a.gate, b.gate), cmp.Compare(a.hour, b.hour), cmp.Compare(a.decision, b.decision), cmp.Compare(a.reason, b.reason))
	})
	for _, k := range keys {
		p := d.grow(rowSize)
		p.Hours = append(p.Hours, hourSum{k.gate, k.hour, k.decision, k.reason, t.hours[k]})
	}
	for _, gate := range slices.Sorted(maps.Keys(t.seen)) {
		g, p := t.seen[gate], d.grow(rowSize)
		p.Seen = append(p.Seen, gateSum{gate, micros(g.At), string(g.Decision), string(g.Reason), g.EventID})
	}
	d.rows = len(t.hours) + len(t.seen)
	for _, day := range slices.Sorted(maps.Keys(t.days)) {
		d.rows += len(t.days[day])
		for users := range slices.Chunk(t.days[day], d.most) {
			p := d.grow(len(users))
			p.People = append(p.People, peopleSum{day, users})
		}
	}
	if s.write == nil || len(d.parts) <= 1 {
		return d, nil
	}
	for _, p := range d.parts {
		text, err := json.Marshal(p)
		if err != nil {
			return d, err
		}
		d.later = append(d.later, string(text))
	}
	return d, nil
}

// addCounts writes what a round adds, or puts it down for addPart, with how far that comes.
func (tx *Tx) addCounts(d countDraft) error {
	if len(d.later) == 0 {
		for _, p := range d.parts {
			if err := tx.add(p); err != nil {
				return err
			}
		}
	}
	for _, text := range d.later {
		if _, err := tx.exec(`INSERT INTO event_count_part (body) VALUES ($1)`, text); err != nil {
			return err
		}
	}
	for _, l := range d.lanes {
		if _, err := tx.exec(`UPDATE writer SET counted_seq = $1, counted = $2 WHERE id = $3`, l.seq, l.done, l.id); err != nil {
			return err
		}
	}
	return nil
}

// addPart writes the oldest part that a round has put down. It reports whether there was one, and whether others are left.
func (s *Store) addPart(ctx context.Context) (there, more bool, err error) {
	if s.write == nil {
		return false, false, nil
	}
	var id int64
	var text string
	err = s.read.QueryRowContext(ctx, `SELECT id, body, (SELECT COUNT(*) FROM event_count_part) > 1 FROM event_count_part ORDER BY id LIMIT 1`).Scan(&id, &text, &more)
	if errors.Is(err, sql.ErrNoRows) {
		return false, false, nil
	}
	var p countPart
	if err == nil {
		err = json.Unmarshal([]byte(text), &p)
	}
	if err != nil {
		return false, false, s.kind.fault(err)
	}
	err = s.atDeskThatIs(ctx, lazy, func(tx *Tx) (bool, error) {
		// Another process may have been quicker. An id is given again, a text that is the same stands for the same.
		n, err := tx.exec(`DELETE FROM event_count_part WHERE id = $1 AND body = $2`, id, text)
		if err != nil || n == 0 {
			return false, err
		}
		return true, tx.add(p)
	})
	return true, more, err
}

// add writes a part.
func (tx *Tx) add(p countPart) error {
	var hours, seen [][]any
	for _, h := range p.Hours {
		hours = append(hours, []any{h.Gate, h.Hour, h.Decision, h.Reason, h.Count})
	}
	for _, g := range p.Seen {
		seen = append(seen, []any{g.Gate, g.At, g.Decision, g.Reason, g.Event})
	}
	_, err := tx.putRows(`event_hour (gate_id, hour, decision, reason, count)`,
		`ON CONFLICT (gate_id, hour, decision, reason) DO UPDATE SET count = event_hour.count + excluded.count`, hours)
	if err == nil {
		_, err = tx.putRows(`gate_seen (gate_id, at, decision, reason, event_id)`, `ON CONFLICT (gate_id) DO UPDATE
			SET at = excluded.at, decision = excluded.decision, reason = excluded.reason, event_id = excluded.event_id WHERE excluded.at >= gate_seen.at`, seen)
	}
	for _, day := range p.People {
		if err == nil {
			err = tx.addPeople(day.Day, day.Users)
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
