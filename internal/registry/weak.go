package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// firstGuesses are what somebody tries first at a door of this kind: demos, examples and defaults.
var firstGuesses = []string{"admin", "admin123", "administrator", "password", "Password1", "StrongPass_123", "changeme", "openway", "12345678", "123456789", "qwerty123", "demo", "demo1234"}

// mostAdministrators bounds the work of WeakAdministrators, whose guesses take tens of milliseconds each.
const mostAdministrators = 20

// WeakAdministrators lists the user names of administrators who can sign in with a password that anybody would try first: their own name or
// e-mail address, or one out of demos and examples. At most 20 administrators are tried (tried says how many of how many), one guess at a time: it takes seconds.
// People called demo or test are tried as well, whatever they may do.
func (r *Registry) WeakAdministrators(ctx context.Context) (weak []string, tried, of int, err error) {
	type account struct {
		user access.User
		hash string
	}
	var accounts []account
	err = r.store.View(ctx, func(tx *store.Tx) error {
		users, err := tx.Administrators()
		if err != nil {
			return err
		}
		for _, name := range []string{"demo", "test", "guest"} {
			u, err := tx.UserByName(name)
			if err == nil && u.Active && !slices.ContainsFunc(users, func(o access.User) bool { return o.ID == u.ID }) {
				users = append(users, u)
			} else if err != nil && !errors.Is(err, access.ErrNotFound) {
				return err
			}
		}
		of = len(users)
		for _, u := range users[:min(of, mostAdministrators)] {
			hash, err := tx.PasswordHash(u.ID)
			if err != nil {
				return err
			}
			accounts = append(accounts, account{u, hash})
		}
		return nil
	})
	if err != nil {
		return nil, 0, 0, fmt.Errorf("look for weak passwords: %w", err)
	}
	for _, a := range accounts {
		for _, guess := range append([]string{a.user.Username, a.user.Username + "123", a.user.Email}, firstGuesses...) {
			if err := ctx.Err(); err != nil {
				return nil, 0, 0, fmt.Errorf("look for weak passwords: %w", err)
			}
			if ok, _ := credential.VerifyPassword(a.hash, guess); ok {
				weak = append(weak, a.user.Username)
				break
			}
		}
	}
	return weak, len(accounts), of, nil
}
