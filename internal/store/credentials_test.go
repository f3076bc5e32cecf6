package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestCredential(t *testing.T) {
	until := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		a := access.Credential{
			UserID: 1, Kind: access.UserToken, Lookup: access.Lookup{0, 1, 0xff}, Scheme: access.SchemeHMAC, Preview: "aaaa…aaaa", Label: "Клиент/1.0",
			State: access.CredentialActive, ValidUntil: until, IdleExpires: true, LastUsedDay: 20_000,
		}
		b := access.Credential{UserID: 1, DeviceID: 1, Kind: access.DeviceToken, Lookup: access.Lookup{2}, Scheme: access.SchemeSHA256, State: access.CredentialActive}
		write(t, s, func(tx *store.Tx) error {
			if _, err := person(tx, "u"); err != nil {
				return err
			}
			if err := tx.InsertDevice(&access.Device{UserID: 1, Active: true}); err != nil {
				return err
			}
			if err := tx.InsertCredential(&a, func(id int64) []byte { return []byte{0, byte(id)} }); err != nil {
				return err
			}
			return tx.InsertCredential(&b, nil)
		})
		if d := cmp.Diff([]byte{0, 1}, a.Sealed); d != "" {
			t.Errorf("sealed for its id: %s", d)
		}
		find := func(l ...access.Lookup) (c access.Credential, err error) {
			read(t, s, func(tx *store.Tx) error { c, err = tx.CredentialByLookup(l); return nil })
			return c, err
		}
		got, err := find(access.Lookup{9}, a.Lookup)
		if d := cmp.Diff(a, got); d != "" || err != nil {
			t.Errorf("found by one of two digests: %v %s", err, d)
		}
		if got, err = find(b.Lookup); got.Sealed != nil || err != nil {
			t.Errorf("without a sealed copy: got %v %v, want none", got.Sealed, err)
		}
		_, err = find(access.Lookup{9}, access.Lookup{8})
		wantKind(t, "unknown digests", err, access.ErrNotFound)

		twin := access.Credential{UserID: 1, Kind: access.UserToken, Lookup: a.Lookup, Scheme: 1, State: access.CredentialActive}
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertCredential(&twin, nil) })
		wantTaken(t, "the same token again", err, "token")

		// Last use is written aside: what an administrator's change read before must not set it back.
		if err := s.TouchCredentials(t.Context(), 20_001, []int64{a.ID}); err != nil {
			t.Fatal(err)
		}
		a.State, a.StateReason, a.DeviceID, a.Sealed = access.CredentialInactive, "device", 1, []byte{7}
		write(t, s, func(tx *store.Tx) error { return tx.UpdateCredential(&a) })
		a.LastUsedDay = 20_001
		got, err = find(a.Lookup)
		if d := cmp.Diff(a, got); d != "" || err != nil {
			t.Errorf("after an update: %v %s", err, d)
		}

		for _, tc := range []struct {
			filter store.CredentialFilter
			want   int
		}{
			{store.CredentialFilter{}, 2},
			{store.CredentialFilter{After: a.ID}, 1},
			{store.CredentialFilter{Limit: 1}, 1},
			{store.CredentialFilter{UserID: 2}, 0},
			{store.CredentialFilter{DeviceID: 1, Kind: access.DeviceToken}, 1},
			{store.CredentialFilter{DeviceID: 1}, 2},
			{store.CredentialFilter{Sealed: true}, 1},
		} {
			read(t, s, func(tx *store.Tx) error {
				list, err := tx.Credentials(tc.filter)
				if len(list) != tc.want {
					t.Errorf("%+v: got %d, want %d", tc.filter, len(list), tc.want)
				}
				return err
			})
		}

		write(t, s, func(tx *store.Tx) error { return tx.EndCredential(a.ID, "admin") })
		_, err = find(a.Lookup)
		wantKind(t, "a revoked token", err, access.ErrNotFound)
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.EndCredential(a.ID, "admin") })
		wantKind(t, "revoke twice", err, access.ErrNotFound)
		write(t, s, func(tx *store.Tx) error { return tx.InsertCredential(&twin, nil) })
	})
}
