package webadmin

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/openway-access/openway/internal/store"
)

// nextOf is where the forms of a page that set language and theme say to go on.
func nextOf(t *testing.T, page string) string {
	t.Helper()
	for z, in := html.NewTokenizer(strings.NewReader(page)), false; ; {
		switch z.Next() {
		case html.ErrorToken:
			t.Fatalf("the page has no form for preferences:\n%s", page)
		case html.StartTagToken, html.SelfClosingTagToken:
			attr := map[string]string{}
			for _, a := range z.Token().Attr {
				attr[a.Key] = a.Val
			}
			if attr["action"] == "/admin/preferences/" {
				in = true
			} else if in && attr["name"] == "next" {
				return attr["value"]
			}
		}
	}
}

// Whoever changes language or theme stays where they are: with the filter of the list, at the form that was refused, on the way to the page that
// they wanted to sign in for.
func TestPreferencesLeadBack(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	stranger, b := x.browser(), x.browser()
	b.post("/admin/login/", "username", "owner", "password", password).want(t, "sign in", http.StatusSeeOther)
	signIn := "/admin/login/?next=" + url.QueryEscape("/admin/gates/?q=x")
	for _, tt := range []struct {
		name string
		page answer
		want string
	}{
		{"a list with a filter", b.get("/admin/gates/?q=x"), "/admin/gates/?q=x"},
		{"a form that was refused", b.post("/admin/account/password/", "current", "no"), "/admin/account/"},
		{"a page that is not there", b.get("/admin/nowhere/at/all/"), "/admin/nowhere/at/all/"},
		{"the page to sign in", stranger.get(signIn), signIn},
		{"the page to sign in, for another site", stranger.get("/admin/login/?next=https%3A%2F%2Fevil.test%2F"), "/admin/login/"},
	} {
		if got := b.post("/admin/preferences/", "theme", "dark", "next", nextOf(t, tt.page.body)); got.location != tt.want {
			t.Errorf("%s: leads to %q, want %q", tt.name, got.location, tt.want)
		}
	}
	for _, next := range []string{"//evil.test", "https://evil.test/admin/", "/admin/login/?next=//evil.test", "/admin/login//evil.test", "/admin/logout/", ""} {
		if got := b.post("/admin/preferences/", "theme", "dark", "next", next); got.location != "/admin/" && got.location != "/admin/login/" {
			t.Errorf("%q leads to %q", next, got.location)
		}
	}
}
