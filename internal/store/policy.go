package store

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// PolicyMark is the newest policy's mark.
func (s *Store) PolicyMark(ctx context.Context) (access.PolicyMark, error) {
	var m access.PolicyMark
	err := s.read.QueryRowContext(ctx, `SELECT version, stamp FROM policy WHERE id = 1`).Scan(&m.Version, &m.Stamp)
	if err != nil {
		return access.PolicyMark{}, fmt.Errorf("read the policy's mark: %w", s.kind.fault(err))
	}
	return m, nil
}
