package store

import (
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// PermissionFilter selects permissions; zero fields do not matter. It pages by id: give the last id seen as After.
type PermissionFilter struct {
	After   int64
	GateID  int64
	UserID  int64 // rows that name this very user
	GroupID int64
	Limit   int // 1..1000; 0 = 50; All
}

const permissionColumns = `id, gate_id, user_id, group_id, allow, valid_from, valid_until, version, created_at`

func scanPermission(row scanner) (p access.Permission, err error) {
	err = row.Scan(&p.ID, &p.GateID, asNumber(&p.UserID), asNumber(&p.GroupID), &p.Allow, asTime(&p.ValidFrom), asTime(&p.ValidUntil), &p.Version, asTime(&p.CreatedAt))
	return p, err
}

// Permission returns a living permission.
func (tx *Tx) Permission(id int64) (access.Permission, error) {
	p, err := scanPermission(tx.queryRow(`SELECT `+permissionColumns+` FROM permission WHERE id = $1 AND deleted_at IS NULL`, id))
	if err != nil {
		return access.Permission{}, fmt.Errorf("permission %d: %w", id, err)
	}
	return p, nil
}

// Permissions lists living permissions in order of their ids.
func (tx *Tx) Permissions(f PermissionFilter) ([]access.Permission, error) {
	where, args := `deleted_at IS NULL AND id > $1`, []any{f.After, pageSize(f.Limit)}
	for _, c := range []struct {
		column string
		id     int64
	}{{"gate_id", f.GateID}, {"user_id", f.UserID}, {"group_id", f.GroupID}} {
		if c.id != 0 {
			args = append(args, c.id)
			where += fmt.Sprintf(` AND %s = $%d`, c.column, len(args))
		}
	}
	var list []access.Permission
	err := tx.each(`SELECT `+permissionColumns+` FROM permission WHERE `+where+` ORDER BY id LIMIT $2`, args, func(row scanner) error {
		p, err := scanPermission(row)
		list = append(list, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list permissions: %w", err)
	}
	return list, nil
}

// SamePermission returns the living permission with the gate, subject and period of p.
func (tx *Tx) SamePermission(p access.Permission) (access.Permission, error) {
	list, err := tx.Permissions(PermissionFilter{GateID: p.GateID, UserID: p.UserID, GroupID: p.GroupID, Limit: All})
	if err != nil {
		return access.Permission{}, err
	}
	for _, q := range list {
		if q.UserID == p.UserID && q.GroupID == p.GroupID && sameInstant(q.ValidFrom, p.ValidFrom) && sameInstant(q.ValidUntil, p.ValidUntil) {
			return q, nil
		}
	}
	return access.Permission{}, fmt.Errorf("permission at gate %d: %w", p.GateID, access.ErrNotFound)
}

// sameInstant compares as instants are stored.
func sameInstant(a, b time.Time) bool { return instantOrNull(a) == instantOrNull(b) }

// InsertPermission writes a new permission and sets ID, Version and CreatedAt. A second plain one for the same gate and subject is access.Invalid.
func (tx *Tx) InsertPermission(p *access.Permission) error {
	err := tx.queryRow(`INSERT INTO permission (gate_id, user_id, group_id, allow, valid_from, valid_until, version, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`,
		p.GateID, orNull(p.UserID), orNull(p.GroupID), p.Allow, instantOrNull(p.ValidFrom), instantOrNull(p.ValidUntil), tx.Mark.Version, micros(tx.Now)).Scan(&p.ID)
	if err != nil {
		if tx.taken(err, "permission") {
			return already("gate")
		}
		return fmt.Errorf("insert a permission at gate %d: %w", p.GateID, err)
	}
	p.Version, p.CreatedAt = tx.Mark.Version, tx.Now
	return nil
}

// UpdatePermission writes allow and the period if p.Version (0 = any) is still its version, and sets the new one; access.ErrConflict if not.
// Gate and subject never change.
func (tx *Tx) UpdatePermission(p *access.Permission) error {
	n, err := tx.exec(`UPDATE permission SET allow = $1, valid_from = $2, valid_until = $3, version = $4
		WHERE id = $5 AND deleted_at IS NULL AND (version = $6 OR $6 = 0)`,
		p.Allow, instantOrNull(p.ValidFrom), instantOrNull(p.ValidUntil), tx.Mark.Version, p.ID, p.Version)
	if err != nil && tx.taken(err, "permission") {
		return already("valid_from")
	}
	if err := tx.settle(n, err, "permission", p.ID); err != nil {
		return err
	}
	p.Version = tx.Mark.Version
	return nil
}

// DeletePermission tombstones a permission.
func (tx *Tx) DeletePermission(id int64) error { return tx.bury("permission", id) }
