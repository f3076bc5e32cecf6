package store

import (
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// fillRoles reads the roles of users that stand in order of their ids.
func (tx *Tx) fillRoles(users []access.User) error {
	if len(users) == 0 {
		return nil
	}
	roles := map[int64][]access.RoleGrant{}
	err := tx.each(`SELECT user_id, role, site_id FROM role_grant WHERE user_id BETWEEN $1 AND $2 ORDER BY user_id, id`,
		[]any{users[0].ID, users[len(users)-1].ID}, func(row scanner) error {
			var id int64
			var g access.RoleGrant
			err := row.Scan(&id, &g.Role, asNumber(&g.SiteID))
			roles[id] = append(roles[id], g)
			return err
		})
	if err != nil {
		return fmt.Errorf("read roles: %w", err)
	}
	for i := range users {
		users[i].Roles = roles[users[i].ID]
	}
	return nil
}

// SetRole gives a user a role on a site (0 = all) in place of the one held there.
func (tx *Tx) SetRole(userID int64, g access.RoleGrant) error {
	n, err := tx.exec(`UPDATE role_grant SET role = $1 WHERE user_id = $2 AND COALESCE(site_id, 0) = $3`, string(g.Role), userID, g.SiteID)
	if err == nil && n == 0 {
		_, err = tx.exec(`INSERT INTO role_grant (user_id, role, site_id) VALUES ($1, $2, $3)`, userID, string(g.Role), orNull(g.SiteID))
	}
	if err != nil {
		return fmt.Errorf("set the role of user %d: %w", userID, err)
	}
	return nil
}

// DeleteRole takes the role on a site (0 = all) away; deleted is false when there was none.
func (tx *Tx) DeleteRole(userID, siteID int64) (deleted bool, err error) {
	n, err := tx.exec(`DELETE FROM role_grant WHERE user_id = $1 AND COALESCE(site_id, 0) = $2`, userID, siteID)
	if err != nil {
		return false, fmt.Errorf("delete the role of user %d: %w", userID, err)
	}
	return n > 0, nil
}

// HasOwner reports whether there is a living, active user who is owner, as a superuser or by a role.
func (tx *Tx) HasOwner() (bool, error) {
	var has bool
	err := tx.queryRow(`SELECT EXISTS (SELECT 1 FROM users u WHERE u.deleted_at IS NULL AND u.is_active
		AND (u.is_superuser OR EXISTS (SELECT 1 FROM role_grant g WHERE g.user_id = u.id AND g.role = 'owner')))`).Scan(&has)
	if err != nil {
		return false, fmt.Errorf("look for an owner: %w", err)
	}
	return has, nil
}

// ActiveOwners lists the living, active users who are owners, as a superuser or by a role. It walks through what few superusers and roles there are.
func (tx *Tx) ActiveOwners() ([]int64, error) {
	ids, err := tx.ids(`SELECT id FROM users WHERE deleted_at IS NULL AND is_active AND is_superuser
		UNION SELECT u.id FROM role_grant g JOIN users u ON u.id = g.user_id WHERE g.role = 'owner' AND u.deleted_at IS NULL AND u.is_active`)
	if err != nil {
		return nil, fmt.Errorf("list the owners: %w", err)
	}
	return ids, nil
}

// Administrators lists the living, active users who hold a role, by one of their own or as staff or superuser. It reads all users.
func (tx *Tx) Administrators() (users []access.User, err error) {
	var ids []int64
	err = tx.each(`SELECT u.id FROM users u WHERE u.deleted_at IS NULL AND u.is_active
		AND (u.is_superuser OR u.is_staff OR EXISTS (SELECT 1 FROM role_grant g WHERE g.user_id = u.id)) ORDER BY u.id`, nil, func(row scanner) error {
		var id int64
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the administrators: %w", err)
	}
	for _, id := range ids {
		u, err := tx.User(id)
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, nil
}
