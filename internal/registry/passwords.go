package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// Password is a password to set: in plain words or as a ready hash. The zero value is an unusable one: nobody can sign in with it.
type Password struct {
	Plain     string // not trimmed; at most 1024 characters
	Hash      string // argon2id (PHC), pbkdf2_sha256$… as Django writes it, or "!…" for an unusable one
	SkipRules bool   // Plain is taken even if it is weak or was used before
}

// maxPassword bounds what is hashed, in characters.
const maxPassword = 1024

// unusable stands in the place of a hash that nothing matches.
const unusable = "!"

// SetPassword replaces a user's password and ends all their user tokens and sessions. access.Invalid names the field "password" (or
// "password_hash") when it breaks a rule or is one of the last five.
func (r *Registry) SetPassword(ctx context.Context, actor access.Actor, userID int64, p Password) error {
	return r.replacePassword(ctx, actor, userID, p, func(string) error { return nil }, func(*change) error { return nil })
}

// replacePassword is SetPassword for those whom mayReplace lets do it. That is asked with the hash that is replaced, and again if another
// one was set meanwhile. then is part of the change.
func (r *Registry) replacePassword(ctx context.Context, actor access.Actor, userID int64, p Password, mayReplace func(hash string) error, then func(*change) error) error {
	what := fmt.Sprintf("set the password of user %d", userID)
	if p == (Password{SkipRules: p.SkipRules}) {
		return fmt.Errorf("%s: %w", what, access.Invalid{{Field: "password", Code: access.CodeRequired}})
	}
	for attempt := 0; ; attempt++ {
		var user access.User
		var earlier []string
		err := r.store.View(ctx, func(tx *store.Tx) (err error) {
			if user, err = tx.User(userID); err != nil {
				return err
			}
			earlier, err = tx.PasswordHashes(userID, credential.HistoryLength)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := mayReplace(earlier[0]); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		hash, err := r.hash(ctx, p, user, earlier)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		err = r.change(ctx, actor, func(c *change) error {
			if err := c.setPassword(userID, earlier[0], hash); err != nil {
				return err
			}
			return then(c)
		})
		// A hash that was renewed by a login in between is no reason to trouble anybody.
		if errors.Is(err, access.ErrConflict) && attempt < 2 {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
}

// hash checks a password against the rules and the hashes of earlier ones and makes what is stored. It takes long: never inside a transaction.
func (r *Registry) hash(ctx context.Context, p Password, u access.User, earlier []string) (string, error) {
	switch {
	case p.Hash != "" && p.Plain != "":
		return "", access.Invalid{{Field: "password", Code: access.CodeOther, Text: "give the password or its hash, not both"}}
	case strings.HasPrefix(p.Hash, unusable):
		return unusable, nil
	case p.Hash != "":
		if !credential.ReadableHash(p.Hash) {
			return "", access.Invalid{{Field: "password_hash", Code: access.CodeOther, Text: "is neither argon2id nor pbkdf2_sha256 at a sane cost"}}
		}
		return p.Hash, nil
	case p.Plain == "":
		return unusable, nil
	}
	if bad := rules(p, u); len(bad) > 0 {
		return "", bad
	}
	var hash string
	err := r.slots.use(ctx, false, func() (err error) {
		hash, err = credential.HashPassword(p.Plain)
		return err
	})
	if err != nil || p.SkipRules {
		return hash, err
	}
	for _, h := range earlier {
		used := false
		err := r.slots.use(ctx, false, func() error {
			used, _ = credential.VerifyPassword(h, p.Plain)
			return nil
		})
		if err != nil {
			return "", err
		}
		if used {
			return "", access.Invalid{{Field: "password", Code: access.CodePasswordUsed, Limit: credential.HistoryLength}}
		}
	}
	return hash, nil
}

func rules(p Password, u access.User) access.Invalid {
	var bad access.Invalid
	switch {
	case strings.ContainsRune(p.Plain, 0):
		bad.Add("password", access.CodeNUL)
	case !utf8.ValidString(p.Plain):
		bad.Add("password", access.CodeCharacters)
	case utf8.RuneCountInString(p.Plain) > maxPassword:
		bad.AddLimit("password", access.CodeTooLong, maxPassword)
	case !p.SkipRules:
		bad = credential.CheckPassword(p.Plain, credential.About{Username: u.Username, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email})
	}
	return bad
}

// setPassword replaces the hash that was seen when the new password was checked, and ends what was signed in with the old one.
// ErrConflict when the password is another one by now.
func (c *change) setPassword(userID int64, seen, hash string) error {
	now, err := c.PasswordHash(userID)
	if err != nil {
		return err
	}
	if now != seen {
		return fmt.Errorf("it was changed meanwhile: %w", access.ErrConflict)
	}
	if hash == now {
		return nil
	}
	u, err := c.User(userID)
	if err == nil {
		err = c.mayChange(u)
	}
	if err != nil {
		return err
	}
	if err := c.SetPasswordHash(userID, hash, credential.HistoryLength); err != nil {
		return err
	}
	if err := c.Record(access.ObjectUser, userID, access.ActionPassword, nil, access.Fields{"usable": yes(hash != unusable)}); err != nil {
		return err
	}
	if _, err := c.endCredentials(store.CredentialFilter{UserID: userID, Kind: access.UserToken}, "password"); err != nil {
		return err
	}
	_, err = c.DeleteSessionsOf(userID)
	return err
}

// invalid takes the bad fields out of an error, to report them together with others; the rest is returned as it is.
func invalid(err error) (access.Invalid, error) {
	var bad access.Invalid
	if errors.As(err, &bad) {
		return bad, nil
	}
	return nil, err
}
