package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// ChangeFilter selects lines of the audit; zero fields do not matter. It pages by id, newest first.
type ChangeFilter struct {
	Before      int64 // only ids below this one
	Object      string
	ObjectID    int64
	Action      string
	ActorUserID int64
	From        time.Time
	To          time.Time // half-open
	Limit       int       // 1..1000; 0 = 50
}

// Changes lists the audit, newest first, by keyset.
//
// A page of everything, of an object, a kind of object, an actor or an action reads little more than it returns. Where only a range of time is given,
// alone or with an action, the order is that of the clock, and what is read is at most the range.
func (s *Store) Changes(ctx context.Context, f ChangeFilter) ([]access.Change, error) {
	var all []access.Change
	err := s.View(ctx, func(tx *Tx) (err error) {
		all, err = tx.changes(changeQuery(f))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the audit: %w", err)
	}
	return all, nil
}

func (tx *Tx) changes(q *listQuery) ([]access.Change, error) {
	var all []access.Change
	err := tx.each(q.text(`SELECT id, version, stamp, at, actor_kind, actor_user_id, actor_label, address, request_id, session_id,
		object, object_id, action, detail FROM change`), q.args, func(row scanner) error {
		var c access.Change
		var detail string
		if err := row.Scan(&c.ID, &c.Mark.Version, &c.Mark.Stamp, asTime(&c.At), &c.Actor.Kind, asNumber(&c.Actor.UserID), &c.Actor.Label,
			&c.Actor.Address, &c.Actor.RequestID, asNumber(&c.Actor.SessionID), &c.Object, &c.ObjectID, &c.Action, &detail); err != nil {
			return err
		}
		if detail != "" {
			var d changeDetail
			if err := json.Unmarshal([]byte(detail), &d); err != nil {
				return fmt.Errorf("read line %d of the audit: %w", c.ID, err)
			}
			c.Before, c.After = d.Before, d.After
		}
		all = append(all, c)
		return nil
	})
	return all, err
}

// changeQuery chooses the index by the order it asks for.
func changeQuery(f ChangeFilter) *listQuery {
	q := &listQuery{order: "id DESC", limit: pageSize(f.Limit)}
	byTime := (!f.From.IsZero() || !f.To.IsZero()) && f.Object == "" && f.ActorUserID == 0
	switch {
	case byTime:
		q.order = "at DESC, id DESC"
		if f.Before != 0 {
			q.add("(at, id) < (SELECT at, id FROM change WHERE id = ?)", f.Before)
		}
	case f.Before != 0:
		q.add("id < ?", f.Before)
	}
	if f.Object != "" {
		q.add("object = ?", f.Object)
	}
	if f.ObjectID != 0 {
		q.add("object_id = ?", f.ObjectID)
	}
	if f.ActorUserID != 0 {
		q.add("actor_user_id = ?", f.ActorUserID)
	}
	if f.Action != "" {
		q.add("action = ?", f.Action)
	}
	at := "+at"
	if byTime {
		at = "at"
	}
	if !f.From.IsZero() {
		q.add(at+" >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		q.add(at+" < ?", micros(f.To))
	}
	return q
}
