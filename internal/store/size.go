package store

import (
	"context"
	"database/sql"
	"fmt"
)

// Size is how many bytes the database takes, without SQLite's log of what is not in the file yet.
func (s *Store) Size(ctx context.Context) (bytes int64, err error) {
	if err := s.read.QueryRowContext(ctx, s.kind.sizeOf()).Scan(&bytes); err != nil {
		return 0, fmt.Errorf("measure the database: %w", s.kind.fault(err))
	}
	return bytes, nil
}

// Pool counts the connections that read (on PostgreSQL: all but those of the lanes).
func (s *Store) Pool() sql.DBStats { return s.read.Stats() }
