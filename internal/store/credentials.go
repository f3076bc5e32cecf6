package store

import (
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// CredentialFilter selects living credentials; zero fields do not matter. It pages by id: give the last id seen as After.
type CredentialFilter struct {
	After    int64
	UserID   int64
	DeviceID int64
	Kind     access.CredentialKind
	Loose    bool // only those of no living device
	Sealed   bool // only those with a sealed copy
	Limit    int  // 1..1000; 0 = 50; All
}

const credentialColumns = `id, user_id, device_id, kind, lookup, lookup_scheme, sealed, preview, label, state, state_reason, valid_from, valid_until,
	idle_expires, created_at, last_used_day, version`

func scanCredential(row scanner) (c access.Credential, err error) {
	var lookup []byte
	err = row.Scan(&c.ID, &c.UserID, asNumber(&c.DeviceID), &c.Kind, &lookup, &c.Scheme, &c.Sealed, &c.Preview, &c.Label, &c.State, &c.StateReason,
		asTime(&c.ValidFrom), asTime(&c.ValidUntil), &c.IdleExpires, asTime(&c.CreatedAt), &c.LastUsedDay, &c.Version)
	if err == nil && copy(c.Lookup[:], lookup) != len(lookup) {
		err = fmt.Errorf("its digest has %d bytes", len(lookup))
	}
	return c, err
}

// Credential returns a living credential.
func (tx *Tx) Credential(id int64) (access.Credential, error) {
	c, err := scanCredential(tx.queryRow(`SELECT `+credentialColumns+` FROM credential WHERE id = $1 AND deleted_at IS NULL`, id))
	if err != nil {
		return access.Credential{}, fmt.Errorf("credential %d: %w", id, err)
	}
	return c, nil
}

// CredentialByLookup returns the living credential that one of these digests finds.
func (tx *Tx) CredentialByLookup(lookups []access.Lookup) (access.Credential, error) {
	args := make([]any, len(lookups))
	marks := make([]string, len(lookups))
	for i := range lookups {
		args[i], marks[i] = lookups[i][:], fmt.Sprintf("$%d", i+1)
	}
	c, err := scanCredential(tx.queryRow(`SELECT `+credentialColumns+` FROM credential WHERE deleted_at IS NULL AND lookup IN (`+strings.Join(marks, ", ")+`) LIMIT 1`, args...))
	if err != nil {
		return access.Credential{}, fmt.Errorf("credential by its token: %w", err)
	}
	return c, nil
}

// EndedCredential returns the newest revoked credential of a user that one of these digests found while it lived.
func (tx *Tx) EndedCredential(userID int64, lookups []access.Lookup) (access.Credential, error) {
	args, marks := []any{userID}, make([]string, len(lookups))
	for i := range lookups {
		args = append(args, lookups[i][:])
		marks[i] = fmt.Sprintf("$%d", i+2)
	}
	c, err := scanCredential(tx.queryRow(`SELECT `+credentialColumns+` FROM credential
		WHERE user_id = $1 AND deleted_at IS NOT NULL AND lookup IN (`+strings.Join(marks, ", ")+`) ORDER BY id DESC LIMIT 1`, args...))
	if err != nil {
		return access.Credential{}, fmt.Errorf("ended credential of user %d: %w", userID, err)
	}
	return c, nil
}

// Credentials lists living credentials in order of their ids.
func (tx *Tx) Credentials(f CredentialFilter) ([]access.Credential, error) {
	where, args := `deleted_at IS NULL AND id > $1`, []any{f.After, pageSize(f.Limit)}
	and := func(column string, v any) {
		args = append(args, v)
		where += fmt.Sprintf(` AND %s = $%d`, column, len(args))
	}
	if f.UserID != 0 {
		and("user_id", f.UserID)
	}
	if f.DeviceID != 0 {
		and("device_id", f.DeviceID)
	}
	if f.Kind != "" {
		and("kind", string(f.Kind))
	}
	if f.Loose {
		where += ` AND NOT EXISTS (SELECT 1 FROM device d WHERE d.id = credential.device_id AND d.deleted_at IS NULL)`
	}
	if f.Sealed {
		where += ` AND sealed IS NOT NULL`
	}
	var list []access.Credential
	err := tx.each(`SELECT `+credentialColumns+` FROM credential WHERE `+where+` ORDER BY id LIMIT $2`, args, func(row scanner) error {
		c, err := scanCredential(row)
		list = append(list, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list credentials: %w", err)
	}
	return list, nil
}

// InsertCredential writes a new credential and sets ID, Version and CreatedAt. seal, if given, makes the sealed copy of the token, which
// is bound to the id. A token that a living credential has is access.Invalid.
func (tx *Tx) InsertCredential(c *access.Credential, seal func(id int64) []byte) error {
	err := tx.queryRow(`INSERT INTO credential (user_id, device_id, kind, lookup, lookup_scheme, preview, label, state, state_reason, valid_from, valid_until,
			idle_expires, created_at, last_used_day, version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING id`,
		c.UserID, orNull(c.DeviceID), string(c.Kind), c.Lookup[:], int(c.Scheme), c.Preview, c.Label, string(c.State), c.StateReason,
		instantOrNull(c.ValidFrom), instantOrNull(c.ValidUntil), c.IdleExpires, micros(tx.Now), c.LastUsedDay, tx.Mark.Version).Scan(&c.ID)
	if err != nil {
		if tx.taken(err, "credential") {
			return already("token")
		}
		return fmt.Errorf("insert a credential of user %d: %w", c.UserID, err)
	}
	c.Version, c.CreatedAt = tx.Mark.Version, tx.Now
	if seal == nil {
		return nil
	}
	c.Sealed = seal(c.ID)
	if _, err := tx.exec(`UPDATE credential SET sealed = $1 WHERE id = $2`, c.Sealed, c.ID); err != nil {
		return fmt.Errorf("seal credential %d: %w", c.ID, err)
	}
	return nil
}

// UpdateCredential writes owner, device, digest, sealed copy and state, and sets the new version. Its last use is not touched:
// that is written off the path at any time (TouchCredentials).
func (tx *Tx) UpdateCredential(c *access.Credential) error {
	n, err := tx.exec(`UPDATE credential SET user_id = $1, device_id = $2, lookup = $3, lookup_scheme = $4, sealed = $5, state = $6, state_reason = $7, version = $8
		WHERE id = $9 AND deleted_at IS NULL`,
		c.UserID, orNull(c.DeviceID), c.Lookup[:], int(c.Scheme), bytesOrNull(c.Sealed), string(c.State), c.StateReason, tx.Mark.Version, c.ID)
	if err != nil && tx.taken(err, "credential") {
		return already("token")
	}
	if err := tx.settle(n, err, "credential", c.ID); err != nil {
		return err
	}
	c.Version = tx.Mark.Version
	return nil
}

// bytesOrNull is a value for an optional column: nil is NULL, on every driver.
func bytesOrNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// SealedBy counts the sealed tokens by the bytes that they begin with, which name their key.
func (tx *Tx) SealedBy() (map[string]int64, error) {
	return tx.numbers(`SELECT substr(sealed, 1, 5), COUNT(*) FROM credential WHERE sealed IS NOT NULL AND deleted_at IS NULL GROUP BY 1`)
}

// EndCredential revokes a living credential for good and forgets its sealed copy. reason is the word for the audit.
func (tx *Tx) EndCredential(id int64, reason string) error {
	n, err := tx.exec(`UPDATE credential SET state = 'revoked', state_reason = $1, sealed = NULL, deleted_at = $2, version = $3 WHERE id = $4 AND deleted_at IS NULL`,
		reason, micros(tx.Now), tx.Mark.Version, id)
	return tx.settle(n, err, "credential", id)
}
