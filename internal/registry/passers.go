package registry

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// MostCounted is how far counts for pages go: one more means "more than that".
const MostCounted = 1000

// Ways lists all permissions at a gate that concern a user, whether they let the user pass now or not: the user's own first, then those of the
// user's groups.
func (r *Registry) Ways(ctx context.Context, gateID, userID int64) ([]Grant, error) {
	return r.waysAt(ctx, gateID, userID, func(tx *store.Tx) ([]int64, error) { return tx.GroupIDs(userID) })
}

// GroupWays lists the permissions of some groups at a gate.
func (r *Registry) GroupWays(ctx context.Context, gateID int64, groupIDs []int64) ([]Grant, error) {
	return r.waysAt(ctx, gateID, 0, func(*store.Tx) ([]int64, error) { return groupIDs, nil })
}

// waysAt lists the permissions of a user (0 = nobody) and of groups at a gate, the user's own first.
func (r *Registry) waysAt(ctx context.Context, gateID, userID int64, groupIDs func(*store.Tx) ([]int64, error)) ([]Grant, error) {
	now := r.now()
	ways, err := reading(ctx, r, func(tx *store.Tx) (ways []Grant, err error) {
		ids, err := groupIDs(tx)
		if err != nil {
			return nil, err
		}
		list, err := tx.PermissionsOf(userID, ids, []int64{gateID})
		if err != nil {
			return nil, err
		}
		var through []int64
		for _, p := range list {
			if p.GroupID != 0 {
				through = append(through, p.GroupID)
			}
		}
		groups, err := tx.ListGroups(through)
		if err != nil {
			return nil, err
		}
		groupOf := map[int64]access.Group{}
		for _, g := range groups {
			groupOf[g.ID] = g
		}
		for _, own := range []bool{true, false} {
			for _, p := range list {
				if (p.GroupID == 0) == own {
					ways = append(ways, Grant{p, StateAt(p, now), groupOf[p.GroupID]})
				}
			}
		}
		return ways, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the ways through gate %d: %w", gateID, err)
	}
	return ways, nil
}

// Permission returns one permission.
func (r *Registry) Permission(ctx context.Context, id int64) (access.Permission, error) {
	return reading(ctx, r, func(tx *store.Tx) (access.Permission, error) { return tx.Permission(id) })
}

// CountPermissions says how many permissions a gate has, suspended and dated ones too: MostCounted + 1 when there are more than MostCounted.
func (r *Registry) CountPermissions(ctx context.Context, gateID int64) (int, error) {
	return reading(ctx, r, func(tx *store.Tx) (int, error) { return tx.CountAtGate(gateID, MostCounted+1) })
}
