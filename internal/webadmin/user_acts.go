package webadmin

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// What is done on the page of a person: groups, tokens, a gate to pass. (What is done to permissions stands in permissions.go, to phones in devices.go.)

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

// idOf is the id of something that the path names, or else the form.
func idOf(r *http.Request, name string) (int64, error) {
	if r.PathValue(name) != "" {
		return pathID(r, name)
	}
	return sentID(r, name)
}

// membership is the person and the group that the path and the form name, and the page that the form stands on.
func (a *Admin) membership(r *http.Request) (u access.User, g access.Group, page string, err error) {
	userID, err := idOf(r, "user")
	if err != nil {
		return u, g, "", err
	}
	groupID, err := idOf(r, "group")
	if err != nil {
		return u, g, "", err
	}
	if u, err = a.desk.User(r.Context(), userID); err != nil {
		return u, g, "", err
	}
	if g, err = a.desk.Group(r.Context(), groupID); err != nil {
		return u, g, "", err
	}
	if strings.HasPrefix(r.URL.Path, groupPath(g.ID)) {
		return u, g, groupPath(g.ID), nil
	}
	return u, g, userPath(u.ID), nil
}

// joinGroup adds a person to a group, from the page of either.
func (a *Admin) joinGroup(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	if r.PathValue("user") != "" && sent(r, "group") == "" {
		return v.sorry(w, r, "/admin/users/"+r.PathValue("user")+"/", "flash.bulk_no_group")
	}
	u, g, page, err := a.membership(r)
	if err != nil {
		return err
	}
	if err := a.desk.AddMember(r.Context(), v.actor(), g.ID, u.ID); err != nil {
		return err
	}
	return v.done(w, r, page+searched("who", sent(r, "text")), "flash.joined", fullName(u), g.Name)
}

// leaveGroup takes a person out of a group, from the page of either.
func (a *Admin) leaveGroup(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	u, g, page, err := a.membership(r)
	if err != nil {
		return err
	}
	if err := a.desk.RemoveMember(r.Context(), v.actor(), g.ID, u.ID); err != nil {
		return err
	}
	return v.done(w, r, page, "flash.left", fullName(u), g.Name)
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
	active          bool
}

func (a *Admin) holderOf(r *http.Request) (h holder, err error) {
	if r.PathValue("user") != "" {
		u, err := a.userOf(r)
		return holder{userID: u.ID, name: fullName(u), path: userPath(u.ID), active: u.Active}, err
	}
	g, err := a.groupOf(r)
	return holder{groupID: g.ID, name: g.Name, path: groupPath(g.ID), active: true}, err
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
	return v.done(w, r, h.path+searched("gate", sent(r, "text")), letInTold(h.active), h.name, gateName(g))
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
