package store

import (
	"fmt"
	"slices"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// What pages show of permissions: cells of groups and gates, who passes a gate, which gates somebody passes.

// GroupPermissions lists the living permissions of groups at gates, in order of group, gate and id. It reads what the groups have between the first
// and the last of the gates.
func (tx *Tx) GroupPermissions(groupIDs, gateIDs []int64) ([]access.Permission, error) {
	if len(groupIDs) == 0 || len(gateIDs) == 0 {
		return nil, nil
	}
	gates := sortedSet(gateIDs)
	wanted := make(map[int64]bool, len(gates))
	for _, g := range gates {
		wanted[g] = true
	}
	var list []access.Permission
	err := inChunks(sortedSet(groupIDs), nil, func(in string) error {
		return tx.each(`SELECT `+permissionColumns+` FROM permission WHERE deleted_at IS NULL AND group_id IN `+in+` AND gate_id BETWEEN $1 AND $2
			ORDER BY group_id, gate_id, id`, []any{gates[0], gates[len(gates)-1]}, func(row scanner) error {
			p, err := scanPermission(row)
			if err == nil && wanted[p.GateID] {
				list = append(list, p)
			}
			return err
		})
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("read the permissions of %d groups at %d gates: %w", len(groupIDs), len(gateIDs), err)
	}
	return list, nil
}

// PermissionsAtGate lists living permissions at a gate, those of groups first, each in order of subject and id, after one of them (nil = from the
// beginning). It reads only what it returns.
func (tx *Tx) PermissionsAtGate(gateID int64, after *access.Permission, limit int) ([]access.Permission, error) {
	var list []access.Permission
	limit = pageSize(limit)
	part := func(column string, subject, id int64) error {
		return tx.each(`SELECT `+permissionColumns+` FROM permission WHERE deleted_at IS NULL AND gate_id = $1 AND `+column+` IS NOT NULL
			AND (`+column+`, id) > ($2, $3) ORDER BY `+column+`, id LIMIT $4`, []any{gateID, subject, id, limit - len(list)}, func(row scanner) error {
			p, err := scanPermission(row)
			list = append(list, p)
			return err
		})
	}
	var from access.Permission
	if after != nil {
		from = *after
	}
	var err error
	if from.UserID == 0 {
		err = part("group_id", from.GroupID, from.ID)
		from = access.Permission{}
	}
	if err == nil && len(list) < limit {
		err = part("user_id", from.UserID, from.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("list who may pass gate %d: %w", gateID, err)
	}
	return list, nil
}

// CountAtGate counts the living permissions at a gate, up to most.
func (tx *Tx) CountAtGate(gateID int64, most int) (int, error) {
	users, err := tx.countUpTo(`permission WHERE deleted_at IS NULL AND gate_id = $1 AND user_id IS NOT NULL`, gateID, most)
	if err != nil || users == most {
		return users, err
	}
	groups, err := tx.countUpTo(`permission WHERE deleted_at IS NULL AND gate_id = $1 AND group_id IS NOT NULL`, gateID, most-users)
	return users + groups, err
}

// CountOfGroup counts the members of a group and its living permissions, each up to most.
func (tx *Tx) CountOfGroup(groupID int64, most int) (members, permissions int, err error) {
	if members, err = tx.countUpTo(`membership WHERE group_id = $1`, groupID, most); err == nil {
		permissions, err = tx.countUpTo(`permission WHERE deleted_at IS NULL AND group_id = $1`, groupID, most)
	}
	return members, permissions, err
}

// countUpTo counts the rows of one object, and reads no more of them than most.
func (tx *Tx) countUpTo(rows string, id int64, most int) (n int, err error) {
	if err := tx.queryRow(`SELECT COUNT(*) FROM (SELECT 1 FROM `+rows+` LIMIT $2) AS few`, id, most).Scan(&n); err != nil {
		return 0, fmt.Errorf("count what %d has: %w", id, err)
	}
	return n, nil
}

// GatesOf lists the gates at which a user or one of some groups has a living permission, in order of ids after one of them.
func (tx *Tx) GatesOf(userID int64, groupIDs []int64, after int64, limit int) ([]int64, error) {
	limit = pageSize(limit)
	ids, err := tx.ids(`SELECT DISTINCT gate_id FROM permission WHERE deleted_at IS NULL AND user_id = $1 AND gate_id > $2 ORDER BY gate_id LIMIT $3`, userID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the gates of user %d: %w", userID, err)
	}
	// What is on the page of all is on that of each: so each group need only give one.
	for chunk := range slices.Chunk(groupIDs, 100) {
		parts := make([]string, len(chunk))
		for i, g := range chunk {
			parts[i] = fmt.Sprintf(`SELECT gate_id FROM (SELECT DISTINCT gate_id FROM permission
				WHERE deleted_at IS NULL AND group_id = %d AND gate_id > $1 ORDER BY gate_id LIMIT $2) g%d`, g, i)
		}
		more, err := tx.ids(strings.Join(parts, ` UNION `)+` ORDER BY gate_id LIMIT $2`, after, limit)
		if err != nil {
			return nil, fmt.Errorf("list the gates of user %d: %w", userID, err)
		}
		ids = sortedSet(ids, more)
	}
	return ids[:min(len(ids), limit)], nil
}

// PermissionsOf lists the living permissions of a user and of some groups at some gates: the groups' first.
func (tx *Tx) PermissionsOf(userID int64, groupIDs, gateIDs []int64) ([]access.Permission, error) {
	if len(gateIDs) == 0 {
		return nil, nil
	}
	gates := sortedSet(gateIDs)
	wanted := make(map[int64]bool, len(gates))
	for _, g := range gates {
		wanted[g] = true
	}
	list, err := tx.GroupPermissions(groupIDs, gateIDs)
	if err != nil {
		return nil, err
	}
	err = tx.each(`SELECT `+permissionColumns+` FROM permission WHERE deleted_at IS NULL AND user_id = $1 AND gate_id BETWEEN $2 AND $3 ORDER BY gate_id, id`,
		[]any{userID, gates[0], gates[len(gates)-1]}, func(row scanner) error {
			p, err := scanPermission(row)
			if err == nil && wanted[p.GateID] {
				list = append(list, p)
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read the permissions of user %d: %w", userID, err)
	}
	return list, nil
}
