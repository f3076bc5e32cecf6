package store

import (
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Objects that lists of events and of the audit name, living or gone: a list is readable also after what it names was deleted.

// Ended says how an object ended. Zero times: it has not.
type Ended struct {
	DeletedAt time.Time
	ErasedAt  time.Time // of users: their personal text was blanked
}

// NamedUser is a user as lists show them.
type NamedUser struct {
	ID                            int64
	Username, FirstName, LastName string
	Active                        bool
	Ended
}

// NamedGate is a gate as lists show it.
type NamedGate struct {
	ID         int64
	Code, Name string
	Ended
}

// NamedGroup is a group as lists show it.
type NamedGroup struct {
	ID   int64
	Name string
	Ended
}

// NamedDevice is a device as lists show it.
type NamedDevice struct {
	ID, UserID int64
	Name       string
	Active     bool
	Ended
}

// NamedCredential is a credential as lists show it.
type NamedCredential struct {
	ID, UserID, DeviceID int64
	Kind                 access.CredentialKind
	Preview, Label       string
	State                access.CredentialState
	StateReason          string
	ValidFrom            time.Time
	ValidUntil           time.Time
	IdleExpires          bool
	LastUsedDay          int
	Ended
}

// NamedPermission is a permission as it is, or as it was when it was deleted.
type NamedPermission struct {
	access.Permission
	Ended
}

// ObjectIDs names objects by kind. Zero ids and repeated ones do not matter.
type ObjectIDs struct {
	Users, Gates, Groups, Devices, Credentials, Permissions []int64
}

// Objects holds objects by id.
type Objects struct {
	Users       map[int64]NamedUser
	Gates       map[int64]NamedGate
	Groups      map[int64]NamedGroup
	Devices     map[int64]NamedDevice
	Credentials map[int64]NamedCredential
	Permissions map[int64]NamedPermission
}

// GateOnce is the id of the gate that was the last one deleted of those with this code. It walks through the gates.
func (tx *Tx) GateOnce(code string) (id int64, err error) {
	err = tx.queryRow(`SELECT id FROM gate WHERE code = $1 AND deleted_at IS NOT NULL ORDER BY deleted_at DESC, id DESC LIMIT 1`, code).Scan(&id)
	return id, err
}

// UserOnce is the id of the user who was the last one deleted of those with this name. It walks through the users.
func (tx *Tx) UserOnce(username string) (id int64, err error) {
	err = tx.queryRow(`SELECT id FROM users WHERE username = $1 AND deleted_at IS NOT NULL ORDER BY deleted_at DESC, id DESC LIMIT 1`, username).Scan(&id)
	return id, err
}

// Objects looks up what ids name, also what was deleted: a query by ids for each kind. What never was is missing. With permissions come the gates,
// users and groups that they name.
func (tx *Tx) Objects(ids ObjectIDs) (o Objects, err error) {
	if o.Permissions, err = rows(tx, `SELECT `+permissionColumns+`, deleted_at FROM permission WHERE id IN `, ids.Permissions, func(row scanner) (p NamedPermission, id int64, err error) {
		err = row.Scan(&p.ID, &p.GateID, asNumber(&p.UserID), asNumber(&p.GroupID), &p.Allow, asTime(&p.ValidFrom), asTime(&p.ValidUntil), &p.Version,
			asTime(&p.CreatedAt), asTime(&p.DeletedAt))
		return p, p.ID, err
	}); err != nil {
		return o, err
	}
	for _, p := range o.Permissions {
		ids.Gates, ids.Users, ids.Groups = append(ids.Gates, p.GateID), append(ids.Users, p.UserID), append(ids.Groups, p.GroupID)
	}
	if o.Users, err = rows(tx, `SELECT id, username, first_name, last_name, is_active, deleted_at, erased_at FROM users WHERE id IN `, ids.Users, func(row scanner) (u NamedUser, id int64, err error) {
		err = row.Scan(&u.ID, &u.Username, &u.FirstName, &u.LastName, &u.Active, asTime(&u.DeletedAt), asTime(&u.ErasedAt))
		return u, u.ID, err
	}); err != nil {
		return o, err
	}
	if o.Gates, err = rows(tx, `SELECT id, code, name, deleted_at FROM gate WHERE id IN `, ids.Gates, func(row scanner) (g NamedGate, id int64, err error) {
		err = row.Scan(&g.ID, &g.Code, &g.Name, asTime(&g.DeletedAt))
		return g, g.ID, err
	}); err != nil {
		return o, err
	}
	if o.Groups, err = rows(tx, `SELECT id, name, deleted_at FROM user_group WHERE id IN `, ids.Groups, func(row scanner) (g NamedGroup, id int64, err error) {
		err = row.Scan(&g.ID, &g.Name, asTime(&g.DeletedAt))
		return g, g.ID, err
	}); err != nil {
		return o, err
	}
	if o.Devices, err = rows(tx, `SELECT id, user_id, name, is_active, deleted_at FROM device WHERE id IN `, ids.Devices, func(row scanner) (d NamedDevice, id int64, err error) {
		err = row.Scan(&d.ID, &d.UserID, &d.Name, &d.Active, asTime(&d.DeletedAt))
		return d, d.ID, err
	}); err != nil {
		return o, err
	}
	o.Credentials, err = rows(tx, `SELECT id, user_id, device_id, kind, preview, label, state, state_reason, valid_from, valid_until, idle_expires, last_used_day, deleted_at
		FROM credential WHERE id IN `, ids.Credentials, func(row scanner) (c NamedCredential, id int64, err error) {
		err = row.Scan(&c.ID, &c.UserID, asNumber(&c.DeviceID), &c.Kind, &c.Preview, &c.Label, &c.State, &c.StateReason, asTime(&c.ValidFrom), asTime(&c.ValidUntil),
			&c.IdleExpires, &c.LastUsedDay, asTime(&c.DeletedAt))
		return c, c.ID, err
	})
	return o, err
}

// rows reads rows of some ids into a map by id. query ends with "IN ".
func rows[T any](tx *Tx, query string, ids []int64, scan func(row scanner) (v T, id int64, err error)) (map[int64]T, error) {
	found := make(map[int64]T, len(ids))
	ids = sortedSet(ids)
	if len(ids) > 0 && ids[0] == 0 {
		ids = ids[1:]
	}
	err := inChunks(ids, nil, func(in string) error {
		return tx.each(query+in, nil, func(row scanner) error {
			v, id, err := scan(row)
			found[id] = v
			return err
		})
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("look up %d objects: %w", len(ids), err)
	}
	return found, nil
}
