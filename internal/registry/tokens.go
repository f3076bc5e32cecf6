package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// TokenFilter selects credentials.
type TokenFilter = store.CredentialFilter

func credentialFields(c access.Credential) access.Fields {
	return filled(access.Fields{
		"user_id": idText(c.UserID), "device_id": idText(c.DeviceID), "kind": string(c.Kind), "label": c.Label, "state": string(c.State),
		"state_reason": c.StateReason, "valid_from": stamp(c.ValidFrom), "valid_until": stamp(c.ValidUntil),
	})
}

// Tokens lists living credentials by id: user tokens and device tokens, unless the filter's Kind says which.
func (r *Registry) Tokens(ctx context.Context, f TokenFilter) ([]access.Credential, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]access.Credential, error) { return tx.Credentials(f) })
}

// RevokeToken ends a user token for good. ErrNotFound when there is no such living user token (a device's token is ended
// by revoking the device or by setting another token).
func (r *Registry) RevokeToken(ctx context.Context, actor access.Actor, id int64) error {
	return r.change(ctx, actor, func(c *change) error {
		cred, err := c.Credential(id)
		if err == nil && cred.Kind != access.UserToken {
			err = fmt.Errorf("credential %d is no user token: %w", id, access.ErrNotFound)
		}
		if err != nil {
			return fmt.Errorf("revoke: %w", err)
		}
		return c.endCredential(cred, "admin")
	})
}

// RevokeTokens ends all user tokens of a user and says how many there were.
func (r *Registry) RevokeTokens(ctx context.Context, actor access.Actor, userID int64) (n int, err error) {
	return changing(ctx, r, actor, fmt.Sprintf("revoke the tokens of user %d", userID), func(c *change) (int, error) {
		if _, err := c.User(userID); err != nil {
			return 0, err
		}
		return c.endCredentials(store.CredentialFilter{UserID: userID, Kind: access.UserToken}, "admin")
	})
}

// AddToken gives a user a fixed token, chosen by people: 8..128 characters, and no other credential's (access.Invalid). It does not end by idling.
func (r *Registry) AddToken(ctx context.Context, actor access.Actor, userID int64, token, label string) (access.Credential, error) {
	return changing(ctx, r, actor, fmt.Sprintf("add a token to user %d", userID), func(c *change) (access.Credential, error) {
		return c.addToken(userID, token, label)
	})
}

// addToken gives a user a fixed token; one that this user has already is returned as it is.
func (c *change) addToken(userID int64, token, label string) (access.Credential, error) {
	if err := validToken(token); err != nil {
		return access.Credential{}, err
	}
	if _, err := c.User(userID); err != nil {
		return access.Credential{}, err
	}
	old, err := c.presented(token)
	if err == nil && old.UserID == userID && old.Kind == access.UserToken {
		return old, nil
	}
	cred := access.Credential{UserID: userID, Kind: access.UserToken, Label: cut(label, maxLabel), State: access.CredentialActive}
	return cred, c.addCredential(&cred, token, false, access.ActionCreate)
}

// presented finds the living credential that a token is, whatever way its digest was made.
func (c *change) presented(token string) (access.Credential, error) {
	var p credential.Presented
	c.r.keys.Present(token, &p)
	return c.CredentialByLookup(p.Lookups[:p.N])
}

// addCredential writes a credential for a token. Minted tokens are ours and random; others must not be any living credential's.
// The sealed copy is kept where somebody needs the token again: the phone that keeps its device token, and the change of the server's key.
func (c *change) addCredential(cred *access.Credential, token string, minted bool, action string) error {
	if !minted {
		if _, err := c.presented(token); err == nil {
			return access.Invalid{{Field: "token", Code: access.CodeTaken}}
		} else if !errors.Is(err, access.ErrNotFound) {
			return err
		}
	}
	cred.Scheme = credential.SchemeFor(token, minted)
	cred.Preview = credential.Preview(token)
	cred.LastUsedDay = access.Day(c.Now)
	keys := c.r.keys
	var seal func(int64) []byte
	if cred.Kind == access.DeviceToken || cred.Scheme == access.SchemeHMAC {
		var err error
		if keys, err = c.sealingKeys(); err != nil {
			return err
		}
		seal = func(id int64) []byte { return keys.Seal(id, token) }
	}
	cred.Lookup = keys.Lookup(token, cred.Scheme)
	if err := c.InsertCredential(cred, seal); err != nil {
		return err
	}
	return c.Record(access.ObjectCredential, cred.ID, action, nil, credentialFields(*cred))
}

// changeCredential writes a credential as it is to be now, and records what that changes.
func (c *change) changeCredential(was, is access.Credential) error {
	before, after := credentialFields(was), credentialFields(is)
	if w, i := differ(before, after); len(w)+len(i) == 0 {
		return nil
	}
	if err := c.UpdateCredential(&is); err != nil {
		return err
	}
	return c.recordChange(access.ObjectCredential, is.ID, before, after)
}

// endCredential revokes a credential for good.
func (c *change) endCredential(cred access.Credential, reason string) error {
	if err := c.EndCredential(cred.ID, reason); err != nil {
		return err
	}
	return c.Record(access.ObjectCredential, cred.ID, access.ActionRevoke, credentialFields(cred), access.Fields{"state": string(access.CredentialRevoked), "state_reason": reason})
}

// endCredentials revokes all that a filter selects and says how many there were.
func (c *change) endCredentials(f store.CredentialFilter, reason string) (int, error) {
	f.Limit = store.All
	list, err := c.Credentials(f)
	if err != nil {
		return 0, err
	}
	for _, cred := range list {
		if err := c.endCredential(cred, reason); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// validToken checks a token that people chose against what a gate can present: 8..128 characters without outer white space.
func validToken(token string) error {
	var bad access.Invalid
	switch n := utf8.RuneCountInString(token); {
	case strings.ContainsRune(token, 0):
		bad.Add("token", access.CodeNUL)
	case !utf8.ValidString(token) || strings.ContainsFunc(token, unicode.IsControl):
		bad.Add("token", access.CodeCharacters)
	case token != strings.TrimSpace(token):
		bad = append(bad, access.FieldError{Field: "token", Code: access.CodeOther, Text: "may not begin or end with white space"})
	case n < access.MinToken:
		bad.AddLimit("token", access.CodeTooShort, access.MinToken)
	case n > access.MaxToken:
		bad.AddLimit("token", access.CodeTooLong, access.MaxToken)
	}
	return bad.OrNil()
}
