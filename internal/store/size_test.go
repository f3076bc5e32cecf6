package store_test

import (
	"context"
	"testing"

	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestSize(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		n, err := s.Size(context.Background())
		if err != nil || n < 50_000 { // the empty schema takes more
			t.Errorf("the database takes %d bytes, %v; want more than an empty file", n, err)
		}
		if p := s.Pool(); p.MaxOpenConnections < 1 || p.OpenConnections < 1 {
			t.Errorf("the pool is %+v, want connections in it", p)
		}
	})
}
