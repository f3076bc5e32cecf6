package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// Caller is who presents a user token at the API.
type Caller struct {
	User         access.User
	CredentialID int64
}

// maxLabel is how many characters of a client's User-Agent are kept as the label of its token.
const maxLabel = 200

// Login checks a user name and password and mints a new token for the client that label names (its User-Agent; cut to 200 characters).
// The token is told here only. ErrBadLogin stands for a wrong password, an unknown and an inactive user alike and takes the same time;
// ErrUnavailable means that too many wait already.
func (r *Registry) Login(ctx context.Context, actor access.Actor, username, password, label string) (token string, user access.User, err error) {
	token = credential.MintUserToken()
	user, err = r.login(ctx, actor, username, password, func(c *change, u *access.User) error { return c.signIn(u, token, cut(label, maxLabel)) })
	if err != nil {
		token = ""
	}
	return token, user, err
}

// login checks a user name and password and lets the user in: enter runs in the transaction in which both still hold. When that fails for
// another reason than ErrBadLogin the user is returned along with the error, for the log.
func (r *Registry) login(ctx context.Context, actor access.Actor, username, password string, enter func(*change, *access.User) error) (access.User, error) {
	begun := time.Now()
	user, err := r.checkLogin(ctx, actor, username, password, enter)
	r.logins.count(err)
	if !errors.Is(err, access.ErrBadLogin) {
		return user, err
	}
	r.refused(ctx, actor, user.ID)
	wait := time.NewTimer(r.floor - time.Since(begun))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
	return access.User{}, err
}

// checkLogin returns the user along with ErrBadLogin when it knows whose name was used.
func (r *Registry) checkLogin(ctx context.Context, actor access.Actor, username, password string, enter func(*change, *access.User) error) (access.User, error) {
	var user access.User
	var hash, fresh string // fresh replaces an outdated hash
	good := false
	// In a storm most are turned away here, and must not have cost a look at the database.
	err := r.slots.use(ctx, true, func() (err error) {
		if user, hash, err = r.knownUser(ctx, username); err != nil {
			return err
		}
		if hash == "" {
			credential.SpendVerify(r.kind.hash(ctx, r.store))
			return nil
		}
		var outdated bool
		if good, outdated = credential.VerifyPassword(hash, password); good && outdated && user.Active {
			if fresh, err = credential.HashPassword(password); err != nil {
				return fmt.Errorf("renew the password hash of user %d: %w", user.ID, err)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return access.User{}, fmt.Errorf("login: %w", err)
	case !good || !user.Active:
		return user, fmt.Errorf("login: %w", access.ErrBadLogin)
	}
	actor.UserID, actor.Label = user.ID, user.Username
	err = r.change(ctx, actor, func(c *change) error {
		// The password was checked outside; it may have been changed, or the user shut out, since.
		now, err := c.PasswordHash(user.ID)
		if err != nil && !errors.Is(err, access.ErrNotFound) {
			return err
		}
		if err != nil || now != hash {
			return access.ErrBadLogin
		}
		if user, err = c.User(user.ID); err != nil {
			return err
		}
		if !user.Active {
			return access.ErrBadLogin
		}
		if fresh != "" {
			if err := c.ReplaceHash(user.ID, hash, fresh); err != nil {
				return err
			}
		}
		return enter(c, &user)
	})
	if err != nil {
		return user, fmt.Errorf("login: %w", err)
	}
	return user, nil
}

// knownUser finds a user and the hash to compare with; hash "" stands for nobody, or a password that nobody can know.
func (r *Registry) knownUser(ctx context.Context, username string) (user access.User, hash string, err error) {
	err = r.store.View(ctx, func(tx *store.Tx) error {
		if user, err = tx.UserByName(username); err != nil {
			return err
		}
		hash, err = tx.PasswordHash(user.ID)
		return err
	})
	if errors.Is(err, access.ErrNotFound) {
		return access.User{}, "", nil
	}
	if err != nil {
		return access.User{}, "", err
	}
	if !credential.ReadableHash(hash) {
		hash = ""
	}
	return user, hash, nil
}

// signIn gives a user a new token, and ends those of theirs that idled out: nobody can use them any more, and each
// sign-in adds one.
func (c *change) signIn(user *access.User, token, label string) error {
	old, err := c.Credentials(store.CredentialFilter{UserID: user.ID, Kind: access.UserToken, Limit: store.All})
	if err != nil {
		return err
	}
	for _, t := range old {
		if c.r.idledOut(t, c.Now) {
			if err := c.endCredential(t, "idle"); err != nil {
				return err
			}
		}
	}
	cred := access.Credential{
		UserID: user.ID, Kind: access.UserToken, Label: label, State: access.CredentialActive,
		IdleExpires: true, LastUsedDay: access.Day(c.Now),
	}
	if err := c.addCredential(&cred, token, true, access.ActionSignIn); err != nil {
		return err
	}
	user.LastLoginAt = c.Now
	return c.UserSeen(user.ID)
}

// Authenticate says who presents a user token at the API; it counts as a use of the token.
// ErrBadToken: unknown, expired or revoked, or no user token. ErrInactive: the token is good, its user is not.
func (r *Registry) Authenticate(ctx context.Context, token string) (Caller, error) {
	var p credential.Presented
	r.keys.Present(token, &p)
	var caller Caller
	var stale bool
	var today int
	err := r.store.View(ctx, func(tx *store.Tx) error {
		cred, err := tx.CredentialByLookup(p.Lookups[:p.N])
		if errors.Is(err, access.ErrNotFound) {
			_, other := r.keysOf(tx) // without its key a good token cannot be found
			err = cmp.Or(other, err)
		}
		if err != nil {
			return err
		}
		if cred.Kind != access.UserToken || !r.holds(cred, tx.Now) {
			return access.ErrNotFound
		}
		if caller.User, err = tx.User(cred.UserID); err != nil {
			return err
		}
		caller.CredentialID = cred.ID
		today = access.Day(tx.Now)
		stale = cred.LastUsedDay < today
		return nil
	})
	switch {
	case errors.Is(err, access.ErrNotFound):
		return Caller{}, fmt.Errorf("authenticate: %w", access.ErrBadToken)
	case err != nil:
		return Caller{}, fmt.Errorf("authenticate: %w", err)
	case !caller.User.Active:
		return Caller{}, fmt.Errorf("authenticate: %w", access.ErrInactive)
	}
	if stale {
		// A use that could not be noted today will be noted at the next one; the caller has an answer either way.
		if err := r.store.TouchCredentials(ctx, today, []int64{caller.CredentialID}); err != nil {
			r.logger.WarnContext(ctx, "the use of a token was not noted", "credential_id", caller.CredentialID, "error", err)
		}
	}
	return caller, nil
}

// holds reports whether a living credential counts at an instant.
func (r *Registry) holds(c access.Credential, at time.Time) bool {
	return c.State == access.CredentialActive &&
		(c.ValidFrom.IsZero() || !at.Before(c.ValidFrom)) &&
		(c.ValidUntil.IsZero() || at.Before(c.ValidUntil)) &&
		!r.idledOut(c, at)
}

// idledOut reports whether a credential ended because nobody used it for the site's idle days.
func (r *Registry) idledOut(c access.Credential, at time.Time) bool {
	return r.idleDays > 0 && c.IdleExpires && access.Day(at)-c.LastUsedDay > r.idleDays
}

// cut shortens a text to n characters and leaves out what a label may not have.
func cut(s string, n int) string {
	s = strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return -1
		}
		return c
	}, s))
	if utf8.RuneCountInString(s) > n {
		s = strings.TrimSpace(string([]rune(s)[:n]))
	}
	return s
}
