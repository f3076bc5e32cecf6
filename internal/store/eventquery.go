package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// selectEvent names the columns in the order of scanEvent.
const selectEvent = `SELECT id, kind, occurred_at, recorded_at, writer_id, seq, gate_id, presented_gate, user_id, credential_id, device_id, permission_id,
	controller_id, policy_version, decision, reason, count, until, address, request_id, fingerprint FROM events`

// EventPage is what one look at the log found.
type EventPage struct {
	Events []access.Event // newest first, as EventFilter says
	// Next is how far the look went: give it as Before to go on. 0 = there is nothing older. A page may have few events or none
	// and yet a Next, when it looked at many that the filter does not want.
	Next int64
}

// defaultLookAhead is how many events a page looks at, at most.
const defaultLookAhead = 20_000

// Events lists events, newest first, by keyset: give the last id seen as Before for the next page. It looks on until the page is full or the
// log ends, which for a filter that few or none match can be as far as the log goes: pages for people use EventPage.
//
// The order is that of the ids. Only when a time range is given, and no gate, user, device or request, it is that of occurrence.
func (s *Store) Events(ctx context.Context, f access.EventFilter) (events []access.Event, err error) {
	limit := pageSize(f.Limit)
	for {
		p, err := s.EventPage(ctx, f)
		if err != nil {
			return nil, err
		}
		events = append(events, p.Events...)
		if len(events) >= limit || p.Next == 0 {
			return events, nil
		}
		f.Before = p.Next
		if f.Limit != All {
			f.Limit = limit - len(events)
		}
	}
}

// EventPage lists events as Events does, but looks at no more than 20,000 of them in one go, however many there are and whatever the filter is.
//
// What it looks at: with a gate, user, device or request id only events that bear it (those that bear all of them, and the reason
// and outcome unless that is OK and ALLOW; and only what was recorded when events of the time range were). With a time
// range only events of that range. Without any of these all events, newest first; only those with the reason or outcome unless that is OK and ALLOW.
func (s *Store) EventPage(ctx context.Context, f access.EventFilter) (EventPage, error) {
	p, err := s.eventPage(ctx, f)
	if err != nil {
		return EventPage{}, fmt.Errorf("list events: %w", s.kind.fault(err))
	}
	return p, nil
}

func (s *Store) eventPage(ctx context.Context, f access.EventFilter) (EventPage, error) {
	q := s.eventQuery(f)
	if keys := indexKeysOf(f); !q.byTime && len(keys) > 0 {
		return s.pageByIndex(ctx, f, q, keys)
	}
	var floor, floorAt int64
	if q.sifts {
		edge := q.listQuery
		edge.where, edge.args, edge.limit = edge.where[:q.leading], edge.args[:q.leading], 1
		err := s.kind.fault(s.read.QueryRowContext(ctx, edge.text(`SELECT id, occurred_at FROM events`)+` OFFSET `+strconv.Itoa(s.lookAhead-1), edge.args...).Scan(&floor, &floorAt))
		if err != nil && !errors.Is(err, access.ErrNotFound) {
			return EventPage{}, err
		}
		switch {
		case floor == 0:
		case q.byTime:
			// The instant stands in the text, and is not looked up: a purge may just now take this event, but not those after it.
			q.add("(occurred_at, id) >= ("+strconv.FormatInt(floorAt, 10)+", ?)", floor)
		default:
			q.add("id >= ?", floor)
		}
	}
	events, err := scanEvents(s.read.QueryContext(ctx, q.text(selectEvent), q.args...))
	if err != nil {
		return EventPage{}, err
	}
	if len(events) == q.limit {
		floor = events[len(events)-1].ID
	}
	return EventPage{events, floor}, nil
}

func scanEvents(rows *sql.Rows, err error) (events []access.Event, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scanEvent(rows)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

func scanEvent(row scanner) (e access.Event, err error) {
	err = row.Scan(&e.ID, &e.Kind, asTime(&e.At), asTime(&e.RecordedAt), &e.WriterID, &e.Seq, asNumber(&e.GateID), asText(&e.PresentedGate),
		asNumber(&e.UserID), asNumber(&e.CredentialID), asNumber(&e.DeviceID), asNumber(&e.PermissionID), asNumber(&e.ControllerID),
		&e.PolicyVersion, &e.Decision, &e.Reason, &e.Count, asTime(&e.Until), &e.Address, &e.RequestID, &e.Fingerprint)
	return e, err
}

// listQuery gathers the conditions of a list.
type listQuery struct {
	where []string
	args  []any
	order string
	limit int
}

// add adds a condition; ? in it stands for the argument.
func (q *listQuery) add(condition string, arg any) {
	q.args = append(q.args, arg)
	q.where = append(q.where, strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(q.args))))
}

func (q *listQuery) text(selectFrom string) string {
	if len(q.where) > 0 {
		selectFrom += " WHERE " + strings.Join(q.where, " AND ")
	}
	return selectFrom + " ORDER BY " + q.order + " LIMIT " + strconv.Itoa(q.limit)
}

// pageQuery is the list that a filter asks for. Its first conditions (leading) are answered by an index, whose order is the list's.
type pageQuery struct {
	listQuery
	leading int
	byTime  bool // in the order of occurrence
	sifts   bool // there are other conditions: rows are read in vain
}

// eventQuery chooses the index by the order it asks for. A + before a column keeps its index out of the choice, on both engines:
// neither knows how many events a group's users have, and each would rather sort them all.
func (s *Store) eventQuery(f access.EventFilter) *pageQuery {
	q := &pageQuery{listQuery: listQuery{order: "id DESC", limit: pageSize(f.Limit)}}
	ranged := !f.From.IsZero() || !f.To.IsZero()
	q.byTime = ranged && f.GateID == 0 && f.UserID == 0 && f.DeviceID == 0 && f.RequestID == ""
	occurred := func(column string) {
		if !f.From.IsZero() {
			q.add(column+" >= ?", micros(f.From))
		}
		if !f.To.IsZero() {
			q.add(column+" < ?", micros(f.To))
		}
	}
	switch {
	case q.byTime:
		q.order = "occurred_at DESC, id DESC"
		if f.Before != 0 {
			q.add("(occurred_at, id) < (SELECT occurred_at, id FROM events WHERE id = ?)", f.Before)
		}
		occurred("occurred_at")
	case f.Before != 0:
		q.add("id < ?", f.Before)
	}
	// The column of which there is likely least leads.
	led := q.byTime
	if f.RequestID != "" {
		q.add("request_id = ?", f.RequestID)
		led = true
	}
	var others []func()
	for _, c := range []struct {
		column string
		value  int64
	}{{"device_id", f.DeviceID}, {"user_id", f.UserID}, {"gate_id", f.GateID}} {
		switch {
		case c.value == 0:
		case !led:
			q.add(c.column+" = ?", c.value)
			led = true
		default:
			others = append(others, func() { q.add("+"+c.column+" = ?", c.value) })
		}
	}
	if !led && f.Reason != "" && f.Reason != access.OK {
		q.add("reason = ?", string(f.Reason))
		f.Reason = ""
	}
	q.leading = len(q.where)
	for _, add := range others {
		add()
	}
	if f.GroupID != 0 {
		q.add("+user_id IN (SELECT user_id FROM membership WHERE group_id = ?)", f.GroupID)
	}
	for _, c := range []struct{ condition, value string }{
		{"kind = ?", string(f.Kind)}, {"decision = ?", string(f.Decision)}, {"reason = ?", string(f.Reason)},
	} {
		if c.value != "" {
			q.add(c.condition, c.value)
		}
	}
	if !q.byTime {
		occurred("+occurred_at")
	}
	q.sifts = len(q.where) > q.leading
	return q
}

// NewestEvent is when the latest event occurred; the zero time when there is none.
func (s *Store) NewestEvent(ctx context.Context) (at time.Time, err error) {
	if err := s.read.QueryRowContext(ctx, `SELECT MAX(occurred_at) FROM events`).Scan(asTime(&at)); err != nil {
		return time.Time{}, fmt.Errorf("look for the newest event: %w", s.kind.fault(err))
	}
	return at, nil
}

// FirstEventSince is when the oldest of the events occurred that did not occur before an instant; the zero time when there is none.
func (s *Store) FirstEventSince(ctx context.Context, since time.Time) (at time.Time, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT MIN(occurred_at) FROM events WHERE occurred_at >= $1`, micros(since)).Scan(asTime(&at))
	if err != nil {
		return time.Time{}, fmt.Errorf("look for the first event since %s: %w", since.UTC().Format(time.RFC3339), s.kind.fault(err))
	}
	return at, nil
}

// PurgeEvents deletes at most limit events that occurred before an instant (a folded one: began), oldest first, and as many
// batches recorded before it, but never a lane's newest one. It is one small transaction; n < limit says that no more are left.
//
// A power cut may undo the last of them on SQLite: nobody waits for the disk, and the next purge deletes those events again.
func (s *Store) PurgeEvents(ctx context.Context, before time.Time, limit int) (n int, err error) {
	if limit <= 0 {
		return 0, fmt.Errorf("purge events: %d at a time", limit)
	}
	err = s.atDeskThatIs(ctx, lazy, func(tx *Tx) (bool, error) {
		gone, err := tx.exec(`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE occurred_at < $1 ORDER BY occurred_at LIMIT $2)`, micros(before), limit)
		if err != nil {
			return false, err
		}
		n = int(gone)
		if err := tx.dropOldIndex(); err != nil {
			return false, err
		}
		_, err = tx.exec(`DELETE FROM event_batch WHERE (writer_id, seq) IN (
			SELECT old.writer_id, old.seq FROM event_batch old WHERE old.recorded_at < $1
				AND EXISTS (SELECT 1 FROM event_batch newer WHERE newer.writer_id = old.writer_id AND newer.seq > old.seq)
			ORDER BY old.recorded_at LIMIT $2)`, micros(before), limit)
		return true, err
	})
	if err != nil {
		return 0, fmt.Errorf("purge events: %w", err)
	}
	return n, nil
}
