package store

import (
	"fmt"
	"slices"

	"github.com/openway-access/openway/internal/access"
)

// What the registry's directory of names is made of, and rows by their ids.

// NameRow is a living user, gate or group as people look for it.
type NameRow struct {
	ID    int64
	Off   bool // an inactive user
	Texts []string
}

// nameQueries select id, whether it is off, and texts. In place of %s come further conditions.
var nameQueries = map[string]string{
	access.ObjectUser:  `SELECT id, NOT is_active, username, first_name || ' ' || last_name, email FROM users WHERE deleted_at IS NULL%s ORDER BY id`,
	access.ObjectGate:  `SELECT id, FALSE, code, name, location FROM gate WHERE deleted_at IS NULL%s ORDER BY id`,
	access.ObjectGroup: `SELECT id, FALSE, name, '', '' FROM user_group WHERE deleted_at IS NULL%s ORDER BY id`,
}

// EachName tells of all living objects of a kind (access.ObjectUser, ObjectGate, ObjectGroup), or of those of ids that live, in order of ids.
// The row belongs to the store: copy what is kept. Reading all is a walk through the table.
func (tx *Tx) EachName(kind string, ids []int64, all bool, tell func(NameRow)) error {
	row := NameRow{Texts: make([]string, 3)}
	read := func(condition string) error {
		return tx.each(fmt.Sprintf(nameQueries[kind], condition), nil, func(r scanner) error {
			err := r.Scan(&row.ID, &row.Off, &row.Texts[0], &row.Texts[1], &row.Texts[2])
			if err == nil {
				tell(row)
			}
			return err
		})
	}
	if all {
		if err := read(""); err != nil {
			return fmt.Errorf("read the names of each %s: %w", kind, err)
		}
		return nil
	}
	for chunk := range slices.Chunk(sortedSet(ids), idsPerQuery) {
		if err := read(` AND id IN ` + idList(chunk)); err != nil {
			return fmt.Errorf("read the names of %d of each %s: %w", len(chunk), kind, err)
		}
	}
	return nil
}

// ChangedSince lists, by kind, the ids of what changed after a mark. whole is false when the audit does not hold all that came since, or
// when that is too much: read everything again.
func (tx *Tx) ChangedSince(since access.PolicyMark) (changed map[string][]int64, whole bool, err error) {
	if tx.Mark == since {
		return nil, true, nil
	}
	if whole, err = tx.feedIsWhole(since); err == nil && whole {
		changed, whole, err = tx.changedObjects(since)
	}
	if err != nil {
		return nil, false, fmt.Errorf("list what changed since policy %d: %w", since.Version, err)
	}
	return changed, whole, nil
}

// ListUsers returns those of ids that live, with their roles, in the order of ids.
func (tx *Tx) ListUsers(ids []int64) ([]access.User, error) {
	var users []access.User
	err := inChunks(sortedSet(ids), nil, func(in string) error {
		return tx.each(`SELECT `+userColumns+` FROM users u WHERE u.deleted_at IS NULL AND u.id IN `+in+` ORDER BY u.id`, nil, func(row scanner) error {
			u, err := scanUser(row)
			users = append(users, u)
			return err
		})
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("read %d users: %w", len(ids), err)
	}
	if err := tx.fillRoles(users); err != nil {
		return nil, err
	}
	return inOrder(ids, users, func(u access.User) int64 { return u.ID }), nil
}

// ListGates returns those of ids that live, in the order of ids.
func (tx *Tx) ListGates(ids []int64) ([]access.Gate, error) {
	var gates []access.Gate
	err := inChunks(sortedSet(ids), nil, func(in string) error {
		return tx.each(`SELECT `+gateColumns+` FROM gate WHERE deleted_at IS NULL AND id IN `+in, nil, func(row scanner) error {
			g, err := scanGate(row)
			gates = append(gates, g)
			return err
		})
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("read %d gates: %w", len(ids), err)
	}
	return inOrder(ids, gates, func(g access.Gate) int64 { return g.ID }), nil
}

// ListGroups returns those of ids that live, in the order of ids.
func (tx *Tx) ListGroups(ids []int64) ([]access.Group, error) {
	var groups []access.Group
	err := inChunks(sortedSet(ids), nil, func(in string) error {
		return tx.each(`SELECT `+groupColumns+` FROM user_group g WHERE g.deleted_at IS NULL AND g.id IN `+in, nil, func(row scanner) error {
			g, err := scanGroup(row)
			groups = append(groups, g)
			return err
		})
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("read %d groups: %w", len(ids), err)
	}
	return inOrder(ids, groups, func(g access.Group) int64 { return g.ID }), nil
}

// inOrder puts rows into the order of ids; an id that stands twice has its row once.
func inOrder[T any](ids []int64, rows []T, id func(T) int64) []T {
	at := make(map[int64]int, len(ids))
	for i, x := range ids {
		if _, twice := at[x]; !twice {
			at[x] = i
		}
	}
	slices.SortFunc(rows, func(a, b T) int { return at[id(a)] - at[id(b)] })
	return rows
}
