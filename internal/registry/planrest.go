package registry

import (
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/sitefile"
)

// owners sees to it that an active owner is left if there is one now. A file that takes the role from the last one has a mistake; a
// deletion of the last one is left out of the plan.
func (p *planner) owners() {
	var was []*access.User
	for _, u := range p.now.inOrder.users {
		if owner(*u) {
			was = append(was, u)
		}
	}
	if len(was) == 0 {
		return
	}
	for _, u := range p.users {
		if owner(*u) {
			return
		}
	}
	for _, u := range was {
		if p.kept[u] {
			continue
		}
		if p.prune {
			p.kept[u] = true
			p.plan.Steps = append(p.plan.Steps, PlanStep{Action: PlanUnchanged, Object: access.ObjectUser, Name: u.Username})
			p.note("user %s is not in the file and stays: the last active owner is never deleted", u.Username)
		}
		return
	}
	for _, f := range p.file.Users {
		for _, u := range was {
			if want := p.users[f.Username]; want != nil && want.ID == u.ID {
				p.bad.Add(f.Place, ownerField(f), "%s is the last active owner: make somebody else one first", u.Username)
				return
			}
		}
	}
}

// ownerField is the field that takes an owner's role.
func ownerField(u sitefile.User) string {
	if u.Has("active") && !u.Active {
		return "active"
	}
	return "superuser"
}

// rest plans the deletion of what is there and not in the file, or says how much that is.
func (p *planner) rest() {
	var gone []PlanStep
	var work []func(*change) error
	remove := func(object, name string, fn func(*change) error) {
		gone = append(gone, PlanStep{Action: PlanDelete, Object: object, Name: name})
		work = append(work, fn)
	}
	groups, users, gates := map[int64]*access.Group{}, map[int64]*access.User{}, map[int64]*access.Gate{}
	for _, g := range p.now.inOrder.groups {
		groups[g.ID] = g
	}
	for _, u := range p.now.inOrder.users {
		users[u.ID] = u
	}
	for _, g := range p.now.inOrder.gates {
		gates[g.ID] = g
	}
	// What belongs to something that goes, goes with it and is no step of its own.
	for _, d := range p.now.inOrder.devices {
		if u := users[d.UserID]; !p.keptPhones[d.ID] && u != nil && p.kept[u] {
			remove(access.ObjectDevice, deviceName(u.Username, d.Name, d.AndroidDeviceID), func(c *change) error { return c.deleteDevice(d) })
		}
	}
	for _, r := range p.now.inOrder.permissions {
		gate, user, group := gates[r.GateID], users[r.UserID], groups[r.GroupID]
		if p.keptRows[r.ID] || gate == nil || !p.kept[gate] || user != nil && !p.kept[user] || group != nil && !p.kept[group] {
			continue
		}
		whom := sitefile.Permission{}
		if user != nil {
			whom.User = user.Username
		} else if group != nil {
			whom.Group = group.Name
		}
		remove(access.ObjectPermission, permissionName(gate.Code, whom.Subject(), r.ValidFrom, r.ValidUntil), func(c *change) error { return c.deletePermission(r) })
	}
	for _, g := range p.now.inOrder.gates {
		if !p.kept[g] {
			remove(access.ObjectGate, g.Code, func(c *change) error { _, err := c.deleteGate(g.ID, 0); return err })
		}
	}
	for _, u := range p.now.inOrder.users {
		if !p.kept[u] {
			remove(access.ObjectUser, u.Username, func(c *change) error { _, err := c.deleteUser(u.ID, 0); return err })
		}
	}
	for _, g := range p.now.inOrder.groups {
		if !p.kept[g] {
			remove(access.ObjectGroup, g.Name, func(c *change) error { _, err := c.deleteGroup(g.ID, 0); return err })
		}
	}
	if p.prune {
		p.plan.Steps = append(p.plan.Steps, gone...)
		p.work = append(p.work, work...)
	} else if len(gone) > 0 {
		p.note("not in the file: %s; --prune would delete that", counted(gone))
	}
	p.lockedOut()
}

// lockedOut says whom the file would switch on if it said so.
func (p *planner) lockedOut() {
	var names []string
	for _, f := range p.file.Users {
		if u := p.users[f.Username]; u != nil && !u.Active && !f.Has("active") {
			names = append(names, f.Username)
		}
	}
	if len(names) > 0 {
		const most = 10
		if len(names) > most {
			names = append(names[:most], "…")
		}
		p.note("inactive, and the file does not say active: true or false: %s", strings.Join(names, ", "))
	}
}

// counted is "2 groups, 1 user".
func counted(steps []PlanStep) string {
	p := Plan{}
	for _, s := range steps {
		s.Action = PlanUnchanged
		p.Steps = append(p.Steps, s)
	}
	return p.Unchanged()
}
