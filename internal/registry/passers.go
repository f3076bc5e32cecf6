package registry

import (
	"context"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// Passer is one permission at a gate with whom it names.
type Passer = store.Passer

// PasserFilter selects passers of one gate.
type PasserFilter = store.PasserFilter

// Passers lists who may pass a gate: groups or people, in order of the permissions' ids.
func (r *Registry) Passers(ctx context.Context, f PasserFilter) ([]Passer, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]Passer, error) { return tx.Passers(f) })
}

// Ways lists all permissions at a gate that concern a user, whether they let the user pass now or not: the user's own first, then those of the user's groups.
func (r *Registry) Ways(ctx context.Context, gateID, userID int64) ([]Passer, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]Passer, error) {
		own, err := tx.Passers(PasserFilter{GateID: gateID, Of: userID, Limit: store.All})
		if err != nil {
			return nil, err
		}
		groups, err := tx.Passers(PasserFilter{GateID: gateID, Of: userID, Groups: true, Limit: store.All})
		return append(own, groups...), err
	})
}

// Permission returns one permission.
func (r *Registry) Permission(ctx context.Context, id int64) (access.Permission, error) {
	return reading(ctx, r, func(tx *store.Tx) (access.Permission, error) { return tx.Permission(id) })
}

// CountPermissions says how many permissions a gate has, suspended and dated ones too.
func (r *Registry) CountPermissions(ctx context.Context, gateID int64) (int, error) {
	return reading(ctx, r, func(tx *store.Tx) (int, error) {
		list, err := tx.Permissions(store.PermissionFilter{GateID: gateID, Limit: store.All})
		return len(list), err
	})
}
