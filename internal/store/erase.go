package store

import (
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// EraseUser blanks the personal text of a deleted user, wherever the database has it: their row, their devices, the labels of their
// credentials, the details of audit lines about them and their things, their name as an actor, and the addresses that they acted or were
// refused from. Ids stay. It reports ErrNotFound for a user who never was; for one who was erased before it does nothing again.
func (tx *Tx) EraseUser(id int64) (erased bool, err error) {
	n, err := tx.exec(`UPDATE users SET username = $1, first_name = '', last_name = '', email = '', language = '', password = '!', erased_at = $2, version = $3
		WHERE id = $4 AND deleted_at IS NOT NULL AND erased_at IS NULL`, ErasedName(id), micros(tx.Now), tx.Mark.Version, id)
	if err != nil {
		return false, fmt.Errorf("erase user %d: %w", id, err)
	}
	if n == 0 {
		var known int64
		if err := tx.queryRow(`SELECT id FROM users WHERE id = $1 AND deleted_at IS NOT NULL`, id).Scan(&known); err != nil {
			return false, fmt.Errorf("erase user %d: %w", id, err)
		}
		return false, nil
	}
	steps := []struct {
		what, query string
		args        []any
	}{
		{"passwords", `DELETE FROM password_history WHERE user_id = $1`, []any{id}},
		{"devices", `UPDATE device SET name = '', android_device_id = '' WHERE user_id = $1`, []any{id}},
		{"credentials", `UPDATE credential SET label = '', preview = '', sealed = NULL WHERE user_id = $1`, []any{id}},
		{
			"audit of the user", `UPDATE change SET detail = '' WHERE object_id = $1 AND object IN ($2, $3, $4)`,
			[]any{id, access.ObjectUser, access.ObjectMember, access.ObjectRole},
		},
		{
			"audit of the devices", `UPDATE change SET detail = '' WHERE object = $2 AND object_id IN (SELECT id FROM device WHERE user_id = $1)`,
			[]any{id, access.ObjectDevice},
		},
		{
			"audit of the credentials", `UPDATE change SET detail = '' WHERE object = $2 AND object_id IN (SELECT id FROM credential WHERE user_id = $1)`,
			[]any{id, access.ObjectCredential},
		},
		{"audit of the actor", `UPDATE change SET actor_label = $2, address = '' WHERE actor_user_id = $1`, []any{id, ErasedName(id)}},
		{
			"audit of refusals", `UPDATE change SET address = '' WHERE object = $2 AND object_id = $1 AND action = $3 AND actor_user_id IS NULL`,
			[]any{id, access.ObjectUser, access.ActionSignInRefused},
		},
	}
	for _, s := range steps {
		if _, err := tx.exec(s.query, s.args...); err != nil {
			return false, fmt.Errorf("erase the %s of user %d: %w", s.what, id, err)
		}
	}
	return true, nil
}

// ErasedName stands in the place of an erased user's name.
func ErasedName(id int64) string { return fmt.Sprintf("erased-%d", id) }
