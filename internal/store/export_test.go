package store

import (
	"context"
	"database/sql"
	"time"
)

// LetLanesRest makes every lane believe that it was last used long ago.
func LetLanesRest(s *Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		l.used = time.Time{}
	}
}

// OnWriter runs a statement on the writing connection of an SQLite store.
func OnWriter(ctx context.Context, s *Store, statement string) error {
	return s.write.do(ctx, func(c *sql.Conn) (bool, error) {
		_, err := c.ExecContext(ctx, statement)
		return true, err
	})
}
