package webadmin

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/throttle"
)

// accountPage is what people see of themselves: who they are, their password, the browsers where they are signed in.
type accountPage struct {
	frame
	Username string
	Email    string
	Current  field
	Password field
	Repeat   field
	Problems []string
	Sessions []sessionRow
	Others   int // sessions beside this one
}

type sessionRow struct {
	ID      int64
	Browser string
	Agent   string // in full
	Address string
	Since   moment
	Seen    moment
	Here    bool
}

func (a *Admin) newAccountPage(r *http.Request) (*accountPage, error) {
	v := visitOf(r)
	p := &accountPage{
		frame: v.frame("", v.t("account.title")), Username: v.user.Username, Email: v.user.Email,
		Current:  field{Name: "current", Label: v.t("account.current"), Type: "password", Autocomplete: "current-password", Required: true},
		Password: field{Name: "password", Label: v.t("account.new"), Type: "password", Autocomplete: "new-password", Required: true, Hint: v.t("account.rules")},
		Repeat:   field{Name: "repeat", Label: v.t("account.repeat"), Type: "password", Autocomplete: "new-password", Required: true},
	}
	sessions, err := a.desk.Sessions(r.Context(), v.user.ID)
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		p.Sessions = append(p.Sessions, sessionRow{
			ID: s.ID, Browser: v.browser(s.Agent), Agent: s.Agent, Address: s.Address, Since: v.moment(s.CreatedAt), Seen: v.moment(s.SeenAt), Here: s.ID == v.session.ID,
		})
	}
	p.Others = max(0, len(sessions)-1)
	return p, nil
}

// browser names a browser and its system as far as their User-Agent is understood.
func (v *visit) browser(agent string) string {
	find := func(names ...string) string {
		for i := 0; i < len(names); i += 2 {
			if strings.Contains(agent, names[i]) {
				return names[i+1]
			}
		}
		return ""
	}
	// The order counts: each of them claims to be those that come after it.
	program := find("Edg/", "Edge", "OPR/", "Opera", "YaBrowser/", "Yandex", "Firefox/", "Firefox", "Chrome/", "Chrome", "Safari/", "Safari")
	system := find("Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "Windows", "Windows", "Mac OS X", "macOS", "Linux", "Linux")
	switch {
	case program != "" && system != "":
		return program + ", " + system
	case program+system != "":
		return program + system
	}
	return v.t("account.unknown_browser")
}

func (a *Admin) accountPage(w http.ResponseWriter, r *http.Request) error {
	p, err := a.newAccountPage(r)
	if err != nil {
		return err
	}
	return a.render(w, "account", p)
}

// changePassword sets a new password by the old one. Whoever else is signed in as this user is signed out by that.
func (a *Admin) changePassword(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	p, err := a.newAccountPage(r)
	if err != nil {
		return err
	}
	current, next, again := r.PostForm.Get("current"), r.PostForm.Get("password"), r.PostForm.Get("repeat")
	err = v.passwordForm(current, next, again)
	if err == nil {
		err = a.replacePassword(w, r, current, next)
	}
	switch {
	case err == nil:
		return v.done(w, r, "/admin/account/", "flash.password_changed")
	case errors.Is(err, access.ErrBadLogin):
		err = access.Invalid{{Field: "current", Code: access.CodeOther, Text: v.t("account.wrong")}}
	}
	rest, ok := v.faults(err, &p.Current, &p.Password, &p.Repeat)
	if !ok {
		return err
	}
	p.Problems, p.Status = rest, http.StatusUnprocessableEntity
	return a.render(w, "account", p)
}

// replacePassword changes the password. An unattended browser is no place to guess the old one at: tries count as sign-ins do.
func (a *Admin) replacePassword(w http.ResponseWriter, r *http.Request, current, next string) error {
	v := visitOf(r)
	var attempt throttle.SignIn
	ok, wait := a.signIns.Address(v.address) // as well: where somebody signed in lately their name alone holds nothing up
	if ok {
		attempt, ok, wait = a.signIns.Name(v.address, v.user.Username)
	}
	if !ok {
		return access.Invalid{{Field: "current", Code: access.CodeOther, Text: v.n("login.throttled", secondsUp(wait))}}
	}
	ctx, done := patient(r)
	defer done()
	secret, err := a.desk.ChangeOwnPassword(ctx, v.actor(), v.user.ID, current, next, r.UserAgent())
	switch {
	case err == nil:
		attempt.Succeeded()
		v.keepSession(w, secret)
	case !errors.Is(err, access.ErrBadLogin):
		attempt.Abandoned()
	}
	return err
}

// passwordForm looks at what needs no database.
func (v *visit) passwordForm(current, next, again string) error {
	var bad access.Invalid
	for _, f := range []struct{ name, value string }{{"current", current}, {"password", next}, {"repeat", again}} {
		if f.value == "" {
			bad.Add(f.name, access.CodeRequired)
		}
	}
	if next != again && again != "" {
		bad = append(bad, access.FieldError{Field: "repeat", Code: access.CodeOther, Text: v.t("account.differs")})
	}
	return bad.OrNil()
}

// endSession signs one of the visitor's browsers out.
func (a *Admin) endSession(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	id, err := strconv.ParseInt(sent(r, "session"), 10, 64)
	if err != nil {
		return errBadForm
	}
	if err := a.desk.SignOut(r.Context(), v.actor(), v.user.ID, id); err != nil {
		return err
	}
	if id == v.session.ID {
		v.keepSession(w, "")
		return v.done(w, r, "/admin/login/", "flash.signed_out")
	}
	return v.done(w, r, "/admin/account/", "flash.session_ended")
}

// endSessions signs the visitor out everywhere, here too.
func (a *Admin) endSessions(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if _, err := a.desk.SignOutEverywhere(r.Context(), v.actor(), v.user.ID); err != nil {
		return err
	}
	v.keepSession(w, "")
	return v.done(w, r, "/admin/login/", "flash.signed_out_everywhere")
}
