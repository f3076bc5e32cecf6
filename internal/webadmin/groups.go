package webadmin

import (
	"context"
	"net/http"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

type groupsPage struct {
	frame
	Search string
	Groups []groupChip
	Pager  pager
}

func (a *Admin) groupList(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	p := &groupsPage{frame: v.frame("groups", v.t("nav.groups")), Search: strings.TrimSpace(r.URL.Query().Get("q"))}
	found, err := a.desk.FindGroups(r.Context(), registry.Search{Query: p.Search, After: r.URL.Query().Get("after"), Limit: pageRows})
	if err != nil {
		return err
	}
	for _, g := range found.List {
		p.Groups = append(p.Groups, groupChip{g.ID, g.Name, groupPath(g.ID)})
	}
	p.Pager = pagerTo(r, "after", found.Next)
	return a.render(w, "groups", p)
}

// groupForm creates or renames a group.
type groupForm struct {
	frame
	Group    access.Group
	Name     field
	Version  int64
	Problems []string
	Conflict *conflict
	Back     string
}

func newGroupForm(v *visit, g access.Group) *groupForm {
	p := &groupForm{
		frame: v.frame("groups", v.t("groups.new")), Group: g, Version: g.Version, Back: "/admin/groups/",
		Name: field{Name: "name", Label: v.t("groups.name"), Value: g.Name, Hint: v.t("groups.name.hint"), Required: true, Focus: true},
	}
	if g.ID != 0 {
		p.Title, p.Back = v.t("groups.rename", g.Name), groupPath(g.ID)
	}
	return p
}

func (a *Admin) newGroup(w http.ResponseWriter, r *http.Request) error {
	return a.render(w, "group_form", newGroupForm(visitOf(r), access.Group{}))
}

func (a *Admin) createGroup(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	p := newGroupForm(v, access.Group{})
	p.Name.Value = sent(r, "name")
	g, err := a.desk.CreateGroup(r.Context(), v.actor(), access.Group{Name: p.Name.Value})
	if err == nil {
		return v.done(w, r, groupPath(g.ID), "flash.group_created", g.Name)
	}
	return a.groupRefused(w, p, err)
}

// groupRefused shows the form again with what is wrong.
func (a *Admin) groupRefused(w http.ResponseWriter, p *groupForm, err error) error {
	var ok bool
	if p.Problems, ok = p.faults(err, &p.Name); !ok {
		return err
	}
	p.Status = http.StatusUnprocessableEntity
	return a.render(w, "group_form", p)
}

// groupOf is the group that the path names.
func (a *Admin) groupOf(r *http.Request) (access.Group, error) {
	id, err := pathID(r, "group")
	if err != nil {
		return access.Group{}, err
	}
	return a.desk.Group(r.Context(), id)
}

func (a *Admin) editGroup(w http.ResponseWriter, r *http.Request) error {
	g, err := a.groupOf(r)
	if err != nil {
		return err
	}
	return a.render(w, "group_form", newGroupForm(visitOf(r), g))
}

func (a *Admin) renameGroup(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	now, err := a.groupOf(r)
	if err != nil {
		return err
	}
	p := newGroupForm(v, now)
	p.Version, p.Name.Value = seen, sent(r, "name")
	g, err := a.desk.UpdateGroup(r.Context(), v.actor(), access.Group{ID: now.ID, Name: p.Name.Value, Version: seen})
	if err == nil {
		return v.done(w, r, groupPath(g.ID), "flash.saved", g.Name)
	}
	if overtaken(err) {
		if p.Conflict, err = a.whatChanged(r.Context(), v, access.ObjectGroup, now.ID, seen, &p.Name); err != nil {
			return err
		}
		p.Version, p.Status = now.Version, http.StatusConflict
		return a.render(w, "group_form", p)
	}
	return a.groupRefused(w, p, err)
}

func (a *Admin) confirmDeleteGroup(w http.ResponseWriter, r *http.Request) error {
	g, err := a.groupOf(r)
	if err != nil {
		return err
	}
	return a.askToDeleteGroup(w, r, g, http.StatusOK)
}

func (a *Admin) askToDeleteGroup(w http.ResponseWriter, r *http.Request, g access.Group, status int) error {
	v := visitOf(r)
	members, permissions, err := a.desk.GroupSize(r.Context(), g.ID)
	if err != nil {
		return err
	}
	p := &confirmPage{
		frame: v.frame("groups", v.t("groups.delete.title", g.Name)), Version: g.Version, Back: groupPath(g.ID), Verb: v.t("groups.delete.verb"), Lead: v.t("groups.delete.lead"),
		Lines: []string{v.atMost("groups.delete.members", "groups.delete.members.more", members), v.atMost("groups.delete.permissions", "groups.delete.permissions.more", permissions), v.t("groups.delete.stay")},
	}
	if p.Status = status; status == http.StatusConflict {
		p.Lines = append([]string{v.t("confirm.changed")}, p.Lines...)
	}
	return a.render(w, "confirm", p)
}

func (a *Admin) deleteGroup(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	g, err := a.groupOf(r)
	if err != nil {
		return err
	}
	err = a.desk.DeleteGroup(r.Context(), v.actor(), g.ID, seen)
	if overtaken(err) {
		return a.askToDeleteGroup(w, r, g, http.StatusConflict)
	}
	if err != nil {
		return err
	}
	return v.done(w, r, "/admin/groups/", "flash.group_deleted", g.Name)
}

// groupPage is one group: who is in it, and where it may go.
type groupPage struct {
	frame
	Group   access.Group
	Who     string // who is looked for, to be added
	Found   []memberFound
	Members []userRow
	Pager   pager // of the members
	Gate    string
	Gates   []gateFound // that the box found
	Reach   []reach
	Gated   pager // of the gates
}

// memberFound is somebody whom the box found.
type memberFound struct {
	ID        int64
	Name, Sub string
	Member    bool
}

func (a *Admin) groupPage(w http.ResponseWriter, r *http.Request) error {
	v, ctx, q := visitOf(r), r.Context(), r.URL.Query()
	g, err := a.groupOf(r)
	if err != nil {
		return err
	}
	p := &groupPage{frame: v.frame("groups", g.Name), Group: g, Who: strings.TrimSpace(q.Get("who")), Gate: strings.TrimSpace(q.Get("gate"))}
	members, err := a.desk.Users(ctx, registry.UserFilter{GroupID: g.ID, After: queryID(r, "after"), Limit: pageRows + 1})
	if err != nil {
		return err
	}
	more := len(members) > pageRows
	members = members[:min(pageRows, len(members))]
	for _, u := range members {
		p.Members = append(p.Members, userRow{ID: u.ID, Path: userPath(u.ID), Name: fullName(u), Username: u.Username, Active: u.Active})
	}
	if len(members) > 0 {
		p.Pager = pagerOf(r, "after", members[len(members)-1].ID, more)
	}
	if err := a.fillGroupReach(r, p); err != nil {
		return err
	}
	if p.Who != "" {
		if p.Found, err = a.membersFound(ctx, g.ID, p.Who); err != nil {
			return err
		}
	}
	if p.Gate != "" {
		if p.Gates, err = a.groupGatesFound(r, g, p.Gate); err != nil {
			return err
		}
	}
	return a.render(w, "group", p)
}

// fillGroupReach fills in a page of the group's permissions with their gates.
func (a *Admin) fillGroupReach(r *http.Request, p *groupPage) error {
	v, ctx := visitOf(r), r.Context()
	list, err := a.desk.Permissions(ctx, registry.PermissionFilter{GroupID: p.Group.ID, After: queryID(r, "from"), Limit: gatesShown + 1})
	if err != nil {
		return err
	}
	more := len(list) > gatesShown
	list = list[:min(gatesShown, len(list))]
	var ids registry.ObjectIDs
	for _, x := range list {
		ids.Gates = append(ids.Gates, x.GateID)
	}
	named, err := a.desk.Objects(ctx, ids)
	if err != nil {
		return err
	}
	at := map[int64]int{}
	for _, x := range list {
		g := named.Gates[x.GateID]
		i, there := at[x.GateID]
		if !there {
			i = len(p.Reach)
			at[x.GateID] = i
			p.Reach = append(p.Reach, reach{Path: gatePath(g.ID), Name: gateName(access.Gate{Code: g.Code, Name: g.Name}), Code: g.Code})
		}
		row := v.wayRow(x, access.Group{}, groupPath(p.Group.ID), p.Reach[i].Name)
		row.Text = v.t("group.always")
		if !x.ValidFrom.IsZero() || !x.ValidUntil.IsZero() {
			row.Text = v.t("group.dated")
		}
		p.Reach[i].Ways = append(p.Reach[i].Ways, row)
		p.Reach[i].Passes = p.Reach[i].Passes || row.State == "on"
	}
	if len(list) > 0 {
		p.Gated = pagerOf(r, "from", list[len(list)-1].ID, more)
	}
	return nil
}

// membersFound finds people by any part of their names, and says who is in the group already.
func (a *Admin) membersFound(ctx context.Context, groupID int64, text string) ([]memberFound, error) {
	found, err := a.desk.FindUsers(ctx, registry.UserSearch{Search: registry.Search{Query: text, Limit: mostCandidates}})
	if err != nil || len(found.List) == 0 {
		return nil, err
	}
	b := registry.Bulk{Action: registry.BulkJoin, GroupID: groupID}
	for _, u := range found.List {
		b.UserIDs = append(b.UserIDs, u.ID)
	}
	lines, err := a.desk.PreviewBulk(ctx, access.Actor{Kind: "system"}, b)
	if err != nil {
		return nil, err
	}
	var list []memberFound
	for i, u := range found.List {
		list = append(list, memberFound{ID: u.ID, Name: fullName(u), Sub: u.Username, Member: lines[i].Outcome != registry.BulkChanges})
	}
	return list, nil
}

// groupGatesFound finds gates by any part of their names, and says where the group may pass already.
func (a *Admin) groupGatesFound(r *http.Request, g access.Group, text string) ([]gateFound, error) {
	v, ctx := visitOf(r), r.Context()
	found, err := a.desk.FindGates(ctx, registry.Search{Query: text, Limit: mostCandidates})
	if err != nil {
		return nil, err
	}
	var list []gateFound
	for _, gate := range found.List {
		row := gateFound{Text: text, ID: gate.ID, Name: gateName(gate), Code: gate.Code, Outcome: access.Deny, Why: v.reason(access.NoPermission), CanAdd: true}
		held, err := a.desk.Permissions(ctx, registry.PermissionFilter{GroupID: g.ID, GateID: gate.ID, Limit: 100})
		if err != nil {
			return nil, err
		}
		for _, x := range held {
			state, cause := v.standing(x)
			if state == "on" {
				row.Outcome, row.Why, row.CanAdd = access.Allow, cause, false
				break
			}
			row.Why = cause
		}
		list = append(list, row)
	}
	return list, nil
}
