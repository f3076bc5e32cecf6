package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// GrantState says whether a permission lets anybody through at an instant, and why not.
type GrantState string

// The states of a permission at an instant.
const (
	GrantHolds     GrantState = "holds"
	GrantSuspended GrantState = "suspended" // Allow is off
	GrantNotYet    GrantState = "not_yet"   // before ValidFrom
	GrantOver      GrantState = "over"      // ValidUntil has come
	GrantGone      GrantState = "gone"      // it was taken away (only in an Explanation)
	GrantNone      GrantState = "none"      // it was not there yet (only in an Explanation)
)

// StateAt judges a living permission.
func StateAt(p access.Permission, at time.Time) GrantState {
	switch {
	case !p.Allow:
		return GrantSuspended
	case !p.ValidFrom.IsZero() && at.Before(p.ValidFrom):
		return GrantNotYet
	case !p.ValidUntil.IsZero() && !at.Before(p.ValidUntil):
		return GrantOver
	}
	return GrantHolds
}

// Grant is a permission with the group that it goes through.
type Grant struct {
	access.Permission
	State GrantState
	Group access.Group // zero when it is the user's own
}

// GateAccess is a gate at which a user has permissions, of their own or through groups.
type GateAccess struct {
	Gate   access.Gate
	Passes bool    // now, with a credential that counts
	Grants []Grant // all of them, the user's own first; those that do not hold have the cause in State
}

// UserAccess is a page of the gates where a user has permissions.
type UserAccess struct {
	User   access.User // an inactive one passes nowhere
	Groups []access.Group
	Gates  []GateAccess
	Next   int64 // give it as after for the next page; 0 = there is none
}

// UserAccess lists "which gates and why" in order of the gates' ids, after one of them (0 = from the beginning), at most limit (1..1000, 0 = 50). It takes
// a few queries by indexes, and reads what the user and their groups have at the gates of the page.
func (r *Registry) UserAccess(ctx context.Context, userID, after int64, limit int) (UserAccess, error) {
	if limit <= 0 || limit > 1000 {
		limit = 50
	}
	now := r.now()
	a, err := reading(ctx, r, func(tx *store.Tx) (a UserAccess, err error) {
		if a.User, err = tx.User(userID); err != nil {
			return a, err
		}
		if a.Groups, err = tx.Groups(store.GroupFilter{UserID: userID, Limit: store.All}); err != nil {
			return a, err
		}
		groups, ids := map[int64]access.Group{}, []int64(nil)
		for _, g := range a.Groups {
			groups[g.ID] = g
			ids = append(ids, g.ID)
		}
		gateIDs, err := tx.GatesOf(userID, ids, after, limit+1)
		if err != nil {
			return a, err
		}
		if len(gateIDs) > limit {
			gateIDs = gateIDs[:limit]
			a.Next = gateIDs[limit-1]
		}
		gates, err := tx.ListGates(gateIDs)
		if err != nil {
			return a, err
		}
		list, err := tx.PermissionsOf(userID, ids, gateIDs)
		if err != nil {
			return a, err
		}
		byGate := map[int64][]Grant{}
		for _, p := range list {
			byGate[p.GateID] = append(byGate[p.GateID], Grant{p, StateAt(p, now), groups[p.GroupID]})
		}
		for _, g := range gates {
			x := GateAccess{Gate: g, Grants: byGate[g.ID]}
			slices.SortFunc(x.Grants, func(a, b Grant) int { return cmp.Or(cmp.Compare(a.GroupID, b.GroupID), cmp.Compare(a.ID, b.ID)) })
			x.Passes = a.User.Active && slices.ContainsFunc(x.Grants, func(g Grant) bool { return g.State == GrantHolds })
			a.Gates = append(a.Gates, x)
		}
		return a, nil
	})
	if err != nil {
		return UserAccess{}, fmt.Errorf("list the gates of user %d: %w", userID, err)
	}
	return a, nil
}

// GatePasser is a permission at a gate with whom it lets through: a group or a user.
type GatePasser struct {
	Grant
	User access.User // zero when it is a group's
}

// PasserPage is a page of who may pass a gate.
type PasserPage struct {
	Passers []GatePasser
	Next    *access.Permission // give it as after for the next page; nil = there is none
}

// GatePassers lists the permissions at a gate, groups first, then single users, each by id; at most limit (1..1000, 0 = 50). after is Next of
// the page before, nil = the first page. It reads what it returns: three queries by indexes.
func (r *Registry) GatePassers(ctx context.Context, gateID int64, after *access.Permission, limit int) (PasserPage, error) {
	if limit <= 0 || limit > 1000 {
		limit = 50
	}
	now := r.now()
	page, err := reading(ctx, r, func(tx *store.Tx) (page PasserPage, err error) {
		list, err := tx.PermissionsAtGate(gateID, after, limit+1)
		if err != nil {
			return page, err
		}
		if len(list) > limit {
			list = list[:limit]
			page.Next = &list[limit-1]
		}
		var userIDs, groupIDs []int64
		for _, p := range list {
			if p.UserID != 0 {
				userIDs = append(userIDs, p.UserID)
			} else {
				groupIDs = append(groupIDs, p.GroupID)
			}
		}
		users, err := tx.ListUsers(userIDs)
		if err != nil {
			return page, err
		}
		groups, err := tx.ListGroups(groupIDs)
		if err != nil {
			return page, err
		}
		userOf, groupOf := map[int64]access.User{}, map[int64]access.Group{}
		for _, u := range users {
			userOf[u.ID] = u
		}
		for _, g := range groups {
			groupOf[g.ID] = g
		}
		for _, p := range list {
			page.Passers = append(page.Passers, GatePasser{Grant{p, StateAt(p, now), groupOf[p.GroupID]}, userOf[p.UserID]})
		}
		return page, nil
	})
	if err != nil {
		return PasserPage{}, fmt.Errorf("list who may pass gate %d: %w", gateID, err)
	}
	return page, nil
}
