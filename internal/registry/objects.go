package registry

import (
	"context"
	"fmt"
	"strconv"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

type (
	// Objects holds what lists name, living or gone, by kind and id.
	Objects = store.Objects
	// NamedUser is a user as lists show them, also one who is gone.
	NamedUser = store.NamedUser
	// NamedGate is a gate as lists show it, also one that is gone.
	NamedGate = store.NamedGate
	// ObjectIDs names objects by kind.
	ObjectIDs = store.ObjectIDs
)

// Objects looks up what ids name, also what was deleted or erased: at most a query for each kind, by ids.
func (r *Registry) Objects(ctx context.Context, ids ObjectIDs) (Objects, error) {
	o, err := reading(ctx, r, func(tx *store.Tx) (Objects, error) { return tx.Objects(ids) })
	if err != nil {
		return Objects{}, fmt.Errorf("look up the names of a page: %w", err)
	}
	return o, nil
}

// GateOnce is the id of the gate that was the last one deleted of those with this code.
func (r *Registry) GateOnce(ctx context.Context, code string) (int64, error) {
	return reading(ctx, r, func(tx *store.Tx) (int64, error) { return tx.GateOnce(code) })
}

// UserOnce is the id of the user who was the last one deleted of those with this name.
func (r *Registry) UserOnce(ctx context.Context, username string) (int64, error) {
	return reading(ctx, r, func(tx *store.Tx) (int64, error) { return tx.UserOnce(username) })
}

// ObjectsOfEvents looks up what the events of a page name: users, gates, devices, credentials, and the permissions with their groups.
func (r *Registry) ObjectsOfEvents(ctx context.Context, events []access.Event) (Objects, error) {
	var ids ObjectIDs
	for _, e := range events {
		ids.Users, ids.Gates, ids.Devices = append(ids.Users, e.UserID), append(ids.Gates, e.GateID), append(ids.Devices, e.DeviceID)
		ids.Credentials, ids.Permissions = append(ids.Credentials, e.CredentialID), append(ids.Permissions, e.PermissionID)
	}
	return r.Objects(ctx, ids)
}

// ObjectsOfChanges looks up what the audit lines of a page name: who acted, on what, and the objects whose ids stand among the fields
// (user_id, gate_id, group_id, device_id).
func (r *Registry) ObjectsOfChanges(ctx context.Context, changes []access.Change) (Objects, error) {
	var ids ObjectIDs
	for _, c := range changes {
		ids.Users = append(ids.Users, c.Actor.UserID)
		switch c.Object {
		case access.ObjectUser, access.ObjectMember, access.ObjectRole:
			ids.Users = append(ids.Users, c.ObjectID)
		case access.ObjectGate:
			ids.Gates = append(ids.Gates, c.ObjectID)
		case access.ObjectGroup:
			ids.Groups = append(ids.Groups, c.ObjectID)
		case access.ObjectDevice:
			ids.Devices = append(ids.Devices, c.ObjectID)
		case access.ObjectCredential:
			ids.Credentials = append(ids.Credentials, c.ObjectID)
		case access.ObjectPermission:
			ids.Permissions = append(ids.Permissions, c.ObjectID)
		}
		for _, side := range []access.Fields{c.Before, c.After} {
			for _, f := range []struct {
				name string
				to   *[]int64
			}{{"user_id", &ids.Users}, {"gate_id", &ids.Gates}, {"group_id", &ids.Groups}, {"device_id", &ids.Devices}} {
				if id, err := strconv.ParseInt(side[f.name], 10, 64); err == nil {
					*f.to = append(*f.to, id)
				}
			}
		}
	}
	return r.Objects(ctx, ids)
}
