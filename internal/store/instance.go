package store

import (
	"context"
	"fmt"
)

// Instance is the installation that a database belongs to.
type Instance struct {
	UUID     string
	KeyCheck string // tells whether a secret key is the one that sealed the tokens; "" = none was used yet. During a rekey it names both
}

// Instance reads the installation's row.
func (s *Store) Instance(ctx context.Context) (Instance, error) {
	var i Instance
	err := s.read.QueryRowContext(ctx, `SELECT uuid, key_check FROM instance WHERE id = 1`).Scan(&i.UUID, &i.KeyCheck)
	if err != nil {
		return Instance{}, fmt.Errorf("read the instance: %w", s.kind.fault(err))
	}
	return i, nil
}

// SetKeyCheck replaces the key check, but only if it still is was: of two processes that start at once on a new database, each
// with a key of its own, one is told false, and must compare its key with what the other left.
func (s *Store) SetKeyCheck(ctx context.Context, was, check string) (bool, error) {
	var n int64
	err := s.atDesk(ctx, func(tx *Tx) (bool, error) {
		var err error
		n, err = tx.SetKeyCheck(was, check)
		return true, err
	})
	return n > 0, err
}

// KeyCheck is Instance.KeyCheck as this transaction sees it.
func (tx *Tx) KeyCheck() (check string, err error) {
	if err := tx.queryRow(`SELECT key_check FROM instance WHERE id = 1`).Scan(&check); err != nil {
		return "", fmt.Errorf("read the key check: %w", err)
	}
	return check, nil
}

// SetKeyCheck is Store.SetKeyCheck as a part of a transaction; it returns how many rows it changed, 0 or 1.
func (tx *Tx) SetKeyCheck(was, check string) (int64, error) {
	n, err := tx.exec(`UPDATE instance SET key_check = $1 WHERE id = 1 AND key_check = $2`, check, was)
	if err != nil {
		return 0, fmt.Errorf("set the key check: %w", err)
	}
	return n, nil
}
