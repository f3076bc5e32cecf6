package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Reading what is counted (counts.go).

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

// PeopleOn is how many people were let in on the day of a zone that begins at an instant (DayOf). It is not known when days that are counted overlap this
// one: those of the zone that the site had until lately.
func (tx *Tx) PeopleOn(day time.Time, zone *time.Location) (n int64, known bool, err error) {
	known = true
	yesterday, tomorrow := DayOf(day.Add(-12*time.Hour), zone), DayOf(day.Add(36*time.Hour), zone)
	err = tx.each(`SELECT day, people FROM people_day WHERE day > $1 AND day < $2`, []any{micros(yesterday), micros(tomorrow)}, func(row scanner) error {
		var of time.Time
		var people int64
		err := row.Scan(asTime(&of), &people)
		if of.Equal(day) {
			n = people
		} else {
			known = false
		}
		return err
	})
	if err != nil {
		return 0, false, fmt.Errorf("read how many people were let in: %w", err)
	}
	return n, known, nil
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

// CountedAt is when events were last counted, and since when some wait to be: those that are not counted since the oldest was recorded, those whose sums are not all
// written since they were counted. Zero: none does.
func (tx *Tx) CountedAt() (at, waiting time.Time, err error) {
	var parts bool // of what was counted, which are to be written yet
	err = tx.queryRow(`SELECT NULLIF(counted_at, 0), EXISTS (SELECT 1 FROM event_count_part),
			(SELECT MIN((SELECT b.recorded_at FROM event_batch b WHERE b.writer_id = w.id AND b.seq > w.counted_seq ORDER BY b.seq LIMIT 1)) FROM writer w WHERE NOT w.counted)
		FROM event_counter WHERE id = 1`).Scan(asTime(&at), &parts, asTime(&waiting))
	if err != nil {
		return time.Time{}, time.Time{}, fmt.Errorf("read how far events are counted: %w", err)
	}
	if parts && (waiting.IsZero() || at.Before(waiting)) {
		waiting = at
	}
	return at, waiting, nil
}
