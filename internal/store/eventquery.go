package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// selectEvent names the columns in the order of scanEvent.
const selectEvent = `SELECT id, kind, occurred_at, recorded_at, writer_id, seq, gate_id, presented_gate, user_id, credential_id, device_id, permission_id,
	controller_id, policy_version, decision, reason, count, until, address, request_id, fingerprint FROM events`

// Events lists events, newest first, by keyset: give the last id seen as Before for the next page.
//
// A page of everything, of a gate or of a user reads only what it returns, however many events there are. When only a time range
// (with or without other filters, but no gate or user) is given, the order is that of occurrence, and what is read is at
// most the range. Other filters alone are looked for from the newest event backwards, as far as it takes.
func (s *Store) Events(ctx context.Context, f access.EventFilter) ([]access.Event, error) {
	q := eventQuery(f)
	rows, err := s.read.QueryContext(ctx, q.text(selectEvent), q.args...)
	if err != nil {
		return nil, fmt.Errorf("list events: %w", s.kind.fault(err))
	}
	defer rows.Close()
	var events []access.Event
	for rows.Next() {
		e, err := scanEvent(rows)
		if err != nil {
			return nil, fmt.Errorf("list events: %w", err)
		}
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list events: %w", s.kind.fault(err))
	}
	return events, nil
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

// eventQuery chooses the index by the order it asks for. A + before a column keeps its index out of the choice, on both engines:
// neither knows how many events a group's users have, and each would rather sort them all.
func eventQuery(f access.EventFilter) *listQuery {
	q := &listQuery{order: "id DESC", limit: pageSize(f.Limit)}
	byTime := (!f.From.IsZero() || !f.To.IsZero()) && f.GateID == 0 && f.UserID == 0
	switch {
	case byTime:
		q.order = "occurred_at DESC, id DESC"
		if f.Before != 0 {
			q.add("(occurred_at, id) < (SELECT occurred_at, id FROM events WHERE id = ?)", f.Before)
		}
	case f.Before != 0:
		q.add("id < ?", f.Before)
	}
	switch {
	case f.GateID != 0:
		q.add("gate_id = ?", f.GateID)
		if f.UserID != 0 {
			q.add("+user_id = ?", f.UserID)
		}
	case f.UserID != 0:
		q.add("user_id = ?", f.UserID)
	}
	if f.GroupID != 0 {
		q.add("+user_id IN (SELECT user_id FROM membership WHERE group_id = ?)", f.GroupID)
	}
	if f.DeviceID != 0 {
		q.add("device_id = ?", f.DeviceID)
	}
	for _, c := range []struct{ condition, value string }{
		{"kind = ?", string(f.Kind)}, {"decision = ?", string(f.Decision)}, {"reason = ?", string(f.Reason)}, {"request_id = ?", f.RequestID},
	} {
		if c.value != "" {
			q.add(c.condition, c.value)
		}
	}
	occurred := "+occurred_at"
	if byTime {
		occurred = "occurred_at"
	}
	if !f.From.IsZero() {
		q.add(occurred+" >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		q.add(occurred+" < ?", micros(f.To))
	}
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
func (s *Store) PurgeEvents(ctx context.Context, before time.Time, limit int) (n int, err error) {
	if limit <= 0 {
		return 0, fmt.Errorf("purge events: %d at a time", limit)
	}
	err = s.atDesk(ctx, func(tx *Tx) (bool, error) {
		gone, err := tx.exec(`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE occurred_at < $1 ORDER BY occurred_at LIMIT $2)`, micros(before), limit)
		if err != nil {
			return false, err
		}
		n = int(gone)
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
