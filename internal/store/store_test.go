package store_test

import (
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// anybody is who changes things in tests.
var anybody = access.Actor{Kind: "cli", Label: "root@host"}

func TestChangeMovesThePolicy(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		before, err := s.PolicyMark(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		mark, changed, err := s.Change(t.Context(), anybody, func(tx *store.Tx) error {
			return tx.Record(access.ObjectSite, 1, "change", nil, access.Fields{"name": "x"})
		})
		if err != nil || !changed {
			t.Fatalf("Change: changed %v, %v; want true", changed, err)
		}
		if mark.Version != before.Version+1 || mark.Stamp == before.Stamp {
			t.Errorf("Change after %v made %v; want the next version and another stamp", before, mark)
		}
	})
}
