package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestDevice(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		devices := []access.Device{
			{UserID: 1, Name: "first", AndroidDeviceID: "same", Active: true},
			{UserID: 1, Name: "second", AndroidDeviceID: "same"},
			{UserID: 2, Name: "Телефон", Active: true},
		}
		write(t, s, func(tx *store.Tx) error {
			for _, u := range []access.User{{Username: "u"}, {Username: "v", LastName: "Васильева"}} {
				if err := tx.InsertUser(&u, "!"); err != nil {
					return err
				}
			}
			for i := range devices {
				if err := tx.InsertDevice(&devices[i]); err != nil {
					return err
				}
			}
			// The device's own token shows; one that was merely registered from it does not.
			own := access.Credential{UserID: 1, DeviceID: 1, Kind: access.DeviceToken, Lookup: access.Lookup{1}, Scheme: 1, Preview: "aaaa…aaaa", State: access.CredentialActive}
			from := access.Credential{UserID: 1, DeviceID: 2, Kind: access.UserToken, Lookup: access.Lookup{2}, Scheme: 1, Preview: "bbbb…bbbb", State: access.CredentialActive}
			if err := tx.InsertCredential(&own, nil); err != nil {
				return err
			}
			return tx.InsertCredential(&from, nil)
		})
		devices[0].TokenPreview = "aaaa…aaaa"
		read(t, s, func(tx *store.Tx) error {
			for _, want := range devices {
				got, err := tx.Device(want.ID)
				if d := cmp.Diff(want, got); d != "" || err != nil {
					t.Errorf("read back: %v %s", err, d)
				}
			}
			// All of one instant: the id decides which is the newest.
			own, err := tx.DevicesOf(1)
			if d := cmp.Diff([]access.Device{devices[1], devices[0]}, own); d != "" {
				t.Errorf("newest first: %s", d)
			}
			return err
		})
		seen := devices[0]
		devices[0].UserID, devices[0].Active = 2, false
		write(t, s, func(tx *store.Tx) error { return tx.UpdateDevice(&devices[0]) })
		_, err := tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateDevice(&seen) })
		wantKind(t, "update from an old version", err, access.ErrConflict)

		for _, tc := range []struct {
			filter store.DeviceFilter
			want   []int64
		}{
			{store.DeviceFilter{}, []int64{1, 2, 3}},
			{store.DeviceFilter{After: 1, Limit: 1}, []int64{2}},
			{store.DeviceFilter{UserID: 2}, []int64{1, 3}},
			{store.DeviceFilter{UserID: 2, AndroidDeviceID: "same"}, []int64{1}},
			{store.DeviceFilter{AndroidDeviceID: "SAME"}, nil},
			{store.DeviceFilter{Active: true}, []int64{3}},
			{store.DeviceFilter{Inactive: true}, []int64{1, 2}},
			{store.DeviceFilter{Search: "телефон"}, []int64{3}},
			{store.DeviceFilter{Search: "ВАСИЛЬЕВ"}, []int64{1, 3}}, // its owner
			{store.DeviceFilter{Search: "васил телефон"}, []int64{3}},
			{store.DeviceFilter{Search: "васил", After: 1, Inactive: true}, nil},
		} {
			var got []int64
			read(t, s, func(tx *store.Tx) error {
				list, err := tx.Devices(tc.filter)
				for _, d := range list {
					got = append(got, d.ID)
				}
				return err
			})
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("%+v: %s", tc.filter, d)
			}
		}
		write(t, s, func(tx *store.Tx) error { return tx.DeleteDevice(2) })
		read(t, s, func(tx *store.Tx) error {
			own, err := tx.DevicesOf(1)
			if len(own) != 0 {
				t.Errorf("after its deletion: got %v, want none", own)
			}
			return err
		})
	})
}
