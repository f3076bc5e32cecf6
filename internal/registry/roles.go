package registry

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

func roleFields(g access.RoleGrant) access.Fields {
	return filled(access.Fields{"role": string(g.Role), "site_id": idText(g.SiteID)})
}

// GrantRole gives a user a role on one site, or (siteID 0) on all, in place of the one held there.
func (r *Registry) GrantRole(ctx context.Context, actor access.Actor, userID int64, role access.Role, siteID int64) error {
	_, err := changing(ctx, r, actor, fmt.Sprintf("grant a role to user %d", userID), func(c *change) (access.User, error) {
		return c.setRole(userID, access.RoleGrant{Role: role, SiteID: siteID})
	})
	return err
}

// RevokeRole takes a user's role on one site, or (siteID 0) the one on all, away; the user's sessions of the admin pages end. Idempotent.
func (r *Registry) RevokeRole(ctx context.Context, actor access.Actor, userID, siteID int64) error {
	_, err := changing(ctx, r, actor, fmt.Sprintf("revoke a role of user %d", userID), func(c *change) (access.User, error) {
		return c.setRole(userID, access.RoleGrant{SiteID: siteID})
	})
	return err
}

// setRole gives a user a role on a site, or with role None takes it away.
func (c *change) setRole(userID int64, g access.RoleGrant) (access.User, error) {
	var bad access.Invalid
	if g.Role != access.None && !g.Role.Known() {
		bad.Add("role", access.CodeUnknown)
	}
	if g.SiteID != 0 && g.SiteID != store.OnlySite {
		bad.Add("site", access.CodeUnknown)
	}
	if err := bad.OrNil(); err != nil {
		return access.User{}, err
	}
	user, err := c.User(userID)
	if err != nil {
		return access.User{}, err
	}
	old := access.RoleGrant{SiteID: g.SiteID}
	rest := make([]access.RoleGrant, 0, len(user.Roles)+1)
	for _, h := range user.Roles {
		if h.SiteID == g.SiteID {
			old = h
		} else {
			rest = append(rest, h)
		}
	}
	if old == g {
		return user, nil
	}
	if err := c.byOwner(); err != nil {
		return access.User{}, err
	}
	was := user
	user.Roles = rest
	if g.Role == access.None {
		if _, err := c.DeleteRole(userID, g.SiteID); err != nil {
			return access.User{}, err
		}
		if err := c.Record(access.ObjectRole, userID, access.ActionDelete, roleFields(old), nil); err != nil {
			return access.User{}, err
		}
	} else {
		user.Roles = append(user.Roles, g)
		if err := c.SetRole(userID, g); err != nil {
			return access.User{}, err
		}
		if old.Role == access.None {
			err = c.Record(access.ObjectRole, userID, access.ActionCreate, nil, roleFields(g))
		} else {
			err = c.recordChange(access.ObjectRole, userID, roleFields(old), roleFields(g))
		}
		if err != nil {
			return access.User{}, err
		}
	}
	if err := c.UpdateUser(&user); err != nil { // a new version: who edits the user at the same time is told
		return access.User{}, err
	}
	return user, c.standing(was, user)
}

// standing draws the consequences of a change to what a user is and may: who loses a role or is shut out loses the sessions of
// the admin pages, and an owner must be left.
func (c *change) standing(was, is access.User) error {
	if owner(was) && !owner(is) {
		c.ownerLost = true
	}
	if is.Active && is.Role().Includes(was.Role()) {
		return nil
	}
	_, err := c.DeleteSessionsOf(is.ID)
	return err
}

// owner reports whether a user can act as an owner.
func owner(u access.User) bool { return u.Active && u.Role() == access.Owner }
