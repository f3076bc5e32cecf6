package webadmin

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// flash is one sentence that a page leaves for the next one: after a POST the browser is sent on, and what was done is told there. It travels in a
// cookie, as the key of a text and what is filled in, so that nothing but our own sentences can be said by it.
type flash struct {
	Kind string // "good" or "bad"
	Text string
}

type flashCookieValue struct {
	Bad  bool     `json:"b,omitempty"`
	Key  string   `json:"k"`
	Args []string `json:"a,omitempty"`
}

const (
	flashCookie = "openway_flash"
	maxFlashArg = 200 // characters; cookies are small
)

// done sends the browser on after a POST, with a sentence of the catalogue (key "" = none) about what was done.
func (v *visit) done(w http.ResponseWriter, r *http.Request, to, key string, args ...string) error {
	return v.goOn(w, r, to, flashCookieValue{Key: key, Args: args})
}

// sorry sends the browser on after a POST that changed nothing, with a sentence that says why.
func (v *visit) sorry(w http.ResponseWriter, r *http.Request, to, key string, args ...string) error {
	return v.goOn(w, r, to, flashCookieValue{Bad: true, Key: key, Args: args})
}

func (v *visit) goOn(w http.ResponseWriter, r *http.Request, to string, f flashCookieValue) error {
	if err := v.leave(w, f); err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// leave leaves a sentence for the next page.
func (v *visit) leave(w http.ResponseWriter, f flashCookieValue) error {
	if f.Key == "" {
		return nil
	}
	for i, a := range f.Args {
		if runes := []rune(a); len(runes) > maxFlashArg {
			f.Args[i] = string(runes[:maxFlashArg]) + "…"
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	http.SetCookie(w, v.cookie(flashCookie, base64.RawURLEncoding.EncodeToString(b), 60))
	return nil
}

// takeFlash reads what the page before left. It is told once; only a page that is shown takes it.
func takeFlash(w http.ResponseWriter, r *http.Request, v *visit) *flash {
	if r.Method != http.MethodGet || strings.HasPrefix(r.URL.Path, "/admin/static/") {
		return nil
	}
	c, err := r.Cookie(flashCookie)
	if err != nil {
		return nil
	}
	http.SetCookie(w, v.cookie(flashCookie, "", -1))
	var f flashCookieValue
	b, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil || json.Unmarshal(b, &f) != nil {
		return nil
	}
	text, ok := catalogue()[f.Key]
	if !ok || strings.Count(text.en, "%s") != len(f.Args) || !strings.HasPrefix(f.Key, "flash.") {
		return nil
	}
	args := make([]any, len(f.Args))
	for i, a := range f.Args {
		args[i] = a
	}
	kind := "good"
	if f.Bad {
		kind = "bad"
	}
	return &flash{Kind: kind, Text: v.t(f.Key, args...)}
}

// cookie is one of ours, for the admin pages alone. seconds 0 = until the browser ends, below 0 = gone.
func (v *visit) cookie(name, value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/admin/", MaxAge: seconds, HttpOnly: true, Secure: v.secure, SameSite: http.SameSiteLaxMode,
	}
}

// localPath is next if it is a page of ours to go on to, else "/admin/". Nobody is sent to another site, or to what is no page to stay on.
func localPath(next string) string {
	const home = "/admin/"
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || !strings.HasPrefix(next, home) ||
		strings.ContainsAny(next, "\\\r\n\t") || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "..") ||
		strings.HasPrefix(u.Path, "/admin/login/") || strings.HasPrefix(u.Path, "/admin/logout/") || strings.HasPrefix(u.Path, "/admin/static/") || strings.HasPrefix(u.Path, "/admin/preferences/") {
		return home
	}
	u.Fragment = ""
	return u.String()
}
