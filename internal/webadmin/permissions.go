package webadmin

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// What is done to the permissions of a gate, from the gate's own page.

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
	name, err := a.subjectName(r, p)
	if err != nil {
		return err
	}
	return v.done(w, r, backToGate(g.ID, sent(r, "who")), "flash.let_in", name, gateName(g))
}

// backToGate is the page of a gate with its box as it was.
func backToGate(id int64, who string) string {
	if who == "" {
		return gatePath(id)
	}
	return gatePath(id) + "?" + url.Values{"who": {who}}.Encode()
}

// subjectName is whom a permission names.
func (a *Admin) subjectName(r *http.Request, p access.Permission) (string, error) {
	if p.GroupID != 0 {
		g, err := a.desk.Group(r.Context(), p.GroupID)
		return g.Name, err
	}
	u, err := a.desk.User(r.Context(), p.UserID)
	return fullName(u), err
}

// permissionOf is the permission that the path names, at the gate that it names.
func (a *Admin) permissionOf(r *http.Request) (access.Gate, access.Permission, error) {
	g, err := a.gateOf(r)
	if err != nil {
		return g, access.Permission{}, err
	}
	id, err := pathID(r, "permission")
	if err != nil {
		return g, access.Permission{}, err
	}
	p, err := a.desk.Permission(r.Context(), id)
	if err == nil && p.GateID != g.ID {
		err = fmt.Errorf("permission %d is not at gate %d: %w", id, g.ID, access.ErrNotFound)
	}
	return g, p, err
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
	g, p, err := a.permissionOf(r)
	if err != nil {
		return err
	}
	name, err := a.subjectName(r, p)
	if err != nil {
		return err
	}
	p.Allow, p.Version = allow, seen
	_, err = a.desk.UpdatePermission(r.Context(), v.actor(), p)
	if overtaken(err) {
		return v.sorry(w, r, gatePath(g.ID), "flash.permission_changed", name)
	}
	if err != nil {
		return err
	}
	return v.done(w, r, gatePath(g.ID), told, name, gateName(g))
}

func (a *Admin) removePermission(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	g, p, err := a.permissionOf(r)
	if err != nil {
		return err
	}
	name, err := a.subjectName(r, p)
	if err != nil {
		return err
	}
	if err := a.desk.RevokePermission(r.Context(), v.actor(), p.ID); err != nil {
		return err
	}
	return v.done(w, r, gatePath(g.ID), "flash.removed", name, gateName(g))
}
