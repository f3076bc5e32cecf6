package webadmin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// userForm enters or changes a person.
type userForm struct {
	frame
	User      access.User // as it stands; the zero User when one is entered
	Username  field
	First     field
	Last      field
	Email     field
	Language  field
	Password  field // only when one is entered
	Group     field // likewise
	Role      field
	Staff     field
	Superuser field
	Roles     bool // the visitor may give roles
	Version   int64
	Problems  []string
	Conflict  *conflict
	Back      string
}

func (p *userForm) fields() []*field {
	list := []*field{&p.Username, &p.First, &p.Last, &p.Email, &p.Language}
	if p.User.ID == 0 {
		list = append(list, &p.Password, &p.Group)
	}
	if p.Roles {
		list = append(list, &p.Role, &p.Staff, &p.Superuser)
	}
	return list
}

// ticked is how a form sends a flag that is set.
const ticked = "yes"

func tick(b bool) string {
	if b {
		return ticked
	}
	return ""
}

// granted is the highest role that was given to a user, staff and superuser not counted.
func granted(u access.User) access.Role {
	u.Staff, u.Superuser = false, false
	return u.Role()
}

func (a *Admin) newUserForm(r *http.Request, u access.User) (*userForm, error) {
	v, ctx := visitOf(r), r.Context()
	p := &userForm{
		frame: v.frame("people", v.t("users.new")), User: u, Version: u.Version, Back: "/admin/users/", Roles: v.role() == access.Owner,
		Username: field{Name: "username", Label: v.t("users.username"), Value: u.Username, Hint: v.t("users.username.hint"), Required: true, Max: 150},
		First:    field{Name: "first_name", Label: v.t("users.first"), Value: u.FirstName, Max: 150, Focus: u.ID == 0},
		Last:     field{Name: "last_name", Label: v.t("users.last"), Value: u.LastName, Max: 150},
		Email:    field{Name: "email", Label: v.t("users.email"), Value: u.Email, Max: 254},
		Language: field{Name: "language", Label: v.t("users.language"), Value: u.Language},
		Password: field{Name: "password", Label: v.t("users.password"), Type: "password", Autocomplete: "new-password", Hint: v.t("users.password.optional")},
		Group:    field{Name: "group", Label: v.t("users.first_group"), Value: strconv.FormatInt(queryID(r, "group"), 10)},
		Role:     field{Name: "role", Label: v.t("users.role"), Value: string(granted(u)), Hint: v.t("users.role.hint")},
		Staff:    field{Name: "staff", Label: v.t("users.staff"), Value: tick(u.Staff), Hint: v.t("users.staff.hint")},
		Superuser: field{
			Name: "superuser", Label: v.t("users.superuser"), Value: tick(u.Superuser), Hint: v.t("users.superuser.hint"),
		},
	}
	if u.ID != 0 {
		p.Title, p.Back = v.t("users.edit", fullName(u)), userPath(u.ID)
		last, err := a.lastOwner(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		if last {
			p.Role.Hint = v.t("error.last_owner")
		}
		return p, nil
	}
	var err error
	p.Group.Choices, err = a.groupChoices(ctx, v, queryID(r, "group"))
	return p, err
}

// lastOwner reports whether a user is the only active owner.
func (a *Admin) lastOwner(ctx context.Context, id int64) (bool, error) {
	lines, err := a.desk.PreviewBulk(ctx, access.Actor{Kind: "system"}, registry.Bulk{Action: registry.BulkDeactivate, UserIDs: []int64{id}})
	return err == nil && len(lines) == 1 && lines[0].Outcome == registry.BulkLastOwner, err
}

// choose fills in what the controls offer, with what is chosen.
func (p *userForm) choose() {
	pick := func(f *field, pairs ...string) {
		f.Choices = nil
		for i := 0; i < len(pairs); i += 2 {
			f.Choices = append(f.Choices, option{pairs[i], pairs[i+1], pairs[i] == f.Value})
		}
	}
	pick(&p.Language, "", p.t("users.language.any"), "en", languageName("en"), "ru", languageName("ru"))
	pick(&p.Role, "", p.t("users.role.none"), "viewer", p.t("users.role.viewer"), "manager", p.t("users.role.manager"), "owner", p.t("users.role.owner"))
	if p.User.ID == 0 {
		for i := range p.Group.Choices {
			p.Group.Choices[i].Chosen = p.Group.Value != "" && p.Group.Choices[i].Value == p.Group.Value // not the line that says that there are more
		}
		if len(p.Group.Choices) > 0 {
			p.Group.Choices = append([]option{{"", p.t("users.first_group.none"), false}}, p.Group.Choices...)
		}
	}
}

func (a *Admin) renderUserForm(w http.ResponseWriter, p *userForm) error {
	p.choose()
	return a.render(w, "user_form", p)
}

// read takes what was sent into the form and returns the user that it describes, with the role grants that change.
func (p *userForm) read(r *http.Request) (access.User, []access.RoleGrant) {
	for _, f := range p.fields() {
		if f.Value = sent(r, f.Name); f.Type == "password" {
			f.Value = "" // nothing that was typed as a password goes back into a page
		}
	}
	u := p.User
	u.Username, u.FirstName, u.LastName, u.Email, u.Language, u.Version = p.Username.Value, p.First.Value, p.Last.Value, p.Email.Value, p.Language.Value, p.Version
	if !p.Roles {
		return u, nil
	}
	u.Staff, u.Superuser = p.Staff.Value == ticked, p.Superuser.Value == ticked
	role := access.Role(p.Role.Value)
	if role == granted(p.User) {
		return u, nil
	}
	grants := []access.RoleGrant{{Role: role}}
	for _, g := range p.User.Roles {
		if g.SiteID != 0 {
			grants = append(grants, access.RoleGrant{SiteID: g.SiteID})
		}
	}
	return u, grants
}

// refused puts what was wrong with a form of a person into it; ok is false when it is something else.
func (p *userForm) refused(err error) (ok bool) {
	p.Status = http.StatusUnprocessableEntity
	if errors.Is(err, registry.ErrLastOwner) {
		p.Role.Error, p.Role.Focus = p.t("error.last_owner"), true
		return true
	}
	p.Problems, ok = p.faults(err, p.fields()...)
	return ok
}

func (a *Admin) newUser(w http.ResponseWriter, r *http.Request) error {
	p, err := a.newUserForm(r, access.User{})
	if err != nil {
		return err
	}
	return a.renderUserForm(w, p)
}

func (a *Admin) createUser(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	p, err := a.newUserForm(r, access.User{})
	if err != nil {
		return err
	}
	u, roles := p.read(r)
	u.Active, u.Roles = true, roles
	var groups []int64
	if id, err := strconv.ParseInt(p.Group.Value, 10, 64); err == nil && id > 0 {
		groups = append(groups, id)
	}
	ctx, done := patient(r)
	defer done()
	u, err = a.desk.CreateUser(ctx, v.actor(), u, registry.Password{Plain: r.PostForm.Get("password")}, groups...)
	if err == nil {
		return v.done(w, r, userPath(u.ID), "flash.user_created", fullName(u))
	}
	if !p.refused(err) {
		return err
	}
	return a.renderUserForm(w, p)
}

// userOf is the user that the path names.
func (a *Admin) userOf(r *http.Request) (access.User, error) {
	id, err := pathID(r, "user")
	if err != nil {
		return access.User{}, err
	}
	return a.desk.User(r.Context(), id)
}

// mayChange reports whether the visitor may change the account: that of an owner is for owners.
func (v *visit) mayChange(u access.User) bool {
	return v.role() == access.Owner || v.role() == access.Manager && u.Role() != access.Owner
}

// userToChange is the user that the path names, if the visitor may change the account.
func (a *Admin) userToChange(r *http.Request) (access.User, error) {
	u, err := a.userOf(r)
	if err == nil && !visitOf(r).mayChange(u) {
		err = fmt.Errorf("user %d: %w", u.ID, registry.ErrOwnersOnly)
	}
	return u, err
}

func (a *Admin) editUser(w http.ResponseWriter, r *http.Request) error {
	u, err := a.userToChange(r)
	if err != nil {
		return err
	}
	p, err := a.newUserForm(r, u)
	if err != nil {
		return err
	}
	return a.renderUserForm(w, p)
}

func (a *Admin) updateUser(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	now, err := a.userToChange(r)
	if err != nil {
		return err
	}
	p, err := a.newUserForm(r, now)
	if err != nil {
		return err
	}
	p.Version = seen
	u, roles := p.read(r)
	u, err = a.desk.UpdateUser(r.Context(), v.actor(), u, roles...)
	if err == nil {
		return v.done(w, r, userPath(u.ID), "flash.saved", fullName(u))
	}
	if overtaken(err) {
		if p.Conflict, err = a.whatChanged(r.Context(), v, access.ObjectUser, now.ID, seen, p.fields()...); err != nil {
			return err
		}
		role, err := a.whatChanged(r.Context(), v, access.ObjectRole, now.ID, seen, &p.Role)
		if err != nil {
			return err
		}
		p.Conflict.Mine = p.Conflict.Mine && role.Mine
		if p.Conflict.Changes = append(p.Conflict.Changes, role.Changes...); p.Conflict.Who == "" {
			p.Conflict.Who, p.Conflict.When = role.Who, role.When
		}
		p.Version, p.Status = now.Version, http.StatusConflict
		return a.renderUserForm(w, p)
	}
	if !p.refused(err) {
		return err
	}
	return a.renderUserForm(w, p)
}

func (a *Admin) activateUser(w http.ResponseWriter, r *http.Request) error {
	return a.setUserActive(w, r, true, "flash.user_activated")
}

func (a *Admin) deactivateUser(w http.ResponseWriter, r *http.Request) error {
	return a.setUserActive(w, r, false, "flash.user_deactivated")
}

func (a *Admin) setUserActive(w http.ResponseWriter, r *http.Request, active bool, told string) error {
	v := visitOf(r)
	u, err := a.userToChange(r)
	if err != nil {
		return err
	}
	if !active && u.ID == v.user.ID {
		return v.sorry(w, r, userPath(u.ID), "flash.not_yourself")
	}
	if _, err := a.desk.SetUserActive(r.Context(), v.actor(), u.ID, active); err != nil {
		if errors.Is(err, registry.ErrLastOwner) {
			return v.sorry(w, r, userPath(u.ID), "flash.last_owner")
		}
		return err
	}
	return v.done(w, r, userPath(u.ID), told, fullName(u))
}

// passwordPage sets somebody's password.
type passwordPage struct {
	frame
	Lead     string
	Password field
	Repeat   field
	Problems []string
	Back     string
}

// newPasswordPage is the page for u. One's own password is changed on one's own page, which asks for the present one.
func (a *Admin) newPasswordPage(r *http.Request) (*passwordPage, access.User, error) {
	v := visitOf(r)
	u, err := a.userToChange(r)
	if err != nil {
		return nil, u, err
	}
	return &passwordPage{
		frame: v.frame("people", v.t("users.password.title", fullName(u))), Lead: v.t("users.password.lead"), Back: userPath(u.ID),
		Password: field{Name: "password", Label: v.t("account.new"), Type: "password", Autocomplete: "new-password", Hint: v.t("account.rules"), Required: true, Focus: true},
		Repeat:   field{Name: "repeat", Label: v.t("account.repeat"), Type: "password", Autocomplete: "new-password", Required: true},
	}, u, nil
}

func (a *Admin) userPasswordPage(w http.ResponseWriter, r *http.Request) error {
	p, u, err := a.newPasswordPage(r)
	if err != nil {
		return err
	}
	if u.ID == p.user.ID {
		http.Redirect(w, r, "/admin/account/", http.StatusSeeOther)
		return nil
	}
	return a.render(w, "user_password", p)
}

func (a *Admin) setUserPassword(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	p, u, err := a.newPasswordPage(r)
	if err != nil {
		return err
	}
	if u.ID == v.user.ID {
		return v.sorry(w, r, "/admin/account/", "flash.own_password")
	}
	next, again := r.PostForm.Get("password"), r.PostForm.Get("repeat")
	err = v.passwordForm("-", next, again)
	if err == nil {
		ctx, done := patient(r)
		defer done()
		err = a.desk.SetPassword(ctx, v.actor(), u.ID, registry.Password{Plain: next})
	}
	if err == nil {
		return v.done(w, r, userPath(u.ID), "flash.password_set", fullName(u))
	}
	var ok bool
	if p.Problems, ok = v.faults(err, &p.Password, &p.Repeat); !ok {
		return err
	}
	p.Status = http.StatusUnprocessableEntity
	return a.render(w, "user_password", p)
}

func (a *Admin) confirmDeleteUser(w http.ResponseWriter, r *http.Request) error {
	u, err := a.userToChange(r)
	if err != nil {
		return err
	}
	return a.askToDeleteUser(w, r, u, false, http.StatusOK)
}

func (a *Admin) confirmEraseUser(w http.ResponseWriter, r *http.Request) error {
	u, err := a.userToChange(r)
	if err != nil {
		return err
	}
	return a.askToDeleteUser(w, r, u, true, http.StatusOK)
}

// askToDeleteUser says what goes with a person and what stays, and what erasing does beyond that.
func (a *Admin) askToDeleteUser(w http.ResponseWriter, r *http.Request, u access.User, erase bool, status int) error {
	v, ctx := visitOf(r), r.Context()
	devices, err := a.desk.DevicesOf(ctx, u.ID)
	if err != nil {
		return err
	}
	groups, err := a.desk.GroupsOf(ctx, u.ID)
	if err != nil {
		return err
	}
	own, err := a.desk.Permissions(ctx, registry.PermissionFilter{UserID: u.ID, Limit: 1000})
	if err != nil {
		return err
	}
	p := &confirmPage{
		frame: v.frame("people", v.t("users.delete.title", fullName(u))), Version: u.Version, Back: userPath(u.ID), Verb: v.t("users.delete.verb"),
		Lead: v.t("users.delete.lead", u.Username),
		Lines: []string{
			v.n("users.delete.permissions", len(own)), v.n("users.delete.groups", len(groups)), v.n("users.delete.devices", len(devices)), v.t("users.delete.events"),
		},
	}
	if erase {
		p.Title, p.Verb, p.Lead = v.t("users.erase.title", fullName(u)), v.t("users.erase.verb"), v.t("users.erase.lead", u.Username)
		p.Lines = append(p.Lines[:3], v.t("users.erase.texts"), v.t("users.erase.audit"), v.t("users.erase.events"))
	}
	last, err := a.lastOwner(ctx, u.ID)
	if err != nil {
		return err
	}
	switch {
	case last:
		p.Stop = v.t("error.last_owner")
	case u.ID == v.user.ID:
		p.Lines = append([]string{v.t("users.delete.yourself")}, p.Lines...)
	}
	if p.Status = status; status == http.StatusConflict && !last {
		p.Lines = append([]string{v.t("confirm.changed")}, p.Lines...)
	}
	return a.render(w, "confirm", p)
}

func (a *Admin) deleteUser(w http.ResponseWriter, r *http.Request) error {
	return a.removeUser(w, r, false)
}

func (a *Admin) eraseUser(w http.ResponseWriter, r *http.Request) error {
	return a.removeUser(w, r, true)
}

func (a *Admin) removeUser(w http.ResponseWriter, r *http.Request, erase bool) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	u, err := a.userToChange(r)
	if err != nil {
		return err
	}
	told := "flash.user_deleted"
	switch {
	case erase && seen != u.Version:
		return a.askToDeleteUser(w, r, u, erase, http.StatusConflict)
	case erase:
		told, err = "flash.user_erased", a.desk.EraseUser(r.Context(), v.actor(), u.ID)
	default:
		err = a.desk.DeleteUser(r.Context(), v.actor(), u.ID, seen)
	}
	if errors.Is(err, access.ErrConflict) {
		return a.askToDeleteUser(w, r, u, erase, http.StatusConflict)
	}
	if err != nil {
		return err
	}
	return v.done(w, r, "/admin/users/", told, fullName(u))
}
