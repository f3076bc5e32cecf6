package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestPermission(t *testing.T) {
	day := time.Date(2026, 3, 1, 9, 0, 0, 123_000, time.UTC)
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		write(t, s, func(tx *store.Tx) error {
			if _, err := person(tx, "u"); err != nil {
				return err
			}
			if err := tx.InsertGroup(&access.Group{Name: "g"}); err != nil {
				return err
			}
			if err := tx.InsertGate(&access.Gate{Code: "one"}); err != nil {
				return err
			}
			return tx.InsertGate(&access.Gate{Code: "two"})
		})
		rows := []access.Permission{
			{GateID: 1, UserID: 1, Allow: true},
			{GateID: 1, GroupID: 1},
			{GateID: 1, UserID: 1, Allow: true, ValidFrom: day},
			{GateID: 1, UserID: 1, Allow: true, ValidFrom: day, ValidUntil: day.Add(time.Microsecond)},
			{GateID: 2, UserID: 1, Allow: true, ValidUntil: day},
		}
		write(t, s, func(tx *store.Tx) error {
			for i := range rows {
				if err := tx.InsertPermission(&rows[i]); err != nil {
					return err
				}
			}
			return nil
		})
		read(t, s, func(tx *store.Tx) error {
			got, err := tx.Permissions(store.PermissionFilter{})
			if d := cmp.Diff(rows, got); d != "" {
				t.Errorf("read back: %s", d)
			}
			for _, p := range rows {
				same, err := tx.SamePermission(access.Permission{GateID: p.GateID, UserID: p.UserID, GroupID: p.GroupID, ValidFrom: p.ValidFrom, ValidUntil: p.ValidUntil})
				if err != nil || same.ID != p.ID {
					t.Errorf("same as %+v: got %+v %v", p, same, err)
				}
			}
			_, missing := tx.SamePermission(access.Permission{GateID: 2, UserID: 1})
			wantKind(t, "a plain row where there is a dated one", missing, access.ErrNotFound)
			return err
		})
		for _, p := range []access.Permission{{GateID: 1, UserID: 1}, {GateID: 1, GroupID: 1, Allow: true}} {
			_, err := tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertPermission(&p) })
			wantTaken(t, "second plain row", err, "gate")
		}
		dated := rows[2]
		dated.ValidFrom = time.Time{}
		_, err := tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdatePermission(&dated) })
		wantTaken(t, "take the dates from a row beside a plain one", err, "valid_from")

		seen := rows[0]
		rows[0].Allow = false
		write(t, s, func(tx *store.Tx) error { return tx.UpdatePermission(&rows[0]) })
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdatePermission(&seen) })
		wantKind(t, "update from an old version", err, access.ErrConflict)

		write(t, s, func(tx *store.Tx) error { return tx.DeletePermission(1) })
		write(t, s, func(tx *store.Tx) error { return tx.InsertPermission(&access.Permission{GateID: 1, UserID: 1}) })
		for _, tc := range []struct {
			filter store.PermissionFilter
			want   []int64
		}{
			{store.PermissionFilter{}, []int64{2, 3, 4, 5, 8}},
			{store.PermissionFilter{GateID: 1, Limit: 2}, []int64{2, 3}},
			{store.PermissionFilter{UserID: 1, After: 3}, []int64{4, 5, 8}},
			{store.PermissionFilter{GroupID: 1}, []int64{2}},
			{store.PermissionFilter{GateID: 2, UserID: 1}, []int64{5}},
		} {
			var got []int64
			read(t, s, func(tx *store.Tx) error {
				list, err := tx.Permissions(tc.filter)
				for _, p := range list {
					got = append(got, p.ID)
				}
				return err
			})
			// The ids of refused rows may be given again (SQLite) or not (PostgreSQL).
			if n := len(got); n > 0 && got[n-1] > 5 {
				got[n-1] = 8
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("%+v: %s", tc.filter, d)
			}
		}
	})
}
