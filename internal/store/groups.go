package store

import (
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// GroupFilter selects groups; zero fields do not matter. It pages by id: give the last id seen as After.
type GroupFilter struct {
	After  int64
	Search string // words in the name, in any case
	UserID int64  // groups that this user is a member of
	Limit  int    // 1..1000; 0 = 50; All
}

const groupColumns = `g.id, g.name, g.version, g.created_at`

func scanGroup(row scanner) (g access.Group, err error) {
	err = row.Scan(&g.ID, &g.Name, &g.Version, asTime(&g.CreatedAt))
	return g, err
}

// Group returns a living group.
func (tx *Tx) Group(id int64) (access.Group, error) {
	g, err := scanGroup(tx.queryRow(`SELECT `+groupColumns+` FROM user_group g WHERE g.id = $1 AND g.deleted_at IS NULL`, id))
	if err != nil {
		return access.Group{}, fmt.Errorf("group %d: %w", id, err)
	}
	return g, nil
}

// GroupByName returns the living group with exactly this name.
func (tx *Tx) GroupByName(name string) (access.Group, error) {
	g, err := scanGroup(tx.queryRow(`SELECT `+groupColumns+` FROM user_group g WHERE g.name = $1 AND g.deleted_at IS NULL`, name))
	if err != nil {
		return access.Group{}, fmt.Errorf("group %q: %w", name, err)
	}
	return g, nil
}

// Groups lists living groups in order of their ids.
func (tx *Tx) Groups(f GroupFilter) ([]access.Group, error) {
	next := func(after int64, n int) (groups []access.Group, err error) {
		query, args := `SELECT `+groupColumns+` FROM user_group g WHERE g.deleted_at IS NULL AND g.id > $1 ORDER BY g.id LIMIT $2`, []any{after, n}
		if f.UserID != 0 {
			query = `SELECT ` + groupColumns + ` FROM membership m JOIN user_group g ON g.id = m.group_id
				WHERE m.user_id = $3 AND g.deleted_at IS NULL AND g.id > $1 ORDER BY g.id LIMIT $2`
			args = append(args, f.UserID)
		}
		err = tx.each(query, args, func(row scanner) error {
			g, err := scanGroup(row)
			groups = append(groups, g)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list groups: %w", err)
		}
		return groups, nil
	}
	return page(f.After, f.Limit, f.Search, next, func(g *access.Group) (int64, []string) { return g.ID, []string{g.Name} })
}

// InsertGroup writes a new group and sets its ID, Version and CreatedAt. A name that a living group has is access.Invalid.
func (tx *Tx) InsertGroup(g *access.Group) error {
	err := tx.queryRow(`INSERT INTO user_group (name, version, created_at) VALUES ($1, $2, $3) RETURNING id`,
		g.Name, tx.Mark.Version, micros(tx.Now)).Scan(&g.ID)
	if err != nil {
		if tx.taken(err, "user_group") {
			return already("name")
		}
		return fmt.Errorf("insert group %q: %w", g.Name, err)
	}
	g.Version, g.CreatedAt = tx.Mark.Version, tx.Now
	return nil
}

// UpdateGroup writes a group's name if g.Version (0 = any) is still its version, and sets the new one; access.ErrConflict if not.
func (tx *Tx) UpdateGroup(g *access.Group) error {
	n, err := tx.exec(`UPDATE user_group SET name = $1, version = $2 WHERE id = $3 AND deleted_at IS NULL AND (version = $4 OR $4 = 0)`,
		g.Name, tx.Mark.Version, g.ID, g.Version)
	if err != nil && tx.taken(err, "user_group") {
		return already("name")
	}
	if err := tx.settle(n, err, "user_group", g.ID); err != nil {
		return err
	}
	g.Version = tx.Mark.Version
	return nil
}

// DeleteGroup tombstones a group. Its memberships and permissions are the caller's to delete.
func (tx *Tx) DeleteGroup(id int64) error { return tx.bury("user_group", id) }

// AddMember puts a user into a group; added is false when they were in it.
func (tx *Tx) AddMember(groupID, userID int64) (added bool, err error) {
	n, err := tx.exec(`INSERT INTO membership (user_id, group_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, userID, groupID)
	if err != nil {
		return false, fmt.Errorf("add user %d to group %d: %w", userID, groupID, err)
	}
	return n > 0, nil
}

// RemoveMember takes a user out of a group; removed is false when they were not in it.
func (tx *Tx) RemoveMember(groupID, userID int64) (removed bool, err error) {
	n, err := tx.exec(`DELETE FROM membership WHERE user_id = $1 AND group_id = $2`, userID, groupID)
	if err != nil {
		return false, fmt.Errorf("remove user %d from group %d: %w", userID, groupID, err)
	}
	return n > 0, nil
}

// MemberIDs lists the users of a group in order of their ids.
func (tx *Tx) MemberIDs(groupID int64) ([]int64, error) {
	return tx.ids(`SELECT user_id FROM membership WHERE group_id = $1 ORDER BY user_id`, groupID)
}

// MembersAmong lists those of some users who are in a group, in order of ids.
func (tx *Tx) MembersAmong(groupID int64, userIDs []int64) ([]int64, error) {
	var members []int64
	err := inChunks(sortedSet(userIDs), nil, func(in string) error {
		ids, err := tx.ids(`SELECT user_id FROM membership WHERE group_id = $1 AND user_id IN `+in+` ORDER BY user_id`, groupID)
		members = append(members, ids...)
		return err
	}, nil)
	return members, err
}

// GroupIDs lists the groups of a user in order of their ids.
func (tx *Tx) GroupIDs(userID int64) ([]int64, error) {
	return tx.ids(`SELECT group_id FROM membership WHERE user_id = $1 ORDER BY group_id`, userID)
}

// ids runs a query of one number a row.
func (tx *Tx) ids(query string, args ...any) ([]int64, error) {
	var ids []int64
	err := tx.each(query, args, func(row scanner) error {
		var id int64
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list ids: %w", err)
	}
	return ids, nil
}
