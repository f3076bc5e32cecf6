package store

import (
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// Passer is one permission at a gate with whom it names.
type Passer struct {
	access.Permission
	GroupName string      // "" unless the permission names a group
	User      access.User // without roles; the zero User unless the permission names one
}

// PasserFilter selects the permissions of one gate that name groups, or those that name users. It pages by id.
type PasserFilter struct {
	GateID int64
	Groups bool  // those that name groups, else those that name users
	Of     int64 // only those that concern this user: name the user, or one of the user's groups; 0 = all
	After  int64
	Limit  int // 1..1000; 0 = 50; All
}

// Passers lists who may pass a gate, as far as its living permissions say, in order of the permissions' ids.
func (tx *Tx) Passers(f PasserFilter) ([]Passer, error) {
	columns := `p.id, p.gate_id, p.user_id, p.group_id, p.allow, p.valid_from, p.valid_until, p.version, p.created_at, `
	from := columns + `g.name FROM permission p JOIN user_group g ON g.id = p.group_id WHERE p.group_id IS NOT NULL`
	if !f.Groups {
		from = columns + userColumns + ` FROM permission p JOIN users u ON u.id = p.user_id WHERE p.user_id IS NOT NULL`
	}
	args := []any{f.GateID, f.After, pageSize(f.Limit)}
	if f.Of != 0 {
		args = append(args, f.Of)
		if f.Groups {
			from += ` AND p.group_id IN (SELECT m.group_id FROM membership m WHERE m.user_id = $4)`
		} else {
			from += ` AND p.user_id = $4`
		}
	}
	var list []Passer
	err := tx.each(`SELECT `+from+` AND p.deleted_at IS NULL AND p.gate_id = $1 AND p.id > $2 ORDER BY p.id LIMIT $3`,
		args, func(row scanner) error {
			var p Passer
			to := []any{&p.ID, &p.GateID, asNumber(&p.UserID), asNumber(&p.GroupID), &p.Allow, asTime(&p.ValidFrom), asTime(&p.ValidUntil), &p.Version, asTime(&p.CreatedAt)}
			if f.Groups {
				to = append(to, &p.GroupName)
			} else {
				u := &p.User
				to = append(to, &u.ID, &u.Username, &u.FirstName, &u.LastName, &u.Email, &u.Language, &u.Active, &u.Staff, &u.Superuser, &u.Version,
					asTime(&u.CreatedAt), asTime(&u.LastLoginAt))
			}
			err := row.Scan(to...)
			list = append(list, p)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("list who may pass gate %d: %w", f.GateID, err)
	}
	return list, nil
}

// UsersByID returns the living users among ids, without roles.
func (tx *Tx) UsersByID(ids []int64) (map[int64]access.User, error) {
	found := make(map[int64]access.User, len(ids))
	err := inChunks(ids, nil, func(in string) error {
		return tx.each(`SELECT `+userColumns+` FROM users u WHERE u.deleted_at IS NULL AND u.id IN `+in, nil, func(row scanner) error {
			u, err := scanUser(row)
			found[u.ID] = u
			return err
		})
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("look users up: %w", err)
	}
	return found, nil
}
