package registry

import (
	"context"
	"fmt"
	"strconv"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// GateFilter selects gates.
type GateFilter = store.GateFilter

func gateFields(g access.Gate) access.Fields {
	f := access.Fields{"code": g.Code, "name": g.Name, "location": g.Location}
	if g.ReleaseMS != 0 {
		f["release_ms"] = strconv.Itoa(g.ReleaseMS)
	}
	return filled(f)
}

// Gates lists gates by id.
func (r *Registry) Gates(ctx context.Context, f GateFilter) ([]access.Gate, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]access.Gate, error) { return tx.Gates(f) })
}

// Gate returns one gate.
func (r *Registry) Gate(ctx context.Context, id int64) (access.Gate, error) {
	return reading(ctx, r, func(tx *store.Tx) (access.Gate, error) { return tx.Gate(id) })
}

// GateByCode returns the gate with exactly this code.
func (r *Registry) GateByCode(ctx context.Context, code string) (access.Gate, error) {
	return reading(ctx, r, func(tx *store.Tx) (access.Gate, error) { return tx.GateByCode(code) })
}

// CreateGate enters a gate. A code that another gate has is access.Invalid.
func (r *Registry) CreateGate(ctx context.Context, actor access.Actor, g access.Gate) (access.Gate, error) {
	return changing(ctx, r, actor, fmt.Sprintf("create gate %q", g.Code), func(c *change) (access.Gate, error) { return c.createGate(g) })
}

// UpdateGate changes code, name, location and release time of gate g.ID. g.Version is the version seen, 0 = any.
func (r *Registry) UpdateGate(ctx context.Context, actor access.Actor, g access.Gate) (access.Gate, error) {
	return changing(ctx, r, actor, fmt.Sprintf("change gate %d", g.ID), func(c *change) (access.Gate, error) { return c.updateGate(g) })
}

// DeleteGate removes a gate and its permissions. version is the version seen, 0 = any.
func (r *Registry) DeleteGate(ctx context.Context, actor access.Actor, id, version int64) error {
	_, err := changing(ctx, r, actor, fmt.Sprintf("delete gate %d", id), func(c *change) (access.Gate, error) { return c.deleteGate(id, version) })
	return err
}

func (c *change) createGate(g access.Gate) (access.Gate, error) {
	if err := g.Validate(); err != nil {
		return access.Gate{}, err
	}
	if err := c.InsertGate(&g); err != nil {
		return access.Gate{}, err
	}
	return g, c.Record(access.ObjectGate, g.ID, access.ActionCreate, nil, gateFields(g))
}

func (c *change) updateGate(g access.Gate) (access.Gate, error) {
	old, err := c.Gate(g.ID)
	if err == nil {
		err = unlessKept(g.Validate(), gateFields(old), gateFields(g))
	}
	if err != nil {
		return access.Gate{}, err
	}
	if err := fresh(fmt.Sprintf("gate %q", old.Code), g.Version, old.Version); err != nil {
		return access.Gate{}, err
	}
	g.Version, g.CreatedAt = old.Version, old.CreatedAt
	if g == old {
		return old, nil
	}
	if err := c.UpdateGate(&g); err != nil {
		return access.Gate{}, err
	}
	return g, c.recordChange(access.ObjectGate, g.ID, gateFields(old), gateFields(g))
}

// deleteGate returns the gate as it was.
func (c *change) deleteGate(id, version int64) (access.Gate, error) {
	old, err := c.Gate(id)
	if err != nil {
		return access.Gate{}, err
	}
	if err := fresh(fmt.Sprintf("gate %q", old.Code), version, old.Version); err != nil {
		return access.Gate{}, err
	}
	if _, err := c.deletePermissions(store.PermissionFilter{GateID: id}); err != nil {
		return access.Gate{}, err
	}
	if err := c.DeleteGate(id); err != nil {
		return access.Gate{}, err
	}
	return old, c.Record(access.ObjectGate, id, access.ActionDelete, gateFields(old), nil)
}
