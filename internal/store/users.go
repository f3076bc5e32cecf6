package store

import (
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// UserFilter selects users; zero fields do not matter. It pages by id: give the last id seen as After.
type UserFilter struct {
	After    int64
	Search   string // words in user name, first name, last name or e-mail, in any case
	GroupID  int64  // members of this group
	Active   bool   // only active ones
	Inactive bool   // only inactive ones
	Limit    int    // 1..1000; 0 = 50; All
}

const userColumns = `u.id, u.username, u.first_name, u.last_name, u.email, u.language, u.is_active, u.is_staff, u.is_superuser, u.version, u.created_at, u.last_login_at`

func scanUser(row scanner) (u access.User, err error) {
	err = row.Scan(&u.ID, &u.Username, &u.FirstName, &u.LastName, &u.Email, &u.Language, &u.Active, &u.Staff, &u.Superuser, &u.Version,
		asTime(&u.CreatedAt), asTime(&u.LastLoginAt))
	return u, err
}

// User returns a living user with their roles.
func (tx *Tx) User(id int64) (access.User, error) {
	u, err := scanUser(tx.queryRow(`SELECT `+userColumns+` FROM users u WHERE u.id = $1 AND u.deleted_at IS NULL`, id))
	if err != nil {
		return access.User{}, fmt.Errorf("user %d: %w", id, err)
	}
	return tx.withRoles(u)
}

// UserByName returns the living user with exactly this user name, with their roles.
func (tx *Tx) UserByName(username string) (access.User, error) {
	u, err := scanUser(tx.queryRow(`SELECT `+userColumns+` FROM users u WHERE u.username = $1 AND u.deleted_at IS NULL`, username))
	if err != nil {
		return access.User{}, fmt.Errorf("user %q: %w", username, err)
	}
	return tx.withRoles(u)
}

func (tx *Tx) withRoles(u access.User) (access.User, error) {
	users := []access.User{u}
	err := tx.fillRoles(users)
	return users[0], err
}

// Users lists living users in order of their ids, with their roles.
func (tx *Tx) Users(f UserFilter) ([]access.User, error) {
	where := `u.deleted_at IS NULL AND u.id > $1`
	from := `users u`
	var more []any
	if f.GroupID != 0 {
		from, where, more = `membership m JOIN users u ON u.id = m.user_id`, where+` AND m.group_id = $3`, []any{f.GroupID}
	}
	if f.Active {
		where += ` AND u.is_active`
	}
	if f.Inactive {
		where += ` AND NOT u.is_active`
	}
	next := func(after int64, n int) (users []access.User, err error) {
		err = tx.each(`SELECT `+userColumns+` FROM `+from+` WHERE `+where+` ORDER BY u.id LIMIT $2`, append([]any{after, n}, more...), func(row scanner) error {
			u, err := scanUser(row)
			users = append(users, u)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list users: %w", err)
		}
		return users, nil
	}
	users, err := page(f.After, f.Limit, f.Search, next, func(u *access.User) (int64, []string) {
		return u.ID, []string{u.Username, u.FirstName + " " + u.LastName, u.Email}
	})
	if err != nil {
		return nil, err
	}
	return users, tx.fillRoles(users)
}

// InsertUser writes a new user with their encoded password hash, without roles, and sets ID, Version and CreatedAt.
// A user name that a living user has is access.Invalid.
func (tx *Tx) InsertUser(u *access.User, password string) error {
	err := tx.queryRow(`INSERT INTO users (username, first_name, last_name, email, language, password, is_active, is_staff, is_superuser, last_login_at, version, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`,
		u.Username, u.FirstName, u.LastName, u.Email, u.Language, password, u.Active, u.Staff, u.Superuser, instantOrNull(u.LastLoginAt), tx.Mark.Version, micros(tx.Now)).Scan(&u.ID)
	if err != nil {
		if tx.taken(err, "users") {
			return already("username")
		}
		return fmt.Errorf("insert user %q: %w", u.Username, err)
	}
	u.Version, u.CreatedAt = tx.Mark.Version, tx.Now
	return tx.rememberHash(u.ID, password)
}

// UpdateUser writes a user's texts and flags (neither password nor roles) if u.Version (0 = any) is still the user's version, and sets
// the new one; access.ErrConflict if not.
func (tx *Tx) UpdateUser(u *access.User) error {
	n, err := tx.exec(`UPDATE users SET username = $1, first_name = $2, last_name = $3, email = $4, language = $5, is_active = $6, is_staff = $7,
			is_superuser = $8, version = $9
		WHERE id = $10 AND deleted_at IS NULL AND (version = $11 OR $11 = 0)`,
		u.Username, u.FirstName, u.LastName, u.Email, u.Language, u.Active, u.Staff, u.Superuser, tx.Mark.Version, u.ID, u.Version)
	if err != nil && tx.taken(err, "users") {
		return already("username")
	}
	if err := tx.settle(n, err, "users", u.ID); err != nil {
		return err
	}
	u.Version = tx.Mark.Version
	return nil
}

// UserSeen notes that a user signed in now. It does not make a new version of the user.
func (tx *Tx) UserSeen(id int64) error {
	if _, err := tx.exec(`UPDATE users SET last_login_at = $1 WHERE id = $2`, micros(tx.Now), id); err != nil {
		return fmt.Errorf("note the sign-in of user %d: %w", id, err)
	}
	return nil
}

// DeleteUser tombstones a user and makes their password unusable. All that is theirs is the caller's to delete.
func (tx *Tx) DeleteUser(id int64) error {
	if _, err := tx.exec(`UPDATE users SET password = '!', is_active = $1 WHERE id = $2`, false, id); err != nil {
		return fmt.Errorf("delete user %d: %w", id, err)
	}
	if _, err := tx.exec(`DELETE FROM password_history WHERE user_id = $1`, id); err != nil {
		return fmt.Errorf("delete the passwords of user %d: %w", id, err)
	}
	return tx.bury("users", id)
}
