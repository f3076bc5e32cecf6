package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// ErrWrongKey refuses a secret key that is not the one which sealed the tokens of the database.
var ErrWrongKey = errors.New("OPENWAY_SECRET_KEY is not the key that sealed the tokens of this database; " +
	"give the right one, or give the old one in OPENWAY_SECRET_KEY_FALLBACKS and run openway rekey")

// CheckKey compares the server's secret key with the one that sealed the tokens of this database; the first key that a database
// sees becomes its own. Call it once at start: after an error nothing may be served. ErrWrongKey says that the key is another one.
func (r *Registry) CheckKey(ctx context.Context) error {
	for range 2 {
		instance, err := r.store.Instance(ctx)
		if err != nil {
			return fmt.Errorf("check the secret key: %w", err)
		}
		if instance.KeyCheck != "" {
			if _, ok := r.keys.Matches(instance.KeyCheck); !ok {
				return ErrWrongKey
			}
			return nil
		}
		// Another process may be first; then its key is the one to compare with.
		if set, err := r.store.SetKeyCheck(ctx, "", r.keys.Check()); err != nil || set {
			return err
		}
	}
	return fmt.Errorf("check the secret key: %w", access.ErrConflict)
}

// Rekeyed counts what Rekey did.
type Rekeyed struct {
	Sealed  int // tokens sealed anew under the primary key
	Lookups int // of these, tokens whose digest changed with the key
	Already int // tokens that were under the primary key
}

// keysOf are the keys with the one first that tokens are sealed with. credential.ErrOtherKey says that this process has not all that are in use.
func (r *Registry) keysOf(tx *store.Tx) (*credential.Keyring, error) {
	check, err := tx.KeyCheck()
	if err != nil {
		return nil, err
	}
	keys, err := r.keys.Under(check)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", access.ErrUnavailable, err)
	}
	return keys, nil
}

// sealingKeys is keysOf, read once: the lock of the policy keeps a rekey away.
func (c *change) sealingKeys() (keys *credential.Keyring, err error) {
	if c.sealing == nil {
		c.sealing, err = c.r.keysOf(c.Tx)
	}
	return c.sealing, err
}

// SealedElsewhere counts tokens by the id of the key that they are sealed with, where it is not one of those at hand.
func (r *Registry) SealedElsewhere(ctx context.Context) (map[string]int64, error) {
	count, err := reading(ctx, r, (*store.Tx).SealedBy)
	if err != nil {
		return nil, fmt.Errorf("look by which keys tokens are sealed: %w", err)
	}
	all := map[string]int64{}
	for header, n := range count {
		if id := credential.SealedWith([]byte(header)); !r.keys.Has(id) {
			all[id] += n
		}
	}
	return all, nil
}

// rekeyBatch is how many tokens one transaction brings under the new key: some milliseconds.
const rekeyBatch = 200

// Rekey brings every sealed token under the primary key, in short transactions beside the running server, and then makes that key the
// database's own. Before the first token is touched the database names both keys: a server that lacks one of them neither decides nor seals from then
// on. It may be broken off and run again. Tokens that none of the keys opens are named in the error; they must be set anew
// or revoked before the old key can be given up.
func (r *Registry) Rekey(ctx context.Context, actor access.Actor) (Rekeyed, error) {
	var done Rekeyed
	begun, err := changing(ctx, r, actor, "rekey", (*change).beginRekey)
	if err != nil {
		return done, err
	}
	var lost []int64
	for after, more := int64(0), true; more; {
		var batch rekeyed
		err := r.change(ctx, actor, func(c *change) (err error) {
			if now, err := c.KeyCheck(); err != nil || now != begun {
				return cmp.Or(err, fmt.Errorf("another rekey has begun or ended meanwhile; run this again when no other one runs: %w", access.ErrConflict))
			}
			if batch, err = c.rekey(after); err == nil && !batch.more && len(lost)+len(batch.lost) == 0 {
				err = c.setKeyCheck(begun, r.keys.Check())
			}
			return err
		})
		if err != nil {
			return done, fmt.Errorf("rekey: %w", err)
		}
		done.Sealed += batch.Sealed
		done.Lookups += batch.Lookups
		done.Already += batch.Already
		lost = append(lost, batch.lost...)
		after, more = batch.last, batch.more
	}
	if len(lost) > 0 {
		return done, fmt.Errorf("rekey: %d tokens cannot be opened with any of the keys; set them anew or revoke them, then run it again: credentials %v",
			len(lost), lost[:min(len(lost), 20)])
	}
	return done, nil
}

// beginRekey has the database name the primary key beside its own, and returns what it says now.
func (c *change) beginRekey() (check string, err error) {
	was, err := c.KeyCheck()
	if err != nil {
		return "", err
	}
	if _, ok := c.r.keys.Matches(was); !ok && was != "" {
		return "", ErrWrongKey
	}
	check = c.r.keys.CheckWith(was)
	return check, c.setKeyCheck(was, check)
}

// setKeyCheck makes check the database's.
func (c *change) setKeyCheck(was, check string) error {
	if was == check {
		return nil
	}
	if _, err := c.SetKeyCheck(was, check); err != nil {
		return err
	}
	return c.Record(access.ObjectSite, store.OnlySite, access.ActionRekey, nil, access.Fields{"key": c.r.keys.ID(), "done": yes(check == c.r.keys.Check())})
}

// rekeyed is what one transaction of Rekey did.
type rekeyed struct {
	Rekeyed
	last int64 // the last credential it looked at
	more bool
	lost []int64 // credentials that no key opens
}

// rekey brings the sealed tokens after an id under the primary key. Only digests that change are part of the policy; one line stands
// for the rest of the batch.
func (c *change) rekey(after int64) (done rekeyed, err error) {
	list, err := c.Credentials(store.CredentialFilter{After: after, Sealed: true, Limit: rekeyBatch})
	if err != nil {
		return done, err
	}
	done.more = len(list) == rekeyBatch
	for _, cred := range list {
		done.last = cred.ID
		if c.r.keys.SealedByPrimary(cred.Sealed) {
			done.Already++
			continue
		}
		token, err := c.r.keys.Open(cred.ID, cred.Sealed)
		if err != nil {
			done.lost = append(done.lost, cred.ID)
			continue
		}
		cred.Sealed = c.r.keys.Seal(cred.ID, token)
		lookup := c.r.keys.Lookup(token, cred.Scheme)
		moved := lookup != cred.Lookup
		cred.Lookup = lookup
		if err := c.UpdateCredential(&cred); err != nil {
			return done, err
		}
		done.Sealed++
		if !moved {
			continue
		}
		done.Lookups++
		if err := c.Record(access.ObjectCredential, cred.ID, access.ActionRekey, nil, nil); err != nil {
			return done, err
		}
	}
	if done.Sealed == 0 {
		return done, nil
	}
	return done, c.Record(access.ObjectSite, store.OnlySite, access.ActionRekey, nil, access.Fields{"tokens": strconv.Itoa(done.Sealed)})
}
