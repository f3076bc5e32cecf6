package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// PermissionFilter selects permissions.
type PermissionFilter = store.PermissionFilter

func permissionFields(p access.Permission) access.Fields {
	return filled(access.Fields{
		"gate_id": idText(p.GateID), "user_id": idText(p.UserID), "group_id": idText(p.GroupID), "allow": yes(p.Allow),
		"valid_from": stamp(p.ValidFrom), "valid_until": stamp(p.ValidUntil),
	})
}

// Permissions lists permissions by id.
func (r *Registry) Permissions(ctx context.Context, f PermissionFilter) ([]access.Permission, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]access.Permission, error) { return tx.Permissions(f) })
}

// GrantPermission lets the subject of p through its gate in its period: the row for the same gate, subject and period is made, or
// allowed again when it was suspended. A row without dates stands once for a gate and subject; dated ones stand beside it.
func (r *Registry) GrantPermission(ctx context.Context, actor access.Actor, p access.Permission) (access.Permission, error) {
	p.Allow = true
	return changing(ctx, r, actor, "grant a permission", func(c *change) (access.Permission, error) { return c.putPermission(p) })
}

// SuspendPermission keeps the row for the gate, subject and period of p, but lets it grant nothing. ErrNotFound when there is no such row.
func (r *Registry) SuspendPermission(ctx context.Context, actor access.Actor, p access.Permission) (access.Permission, error) {
	return changing(ctx, r, actor, "suspend a permission", func(c *change) (access.Permission, error) {
		p := micro(p)
		if err := p.Validate(); err != nil {
			return access.Permission{}, err
		}
		old, err := c.SamePermission(p)
		if err != nil {
			return access.Permission{}, err
		}
		old.Allow = false
		return c.updatePermission(old)
	})
}

// UpdatePermission changes Allow and the period of permission p.ID; gate and subject stay. p.Version is the version seen, 0 = any.
func (r *Registry) UpdatePermission(ctx context.Context, actor access.Actor, p access.Permission) (access.Permission, error) {
	return changing(ctx, r, actor, fmt.Sprintf("change permission %d", p.ID), func(c *change) (access.Permission, error) { return c.updatePermission(p) })
}

// RevokePermission removes one permission.
func (r *Registry) RevokePermission(ctx context.Context, actor access.Actor, id int64) error {
	return r.change(ctx, actor, func(c *change) error {
		p, err := c.Permission(id)
		if err != nil {
			return fmt.Errorf("revoke: %w", err)
		}
		return c.deletePermission(p)
	})
}

// RevokePermissions removes all permissions of a subject (a user or a group, the other id 0) at a gate, dated ones too, and says how many
// there were. ErrNotFound when there was none.
func (r *Registry) RevokePermissions(ctx context.Context, actor access.Actor, gateID, userID, groupID int64) (n int, err error) {
	if err := (access.Permission{GateID: gateID, UserID: userID, GroupID: groupID}).Validate(); err != nil {
		return 0, err
	}
	return changing(ctx, r, actor, "revoke permissions", func(c *change) (int, error) {
		n, err := c.deletePermissions(store.PermissionFilter{GateID: gateID, UserID: userID, GroupID: groupID})
		if err == nil && n == 0 {
			err = fmt.Errorf("at gate %d: %w", gateID, access.ErrNotFound)
		}
		return n, err
	})
}

// putPermission makes the row for the gate, subject and period of p, or gives the one there is p's Allow.
func (c *change) putPermission(p access.Permission) (access.Permission, error) {
	p = micro(p)
	if err := p.Validate(); err != nil {
		return access.Permission{}, err
	}
	old, err := c.SamePermission(p)
	if err == nil {
		old.Allow = p.Allow
		return c.updatePermission(old)
	}
	if !errors.Is(err, access.ErrNotFound) {
		return access.Permission{}, err
	}
	if _, err := c.Gate(p.GateID); err != nil {
		return access.Permission{}, refers(err, "gate")
	}
	if p.UserID != 0 {
		if _, err := c.User(p.UserID); err != nil {
			return access.Permission{}, refers(err, "user")
		}
	} else if _, err := c.Group(p.GroupID); err != nil {
		return access.Permission{}, refers(err, "group")
	}
	if err := c.InsertPermission(&p); err != nil {
		return access.Permission{}, err
	}
	return p, c.Record(access.ObjectPermission, p.ID, access.ActionCreate, nil, permissionFields(p))
}

func (c *change) updatePermission(p access.Permission) (access.Permission, error) {
	p = micro(p)
	old, err := c.Permission(p.ID)
	if err != nil {
		return access.Permission{}, err
	}
	if err := fresh(fmt.Sprintf("permission %d", p.ID), p.Version, old.Version); err != nil {
		return access.Permission{}, err
	}
	p.GateID, p.UserID, p.GroupID, p.Version, p.CreatedAt = old.GateID, old.UserID, old.GroupID, old.Version, old.CreatedAt
	if err := p.Validate(); err != nil {
		return access.Permission{}, err
	}
	before, after := permissionFields(old), permissionFields(p)
	if was, is := differ(before, after); len(was)+len(is) == 0 {
		return old, nil
	}
	if other, err := c.SamePermission(p); err == nil && other.ID != p.ID {
		return access.Permission{}, access.Invalid{{Field: "valid_from", Code: access.CodeTaken}}
	} else if err != nil && !errors.Is(err, access.ErrNotFound) {
		return access.Permission{}, err
	}
	if err := c.UpdatePermission(&p); err != nil {
		return access.Permission{}, err
	}
	return p, c.recordChange(access.ObjectPermission, p.ID, before, after)
}

func (c *change) deletePermission(p access.Permission) error {
	if err := c.DeletePermission(p.ID); err != nil {
		return err
	}
	return c.Record(access.ObjectPermission, p.ID, access.ActionDelete, permissionFields(p), nil)
}

// deletePermissions deletes all that a filter selects and says how many there were.
func (c *change) deletePermissions(f store.PermissionFilter) (int, error) {
	f.Limit = store.All
	list, err := c.Permissions(f)
	if err != nil {
		return 0, err
	}
	for _, p := range list {
		if err := c.deletePermission(p); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// micro brings the period to the precision that is stored.
func micro(p access.Permission) access.Permission {
	for _, t := range []*time.Time{&p.ValidFrom, &p.ValidUntil} {
		if !t.IsZero() {
			*t = t.UTC().Truncate(time.Microsecond)
		}
	}
	return p
}
