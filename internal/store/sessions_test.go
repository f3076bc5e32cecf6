package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestSession(t *testing.T) {
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		a := store.Session{Lookup: access.Lookup{1}, UserID: 1, ExpiresAt: soon, Address: "192.0.2.1", Agent: "browser"}
		old := store.Session{Lookup: access.Lookup{2}, UserID: 1, ExpiresAt: soon.Add(-2 * time.Hour)}
		write(t, s, func(tx *store.Tx) error {
			if _, err := person(tx, "u"); err != nil {
				return err
			}
			if err := tx.InsertSession(&a); err != nil {
				return err
			}
			return tx.InsertSession(&old)
		})
		read(t, s, func(tx *store.Tx) error {
			got, err := tx.SessionByLookup(a.Lookup)
			if d := cmp.Diff(a, got); d != "" {
				t.Errorf("read back: %s", d)
			}
			_, expired := tx.SessionByLookup(old.Lookup)
			wantKind(t, "an expired session", expired, access.ErrNotFound)
			return err
		})
		write(t, s, func(tx *store.Tx) error {
			n, err := tx.DeleteSessionsOf(1)
			if n != 2 {
				t.Errorf("end the sessions of a user: got %d, want 2", n)
			}
			return err
		})
	})
}
