package registry

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/sitefile"
	"github.com/openway-access/openway/internal/store"
)

// Export returns the whole site as a file declares it, without secrets, each kind in order of ids. It leaves an audit line.
// Applying it to the same site changes nothing.
func (r *Registry) Export(ctx context.Context, actor access.Actor) (*sitefile.Site, error) {
	now, err := reading(ctx, r, func(tx *store.Tx) (*siteState, error) { return readSite(tx, &sitefile.Site{}, r.keys) })
	if err != nil {
		return nil, fmt.Errorf("export the site: %w", err)
	}
	if err := r.note(ctx, actor, access.ObjectSite, access.ActionExport, nil); err != nil {
		return nil, err
	}
	return now.file(), nil
}

// file is what is there, in a file's words.
func (s *siteState) file() *sitefile.Site {
	f := &sitefile.Site{}
	groups, users, gates := map[int64]string{}, map[int64]string{}, map[int64]string{}
	for _, g := range s.inOrder.groups {
		groups[g.ID] = g.Name
		f.Groups = append(f.Groups, sitefile.Group{Name: g.Name})
	}
	for _, u := range s.inOrder.users {
		users[u.ID] = u.Username
		x := sitefile.User{
			Username: u.Username, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email, Language: u.Language,
			Active: u.Active, Staff: u.Staff, Superuser: u.Superuser, Role: roleOf(u.Roles),
		}
		for _, g := range s.inOrder.groups {
			if s.memberOf[u.ID][g.Name] {
				x.Groups = append(x.Groups, g.Name)
			}
		}
		f.Users = append(f.Users, x)
	}
	for _, g := range s.inOrder.gates {
		gates[g.ID] = g.Code
		f.Gates = append(f.Gates, sitefile.Gate{Code: g.Code, Name: g.Name, Location: g.Location, ReleaseMS: g.ReleaseMS})
	}
	for _, p := range s.inOrder.permissions {
		f.Permissions = append(f.Permissions, sitefile.Permission{
			Gate: gates[p.GateID], User: users[p.UserID], Group: groups[p.GroupID], Allow: p.Allow,
			ValidFrom: sitefile.Instant(p.ValidFrom), ValidUntil: sitefile.Instant(p.ValidUntil),
		})
	}
	for _, d := range s.inOrder.devices {
		f.Devices = append(f.Devices, sitefile.Device{User: users[d.UserID], Name: d.Name, AndroidDeviceID: d.AndroidDeviceID, Active: d.Active})
	}
	return f
}
