package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestSite(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		var site store.Site
		read(t, s, func(tx *store.Tx) (err error) { site, err = tx.Site(); return err })
		if site.ID != store.OnlySite || site.DefaultReleaseMS != access.DefaultReleaseMS || site.Zone != "UTC" {
			t.Errorf("a new site: got %+v", site)
		}
		seen := site
		seen.Version = 1 << 40
		_, err := tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateSite(&seen) })
		wantKind(t, "update from another version", err, access.ErrConflict)
		site.Name, site.Zone, site.RetentionDays, site.DefaultReleaseMS = "Завод", "Europe/Moscow", 90, 1500
		write(t, s, func(tx *store.Tx) error { return tx.UpdateSite(&site) })
		read(t, s, func(tx *store.Tx) error {
			got, err := tx.Site()
			if d := cmp.Diff(site, got); d != "" {
				t.Errorf("read back: %s", d)
			}
			return err
		})
	})
}
