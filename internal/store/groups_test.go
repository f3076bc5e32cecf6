package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestGroup(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		a, b := access.Group{Name: "Охрана"}, access.Group{Name: "b"}
		var u access.User
		write(t, s, func(tx *store.Tx) (err error) {
			if err := tx.InsertGroup(&a); err != nil {
				return err
			}
			if err := tx.InsertGroup(&b); err != nil {
				return err
			}
			u, err = person(tx, "u")
			return err
		})
		_, err := tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertGroup(&access.Group{Name: "b"}) })
		wantTaken(t, "second group of the name", err, "name")
		seen := b
		seen.Name = a.Name
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateGroup(&seen) })
		wantTaken(t, "rename to a taken name", err, "name")
		seen.Name = "c"
		write(t, s, func(tx *store.Tx) error { return tx.UpdateGroup(&seen) })
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateGroup(&b) })
		wantKind(t, "update from an old version", err, access.ErrConflict)

		write(t, s, func(tx *store.Tx) error {
			for i, want := range []bool{true, false} {
				if added, err := tx.AddMember(a.ID, u.ID); err != nil || added != want {
					t.Errorf("add a member, time %d: got %t %v, want %t", i+1, added, err, want)
				}
			}
			_, err := tx.AddMember(b.ID, u.ID)
			return err
		})
		read(t, s, func(tx *store.Tx) error {
			groups, err := tx.Groups(store.GroupFilter{UserID: u.ID, Search: "ОХР"})
			if len(groups) != 1 || groups[0].ID != a.ID {
				t.Errorf("search among the groups of a user: got %v, want %v", groups, a)
			}
			ids, _ := tx.GroupIDs(u.ID)
			members, _ := tx.MemberIDs(a.ID)
			if d := cmp.Diff([]int64{a.ID, b.ID}, ids) + cmp.Diff([]int64{u.ID}, members); d != "" {
				t.Errorf("memberships: %s", d)
			}
			return err
		})
		write(t, s, func(tx *store.Tx) error {
			for i, want := range []bool{true, false} {
				if removed, err := tx.RemoveMember(a.ID, u.ID); err != nil || removed != want {
					t.Errorf("remove a member, time %d: got %t %v, want %t", i+1, removed, err, want)
				}
			}
			return tx.DeleteGroup(a.ID)
		})
		read(t, s, func(tx *store.Tx) error {
			_, err := tx.GroupByName(a.Name)
			wantKind(t, "a deleted group", err, access.ErrNotFound)
			return nil
		})
	})
}
