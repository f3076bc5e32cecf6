package webadmin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/net/html"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
	"github.com/openway-access/openway/internal/throttle"
)

// target is where a link or a form leads.
type target struct{ method, url string }

// targets are all that a page leads to.
func targets(t *testing.T, page string) []target {
	t.Helper()
	var all []target
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return all
		case html.StartTagToken:
			token := z.Token()
			attr := map[string]string{}
			for _, a := range token.Attr {
				attr[a.Key] = a.Val
			}
			switch {
			case token.Data == "a" && !strings.HasPrefix(attr["href"], "#"):
				all = append(all, target{http.MethodGet, attr["href"]})
			case token.Data == "form" && attr["method"] == "post":
				all = append(all, target{http.MethodPost, attr["action"]})
			case token.Data == "form":
				all = append(all, target{http.MethodGet, attr["action"]})
			}
		}
	}
}

// cookie is what an answer sets under a name.
func (a answer) cookie(name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func TestSignIn(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			x := newSite(t, engine, nil)
			b := x.browser()
			if got := b.get("/admin/gates/?q=x"); got.location != "/admin/login/?next="+url.QueryEscape("/admin/gates/?q=x") {
				t.Errorf("a page without a session leads to %q", got.location)
			}
			for name, tc := range map[string]struct {
				user, password, shows string
				status                int
			}{
				"a wrong password":            {"owner", "no", "do not fit together", http.StatusForbidden},
				"an unknown user":             {"stranger", password, "do not fit together", http.StatusForbidden},
				"no role, a wrong password":   {"nobody", "no", "do not fit together", http.StatusForbidden},
				"no role, the right password": {"nobody", password, "you have no role", http.StatusForbidden},
				"nothing":                     {"", "", "Fill this in", http.StatusUnprocessableEntity},
			} {
				got := b.post("/admin/login/", "username", tc.user, "password", tc.password, "next", "/admin/account/").want(t, name, tc.status)
				if !got.shows(tc.shows) || !got.shows(`value="/admin/account/"`) || got.cookie("openway_session") != nil {
					t.Errorf("%s: want %q, the next page kept, and no session:\n%s", name, tc.shows, got.body)
				}
			}
			got := b.post("/admin/login/", "username", "owner", "password", password, "next", "/admin/account/").want(t, "sign in", http.StatusSeeOther)
			c := got.cookie("openway_session")
			if got.location != "/admin/account/" || c == nil || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || c.Path != "/" {
				t.Errorf("signed in: to %q with %+v", got.location, c)
			}
			again := b.post("/admin/login/", "username", "owner", "password", password).want(t, "sign in again", http.StatusSeeOther).cookie("openway_session")
			if again == nil || again.Value == c.Value {
				t.Errorf("a second sign-in did not draw a new secret")
			}
			if n := len(must(x.desk.Sessions(t.Context(), must(x.desk.UserByName(t.Context(), "owner"))(t).ID))(t)); n != 1 {
				t.Errorf("after signing in again in the same browser there are %d sessions, want 1", n)
			}
			b.post("/admin/logout/").want(t, "sign out", http.StatusSeeOther)
			if got := b.get("/admin/account/"); got.status != http.StatusSeeOther {
				t.Errorf("after signing out: status %d", got.status)
			}
			stale := x.browser()
			stale.header.Set("Cookie", "openway_session="+again.Value)
			if got := stale.get("/admin/account/"); got.status != http.StatusSeeOther {
				t.Errorf("the secret of a session that was signed out still opens pages: status %d", got.status)
			}
			actions := map[string]int{}
			for _, l := range must(x.desk.Changes(t.Context(), registry.ChangeFilter{Object: access.ObjectSession}))(t) {
				actions[l.Action]++
				if l.Actor.Kind != "user" || l.Actor.Label != "owner" || l.Actor.Address == "" || l.Actor.RequestID == "" || l.Actor.UserID == 0 {
					t.Errorf("the audit of a %s does not say who and from where: %+v", l.Action, l.Actor)
				}
			}
			if actions["sign-in"] != 2 || actions["sign-out"] != 1 {
				t.Errorf("the audit has %v, want 2 sign-ins and 1 sign-out", actions)
			}
		})
	}
}

func TestCookiesOverHTTPS(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	v := &visit{admin: x.admin, secure: true}
	if name := sessionCookie(true); name != "__Host-openway_session" {
		t.Errorf("over HTTPS the cookie is called %s", name)
	}
	if c := v.cookie("a", "b", 1); !c.Secure || !c.HttpOnly {
		t.Errorf("over HTTPS: %+v", c)
	}
}

func TestSessionsEnd(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	ctx := t.Context()
	id := must(x.desk.UserByName(ctx, "manager"))(t).ID
	for name, end := range map[string]func(){
		"the password was set": func() {
			if err := x.desk.SetPassword(ctx, setup, id, registry.Password{Hash: must(passwordHash())(t)}); err != nil {
				t.Fatal(err)
			}
		},
		"the role was lowered": func() {
			if err := x.desk.GrantRole(ctx, setup, id, access.Viewer, 0); err != nil {
				t.Fatal(err)
			}
		},
		"shut out": func() { must(x.desk.SetUserActive(ctx, setup, id, false))(t) },
	} {
		must(x.desk.SetUserActive(ctx, setup, id, true))(t)
		if err := x.desk.GrantRole(ctx, setup, id, access.Manager, 0); err != nil {
			t.Fatal(err)
		}
		b := x.as("manager")
		b.get("/admin/gates/").want(t, "signed in", http.StatusOK)
		end()
		if got := b.get("/admin/gates/"); got.status != http.StatusSeeOther {
			t.Errorf("%s: status %d, want to be sent to sign in", name, got.status)
		}
	}
}

// A form that is sent after the session has ended leads to signing in, says so, and comes back to where it stood.
func TestFormAfterTheSession(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	b := x.browser()
	b.header.Set("Referer", x.url+"/admin/gates/new/")
	got := b.post("/admin/gates/new/", "code", "x").want(t, "post", http.StatusSeeOther)
	if got.location != "/admin/login/?next="+url.QueryEscape("/admin/gates/new/") {
		t.Errorf("leads to %s", got.location)
	}
	if page := b.get(got.location); !page.shows("was not saved") {
		t.Errorf("the page does not say that the form was not saved:\n%s", page.body)
	}
}

// In the browser what was entered is there again after signing in, and after changing the language: for the same person, once, and without passwords.
func TestEnteredAgainInChromium(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	id := must(x.desk.UserByName(t.Context(), "manager"))(t).ID
	w := openTab(t, openChromium(t))
	until := func(what, condition string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
		defer cancel()
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for { // while one page goes and another comes there is nothing to ask
			if there, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.readyState === "complete" && `+condition)); err == nil && there {
				return
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				t.Fatalf("%s: %s never came true; the page says:\n%s", what, condition, ask(t, w, chromedp.Evaluate[string](`document.body.innerText`)))
			}
		}
	}
	signIn := func(username string) {
		t.Helper()
		until("the page to sign in", `!!document.querySelector("form[action='/admin/login/']")`)
		w.run(t, chromedp.SendKeys(chromedp.CSS("main [name=username]"), username), chromedp.SendKeys(chromedp.CSS("main [name=password]"), password), chromedp.Click(chromedp.CSS("main .primary")))
	}
	enter := func(name string) {
		t.Helper()
		w.run(t, chromedp.Navigate(x.url+"/admin/users/new/"))
		w.run(t, chromedp.SendKeys(chromedp.CSS("main [name=first_name]"), name), chromedp.SendKeys(chromedp.CSS("main [name=username]"), "n"+name),
			chromedp.SendKeys(chromedp.CSS("main [name=password]"), "secret of "+name))
	}
	has := func(first, password string) string {
		return fmt.Sprintf(`document.querySelector("main [name=first_name]")?.value === %q && document.querySelector("main [name=password]").value === %q`, first, password)
	}
	const save, shown, kept = "form.form .primary", `!document.querySelector(".refilled").hidden`, `sessionStorage.length`
	w.run(t, chromedp.Navigate(x.url+"/admin/users/new/"))
	signIn("manager")
	until("signed in", has("", ""))

	enter("Ann")
	if _, err := x.desk.SignOutEverywhere(t.Context(), setup, id); err != nil {
		t.Fatal(err)
	}
	w.run(t, chromedp.Click(chromedp.CSS(save)))
	signIn("manager")
	until("entered again", has("Ann", "")+" && "+shown)
	w.run(t, chromedp.SendKeys(chromedp.CSS("main [name=password]"), password), chromedp.Click(chromedp.CSS(save)))
	until("saved", `document.body.innerText.includes("nAnn")`)
	enter("")
	until("a new form", has("", "secret of ")+" && !("+shown+")")

	enter("Ben")
	w.run(t, chromedp.Click(chromedp.CSS(".language button")))
	until("in Russian", `document.documentElement.lang === "ru" && `+has("Ben", ""))

	enter("Cat")
	if _, err := x.desk.SignOutEverywhere(t.Context(), setup, id); err != nil {
		t.Fatal(err)
	}
	w.run(t, chromedp.Click(chromedp.CSS(save)))
	signIn("owner")
	until("somebody else", has("", "")+" && "+kept+" === 0")

	enter("Dan")
	w.run(t, chromedp.Click(chromedp.CSS(".language button")))
	until("in English", has("Dan", ""))
	w.run(t, evaluate(`document.querySelector("form[action='/admin/logout/']").requestSubmit()`))
	until("signed out", `!document.body.dataset.user && `+kept+" === 0")
}

func TestOwnPasswordAndSessions(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	here, there := x.as("viewer"), x.as("viewer")
	const next = "another door to open"
	for name, tc := range map[string]struct {
		form  []string
		shows string
	}{
		"wrong":    {[]string{"current", "no", "password", next, "repeat", next}, "not your present password"},
		"differs":  {[]string{"current", password, "password", next, "repeat", "x"}, "do not agree"},
		"weak":     {[]string{"current", password, "password", "8305917264", "repeat", "8305917264"}, "more than digits"},
		"the same": {[]string{"current", password, "password", password, "repeat", password}, "was used before"},
	} {
		if got := here.post("/admin/account/password/", tc.form...); got.status != http.StatusUnprocessableEntity || !got.shows(tc.shows) {
			t.Errorf("%s: status %d, want 422 and %q", name, got.status, tc.shows)
		}
	}
	here.post("/admin/account/password/", "current", password, "password", next, "repeat", next).want(t, "change", http.StatusSeeOther)
	here.get("/admin/account/").want(t, "the browser at hand stays signed in", http.StatusOK)
	if got := there.get("/admin/account/"); got.status != http.StatusSeeOther {
		t.Errorf("another browser is still signed in: status %d", got.status)
	}
	there.post("/admin/login/", "username", "viewer", "password", next).want(t, "the new password", http.StatusSeeOther)
	if page := here.get("/admin/account/"); strings.Count(page.body, "<tr>") != 3 || !page.shows("Chrome, Linux") {
		t.Errorf("two sessions, and which browsers they are, are not shown:\n%s", page.body)
	}
	stranger := x.as("manager")
	id := must(x.desk.Sessions(t.Context(), must(x.desk.UserByName(t.Context(), "viewer"))(t).ID))(t)[0].ID
	stranger.post("/admin/account/sessions/end/", "session", strconv.FormatInt(id, 10)).want(t, "end another's session", http.StatusSeeOther)
	here.get("/admin/account/").want(t, "another cannot end it", http.StatusOK)
	here.post("/admin/account/sessions/end-all/").want(t, "everywhere", http.StatusSeeOther)
	for _, b := range []*browser{here, there} {
		if got := b.get("/admin/account/"); got.status != http.StatusSeeOther {
			t.Errorf("after signing out everywhere: status %d", got.status)
		}
	}
}

func TestSignInsAreThrottled(t *testing.T) {
	x := newSite(t, store.SQLite, func(c *Config) { c.SignIns = throttle.NewSignIns(throttle.Rate{N: 3, Per: time.Hour}, nil) })
	b := x.browser()
	for range 3 {
		b.post("/admin/login/", "username", "owner", "password", "no").want(t, "a try", http.StatusForbidden)
	}
	got := b.post("/admin/login/", "username", "owner", "password", password, "next", "/admin/gates/").want(t, "one too many", http.StatusTooManyRequests)
	if got.header.Get("Retry-After") == "" || !got.shows("Too many attempts") {
		t.Errorf("it does not say when to try again:\n%s", got.body)
	}
	got.has(t, "refused by address", `value="owner"`, `name="next" value="/admin/gates/"`).lacks(t, "refused by address", password)
}

// Whoever signed in here lately is not held up by what others try under that name, but guessing the present password at an unattended browser is.
func TestPasswordIsNotGuessedAtAnOpenBrowser(t *testing.T) {
	x := newSite(t, store.SQLite, func(c *Config) { c.SignIns = throttle.NewSignIns(throttle.Rate{N: 3, Per: time.Hour}, nil) })
	b := x.browser()
	b.post("/admin/login/", "username", "owner", "password", password).want(t, "sign in", http.StatusSeeOther)
	const next = "another quiet harbour"
	for range 2 {
		b.post("/admin/account/password/", "current", "no", "password", next, "repeat", next).want(t, "a try", http.StatusUnprocessableEntity)
	}
	got := b.post("/admin/account/password/", "current", password, "password", next, "repeat", next).want(t, "one too many", http.StatusUnprocessableEntity)
	if !got.shows("Too many attempts") {
		t.Errorf("it does not say that there were too many:\n%s", got.body)
	}
}

func TestFormsOfOtherSites(t *testing.T) {
	x := newSite(t, store.SQLite, func(c *Config) { c.PublicURL = &url.URL{Scheme: "https", Host: "access.example.org"} })
	for name, tc := range map[string]struct {
		header []string
		want   int
	}{
		"another site":             {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, http.StatusForbidden},
		"another host of our site": {[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://evil.example.org"}, http.StatusForbidden},
		"an old browser elsewhere": {[]string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"our own page":             {[]string{"Sec-Fetch-Site", "same-origin"}, http.StatusSeeOther},
		"the public address":       {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://access.example.org"}, http.StatusSeeOther},
		"no browser":               {nil, http.StatusSeeOther},
	} {
		b := x.as("owner")
		for i := 0; i < len(tc.header); i += 2 {
			b.header.Set(tc.header[i], tc.header[i+1])
		}
		if got := b.post("/admin/gates/new/", "code", "g-"+strings.ReplaceAll(name, " ", "-")); got.status != tc.want {
			t.Errorf("%s: status %d, want %d", name, got.status, tc.want)
		}
	}
}

func TestLocalPath(t *testing.T) {
	for next, want := range map[string]string{
		"/admin/gates/?q=1": "/admin/gates/?q=1", "/admin/": "/admin/", "": "/admin/", "https://evil.example/admin/": "/admin/", "//evil.example/admin/": "/admin/",
		"/admin/../api/": "/admin/", "/admin//evil.example": "/admin/", `/admin/\evil.example`: "/admin/", "/admin/%2e%2e/x": "/admin/", "/admin/login/?next=x": "/admin/",
		"/admin/logout/": "/admin/", "javascript:alert(1)": "/admin/", "/admin/x\r\nSet-Cookie: a=b": "/admin/", "/api/v1/": "/admin/", "admin/": "/admin/",
	} {
		if got := localPath(next); got != want {
			t.Errorf("localPath(%q) = %q, want %q", next, got, want)
		}
	}
}

func TestEveryPageIsGuarded(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	b := x.as("owner")
	for _, path := range []string{"/admin/gates/", "/admin/nowhere/", "/admin/login/"} {
		h := b.get(path).header
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if path != "/admin/login/" && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %q", path, h.Get("Cache-Control"))
		}
	}
	for path, want := range map[string]int{
		"/admin/gates": http.StatusTemporaryRedirect, "/admin/gates/9999/": http.StatusNotFound, "/admin/gates/x/": http.StatusNotFound,
		"/admin/static/app.css": http.StatusNotFound, "/admin/logout/": http.StatusMethodNotAllowed,
	} {
		if got := b.get(path); got.status != want {
			t.Errorf("%s: status %d, want %d", path, got.status, want)
		}
	}
}

// A page that only takes forms says so with the menu that its hint names.
func TestMethodsInTheFrame(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	x.as("owner").get("/admin/logout/").want(t, "signed in", http.StatusMethodNotAllowed).has(t, "signed in", "Open it from the menu.", `class="rail"`)
}

func TestLanguageAndTheme(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	b := x.as("owner")
	if page := b.get("/admin/gates/"); !page.shows(`<html lang="en">`) {
		t.Error("Accept-Language: en gives another language")
	}
	b.post("/admin/preferences/", "language", "ru", "next", "/admin/gates/").want(t, "Russian", http.StatusSeeOther)
	b.post("/admin/preferences/", "theme", "dark").want(t, "dark", http.StatusSeeOther)
	if page := b.get("/admin/gates/"); !page.shows(`<html lang="ru" data-theme="dark">`) || !page.shows("Точки доступа") {
		t.Errorf("the choice is not kept:\n%.200s", page.body)
	}
	if page := x.as("owner").get("/admin/gates/"); !page.shows(`<html lang="ru">`) {
		t.Error("the user's language does not hold in another browser")
	}
	for header, want := range map[string]language{"ru": russian, "de, ru;q=0.5, en;q=0.4": russian, "en;q=0.2,ru;q=0.1": english, "fr": english, "ru;q=x": english} {
		if got := negotiate([]string{header}, english); got != want {
			t.Errorf("Accept-Language %q gives %s, want %s", header, got, want)
		}
	}
}
