package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/openway-access/openway/internal/access"
)

// What explaining an event needs: the event, what there ever was of rights, and what the audit says came later.

// Event returns one event.
func (s *Store) Event(ctx context.Context, id int64) (e access.Event, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		e, err = tx.Event(id)
		return err
	})
	return e, err
}

// Event returns one event.
func (tx *Tx) Event(id int64) (access.Event, error) {
	e, err := scanEvent(tx.queryRow(selectEvent+` WHERE id = $1`, id))
	if err != nil {
		return access.Event{}, fmt.Errorf("event %d: %w", id, err)
	}
	return e, nil
}

// PermissionsEver lists the permissions at a gate that a user or some groups have or ever had, newest first, at most limit of each.
func (tx *Tx) PermissionsEver(gateID, userID int64, groupIDs []int64, limit int) ([]NamedPermission, error) {
	var list []NamedPermission
	read := func(query string, args ...any) error {
		return tx.each(`SELECT `+permissionColumns+`, deleted_at FROM permission WHERE `+query+` ORDER BY id DESC LIMIT $2`, args, func(row scanner) error {
			var p NamedPermission
			err := row.Scan(&p.ID, &p.GateID, asNumber(&p.UserID), asNumber(&p.GroupID), &p.Allow, asTime(&p.ValidFrom), asTime(&p.ValidUntil), &p.Version,
				asTime(&p.CreatedAt), asTime(&p.DeletedAt))
			list = append(list, p)
			return err
		})
	}
	// gate_id + 0: the index by subject is meant, of which only a part is of this gate.
	err := read(`gate_id + 0 = $1 AND user_id = $3`, gateID, limit, userID)
	for chunk := range slices.Chunk(sortedSet(groupIDs), idsPerQuery) {
		if err == nil {
			err = read(`gate_id + 0 = $1 AND group_id IN `+idList(chunk), gateID, limit)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read what user %d ever had at gate %d: %w", userID, gateID, err)
	}
	return list, nil
}

// ChangesAfter lists the audit lines of one object that came after a version, newest first, at most limit.
func (tx *Tx) ChangesAfter(object string, id, version int64, limit int) ([]access.Change, error) {
	q := changeQuery(ChangeFilter{Object: object, ObjectID: id, Limit: limit})
	q.add("version > ?", version)
	return tx.changes(q)
}

// GateIDsOfCode lists the gates that have or had a code, the newest first. There are few gates.
func (tx *Tx) GateIDsOfCode(code string) ([]int64, error) {
	return tx.ids(`SELECT id FROM gate WHERE code = $1 ORDER BY id DESC LIMIT 10`, code)
}
