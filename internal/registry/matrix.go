package registry

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// CellState is what a group's plain permission (one without dates) at a gate says.
type CellState string

// The states of a cell.
const (
	CellNone      CellState = "none"      // there is no plain permission
	CellAllowed   CellState = "allowed"   // it lets the group through
	CellSuspended CellState = "suspended" // it stands, and grants nothing
)

// Cell is where a group and a gate meet.
type Cell struct {
	GroupID, GateID int64
	State           CellState
	Seen            int64 // give it to SetCell: the version of the plain permission, 0 = none
	Dated           int   // permissions with dates that stand beside the plain one ("mixed"); SetCell leaves them alone
}

// MatrixQuery selects a page of the matrix. Both axes are filtered and paged as by FindGroups and FindGates, at most 200 a page.
type MatrixQuery struct {
	Groups, Gates   Search
	GroupID, GateID int64 // only this group, or only this gate, whatever is searched for on its axis; 0 = all
}

// Matrix is a page of groups × gates.
type Matrix struct {
	Groups Found[access.Group]
	Gates  Found[access.Gate]
	cells  map[[2]int64]Cell
}

// Cell is where a group and a gate of the page meet.
func (m *Matrix) Cell(groupID, gateID int64) Cell {
	if c, ok := m.cells[[2]int64{groupID, gateID}]; ok {
		return c
	}
	return Cell{GroupID: groupID, GateID: gateID, State: CellNone}
}

// maxMatrix is how many groups and how many gates are on a page at most.
const maxMatrix = 200

// Matrix reads a page of it, in three queries. After them somebody may change a cell: SetCell tells.
func (r *Registry) Matrix(ctx context.Context, q MatrixQuery) (m Matrix, err error) {
	for _, s := range []*Search{&q.Groups, &q.Gates} {
		if s.Limit <= 0 || s.Limit > maxMatrix {
			s.Limit = maxMatrix
		}
	}
	if q.GroupID != 0 {
		m.Groups, err = alone(ctx, q.GroupID, r.Group)
	} else {
		m.Groups, err = r.FindGroups(ctx, q.Groups)
	}
	if err != nil {
		return Matrix{}, err
	}
	if q.GateID != 0 {
		m.Gates, err = alone(ctx, q.GateID, r.Gate)
	} else {
		m.Gates, err = r.FindGates(ctx, q.Gates)
	}
	if err != nil {
		return Matrix{}, err
	}
	groups, gates := make([]int64, len(m.Groups.List)), make([]int64, len(m.Gates.List))
	for i, g := range m.Groups.List {
		groups[i] = g.ID
	}
	for i, g := range m.Gates.List {
		gates[i] = g.ID
	}
	list, err := reading(ctx, r, func(tx *store.Tx) ([]access.Permission, error) { return tx.GroupPermissions(groups, gates) })
	if err != nil {
		return Matrix{}, fmt.Errorf("read the matrix: %w", err)
	}
	m.cells = make(map[[2]int64]Cell, len(list))
	for _, p := range list {
		c := m.Cell(p.GroupID, p.GateID)
		c.add(p)
		m.cells[[2]int64{p.GroupID, p.GateID}] = c
	}
	return m, nil
}

// alone is a page with one object, found by its id.
func alone[T any](ctx context.Context, id int64, find func(context.Context, int64) (T, error)) (Found[T], error) {
	one, err := find(ctx, id)
	if err != nil {
		return Found[T]{}, err
	}
	return Found[T]{List: []T{one}}, nil
}

// add puts a permission into its cell.
func (c *Cell) add(p access.Permission) {
	switch {
	case !plain(p):
		c.Dated++
	case p.Allow:
		c.State, c.Seen = CellAllowed, p.Version
	default:
		c.State, c.Seen = CellSuspended, p.Version
	}
}

// plain reports whether a permission has no dates.
func plain(p access.Permission) bool { return p.ValidFrom.IsZero() && p.ValidUntil.IsZero() }

// SetCell brings the plain permission of c.GroupID at c.GateID to c.State, and returns the cell as it is then: with Dated > 0, permissions with dates
// stand beside it as before. c.Seen is what the editor saw; access.ErrConflict if the cell has changed since, though it may have come to the same state.
func (r *Registry) SetCell(ctx context.Context, actor access.Actor, c Cell) (Cell, error) {
	what := fmt.Sprintf("set group %d at gate %d to %s", c.GroupID, c.GateID, c.State)
	switch c.State {
	case CellNone, CellAllowed, CellSuspended:
	default:
		return Cell{}, fmt.Errorf("%s: %w", what, access.Invalid{{Field: "state", Code: access.CodeUnknown}})
	}
	return changing(ctx, r, actor, what, func(ch *change) (Cell, error) { return ch.setCell(c) })
}

func (c *change) setCell(set Cell) (Cell, error) {
	want := access.Permission{GateID: set.GateID, GroupID: set.GroupID, Allow: set.State == CellAllowed}
	if err := want.Validate(); err != nil {
		return Cell{}, err
	}
	now, plainID, err := c.cell(set.GroupID, set.GateID)
	if err != nil {
		return Cell{}, err
	}
	if now.Seen != set.Seen {
		return Cell{}, fmt.Errorf("group %d at gate %d was changed meanwhile: %w", set.GroupID, set.GateID, access.ErrConflict)
	}
	switch {
	case set.State == now.State:
		return now, nil
	case set.State == CellNone:
		p, err := c.Permission(plainID)
		if err != nil {
			return Cell{}, err
		}
		if err := c.deletePermission(p); err != nil {
			return Cell{}, err
		}
	default:
		if _, err := c.putPermission(want); err != nil {
			return Cell{}, err
		}
	}
	now, _, err = c.cell(set.GroupID, set.GateID)
	return now, err
}

// cell reads one cell, and the id of its plain permission (0 = none).
func (c *change) cell(groupID, gateID int64) (cell Cell, plainID int64, err error) {
	if _, err := c.Group(groupID); err != nil {
		return cell, 0, refers(err, "group")
	}
	list, err := c.GroupPermissions([]int64{groupID}, []int64{gateID})
	if err != nil {
		return cell, 0, err
	}
	cell = Cell{GroupID: groupID, GateID: gateID, State: CellNone}
	for _, p := range list {
		cell.add(p)
		if plain(p) {
			plainID = p.ID
		}
	}
	return cell, plainID, nil
}
