package store

import (
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

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
