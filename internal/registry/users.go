package registry

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// UserFilter selects users.
type UserFilter = store.UserFilter

func userFields(u access.User) access.Fields {
	return filled(access.Fields{
		"username": u.Username, "first_name": u.FirstName, "last_name": u.LastName, "email": u.Email, "language": u.Language,
		"active": yes(u.Active), "staff": yes(u.Staff), "superuser": yes(u.Superuser),
	})
}

// Users lists users by id, with their roles.
func (r *Registry) Users(ctx context.Context, f UserFilter) ([]access.User, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]access.User, error) { return tx.Users(f) })
}

// User returns one user with their roles.
func (r *Registry) User(ctx context.Context, id int64) (access.User, error) {
	return reading(ctx, r, func(tx *store.Tx) (access.User, error) { return tx.User(id) })
}

// UserByName returns the user with exactly this user name, with their roles.
func (r *Registry) UserByName(ctx context.Context, username string) (access.User, error) {
	return reading(ctx, r, func(tx *store.Tx) (access.User, error) { return tx.UserByName(username) })
}

// CreateUser enters a user with their roles, as a member of the given groups, all of it in one change. A user name that another user has
// is access.Invalid, and so are a password that breaks a rule and a group that is not there.
func (r *Registry) CreateUser(ctx context.Context, actor access.Actor, u access.User, p Password, groupIDs ...int64) (access.User, error) {
	what := fmt.Sprintf("create user %q", u.Username)
	bad, err := invalid(u.Validate())
	if err != nil {
		return access.User{}, fmt.Errorf("%s: %w", what, err)
	}
	hash, err := r.hash(ctx, p, u, nil)
	more, err := invalid(err)
	if err != nil {
		return access.User{}, fmt.Errorf("%s: %w", what, err)
	}
	if err := append(bad, more...).OrNil(); err != nil {
		return access.User{}, fmt.Errorf("%s: %w", what, err)
	}
	return changing(ctx, r, actor, what, func(c *change) (access.User, error) {
		made, err := c.createUser(u, hash)
		for _, id := range groupIDs {
			if err == nil {
				err = c.addMember(id, made.ID)
			}
		}
		return made, err
	})
}

// UpdateUser changes the texts, Active, Staff and Superuser of user u.ID, and in the same change gives the user the given roles, each in
// place of the one held on its site (None = none there any more). u.Roles are not looked at, and the password has a method of its own.
// u.Version is the version seen, 0 = any.
func (r *Registry) UpdateUser(ctx context.Context, actor access.Actor, u access.User, roles ...access.RoleGrant) (access.User, error) {
	return changing(ctx, r, actor, fmt.Sprintf("change user %d", u.ID), func(c *change) (access.User, error) {
		changed, err := c.updateUser(u)
		for _, g := range roles {
			if err == nil {
				changed, err = c.setRole(u.ID, g)
			}
		}
		return changed, err
	})
}

// SetUserActive lets a user in or shuts them out. The tokens of an inactive user answer TOKEN_INVALID and their sessions end; their
// rows stay. Idempotent.
func (r *Registry) SetUserActive(ctx context.Context, actor access.Actor, id int64, active bool) (access.User, error) {
	return changing(ctx, r, actor, fmt.Sprintf("set user %d active: %t", id, active), func(c *change) (access.User, error) {
		u, err := c.User(id)
		if err != nil {
			return access.User{}, err
		}
		u.Active = active
		return c.updateUser(u)
	})
}

// DeleteUser removes a user with their credentials, devices, own permissions, memberships, roles and sessions. version is the version seen, 0 = any.
func (r *Registry) DeleteUser(ctx context.Context, actor access.Actor, id, version int64) error {
	_, err := changing(ctx, r, actor, fmt.Sprintf("delete user %d", id), func(c *change) (access.User, error) { return c.deleteUser(id, version) })
	return err
}

// createUser takes an encoded hash, or "!" for none.
func (c *change) createUser(u access.User, hash string) (access.User, error) {
	if err := u.Validate(); err != nil {
		return access.User{}, err
	}
	if u.Role() != access.None {
		if err := c.byOwner(); err != nil {
			return access.User{}, err
		}
	}
	roles := u.Roles
	u.Roles = nil
	if err := c.InsertUser(&u, hash); err != nil {
		return access.User{}, err
	}
	if err := c.Record(access.ObjectUser, u.ID, access.ActionCreate, nil, userFields(u)); err != nil {
		return access.User{}, err
	}
	for _, g := range roles {
		if _, err := c.setRole(u.ID, g); err != nil {
			return access.User{}, err
		}
	}
	return c.User(u.ID)
}

func (c *change) updateUser(u access.User) (access.User, error) {
	old, err := c.User(u.ID)
	if err == nil {
		err = unlessKept(u.Validate(), userFields(old), userFields(u))
	}
	if err != nil {
		return access.User{}, err
	}
	if err := fresh(fmt.Sprintf("user %q", old.Username), u.Version, old.Version); err != nil {
		return access.User{}, err
	}
	u.Version, u.CreatedAt, u.LastLoginAt, u.Roles = old.Version, old.CreatedAt, old.LastLoginAt, old.Roles
	before, after := userFields(old), userFields(u)
	if was, is := differ(before, after); len(was)+len(is) == 0 {
		return old, nil
	}
	if err := c.mayChange(old); err != nil {
		return access.User{}, err
	}
	if u.Staff != old.Staff || u.Superuser != old.Superuser {
		if err := c.byOwner(); err != nil {
			return access.User{}, err
		}
	}
	if err := c.UpdateUser(&u); err != nil {
		return access.User{}, err
	}
	if err := c.recordChange(access.ObjectUser, u.ID, before, after); err != nil {
		return access.User{}, err
	}
	return u, c.standing(old, u)
}

// deleteUser returns the user as it was. Each thing of theirs that decisions depend on has its own line, so that the gates forget it.
func (c *change) deleteUser(id, version int64) (access.User, error) {
	old, err := c.User(id)
	if err != nil {
		return access.User{}, err
	}
	if err := fresh(fmt.Sprintf("user %q", old.Username), version, old.Version); err != nil {
		return access.User{}, err
	}
	if err := c.mayChange(old); err != nil {
		return access.User{}, err
	}
	devices, err := c.DevicesOf(id)
	if err != nil {
		return access.User{}, err
	}
	for _, d := range devices {
		if err := c.deleteDevice(d); err != nil {
			return access.User{}, err
		}
	}
	if _, err := c.endCredentials(store.CredentialFilter{UserID: id}, "deleted"); err != nil {
		return access.User{}, err
	}
	if _, err := c.deletePermissions(store.PermissionFilter{UserID: id}); err != nil {
		return access.User{}, err
	}
	groups, err := c.GroupIDs(id)
	if err != nil {
		return access.User{}, err
	}
	for _, g := range groups {
		if err := c.removeMember(g, id); err != nil {
			return access.User{}, err
		}
	}
	for _, g := range old.Roles {
		if _, err := c.setRole(id, access.RoleGrant{SiteID: g.SiteID}); err != nil {
			return access.User{}, err
		}
	}
	if err := c.standing(old, access.User{ID: id}); err != nil {
		return access.User{}, err
	}
	if err := c.DeleteUser(id); err != nil {
		return access.User{}, err
	}
	return old, c.Record(access.ObjectUser, id, access.ActionDelete, userFields(old), nil)
}
