package webadmin

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// What is done to permissions: from the page of their gate, and from that of the person or the group whom they let through.

// subjectOf reads who a form means: "user:5" or "group:3".
func subjectOf(s string) (userID, groupID int64, err error) {
	kind, number, _ := strings.Cut(s, ":")
	id, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil || id <= 0:
	case kind == "user":
		return id, 0, nil
	case kind == "group":
		return 0, id, nil
	}
	return 0, 0, fmt.Errorf("%w: subject %q", errBadForm, s)
}

// letIn lets a group or a person through a gate.
func (a *Admin) letIn(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	g, err := a.gateOf(r)
	if err != nil {
		return err
	}
	p := access.Permission{GateID: g.ID}
	if p.UserID, p.GroupID, err = subjectOf(sent(r, "subject")); err != nil {
		return err
	}
	if _, err := a.desk.GrantPermission(r.Context(), v.actor(), p); err != nil {
		return err
	}
	name, active, err := a.subjectName(r, p)
	if err != nil {
		return err
	}
	return v.done(w, r, backToGate(g.ID, sent(r, "who")), letInTold(active), name, gateName(g))
}

// letInTold is the sentence about a permission that was given: to whoever is deactivated it gives nothing yet.
func letInTold(active bool) string {
	if active {
		return "flash.let_in"
	}
	return "flash.let_in_inactive"
}

// backToGate is the page of a gate with its box as it was.
func backToGate(id int64, who string) string {
	if who == "" {
		return gatePath(id)
	}
	return gatePath(id) + "?" + url.Values{"who": {who}}.Encode()
}

// subjectName is whom a permission names, and whether they are active: groups always are.
func (a *Admin) subjectName(r *http.Request, p access.Permission) (name string, active bool, err error) {
	if p.GroupID != 0 {
		g, err := a.desk.Group(r.Context(), p.GroupID)
		return g.Name, true, err
	}
	u, err := a.desk.User(r.Context(), p.UserID)
	return fullName(u), u.Active, err
}

// heldPermission is the permission that the path names, with whom it lets through and which gate, and the page that it is changed on.
type heldPermission struct {
	access.Permission
	who, gate, page string
}

// heldPermissionOf finds it, if it is that of the person, the group or the gate that the path names.
func (a *Admin) heldPermissionOf(r *http.Request) (p heldPermission, err error) {
	id, err := pathID(r, "permission")
	if err != nil {
		return p, err
	}
	if p.Permission, err = a.desk.Permission(r.Context(), id); err != nil {
		return p, err
	}
	theirs := false
	for _, place := range []struct {
		name string
		id   int64
		path func(int64) string
	}{{"gate", p.GateID, gatePath}, {"user", p.UserID, userPath}, {"group", p.GroupID, groupPath}} {
		if r.PathValue(place.name) != "" {
			theirs, p.page = r.PathValue(place.name) == idText(place.id), place.path(place.id)
		}
	}
	if !theirs {
		return p, fmt.Errorf("permission %d is another's: %w", id, access.ErrNotFound)
	}
	g, err := a.desk.Gate(r.Context(), p.GateID)
	if err != nil {
		return p, err
	}
	p.gate = gateName(g)
	p.who, _, err = a.subjectName(r, p.Permission)
	return p, err
}

func (a *Admin) suspendPermission(w http.ResponseWriter, r *http.Request) error {
	return a.allowPermission(w, r, false, "flash.suspended")
}

func (a *Admin) resumePermission(w http.ResponseWriter, r *http.Request) error {
	return a.allowPermission(w, r, true, "flash.resumed")
}

func (a *Admin) allowPermission(w http.ResponseWriter, r *http.Request, allow bool, told string) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	p, err := a.heldPermissionOf(r)
	if err != nil {
		return err
	}
	p.Allow, p.Version = allow, seen
	_, err = a.desk.UpdatePermission(r.Context(), v.actor(), p.Permission)
	if overtaken(err) {
		return v.sorry(w, r, p.page, "flash.permission_changed", p.who)
	}
	if err != nil {
		return err
	}
	return v.done(w, r, p.page, told, p.who, p.gate)
}

func (a *Admin) removePermission(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	p, err := a.heldPermissionOf(r)
	if err != nil {
		return err
	}
	if err := a.desk.RevokePermission(r.Context(), v.actor(), p.ID); err != nil {
		return err
	}
	return v.done(w, r, p.page, "flash.removed", p.who, p.gate)
}
