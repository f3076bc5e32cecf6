package registry

import (
	"fmt"
	"slices"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/sitefile"
)

func (p *planner) note(format string, args ...any) {
	p.plan.Notes = append(p.plan.Notes, fmt.Sprintf(format, args...))
}

// groupNamed is the group that the file means by a name: one that it declares, else one that is there.
func (p *planner) groupNamed(at sitefile.Place, field, name string) *access.Group {
	return named(p, at, field, "group", name, p.groups, p.now.groups)
}

// named finds what a reference of the file means, or notes that it means nothing.
func named[T any](p *planner, at sitefile.Place, field, kind, name string, declared, there map[string]*T) *T {
	if found, ok := declared[name]; ok {
		return found
	}
	found, ok := there[name]
	switch {
	case !ok:
		p.bad.Add(at, field, "there is no %s %q, neither in the file nor in the database", kind, name)
	case p.replaced[found] != "":
		p.bad.Add(at, field, "%s %q becomes %q: use the new name", kind, name, p.replaced[found])
	case p.prune:
		p.bad.Add(at, field, "%s %q is not in the file, so that --prune would delete it", kind, name)
	default:
		return found
	}
	return nil
}

// grant is a permission of the file with what its names mean.
type grant struct {
	sitefile.Permission
	gate        *access.Gate
	user        *access.User
	group       *access.Group
	from, until time.Time
	row         *access.Permission // the one it is in the database
}

// subject tells permissions apart. New objects have no ids yet, but their pointers are their own.
type subject struct {
	gate  any
	whose any
}

func (g *grant) subject() subject {
	if g.group != nil {
		return subject{g.gate, g.group}
	}
	return subject{g.gate, g.user}
}

// permissions plans all permissions. Rows are matched by gate, subject and period, and what is left of a gate and subject is taken to have another
// period now: a permission that gets an end in the file must not stay open-ended in the database.
func (p *planner) permissions() {
	var grants []*grant
	bySubject := map[subject][]*grant{}
	for _, f := range p.file.Permissions {
		g := p.grant(f)
		if g == nil {
			continue
		}
		for _, other := range bySubject[g.subject()] {
			if other.from.Equal(g.from) && other.until.Equal(g.until) {
				p.bad.Add(f.Place, "", "is the same permission as the one on line %d", other.Line)
			}
		}
		grants = append(grants, g)
		bySubject[g.subject()] = append(bySubject[g.subject()], g)
	}
	p.matchRows(bySubject)
	for _, g := range grants {
		p.permission(g)
	}
}

func (p *planner) grant(f sitefile.Permission) *grant {
	g := &grant{Permission: f, gate: named(p, f.Place, "gate", "gate", f.Gate, p.gates, p.now.gates)}
	if f.Group != "" {
		g.group = p.groupNamed(f.Place, "group", f.Group)
	} else {
		g.user = named(p, f.Place, "user", "user", f.User, p.users, p.now.users)
	}
	var err error
	if g.from, err = f.ValidFrom.In(p.now.zone); err != nil {
		p.bad.Add(f.Place, "valid_from", "%v", err)
		return nil
	}
	if g.until, err = f.ValidUntil.In(p.now.zone); err != nil {
		p.bad.Add(f.Place, "valid_until", "%v", err)
		return nil
	}
	if !g.from.IsZero() && !g.until.IsZero() && !g.from.Before(g.until) {
		p.bad.Add(f.Place, "valid_until", "ends before it begins")
		return nil
	}
	if g.gate == nil || g.group == nil && g.user == nil {
		return nil
	}
	return g
}

// matchRows finds the row of each grant.
func (p *planner) matchRows(bySubject map[subject][]*grant) {
	rows := map[[3]int64][]*access.Permission{}
	for i := range p.now.inOrder.permissions {
		r := &p.now.inOrder.permissions[i]
		key := [3]int64{r.GateID, r.UserID, r.GroupID}
		rows[key] = append(rows[key], r)
	}
	for _, grants := range bySubject {
		g := grants[0]
		key := [3]int64{g.gate.ID, g.userID(), g.groupID()}
		if g.gate.ID == 0 || key[1]+key[2] == 0 {
			continue // the gate or the subject is new
		}
		left := rows[key]
		for _, g := range grants {
			i := slices.IndexFunc(left, func(r *access.Permission) bool { return r.ValidFrom.Equal(g.from) && r.ValidUntil.Equal(g.until) })
			if i >= 0 {
				g.row, left = left[i], slices.Delete(slices.Clone(left), i, i+1)
			}
		}
		for _, g := range grants {
			if g.row == nil && len(left) > 0 {
				g.row, left = left[0], left[1:]
			}
		}
	}
}

func (g *grant) userID() int64 {
	if g.user == nil {
		return 0
	}
	return g.user.ID
}

func (g *grant) groupID() int64 {
	if g.group == nil {
		return 0
	}
	return g.group.ID
}

func (p *planner) permission(g *grant) {
	var d differing
	if g.row != nil {
		p.keptRows[g.row.ID] = true
		d.yes("allow", g.row.Allow, g.Allow)
		d.text("valid_from", stamp(g.row.ValidFrom), stamp(g.from))
		d.text("valid_until", stamp(g.row.ValidUntil), stamp(g.until))
	}
	p.step(g.Place, access.ObjectPermission, permissionName(g.Gate, g.Subject(), g.from, g.until), g.row == nil, d, func(c *change) error {
		want := access.Permission{GateID: g.gate.ID, UserID: g.userID(), GroupID: g.groupID(), Allow: g.Allow, ValidFrom: g.from, ValidUntil: g.until}
		if g.row == nil {
			_, err := c.putPermission(want)
			return err
		}
		want.ID, want.Version = g.row.ID, g.row.Version
		_, err := c.updatePermission(want)
		return err
	})
}

// permissionName is how a plan speaks of a permission: "gate-01 for group USER from … until …".
func permissionName(gate, whom string, from, until time.Time) string {
	name := gate + " for " + whom
	if !from.IsZero() {
		name += " from " + stamp(from)
	}
	if !until.IsZero() {
		name += " until " + stamp(until)
	}
	return name
}
