package importer

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/djangotest"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestPasswordsOfDjango: hashes of every cost sign in and are better ones afterwards; and old tokens end with the password.
func TestPasswordsOfDjango(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st *store.Store) {
		d := djangotest.Of(djangotest.GoldenSite(t))
		users := d.Rows("auth_user")
		for i, rounds := range []int{1, 36_000, 260_000, 1_200_000} {
			users[1+i][1] = djangotest.Password("пароль of four", fmt.Sprintf("salt%d", i), rounds)
			users[1+i][9] = true
		}
		users[6][1] = "!" + strings.Repeat("x", 40)
		d.Set("auth_user", users...)
		moveIn(t, st, Options{Dump: dumpOf(t, d)})
		desk := registry.New(registry.Config{Store: st, Keys: testKeys(t), Logger: slog.New(slog.DiscardHandler), LoginFloor: time.Millisecond, IdleDays: 90})
		t.Cleanup(func() {
			if err := desk.Close(t.Context()); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		})
		for _, id := range []int64{2, 3, 4, 5} {
			name := users[id-1][4].(string)
			if _, _, err := desk.Login(t.Context(), operator, name, "another password", ""); !errors.Is(err, access.ErrBadLogin) {
				t.Errorf("%s with a wrong password: %v", name, err)
			}
			if _, _, err := desk.Login(t.Context(), operator, name, "пароль of four", "app"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if h := view(t, st, func(tx *store.Tx) (string, error) { return tx.PasswordHash(id) }); !strings.HasPrefix(h, "$argon2id$") {
				t.Errorf("%s keeps %q", name, h)
			}
		}
		if _, _, err := desk.Login(t.Context(), operator, "erin", "!"+strings.Repeat("x", 40), ""); !errors.Is(err, access.ErrBadLogin) {
			t.Errorf("an unusable password: %v", err)
		}

		old := strings.Repeat("d2", 20)
		if _, err := byToken(t, st, old); err != nil {
			t.Fatalf("before: %v", err)
		}
		if err := desk.SetPassword(t.Context(), operator, 2, registry.Password{Plain: "пароль of four"}); err == nil {
			t.Error("the password that was used before is taken again")
		}
		if err := desk.SetPassword(t.Context(), operator, 2, registry.Password{Plain: "quite another phrase"}); err != nil {
			t.Fatal(err)
		}
		if _, err := byToken(t, st, old); !errors.Is(err, access.ErrNotFound) {
			t.Errorf("the old token after the password changed: %v", err)
		}
	})
}
