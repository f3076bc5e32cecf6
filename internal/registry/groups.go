package registry

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// GroupFilter selects groups.
type GroupFilter = store.GroupFilter

func groupFields(g access.Group) access.Fields { return access.Fields{"name": g.Name} }

func memberFields(groupID int64) access.Fields { return access.Fields{"group_id": idText(groupID)} }

// Groups lists groups by id.
func (r *Registry) Groups(ctx context.Context, f GroupFilter) ([]access.Group, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]access.Group, error) { return tx.Groups(f) })
}

// Group returns one group.
func (r *Registry) Group(ctx context.Context, id int64) (access.Group, error) {
	return reading(ctx, r, func(tx *store.Tx) (access.Group, error) { return tx.Group(id) })
}

// GroupByName returns the group with exactly this name.
func (r *Registry) GroupByName(ctx context.Context, name string) (access.Group, error) {
	return reading(ctx, r, func(tx *store.Tx) (access.Group, error) { return tx.GroupByName(name) })
}

// GroupsOf lists all groups of a user, by id.
func (r *Registry) GroupsOf(ctx context.Context, userID int64) ([]access.Group, error) {
	return r.Groups(ctx, GroupFilter{UserID: userID, Limit: store.All})
}

// CreateGroup enters a group. A name that another group has is access.Invalid.
func (r *Registry) CreateGroup(ctx context.Context, actor access.Actor, g access.Group) (access.Group, error) {
	return changing(ctx, r, actor, fmt.Sprintf("create group %q", g.Name), func(c *change) (access.Group, error) { return c.createGroup(g) })
}

// UpdateGroup renames group g.ID. g.Version is the version seen, 0 = any.
func (r *Registry) UpdateGroup(ctx context.Context, actor access.Actor, g access.Group) (access.Group, error) {
	return changing(ctx, r, actor, fmt.Sprintf("change group %d", g.ID), func(c *change) (access.Group, error) { return c.updateGroup(g) })
}

// DeleteGroup removes a group, its memberships and its permissions. version is the version seen, 0 = any.
func (r *Registry) DeleteGroup(ctx context.Context, actor access.Actor, id, version int64) error {
	_, err := changing(ctx, r, actor, fmt.Sprintf("delete group %d", id), func(c *change) (access.Group, error) { return c.deleteGroup(id, version) })
	return err
}

// AddMember puts a user into a group. Idempotent. (Users with GroupID lists the members.)
func (r *Registry) AddMember(ctx context.Context, actor access.Actor, groupID, userID int64) error {
	return r.change(ctx, actor, func(c *change) error { return c.addMember(groupID, userID) })
}

// RemoveMember takes a user out of a group. Idempotent.
func (r *Registry) RemoveMember(ctx context.Context, actor access.Actor, groupID, userID int64) error {
	return r.change(ctx, actor, func(c *change) error {
		if _, err := c.Group(groupID); err != nil {
			return refers(err, "group")
		}
		if _, err := c.User(userID); err != nil {
			return refers(err, "user")
		}
		return c.removeMember(groupID, userID)
	})
}

func (c *change) createGroup(g access.Group) (access.Group, error) {
	if err := g.Validate(); err != nil {
		return access.Group{}, err
	}
	if err := c.InsertGroup(&g); err != nil {
		return access.Group{}, err
	}
	return g, c.Record(access.ObjectGroup, g.ID, access.ActionCreate, nil, groupFields(g))
}

func (c *change) updateGroup(g access.Group) (access.Group, error) {
	if err := g.Validate(); err != nil {
		return access.Group{}, err
	}
	old, err := c.Group(g.ID)
	if err != nil {
		return access.Group{}, err
	}
	if err := fresh(fmt.Sprintf("group %q", old.Name), g.Version, old.Version); err != nil {
		return access.Group{}, err
	}
	g.Version, g.CreatedAt = old.Version, old.CreatedAt
	if g == old {
		return old, nil
	}
	if err := c.UpdateGroup(&g); err != nil {
		return access.Group{}, err
	}
	return g, c.recordChange(access.ObjectGroup, g.ID, groupFields(old), groupFields(g))
}

// deleteGroup returns the group as it was.
func (c *change) deleteGroup(id, version int64) (access.Group, error) {
	old, err := c.Group(id)
	if err != nil {
		return access.Group{}, err
	}
	if err := fresh(fmt.Sprintf("group %q", old.Name), version, old.Version); err != nil {
		return access.Group{}, err
	}
	members, err := c.MemberIDs(id)
	if err != nil {
		return access.Group{}, err
	}
	for _, user := range members {
		if err := c.removeMember(id, user); err != nil {
			return access.Group{}, err
		}
	}
	if _, err := c.deletePermissions(store.PermissionFilter{GroupID: id}); err != nil {
		return access.Group{}, err
	}
	if err := c.DeleteGroup(id); err != nil {
		return access.Group{}, err
	}
	return old, c.Record(access.ObjectGroup, id, access.ActionDelete, groupFields(old), nil)
}

// addMember records a line that names the user: that is what the gates must read again.
func (c *change) addMember(groupID, userID int64) error {
	if _, err := c.Group(groupID); err != nil {
		return refers(err, "group")
	}
	if _, err := c.User(userID); err != nil {
		return refers(err, "user")
	}
	added, err := c.AddMember(groupID, userID)
	if err != nil || !added {
		return err
	}
	return c.Record(access.ObjectMember, userID, access.ActionCreate, nil, memberFields(groupID))
}

func (c *change) removeMember(groupID, userID int64) error {
	removed, err := c.RemoveMember(groupID, userID)
	if err != nil || !removed {
		return err
	}
	return c.Record(access.ObjectMember, userID, access.ActionDelete, memberFields(groupID), nil)
}

// GroupSize says how many members and permissions a group has, suspended and dated ones too: MostCounted + 1 when there are more than MostCounted.
func (r *Registry) GroupSize(ctx context.Context, id int64) (members, permissions int, err error) {
	err = r.store.View(ctx, func(tx *store.Tx) error {
		members, permissions, err = tx.CountOfGroup(id, MostCounted+1)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("size of group %d: %w", id, err)
	}
	return members, permissions, nil
}
