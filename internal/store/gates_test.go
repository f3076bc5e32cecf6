package store_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestGate(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		g := access.Gate{Code: "калитка-1", Name: "Калитка", Location: "Двор", ReleaseMS: 1200}
		mark := write(t, s, func(tx *store.Tx) error { return tx.InsertGate(&g) })
		if g.ID != 1 || g.Version != mark.Version || g.CreatedAt.IsZero() {
			t.Errorf("insert: got id %d version %d created %v, want 1, %d and an instant", g.ID, g.Version, g.CreatedAt, mark.Version)
		}
		read(t, s, func(tx *store.Tx) error {
			byID, err := tx.Gate(g.ID)
			if err != nil {
				return err
			}
			byCode, err := tx.GateByCode(g.Code)
			if d := cmp.Diff(g, byID) + cmp.Diff(g, byCode); d != "" {
				t.Errorf("read back: %s", d)
			}
			_, missing := tx.GateByCode("Калитка-1")
			wantKind(t, "code in another case", missing, access.ErrNotFound)
			return err
		})

		_, err := tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertGate(&access.Gate{Code: g.Code}) })
		wantTaken(t, "second gate of the code", err, "code")
		other := access.Gate{Code: "other"}
		write(t, s, func(tx *store.Tx) error { return tx.InsertGate(&other) })
		other.Code = g.Code
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateGate(&other) })
		wantTaken(t, "rename to a taken code", err, "code")

		seen := g
		g.ReleaseMS, g.Name = 0, ""
		mark = write(t, s, func(tx *store.Tx) error { return tx.UpdateGate(&g) })
		if g.Version != mark.Version {
			t.Errorf("update: got version %d, want %d", g.Version, mark.Version)
		}
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateGate(&seen) })
		wantKind(t, "update from an old version", err, access.ErrConflict)
		seen.Version = 0
		seen.Name = "any version"
		write(t, s, func(tx *store.Tx) error { return tx.UpdateGate(&seen) })

		write(t, s, func(tx *store.Tx) error { return tx.DeleteGate(g.ID) })
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.DeleteGate(g.ID) })
		wantKind(t, "delete twice", err, access.ErrNotFound)
		_, err = tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateGate(&g) })
		wantKind(t, "update a deleted one", err, access.ErrNotFound)
		again := access.Gate{Code: g.Code}
		write(t, s, func(tx *store.Tx) error { return tx.InsertGate(&again) })
		if again.ID <= other.ID {
			t.Errorf("the code of a deleted gate: got id %d, want a new one above %d", again.ID, other.ID)
		}
	})
}

func TestGatesPage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		write(t, s, func(tx *store.Tx) error {
			for i := range 7 {
				g := access.Gate{Code: fmt.Sprintf("g%d", i+1)}
				if i%2 == 0 {
					g.Location = "Hall_50%"
				}
				if err := tx.InsertGate(&g); err != nil {
					return err
				}
			}
			return tx.DeleteGate(3)
		})
		for _, tc := range []struct {
			filter store.GateFilter
			want   []int64
		}{
			{store.GateFilter{}, []int64{1, 2, 4, 5, 6, 7}},
			{store.GateFilter{Limit: 2}, []int64{1, 2}},
			{store.GateFilter{Limit: 2, After: 2}, []int64{4, 5}},
			{store.GateFilter{Limit: store.All, After: 5}, []int64{6, 7}},
			{store.GateFilter{Search: "hALL"}, []int64{1, 5, 7}},
			{store.GateFilter{Search: "hall", Limit: 2}, []int64{1, 5}},
			{store.GateFilter{Search: "hall", After: 5}, []int64{7}},
			{store.GateFilter{Search: "g2"}, []int64{2}},
			{store.GateFilter{Search: "_50%"}, []int64{1, 5, 7}},
			{store.GateFilter{Search: "h_ll"}, nil},
			{store.GateFilter{Search: "50 hall g7"}, []int64{7}},
		} {
			var got []int64
			read(t, s, func(tx *store.Tx) error {
				gates, err := tx.Gates(tc.filter)
				for _, g := range gates {
					got = append(got, g.ID)
				}
				return err
			})
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("%+v: %s", tc.filter, d)
			}
		}
	})
}
