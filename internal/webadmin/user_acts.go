package webadmin

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// What is done on the page of a person: groups, permissions, tokens, a lost phone. The permissions of a group are changed in the same way on its own page.

// numberOf reads an id.
func numberOf(s string) (id int64, ok bool) {
	id, err := strconv.ParseInt(s, 10, 64)
	return id, err == nil && id > 0
}

// sentID is an id that a form sent; errBadForm when it is none.
func sentID(r *http.Request, name string) (int64, error) {
	id, ok := numberOf(sent(r, name))
	if !ok {
		return 0, fmt.Errorf("%w: %s %q", errBadForm, name, sent(r, name))
	}
	return id, nil
}

func (a *Admin) joinGroup(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	u, err := a.userOf(r)
	if err != nil {
		return err
	}
	if sent(r, "group") == "" {
		return v.sorry(w, r, userPath(u.ID), "flash.bulk_no_group")
	}
	id, err := sentID(r, "group")
	if err != nil {
		return err
	}
	g, err := a.desk.Group(r.Context(), id)
	if err != nil {
		return err
	}
	if err := a.desk.AddMember(r.Context(), v.actor(), g.ID, u.ID); err != nil {
		return err
	}
	return v.done(w, r, userPath(u.ID), "flash.joined", fullName(u), g.Name)
}

// leaveGroup takes a person out of a group, from the page of either.
func (a *Admin) leaveGroup(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	u, err := a.userOf(r)
	if err != nil {
		return err
	}
	id, err := pathID(r, "group")
	if err != nil {
		return err
	}
	g, err := a.desk.Group(r.Context(), id)
	if err != nil {
		return err
	}
	if err := a.desk.RemoveMember(r.Context(), v.actor(), g.ID, u.ID); err != nil {
		return err
	}
	to := userPath(u.ID)
	if sent(r, "from") == "group" {
		to = groupPath(g.ID)
	}
	return v.done(w, r, to, "flash.left", fullName(u), g.Name)
}

// searched brings a box back as it was.
func searched(box, text string) string {
	if text == "" {
		return ""
	}
	return "?" + url.Values{box: {text}}.Encode()
}

// holder is whose permissions a path is about: a person or a group.
type holder struct {
	userID, groupID int64
	name, path      string
}

func (a *Admin) holderOf(r *http.Request) (h holder, err error) {
	if r.PathValue("user") != "" {
		u, err := a.userOf(r)
		return holder{userID: u.ID, name: fullName(u), path: userPath(u.ID)}, err
	}
	g, err := a.groupOf(r)
	return holder{groupID: g.ID, name: g.Name, path: groupPath(g.ID)}, err
}

// openGate lets a person or a group through a gate.
func (a *Admin) openGate(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	h, err := a.holderOf(r)
	if err != nil {
		return err
	}
	id, err := sentID(r, "gate")
	if err != nil {
		return err
	}
	g, err := a.desk.Gate(r.Context(), id)
	if err != nil {
		return err
	}
	if _, err := a.desk.GrantPermission(r.Context(), v.actor(), access.Permission{GateID: g.ID, UserID: h.userID, GroupID: h.groupID}); err != nil {
		return err
	}
	return v.done(w, r, h.path+searched("gate", sent(r, "text")), "flash.let_in", h.name, gateName(g))
}

// heldPermission is the permission that the path names, if it is that of the person or group that it names.
func (a *Admin) heldPermission(r *http.Request) (h holder, p access.Permission, gate string, err error) {
	if h, err = a.holderOf(r); err != nil {
		return h, p, "", err
	}
	id, err := pathID(r, "permission")
	if err != nil {
		return h, p, "", err
	}
	if p, err = a.desk.Permission(r.Context(), id); err != nil {
		return h, p, "", err
	}
	if p.UserID != h.userID || p.GroupID != h.groupID {
		return h, p, "", fmt.Errorf("permission %d is another's: %w", id, access.ErrNotFound)
	}
	g, err := a.desk.Gate(r.Context(), p.GateID)
	return h, p, gateName(g), err
}

func (a *Admin) suspendHeld(w http.ResponseWriter, r *http.Request) error {
	return a.allowHeld(w, r, false, "flash.suspended")
}

func (a *Admin) resumeHeld(w http.ResponseWriter, r *http.Request) error {
	return a.allowHeld(w, r, true, "flash.resumed")
}

func (a *Admin) allowHeld(w http.ResponseWriter, r *http.Request, allow bool, told string) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	h, p, gate, err := a.heldPermission(r)
	if err != nil {
		return err
	}
	p.Allow, p.Version = allow, seen
	_, err = a.desk.UpdatePermission(r.Context(), v.actor(), p)
	if overtaken(err) {
		return v.sorry(w, r, h.path, "flash.permission_changed", h.name)
	}
	if err != nil {
		return err
	}
	return v.done(w, r, h.path, told, h.name, gate)
}

func (a *Admin) removeHeld(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	h, p, gate, err := a.heldPermission(r)
	if err != nil {
		return err
	}
	if err := a.desk.RevokePermission(r.Context(), v.actor(), p.ID); err != nil {
		return err
	}
	return v.done(w, r, h.path, "flash.removed", h.name, gate)
}

// revokeToken ends one token of a person.
func (a *Admin) revokeToken(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	u, err := a.userOf(r)
	if err != nil {
		return err
	}
	id, err := pathID(r, "token")
	if err != nil {
		return err
	}
	tokens, err := a.desk.Tokens(ctx, registry.TokenFilter{UserID: u.ID, Kind: access.UserToken, After: id - 1, Limit: 1})
	if err == nil && (len(tokens) == 0 || tokens[0].ID != id) {
		err = fmt.Errorf("token %d of user %d: %w", id, u.ID, access.ErrNotFound)
	}
	if err == nil {
		err = a.desk.RevokeToken(ctx, v.actor(), id)
	}
	if err != nil {
		return err
	}
	return v.done(w, r, userPath(u.ID)+"#tokens", "flash.token_revoked")
}

func (a *Admin) confirmRevokeTokens(w http.ResponseWriter, r *http.Request) error {
	u, err := a.userOf(r)
	if err != nil {
		return err
	}
	v := visitOf(r)
	return a.render(w, "confirm", &confirmPage{
		frame: v.frame("people", v.t("user.tokens.end.title", fullName(u))), Lead: v.t("user.tokens.end.lead"), Verb: v.t("user.tokens.end_all"), Version: u.Version, Back: userPath(u.ID),
		Lines: []string{v.t("user.tokens.end.sign_in"), v.t("user.tokens.end.devices")},
	})
}

func (a *Admin) revokeTokens(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	u, err := a.userOf(r)
	if err != nil {
		return err
	}
	n, err := a.desk.RevokeTokens(r.Context(), v.actor(), u.ID)
	if err != nil {
		return err
	}
	return v.done(w, r, userPath(u.ID)+"#tokens", "flash.tokens_revoked", number(v.lang, n))
}

// deviceOf is the device that the path names, if it is that person's.
func (a *Admin) deviceOf(r *http.Request) (access.User, access.Device, error) {
	u, err := a.userOf(r)
	if err != nil {
		return u, access.Device{}, err
	}
	id, err := pathID(r, "device")
	if err != nil {
		return u, access.Device{}, err
	}
	d, err := a.desk.Device(r.Context(), id)
	if err == nil && d.UserID != u.ID {
		err = fmt.Errorf("device %d is not user %d's: %w", id, u.ID, access.ErrNotFound)
	}
	return u, d, err
}

// confirmLost says what reporting a phone lost does.
func (a *Admin) confirmLost(w http.ResponseWriter, r *http.Request) error {
	u, d, err := a.deviceOf(r)
	if err != nil {
		return err
	}
	v := visitOf(r)
	tokens, err := a.desk.Tokens(r.Context(), registry.TokenFilter{UserID: u.ID, DeviceID: d.ID, Kind: access.UserToken, Limit: 1000})
	if err != nil {
		return err
	}
	return a.render(w, "confirm", &confirmPage{
		frame: v.frame("people", v.t("user.lost.title", v.deviceName(d))), Lead: v.t("user.lost.lead", fullName(u)), Verb: v.t("user.lost.verb"), Version: d.Version, Back: userPath(u.ID),
		Lines: []string{v.t("user.lost.device"), v.n("user.lost.tokens", len(tokens)), v.t("user.lost.others"), v.t("user.lost.found")},
	})
}

func (a *Admin) reportLost(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	u, d, err := a.deviceOf(r)
	if err != nil {
		return err
	}
	_, n, err := a.desk.LostDevice(r.Context(), v.actor(), d.ID)
	if err != nil {
		return err
	}
	return v.done(w, r, userPath(u.ID), "flash.lost", v.deviceName(d), number(v.lang, n))
}
