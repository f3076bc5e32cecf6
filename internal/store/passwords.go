package store

import (
	"fmt"
	"strings"
)

// PasswordHash returns the encoded password hash of a living user.
func (tx *Tx) PasswordHash(userID int64) (string, error) {
	var hash string
	err := tx.queryRow(`SELECT password FROM users WHERE id = $1 AND deleted_at IS NULL`, userID).Scan(&hash)
	if err != nil {
		return "", fmt.Errorf("password of user %d: %w", userID, err)
	}
	return hash, nil
}

// PasswordHashes returns the hashes that a new password of a user is compared with: their current one first, then those of the newest n
// in their history that are not the current one.
func (tx *Tx) PasswordHashes(userID int64, n int) ([]string, error) {
	current, err := tx.PasswordHash(userID)
	if err != nil {
		return nil, err
	}
	hashes := []string{current}
	err = tx.each(`SELECT password FROM password_history WHERE user_id = $1 ORDER BY id DESC LIMIT $2`, []any{userID, n}, func(row scanner) error {
		var h string
		if err := row.Scan(&h); err != nil {
			return err
		}
		if h != current {
			hashes = append(hashes, h)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("passwords of user %d: %w", userID, err)
	}
	return hashes, nil
}

// SetPasswordHash replaces the password hash of a living user and enters it in their history, of which the newest keep are kept.
func (tx *Tx) SetPasswordHash(userID int64, hash string, keep int) error {
	n, err := tx.exec(`UPDATE users SET password = $1, version = $2 WHERE id = $3 AND deleted_at IS NULL`, hash, tx.Mark.Version, userID)
	if err := tx.settle(n, err, "users", userID); err != nil {
		return err
	}
	if err := tx.rememberHash(userID, hash); err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM password_history WHERE user_id = $1 AND id NOT IN
		(SELECT id FROM password_history WHERE user_id = $1 ORDER BY id DESC LIMIT $2)`, userID, keep)
	if err != nil {
		return fmt.Errorf("forget old passwords of user %d: %w", userID, err)
	}
	return nil
}

// rememberHash enters a hash in a user's history. Unusable passwords are not remembered.
func (tx *Tx) rememberHash(userID int64, hash string) error {
	if strings.HasPrefix(hash, "!") {
		return nil
	}
	if _, err := tx.exec(`INSERT INTO password_history (user_id, password, created_at) VALUES ($1, $2, $3)`, userID, hash, micros(tx.Now)); err != nil {
		return fmt.Errorf("remember a password of user %d: %w", userID, err)
	}
	return nil
}

// ReplaceHash puts another hash of the same password in the place of an outdated one, in the history too. It does nothing
// when the password has been changed since.
func (tx *Tx) ReplaceHash(userID int64, old, hash string) error {
	n, err := tx.exec(`UPDATE users SET password = $1 WHERE id = $2 AND password = $3`, hash, userID, old)
	if err == nil && n > 0 {
		_, err = tx.exec(`UPDATE password_history SET password = $1 WHERE user_id = $2 AND password = $3`, hash, userID, old)
	}
	if err != nil {
		return fmt.Errorf("renew the password hash of user %d: %w", userID, err)
	}
	return nil
}

// SampleHashes returns the password hashes of the n newest users that have one.
func (tx *Tx) SampleHashes(n int) ([]string, error) {
	var hashes []string
	err := tx.each(`SELECT password FROM users WHERE deleted_at IS NULL AND password NOT LIKE '!%' ORDER BY id DESC LIMIT $1`, []any{n}, func(row scanner) error {
		var h string
		err := row.Scan(&h)
		hashes = append(hashes, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sample password hashes: %w", err)
	}
	return hashes, nil
}
