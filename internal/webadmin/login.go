package webadmin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

const (
	languageCookie = "openway_language"
	themeCookie    = "openway_theme"
	aYear          = 365 * 24 * 60 * 60 // seconds
)

// sessionCookie is the name of the cookie with the session's secret. Over HTTPS browsers see to it that only this host, over HTTPS, has set it.
func sessionCookie(secure bool) string {
	if secure {
		return "__Host-openway_session"
	}
	return "openway_session"
}

// keepSession gives the browser a session's secret, or with "" takes it away.
func (v *visit) keepSession(w http.ResponseWriter, secret string) {
	c := v.cookie(sessionCookie(v.secure), secret, int(registry.SessionLife/time.Second))
	c.Path = "/" // as the name demands
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

type loginPage struct {
	frame
	Username field
	Password field
	Next     string
	Refusal  string // why the last try failed
}

func (a *Admin) newLoginPage(v *visit, next string) *loginPage {
	return &loginPage{
		frame:    v.frame("", v.t("login.title")),
		Username: field{Name: "username", Label: v.t("login.username"), Autocomplete: "username", Required: true, Focus: true},
		Password: field{Name: "password", Label: v.t("login.password"), Type: "password", Autocomplete: "current-password", Required: true},
		Next:     next,
	}
}

// askToSignIn sends somebody who is not signed in to the page for it. A page that was asked for is shown after that; a form that
// was sent is not sent again, its reader is brought back to the page that it stood on. A script is told where to go: it would follow a redirect itself, and
// take the sentence that the page should show.
func (a *Admin) askToSignIn(w http.ResponseWriter, r *http.Request, v *visit) {
	next := r.URL.RequestURI()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		next = "/admin/"
		if u, err := url.Parse(r.Referer()); err == nil && u.Host == r.Host {
			next = u.RequestURI()
		}
	}
	to := signInFor(next)
	if wantsJSON(r) {
		_ = v.leave(w, flashCookieValue{Bad: true, Key: "flash.session_over"})
		_ = answerJSON(w, http.StatusUnauthorized, refusal{Text: v.t("flash.session_over"), To: to})
		return
	}
	if r.Method == http.MethodPost {
		_ = v.sorry(w, r, to, "flash.session_over")
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (a *Admin) loginPage(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	next := localPath(r.URL.Query().Get("next"))
	if v.SignedIn() {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	return a.render(w, "login", a.newLoginPage(v, next))
}

// login opens a session. Attempts count together with those at the API.
func (a *Admin) login(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	ok, wait := a.signIns.Address(v.address)
	if err := readForm(r); err != nil {
		return err
	}
	p := a.newLoginPage(v, localPath(sent(r, "next")))
	p.Username.Value = sent(r, "username")
	if !ok {
		return a.refuseLogin(w, p, wait)
	}
	password := r.PostForm.Get("password")
	if p.Username.Value == "" || password == "" {
		for f, value := range map[*field]string{&p.Username: p.Username.Value, &p.Password: password} {
			if value == "" {
				f.Error = v.t("fault.required")
			}
		}
		p.Status = http.StatusUnprocessableEntity
		return a.render(w, "login", p)
	}
	attempt, ok, wait := a.signIns.Name(v.address, p.Username.Value)
	if !ok {
		return a.refuseLogin(w, p, wait)
	}
	replaced := ""
	if c, err := r.Cookie(sessionCookie(v.secure)); err == nil {
		replaced = c.Value
	}
	ctx, done := patient(r)
	defer done()
	actor := v.actor()
	actor.UserID, actor.Label, actor.SessionID = 0, "", 0 // whoever the browser was before, somebody new signs in
	secret, _, err := a.desk.SignIn(ctx, actor, p.Username.Value, password, r.UserAgent(), replaced)
	switch {
	case err == nil:
		attempt.Succeeded()
		v.keepSession(w, secret)
		http.Redirect(w, r, p.Next, http.StatusSeeOther)
		return nil
	case errors.Is(err, access.ErrBadLogin):
		p.Refusal, p.Status = v.t("login.bad"), http.StatusForbidden
	case errors.Is(err, registry.ErrNoRole):
		attempt.Abandoned()
		p.Refusal, p.Status = v.t("login.no_role"), http.StatusForbidden
	default:
		attempt.Abandoned()
		return err
	}
	p.Username.Focus, p.Password.Focus = false, true
	return a.render(w, "login", p)
}

// patience bounds what waits for other sign-ins.
const patience = 20 * time.Second

// patient is the request's context with a bound, and without the reader's presence: a password that is being changed is changed.
func patient(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), patience)
}

// refuseLogin tells somebody who tried too often how long to wait.
func (a *Admin) refuseLogin(w http.ResponseWriter, p *loginPage, wait time.Duration) error {
	seconds := secondsUp(wait)
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	p.Refusal, p.Status = p.n("login.throttled", seconds), http.StatusTooManyRequests
	return a.render(w, "login", p)
}

// secondsUp is a time in whole seconds, rounded up.
func secondsUp(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// logout ends the session at hand.
func (a *Admin) logout(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if v.SignedIn() {
		if err := a.desk.SignOut(r.Context(), v.actor(), v.user.ID, v.session.ID); err != nil {
			return err
		}
	}
	v.keepSession(w, "")
	return v.done(w, r, "/admin/login/", "flash.signed_out")
}

// setPreferences sets the language or the theme and returns to the page it was asked on.
func (a *Admin) setPreferences(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	switch theme := sent(r, "theme"); theme {
	case "light", "dark":
		http.SetCookie(w, v.cookie(themeCookie, theme, aYear))
	case "system":
		http.SetCookie(w, v.cookie(themeCookie, "", -1))
	}
	if l := sent(r, "language"); knownLanguage(l) {
		http.SetCookie(w, v.cookie(languageCookie, l, aYear))
		if v.SignedIn() {
			if err := a.desk.SetLanguage(r.Context(), v.actor(), v.user.ID, l); err != nil {
				return err
			}
		}
	}
	http.Redirect(w, r, a.back(sent(r, "next")), http.StatusSeeOther)
	return nil
}

// back is the way back to a page that was shown, also to the one to sign in. A form that was refused is shown in answer to a POST, where there may be
// nothing to GET: then it is the page above it.
func (a *Admin) back(to string) string {
	u, err := url.Parse(to)
	if err == nil && u.Path == loginPath && strings.HasPrefix(to, loginPath) {
		return signInFor(u.Query().Get("next"))
	}
	to = localPath(to)
	if u, err = url.Parse(to); err != nil {
		return "/admin/"
	}
	for at := u.Path; at != "/"; at = path.Dir(strings.TrimSuffix(at, "/")) + "/" {
		methods := a.Methods(at)
		shown := slices.Contains(methods, http.MethodGet)
		if at == u.Path && (shown || len(methods) == 0) { // also where there is nothing at all: the page said so
			return to
		}
		if shown {
			return at
		}
	}
	return "/admin/"
}

const loginPath = "/admin/login/"

// signInFor is the page to sign in, which leads on to next.
func signInFor(next string) string {
	if next = localPath(next); next != "/admin/" {
		return loginPath + "?" + url.Values{"next": {next}}.Encode()
	}
	return loginPath
}
