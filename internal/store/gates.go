package store

import (
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// GateFilter selects gates; zero fields do not matter. It pages by id: give the last id seen as After.
type GateFilter struct {
	After  int64
	Search string // words in code, name or location, in any case
	Limit  int    // 1..1000; 0 = 50; All
}

const gateColumns = `id, code, name, location, release_ms, version, created_at`

func scanGate(row scanner) (g access.Gate, err error) {
	err = row.Scan(&g.ID, &g.Code, &g.Name, &g.Location, asNumber(&g.ReleaseMS), &g.Version, asTime(&g.CreatedAt))
	return g, err
}

// Gate returns a living gate.
func (tx *Tx) Gate(id int64) (access.Gate, error) {
	g, err := scanGate(tx.queryRow(`SELECT `+gateColumns+` FROM gate WHERE id = $1 AND deleted_at IS NULL`, id))
	if err != nil {
		return access.Gate{}, fmt.Errorf("gate %d: %w", id, err)
	}
	return g, nil
}

// GateByCode returns the living gate with exactly this code.
func (tx *Tx) GateByCode(code string) (access.Gate, error) {
	g, err := scanGate(tx.queryRow(`SELECT `+gateColumns+` FROM gate WHERE code = $1 AND deleted_at IS NULL`, code))
	if err != nil {
		return access.Gate{}, fmt.Errorf("gate %q: %w", code, err)
	}
	return g, nil
}

// Gates lists living gates in order of their ids.
func (tx *Tx) Gates(f GateFilter) ([]access.Gate, error) {
	next := func(after int64, n int) (gates []access.Gate, err error) {
		err = tx.each(`SELECT `+gateColumns+` FROM gate WHERE deleted_at IS NULL AND id > $1 ORDER BY id LIMIT $2`, []any{after, n}, func(row scanner) error {
			g, err := scanGate(row)
			gates = append(gates, g)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list gates: %w", err)
		}
		return gates, nil
	}
	return page(f.After, f.Limit, f.Search, next, func(g *access.Gate) (int64, []string) {
		return g.ID, []string{g.Code, g.Name, g.Location}
	})
}

// InsertGate writes a new gate and sets its ID, Version and CreatedAt. A code that a living gate has is access.Invalid.
func (tx *Tx) InsertGate(g *access.Gate) error {
	err := tx.queryRow(`INSERT INTO gate (site_id, code, name, location, release_ms, version, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`,
		OnlySite, g.Code, g.Name, g.Location, orNull(int64(g.ReleaseMS)), tx.Mark.Version, micros(tx.Now)).Scan(&g.ID)
	if err != nil {
		if tx.taken(err, "gate") {
			return already("code")
		}
		return fmt.Errorf("insert gate %q: %w", g.Code, err)
	}
	g.Version, g.CreatedAt = tx.Mark.Version, tx.Now
	return nil
}

// UpdateGate writes a gate's fields if g.Version (0 = any) is still its version, and sets the new one; access.ErrConflict if not.
func (tx *Tx) UpdateGate(g *access.Gate) error {
	n, err := tx.exec(`UPDATE gate SET code = $1, name = $2, location = $3, release_ms = $4, version = $5
		WHERE id = $6 AND deleted_at IS NULL AND (version = $7 OR $7 = 0)`,
		g.Code, g.Name, g.Location, orNull(int64(g.ReleaseMS)), tx.Mark.Version, g.ID, g.Version)
	if err != nil && tx.taken(err, "gate") {
		return already("code")
	}
	if err := tx.settle(n, err, "gate", g.ID); err != nil {
		return err
	}
	g.Version = tx.Mark.Version
	return nil
}

// DeleteGate tombstones a gate. Its permissions are the caller's to delete.
func (tx *Tx) DeleteGate(id int64) error { return tx.bury("gate", id) }
