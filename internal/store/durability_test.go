package store_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestDurability: what a database was told to risk is seen.
func TestDurability(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			d := storetest.New(t, engine)
			risky := d.DSN
			if engine == store.Postgres {
				u, err := url.Parse(d.DSN)
				if err != nil {
					t.Fatal(err)
				}
				q := u.Query()
				q.Set("synchronous_commit", "off")
				u.RawQuery = q.Encode()
				risky = u.String()
			}
			s := storetest.OpenWith(t, store.Options{Database: risky})
			got, err := s.Durability(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Version == "" {
				t.Error("no version")
			}
			if off := slices.Contains(got.Unsafe, "synchronous_commit=off"); off != (engine == store.Postgres) {
				t.Errorf("unsafe: %v", got.Unsafe)
			}
			if engine == store.SQLite {
				if len(got.Unsafe) > 0 || !got.Clock.IsZero() {
					t.Errorf("SQLite as we open it: %+v", got)
				}
			} else if apart := time.Since(got.Clock).Abs(); apart > time.Minute {
				t.Errorf("the server's clock is %s apart", apart)
			}
		})
	}
}
