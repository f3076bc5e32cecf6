package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

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
// The order is that of the ids, in which they were recorded.
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
// What it looks at: with a gate, user, device, request id, or a kind, outcome or reason other than those of nearly every event (decision, ALLOW, OK), only
// events that bear all of these, or one that few bear. With a time range only what was recorded when events of that range were. Without any of these all events.
func (s *Store) EventPage(ctx context.Context, f access.EventFilter) (EventPage, error) {
	p, err := s.eventPage(ctx, f)
	if err != nil {
		return EventPage{}, fmt.Errorf("list events: %w", s.kind.fault(err))
	}
	return p, nil
}

func (s *Store) eventPage(ctx context.Context, f access.EventFilter) (EventPage, error) {
	q := eventQuery(f)
	if keys := indexKeysOf(f); q.ranged || len(keys) > 0 {
		return s.pageByIndex(ctx, f, q, keys)
	}
	var floor int64
	if q.sifts {
		above := q.listQuery
		above.where, above.args, above.limit = above.where[:q.leading], above.args[:q.leading], 1
		err := s.kind.fault(s.read.QueryRowContext(ctx, above.text(`SELECT id FROM events`)+` OFFSET `+strconv.Itoa(s.lookAhead-1), above.args...).Scan(&floor))
		if err != nil && !errors.Is(err, access.ErrNotFound) {
			return EventPage{}, err
		}
		if floor != 0 {
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

// pageQuery is the list that a filter asks for.
type pageQuery struct {
	listQuery
	leading int  // how many of the first conditions are on the id
	ranged  bool // only some time will do
	sifts   bool // there are conditions that no key of the index answers: rows are read in vain
}

func eventQuery(f access.EventFilter) *pageQuery {
	q := &pageQuery{listQuery: listQuery{order: "id DESC", limit: pageSize(f.Limit)}, ranged: !f.From.IsZero() || !f.To.IsZero()}
	if f.Before != 0 {
		q.add("id < ?", f.Before)
	}
	q.leading = len(q.where)
	for _, c := range []struct {
		condition string
		value     int64
	}{{"device_id = ?", f.DeviceID}, {"user_id = ?", f.UserID}, {"gate_id = ?", f.GateID}, {"user_id IN (SELECT user_id FROM membership WHERE group_id = ?)", f.GroupID}} {
		if c.value != 0 {
			q.add(c.condition, c.value)
		}
	}
	for _, c := range []struct{ condition, value string }{
		{"request_id = ?", f.RequestID}, {"kind = ?", string(f.Kind)}, {"decision = ?", string(f.Decision)}, {"reason = ?", string(f.Reason)},
	} {
		if c.value != "" {
			q.add(c.condition, c.value)
		}
	}
	if !f.From.IsZero() {
		q.add("occurred_at >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		q.add("occurred_at < ?", micros(f.To))
	}
	q.sifts = q.ranged || f.GroupID != 0 || f.Kind == access.DecisionEvent || f.Decision == access.Allow || f.Reason == access.OK
	return q
}
