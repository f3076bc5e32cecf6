package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestUser(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		u := access.User{Username: "Юрий", FirstName: "Юрий", LastName: "Ёлкин", Email: "u@example.com", Language: "ru", Active: true, Staff: true}
		mark := write(t, s, func(tx *store.Tx) error { return tx.InsertUser(&u, "!") })
		if u.ID != 1 || u.Version != mark.Version {
			t.Errorf("insert: got id %d version %d, want 1 and %d", u.ID, u.Version, mark.Version)
		}
		read(t, s, func(tx *store.Tx) error {
			got, err := tx.UserByName("Юрий")
			if d := cmp.Diff(u, got); d != "" {
				t.Errorf("read back: %s", d)
			}
			_, missing := tx.UserByName("юрий")
			wantKind(t, "user name in another case", missing, access.ErrNotFound)
			return err
		})
		_, err := tryWrite(t, s, func(tx *store.Tx) error { _, err := person(tx, "Юрий"); return err })
		wantTaken(t, "second user of the name", err, "username")

		seen := u
		u.Active, u.Superuser, u.Email = false, true, ""
		write(t, s, func(tx *store.Tx) error { return tx.UpdateUser(&u) })
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateUser(&seen) })
		wantKind(t, "update from an old version", err, access.ErrConflict)

		write(t, s, func(tx *store.Tx) error { return tx.UserSeen(u.ID) })
		write(t, s, func(tx *store.Tx) error { return tx.SetRole(u.ID, access.RoleGrant{Role: access.Viewer}) })
		write(t, s, func(tx *store.Tx) error { return tx.SetRole(u.ID, access.RoleGrant{Role: access.Manager}) })
		write(t, s, func(tx *store.Tx) error {
			return tx.SetRole(u.ID, access.RoleGrant{Role: access.Viewer, SiteID: store.OnlySite})
		})
		read(t, s, func(tx *store.Tx) error {
			got, err := tx.User(u.ID)
			if got.LastLoginAt.IsZero() || time.Since(got.LastLoginAt) > time.Hour || got.Version != u.Version {
				t.Errorf("after a sign-in: got last login %v version %d, want now and %d", got.LastLoginAt, got.Version, u.Version)
			}
			want := []access.RoleGrant{{Role: access.Manager}, {Role: access.Viewer, SiteID: store.OnlySite}}
			if d := cmp.Diff(want, got.Roles); d != "" {
				t.Errorf("roles: %s", d)
			}
			return err
		})
		write(t, s, func(tx *store.Tx) error {
			deleted, err := tx.DeleteRole(u.ID, 0)
			again, _ := tx.DeleteRole(u.ID, 0)
			if !deleted || again {
				t.Errorf("delete a role, and again: got %t %t, want true false", deleted, again)
			}
			return err
		})

		write(t, s, func(tx *store.Tx) error { return tx.DeleteUser(u.ID) })
		read(t, s, func(tx *store.Tx) error {
			_, err := tx.User(u.ID)
			wantKind(t, "a deleted user", err, access.ErrNotFound)
			return nil
		})
		write(t, s, func(tx *store.Tx) error { _, err := person(tx, "Юрий"); return err })
	})
}

func TestUsersPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		write(t, s, func(tx *store.Tx) error {
			for _, u := range []access.User{
				{Username: "anna", FirstName: "Анна", LastName: "Петрова", Email: "Anna@Example.com", Active: true},
				{Username: "boris", FirstName: "БОРИС", LastName: "Иванов", Active: true},
				{Username: "carl", LastName: "Straße", Active: false},
				{Username: "dave", Active: true, Superuser: true},
			} {
				if err := tx.InsertUser(&u, "!"); err != nil {
					return err
				}
			}
			for _, name := range []string{"one", "two"} {
				g := access.Group{Name: name}
				if err := tx.InsertGroup(&g); err != nil {
					return err
				}
				if _, err := tx.AddMember(g.ID, 4); err != nil {
					return err
				}
			}
			_, err := tx.AddMember(1, 2)
			return err
		})
		for _, tc := range []struct {
			filter store.UserFilter
			want   []string
		}{
			{store.UserFilter{}, []string{"anna", "boris", "carl", "dave"}},
			{store.UserFilter{Active: true}, []string{"anna", "boris", "dave"}},
			{store.UserFilter{Inactive: true}, []string{"carl"}},
			{store.UserFilter{GroupID: 1}, []string{"boris", "dave"}},
			{store.UserFilter{GroupID: 1, After: 2}, []string{"dave"}},
			{store.UserFilter{GroupID: 1, Search: "борис"}, []string{"boris"}},
			{store.UserFilter{Search: "АННА"}, []string{"anna"}},
			{store.UserFilter{Search: "анна петрова"}, []string{"anna"}},
			{store.UserFilter{Search: "ПЕТРОВА анна"}, []string{"anna"}},
			{store.UserFilter{Search: "борис"}, []string{"boris"}},
			{store.UserFilter{Search: "EXAMPLE.COM"}, []string{"anna"}},
			{store.UserFilter{Search: "straße"}, []string{"carl"}},
			{store.UserFilter{Search: "%"}, nil},
			{store.UserFilter{Search: `\`}, nil},
		} {
			var got []string
			read(t, s, func(tx *store.Tx) error {
				users, err := tx.Users(tc.filter)
				for _, u := range users {
					got = append(got, u.Username)
				}
				return err
			})
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("%+v: %s", tc.filter, d)
			}
		}
	})
}

func TestHasOwner(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		has := func(when string, want bool) {
			t.Helper()
			read(t, s, func(tx *store.Tx) error {
				got, err := tx.HasOwner()
				if got != want {
					t.Errorf("%s: has an owner: got %t, want %t", when, got, want)
				}
				return err
			})
		}
		has("empty site", false)
		u := access.User{Username: "u", Active: true, Staff: true}
		write(t, s, func(tx *store.Tx) error { return tx.InsertUser(&u, "!") })
		write(t, s, func(tx *store.Tx) error { return tx.SetRole(u.ID, access.RoleGrant{Role: access.Manager}) })
		has("manager only", false)
		write(t, s, func(tx *store.Tx) error { return tx.SetRole(u.ID, access.RoleGrant{Role: access.Owner}) })
		has("owner by role", true)
		u.Active = false
		write(t, s, func(tx *store.Tx) error { return tx.UpdateUser(&u) })
		has("inactive owner", false)
		v := access.User{Username: "v", Active: true, Superuser: true}
		write(t, s, func(tx *store.Tx) error { return tx.InsertUser(&v, "!") })
		has("superuser", true)
		write(t, s, func(tx *store.Tx) error { return tx.DeleteUser(v.ID) })
		has("deleted superuser", false)
	})
}

func TestPasswordHashes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		u := access.User{Username: "u", Active: true}
		write(t, s, func(tx *store.Tx) error { return tx.InsertUser(&u, "h1") })
		for _, h := range []string{"h2", "!", "h3", "h4", "h5", "h6"} {
			write(t, s, func(tx *store.Tx) error { return tx.SetPasswordHash(u.ID, h, 4) })
		}
		hashes := func(want ...string) {
			t.Helper()
			read(t, s, func(tx *store.Tx) error {
				got, err := tx.PasswordHashes(u.ID, 10)
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("hashes: %s", d)
				}
				return err
			})
		}
		hashes("h6", "h5", "h4", "h3")
		write(t, s, func(tx *store.Tx) error { return tx.ReplaceHash(u.ID, "h5", "stale") })
		hashes("h6", "h5", "h4", "h3")
		write(t, s, func(tx *store.Tx) error { return tx.ReplaceHash(u.ID, "h6", "fresh") })
		hashes("fresh", "h5", "h4", "h3")

		other := access.User{Username: "v", Active: true}
		write(t, s, func(tx *store.Tx) error { return tx.InsertUser(&other, "!") })
		read(t, s, func(tx *store.Tx) error {
			got, err := tx.SampleHashes(10)
			if d := cmp.Diff([]string{"fresh"}, got); d != "" {
				t.Errorf("sample: %s", d)
			}
			return err
		})
		write(t, s, func(tx *store.Tx) error { return tx.DeleteUser(u.ID) })
		_, err := tryWrite(t, s, func(tx *store.Tx) error { return tx.SetPasswordHash(u.ID, "x", 4) })
		wantKind(t, "password of a deleted user", err, access.ErrNotFound)
	})
}
