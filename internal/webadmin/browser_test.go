package webadmin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
)

// visits are the pages that a real browser looks at, on the site of town, as its owner. Each is visited in both languages and both themes, at three widths:
// nothing may be logged as an error, no policy violated, nothing wider than the screen. axe-core may find nothing worse than minor: in the ordinary run it looks at all of a page
// in light and English and at the colours in dark and Russian.
//
// With OPENWAY_SCREENS=1 it looks at all of each, and each is drawn as well, to reports/screens/<name>-<width>-<theme>-<language>.png, for people to look at.
func visits(front int64) []visitTo {
	gate := gatePath(front)
	return []visitTo{
		{name: "overview", path: "/admin/"},
		{name: "events", path: "/admin/events/"},
		{name: "events-filtered", path: "/admin/events/?decision=DENY&gate=front-door"},
		{name: "events-wrong", failing: true, path: "/admin/events/?gate=nowhere&from=x"},
		{name: "event", path: "/admin/events/1/"},
		{name: "gates", path: "/admin/gates/"},
		{name: "gates-found", path: "/admin/gates/?q=east"},
		{name: "gates-none-found", path: "/admin/gates/?q=nowhere"},
		{name: "gate", path: gate},
		{name: "gate-try", path: gate + "?who=a"},
		{name: "gate-menu", path: gate, click: ".people .menu summary"},
		{name: "gate-new", path: "/admin/gates/new/"},
		{name: "gate-invalid", failing: true, path: "/admin/gates/new/", script: `document.querySelector("form.form").noValidate = true`, click: "form.form .primary", ready: ".field.wrong"},
		{name: "gate-edit", path: gate + "edit/"},
		{name: "gate-delete", path: gate + "delete/"},
		{name: "access", path: "/admin/access/"},
		{name: "access-few", path: "/admin/access/?gates=0"},
		{name: "access-changed", path: "/admin/access/", click: "table.toggles tbody tr:nth-child(2) td:nth-child(7)", ready: ".matrix-bar button"},
		{name: "access-mixed", path: "/admin/access/", click: "table.toggles td.mixed", ready: ".matrix-bar a"},
		{name: "access-group", path: accessPath("group", 1)},
		{name: "access-gate", path: accessPath("gate", front)},
		{name: "devices", path: "/admin/devices/"},
		{name: "devices-none-found", path: "/admin/devices/?q=nowhere"},
		{name: "device", path: devicePath(1)},
		{name: "device-new", path: "/admin/devices/new/?who=a"},
		{name: "device-form", path: "/admin/devices/new/?user=5"},
		{name: "device-lost", path: devicePath(3) + "lost/"},
		{name: "device-token", path: devicePath(3) + "token/", click: ".confirm .primary", ready: ".qr"},
		{name: "audit", path: "/admin/audit/"},
		{name: "audit-filtered", path: "/admin/audit/?object=device&action=change"},
		{name: "search", path: "/admin/search/?q=o"},
		{name: "search-none-found", path: "/admin/search/?q=nowhere"},
		{name: "settings", path: "/admin/settings/"},
		{name: "account", path: "/admin/account/"},
		{name: "menu", path: "/admin/gates/", click: ".me"},
		{name: "not-found", path: "/admin/nowhere/", failing: true},
		{name: "login", path: "/admin/login/", stranger: true},
	}
}

// visitTo is one page to look at.
type visitTo struct {
	name, path string
	script     string // what to run first
	click      string // what to click then
	ready      string // what is there once that is done
	failing    bool   // the page is that of an error, which browsers log
	stranger   bool   // nobody is signed in
}

var widths = []int64{1280, 768, 360}

// chromium is the browser of this machine.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: run ./scripts/test.sh, which installs it (Debian: apt-get install chromium)")
	return ""
}

// axe is the source of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	path := os.Getenv("OPENWAY_TEST_AXE")
	if path == "" {
		t.Fatal("OPENWAY_TEST_AXE does not name axe.min.js of axe-core: run ./scripts/test.sh, which fetches it")
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("OPENWAY_TEST_AXE: %v", err)
	}
	return string(source)
}

// window is a tab of Chromium that listens to what goes wrong in it.
type window struct {
	ctx      context.Context
	mu       sync.Mutex
	troubles []string
}

// openChromium starts the browser for a test.
func openChromium(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return ctx
}

// openTab opens a tab with cookies of its own.
func openTab(t *testing.T, browser context.Context) *window {
	t.Helper()
	w := &window{}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(w.listen))
	t.Cleanup(cancel)
	w.ctx = ctx
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as the context of its first action
		t.Fatalf("open a tab: %v", err)
	}
	call(t, w, log.Enable, cdp.Empty{})
	return w
}

// listen hears what the browser has to say of the page.
func (w *window) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		w.trouble("exception: " + e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			var words []string
			for _, a := range e.Args {
				words = append(words, string(a.Value))
			}
			w.trouble("console: " + strings.Join(words, " "))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			w.trouble(fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	}
}

func (w *window) trouble(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.troubles = append(w.troubles, s)
}

// gone returns what went wrong since it was last asked.
func (w *window) gone() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.troubles
	w.troubles = nil
	return all
}

func (w *window) run(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("in the browser: %v", err)
	}
}

// call sends a command of the protocol.
func call[P, R any](t *testing.T, w *window, command cdp.Command[P, R], params P) R {
	t.Helper()
	return must(chromedp.Call(w.ctx, command, params))(t)
}

// ask runs an action that has a result.
func ask[T any](t *testing.T, w *window, action chromedp.Action[T]) T {
	t.Helper()
	return must(chromedp.Run(w.ctx, action))(t)
}

// evaluate runs a script for what it does.
func evaluate(script string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Evaluate[bool]("("+script+", true)")(ctx, target)
		return chromedp.Void{}, err
	}
}

// keep gives the tab the cookies of b (nil = none) and some more.
func (w *window) keep(t *testing.T, x *site, b *browser, more ...string) {
	t.Helper()
	call(t, w, network.ClearBrowserCookies, cdp.Empty{})
	set := func(name, value string) {
		call(t, w, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: x.url + "/admin/"})
	}
	if b != nil {
		for _, c := range b.client.Jar.Cookies(must(url.Parse(x.url + "/admin/"))(t)) {
			set(c.Name, c.Value)
		}
	}
	for i := 0; i < len(more); i += 2 {
		set(more[i], more[i+1])
	}
}

// finding is one of axe-core's.
type finding struct {
	ID     string `json:"id"`
	Impact string `json:"impact"`
	Help   string `json:"help"`
	Nodes  []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// The rules of axe-core that are run: all, or those that depend on the theme. They take most of the time of this test.
const (
	allRules    = `"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"`
	colourRules = `"color-contrast"`
)

// menusOffScreen names the menus of a page that do not open inside the window.
const menusOffScreen = `[...document.querySelectorAll("details.menu")].filter(m => m.checkVisibility()).flatMap(m => {
	const was = m.open;
	m.open = true;
	const {left, right} = m.querySelector(".menu-body").getBoundingClientRect();
	m.open = was;
	return left < 0 || right > innerWidth ? [m.innerText.trim().split("\n")[0] + ": " + left + " to " + right] : [];
})`

func TestPagesInChromium(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	front := x.town()
	owner := x.as("owner")
	source := axe(t)
	screens := os.Getenv("OPENWAY_SCREENS") != ""
	w := openTab(t, openChromium(t))
	for _, page := range append(x.peopleVisits(), visits(front.ID)...) {
		for _, lang := range languages() {
			for _, theme := range []string{"light", "dark"} {
				name := page.name + "-" + theme + "-" + string(lang)
				b := owner
				if page.stranger {
					b = nil
				}
				w.keep(t, x, b, languageCookie, string(lang), themeCookie, theme)
				actions := []chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(widths[0], 900), chromedp.Navigate(x.url + page.path)}
				if page.script != "" {
					actions = append(actions, evaluate(page.script))
				}
				if page.click != "" {
					actions = append(actions, chromedp.Click(chromedp.CSS(page.click)))
				}
				if page.ready != "" {
					actions = append(actions, chromedp.WaitVisible(chromedp.CSS(page.ready)))
				}
				w.run(t, actions...)
				for _, width := range widths {
					w.run(t, chromedp.EmulateViewport(width, 900))
					if wide := ask(t, w, chromedp.Evaluate[int64](`document.documentElement.scrollWidth`)); wide > width {
						t.Errorf("%s at %d px is %d px wide", name, width, wide)
					}
					for _, menu := range ask(t, w, chromedp.Evaluate[[]string](menusOffScreen)) {
						t.Errorf("%s at %d px: a menu opens off the screen: %s", name, width, menu)
					}
					rules := ""
					switch {
					case screens && width != 768, theme == "light" && lang == english && width == 1280:
						rules = allRules
					case theme == "dark" && lang == russian && width == 360:
						rules = colourRules
					}
					if rules != "" {
						w.axe(t, fmt.Sprintf("%s at %d px", name, width), source, rules)
					}
					if screens {
						w.draw(t, width, fmt.Sprintf("%s-%d-%s-%s.png", page.name, width, theme, lang))
					}
				}
				for _, s := range w.gone() {
					if !page.failing || !strings.HasPrefix(s, "network: Failed to load resource") {
						t.Errorf("%s: the browser says: %s", name, s)
					}
				}
			}
		}
	}
}

// The longest names there may be, without a place to break, make no page wider than the screen of a phone.
func TestLongestNamesInChromium(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	ctx, long := t.Context(), strings.Repeat("w", 128)
	ann := must(x.desk.CreateUser(ctx, setup, access.User{Username: long, FirstName: long, LastName: long, Email: long[:64] + "@example.org", Active: true}, registry.Password{}))(t)
	named := x.user(long[:58]) // shown by the user name alone
	team, gate := x.group(long[:64]), x.gate(long[:64], long)
	if err := x.desk.AddMember(ctx, setup, team.ID, ann.ID); err != nil {
		t.Fatal(err)
	}
	x.grant(access.Permission{GateID: gate.ID, GroupID: team.ID})
	x.grant(access.Permission{GateID: gate.ID, UserID: ann.ID})
	phone := x.device(ann, long[:100])
	must(x.desk.AddToken(ctx, setup, ann.ID, "a token of Ann's", long))(t)
	for _, code := range []string{gate.Code, "nowhere" + long[:50]} {
		x.keeper.Verify(ctx, gatekeeper.Request{Gate: code, Token: "a token of Ann's"})
	}
	x.keeper.Verify(ctx, gatekeeper.Request{Gate: "nowhere" + long[:50], Token: "a token of Ann's"})
	w := openTab(t, openChromium(t))
	w.keep(t, x, x.as("owner"))
	w.run(t, chromedp.EmulateViewport(360, 900))
	user, group, device := userPath(ann.ID), groupPath(team.ID), devicePath(phone.ID)
	for _, path := range []string{
		"/admin/", "/admin/events/", "/admin/gates/", "/admin/users/", "/admin/groups/", "/admin/devices/", "/admin/audit/", "/admin/access/", "/admin/search/?q=w",
		user, user + "?gate=w", user + "refusals/", user + "edit/", user + "delete/", userPath(named.ID), group, group + "?who=w&gate=w", group + "delete/",
		gatePath(gate.ID), gatePath(gate.ID) + "?who=w", gatePath(gate.ID) + "delete/", accessPath("group", team.ID), accessPath("gate", gate.ID),
		fmt.Sprintf("/admin/users/bulk/?action=deactivate&id=%d&id=%d", ann.ID, named.ID), "/admin/devices/new/?who=w", device, device + "lost/", device + "token/", device + "bind/?who=w",
		device + "delete/", eventPath(1), "/admin/events/?gate=" + gate.Code + "&user=" + long,
	} {
		w.run(t, chromedp.Navigate(x.url+path))
		if wide := ask(t, w, chromedp.Evaluate[string](widest)); wide != "" {
			t.Errorf("%s is wider than the screen: %s", path, wide)
		}
	}
}

// widest names what is wider than the screen, and lies in nothing that scrolls by itself; "" = nothing is.
const widest = `document.documentElement.scrollWidth <= innerWidth && innerWidth === 360 ? "" : innerWidth + " px, " + [...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > 360)
	.slice(-3).map(e => e.outerHTML.slice(0, 90)).join(" | ")`

// axe has axe-core look at the page.
func (w *window) axe(t *testing.T, name, source, rules string) {
	t.Helper()
	if !ask(t, w, chromedp.Evaluate[bool](`typeof axe === "object"`)) {
		ask(t, w, chromedp.Evaluate[int](source+";0"))
	}
	result := ask(t, w, chromedp.Evaluate[string](`axe.run(document, {resultTypes: ["violations"], runOnly: [`+rules+`]}).then(r => JSON.stringify(r.violations))`, chromedp.EvalAwaitPromise))
	var found []finding
	if err := json.Unmarshal([]byte(result), &found); err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Impact == "minor" {
			continue
		}
		for _, n := range f.Nodes {
			t.Errorf("%s: axe %s (%s): %s\n  %s\n  %s", name, f.ID, f.Impact, f.Help, n.HTML, strings.ReplaceAll(n.Summary, "\n", " "))
		}
	}
}

// draw writes a picture of the whole page.
func (w *window) draw(t *testing.T, width int64, name string) {
	t.Helper()
	height := ask(t, w, chromedp.Evaluate[int64](`document.documentElement.scrollHeight`))
	w.run(t, chromedp.EmulateViewport(width, max(640, height)))
	picture := ask(t, w, chromedp.CaptureScreenshot())
	dir := filepath.Join("..", "..", "reports", "screens")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
