package webadmin

import (
	"encoding/csv"
	"fmt"
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// deskRights are the lines of rightsOf about access, phones, the audit, the search and the settings.
func deskRights(x *site) []rights {
	const (
		ok    = http.StatusOK
		moved = http.StatusSeeOther
		no    = http.StatusForbidden
		bad   = http.StatusUnprocessableEntity
	)
	nora := x.user("nora")
	phone := x.device(nora, "Pixel")
	device := strings.TrimSuffix(devicePath(phone.ID), "/")
	seen := "seen=" + url.QueryEscape(deviceSeen(phone))
	newDevice := fmt.Sprintf("/admin/devices/new/?user=%d", nora.ID)
	south := x.gate("south", "South")
	cell := fmt.Sprintf("group=%d&gate=%d&seen=0&state=none", x.group("Roadies").ID, south.ID)
	site := must(x.desk.Site(x.t.Context()))(x.t)
	return []rights{
		{"GET /admin/access/{$}", "", "", signIn, ok, ok, ok},
		{"POST /admin/access/cell/{$}", "", cell, signIn, no, moved, moved},
		{"GET /admin/devices/{$}", "", "", signIn, ok, ok, ok},
		{"GET /admin/devices/new/{$}", "", "", signIn, no, ok, ok},
		{"POST /admin/devices/new/{$}", newDevice, "name=" + strings.Repeat("x", 101), signIn, no, bad, bad},
		{"GET /admin/devices/{device}/{$}", device + "/", "", signIn, ok, ok, ok},
		{"GET /admin/devices/{device}/edit/{$}", device + "/edit/", "", signIn, no, ok, ok},
		{"POST /admin/devices/{device}/edit/{$}", device + "/edit/", fmt.Sprintf("version=%d&name=Pixel", phone.Version), signIn, no, moved, moved},
		{"GET /admin/devices/{device}/bind/{$}", device + "/bind/", "", signIn, no, ok, ok},
		{"POST /admin/devices/{device}/bind/{$}", device + "/bind/", fmt.Sprintf("version=%d&user=%d", phone.Version, nora.ID), signIn, no, moved, moved},
		{"POST /admin/devices/{device}/reactivate/{$}", device + "/reactivate/", "", signIn, no, moved, moved},
		{"GET /admin/devices/{device}/token/{$}", device + "/token/", "", signIn, no, ok, ok},
		{"POST /admin/devices/{device}/token/{$}", device + "/token/", seen, signIn, no, ok, http.StatusConflict}, // the manager has made another one
		{"GET /admin/devices/{device}/lost/{$}", device + "/lost/", "", signIn, no, ok, ok},
		{"POST /admin/devices/{device}/lost/{$}", device + "/lost/", "", signIn, no, http.StatusConflict, http.StatusConflict}, // from no page
		{"POST /admin/devices/{device}/revoke/{$}", device + "/revoke/", "", signIn, no, moved, moved},
		{"GET /admin/devices/{device}/delete/{$}", device + "/delete/", "", signIn, no, ok, ok},
		{"POST /admin/devices/{device}/delete/{$}", device + "/delete/", "", signIn, no, http.StatusConflict, http.StatusConflict},
		{"GET /admin/audit/{$}", "", "", signIn, ok, ok, ok},
		{"GET /admin/audit/export/{$}", "/admin/audit/export/?format=csv", "", signIn, ok, ok, ok},
		{"GET /admin/search/{$}", "/admin/search/?q=n", "", signIn, ok, ok, ok},
		{"GET /admin/settings/{$}", "", "", signIn, no, no, ok},
		{"POST /admin/settings/{$}", "", fmt.Sprintf("version=%d&zone=UTC&default_release_ms=800&retention_days=0", site.Version), signIn, no, no, moved},
	}
}

// deskPaths are these pages, on the site of town.
func (x *site) deskPaths(front access.Gate) []string {
	return []string{"/admin/access/", accessPath("gate", front.ID), accessPath("group", 1), "/admin/devices/", devicePath(1), "/admin/audit/", "/admin/search/?q=front"}
}

// seen is what the form of a page about a phone says that it saw.
func (a answer) seen(t *testing.T) string {
	t.Helper()
	_, rest, found := strings.Cut(a.body, `name="seen" value="`)
	if !found {
		t.Fatalf("the page has no form that says what it saw:\n%s", a.body)
	}
	v, _, _ := strings.Cut(rest, `"`)
	return v
}

func TestPhoneFromEntryToDeletion(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			x := newSite(t, engine, nil)
			g, ann, ben := x.gate("front", "Front"), x.user("ann"), x.user("ben")
			x.grant(access.Permission{GateID: g.ID, UserID: ann.ID})
			b := x.as("manager")
			if page := b.get("/admin/devices/new/?who=an"); !page.shows(fmt.Sprintf(`href="/admin/devices/new/?user=%d"`, ann.ID)) {
				t.Fatalf("the owner is not found:\n%s", page.body)
			}
			form := fmt.Sprintf("/admin/devices/new/?user=%d", ann.ID)
			if page := b.post(form, "name", strings.Repeat("x", 101), "android_device_id", "a-1"); page.status != http.StatusUnprocessableEntity || !page.shows(`value="a-1"`) {
				t.Errorf("a name too long: %d, want 422 and what was entered", page.status)
			}
			tokenPage := b.post(form, "name", "Pixel", "android_device_id", "a-1").want(t, "enter", http.StatusSeeOther).location
			device := strings.TrimSuffix(tokenPage, "token/")
			b.post(form, "name", "Pixel", "android_device_id", "a-1").want(t, "enter it twice", http.StatusUnprocessableEntity).has(t, "enter it twice", "ann has a phone with this Android id already")
			if n := len(must(x.desk.DevicesOf(t.Context(), ann.ID))(t)); n != 1 {
				t.Errorf("entered twice: %d phones, want 1", n)
			}
			ask := b.get(tokenPage).want(t, "ask for a token", http.StatusOK).lacks(t, "before there was a token", "present token")

			// The token is in the answer to the form, once, and nowhere else.
			shown := b.post(tokenPage, "seen", ask.seen(t)).want(t, "a new token", http.StatusOK)
			_, rest, _ := strings.Cut(shown.body, `<p class="secret"><code>`)
			token, _, _ := strings.Cut(rest, "<")
			if len(token) != 64 || !shown.shows(`<svg class="qr"`) || shown.header.Get("Cache-Control") != "no-store" || len(shown.header.Values("Set-Cookie")) > 0 {
				t.Fatalf("the token %q, with %v:\n%s", token, shown.header, shown.body)
			}
			verify := func(what string, want access.Reason) {
				t.Helper()
				if got := x.keeper.Verify(t.Context(), gatekeeper.Request{Gate: "front", Token: token}); got.Reason != want {
					t.Errorf("%s: the gate answers %s, want %s", what, got.Reason, want)
				}
			}
			verify("the new token", access.OK)
			if again := b.post(tokenPage, "seen", ask.seen(t)); again.status != http.StatusConflict {
				t.Errorf("the answer with the token was reloaded: %d, want 409 and the token as it was", again.status)
			}
			verify("after the reload", access.OK)
			b.get(tokenPage).has(t, "when there is a token", "The present token "+token[:4])
			for _, path := range []string{device, tokenPage, "/admin/devices/", "/admin/audit/", "/admin/audit/export/?format=ndjson"} {
				if b.get(path).shows(token) {
					t.Errorf("%s shows the token", path)
				}
			}

			b.post(device+"revoke/").want(t, "revoke", http.StatusSeeOther)
			verify("revoked", access.DeviceInactive)
			if page := b.get("/admin/devices/?state=revoked"); !page.shows("Pixel") {
				t.Errorf("not among the revoked ones:\n%s", page.body)
			}
			if page := b.get("/admin/devices/?state=active&q=ann"); page.shows("Pixel") {
				t.Errorf("among the active ones:\n%s", page.body)
			}
			b.post(device+"reactivate/").want(t, "reactivate", http.StatusSeeOther)
			verify("reactivated", access.OK)

			before := b.get(device + "edit/")
			b.post(device+"edit/", "version", before.version(t), "name", "Pixel 9", "android_device_id", "a-1").want(t, "edit", http.StatusSeeOther)
			if page := b.post(device+"edit/", "version", before.version(t), "name", "Nokia", "android_device_id", "a-2"); page.status != http.StatusConflict || !page.shows("Name: was “Pixel”, is now “Pixel 9”") || !page.shows(`value="Nokia"`) {
				t.Errorf("edited by two: %d\n%s", page.status, page.body)
			}
			for _, q := range []string{"ann", "pixel", "A-1"} {
				if page := b.get("/admin/devices/?q=" + q); strings.Count(page.body, "row-link") != 1 {
					t.Errorf("searched for %s:\n%s", q, page.body)
				}
			}

			bind := b.get(device+"bind/?who=ben").want(t, "find another owner", http.StatusOK)
			b.post(device+"bind/", "version", bind.version(t), "user", fmt.Sprint(ben.ID)).want(t, "bind", http.StatusSeeOther)
			if page := b.get(b.post(device+"bind/", "version", bind.version(t), "user", fmt.Sprint(ann.ID)).location); !page.shows("Somebody else changed Pixel 9") {
				t.Errorf("bound by somebody who did not see the last change:\n%s", page.body)
			}
			verify("of somebody else", access.NoPermission)

			lost := b.get(device+"lost/").want(t, "ask about losing it", http.StatusOK)
			if page := b.get(b.post(device+"lost/", "seen", lost.seen(t)).want(t, "lost", http.StatusSeeOther).location); !page.shows("Pixel 9 is reported lost") {
				t.Errorf("after the loss:\n%s", page.body)
			}
			verify("lost", access.DeviceInactive)
			gone := b.get(device+"delete/").want(t, "ask about deletion", http.StatusOK)
			b.post(device+"delete/", "seen", lost.seen(t)).want(t, "delete what has changed", http.StatusConflict)
			b.post(device+"delete/", "seen", gone.seen(t)).want(t, "delete", http.StatusSeeOther)
			b.get(device).want(t, "a deleted phone", http.StatusNotFound)
			verify("deleted", access.TokenInvalid)
		})
	}
}

// However many people have a name, all their phones are found by it, each once.
func TestPhonesOfManyNamesakes(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	for i := range 30 {
		u := must(x.desk.CreateUser(t.Context(), setup, access.User{Username: fmt.Sprintf("u%d", i), FirstName: "Имя", Active: true}, registry.Password{}))(t)
		x.device(u, "Телефон")
		x.device(u, "имя")
	}
	b, seen := x.as("viewer"), map[string]int{}
	for path := "/admin/devices/?q=" + url.QueryEscape("имя"); path != ""; {
		page := b.get(path).want(t, path, http.StatusOK)
		for _, row := range strings.Split(page.body, `class="row-link" href="`)[1:] {
			link, _, _ := strings.Cut(row, `"`)
			seen[link]++
		}
		head, _, more := strings.Cut(page.body, `" rel="next"`)
		if path = ""; more {
			path = html.UnescapeString(head[strings.LastIndex(head, `"`)+1:])
		}
	}
	for link, n := range seen {
		if n != 1 {
			t.Errorf("%s is listed %d times", link, n)
		}
	}
	if len(seen) != 60 {
		t.Errorf("found %d phones, want 60", len(seen))
	}
}

// A phone may know sign-ins that it did not register with: what is said of a lost one is what is known.
func TestLostPhoneSaysWhatStillOpens(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	g, ann := x.gate("front", "Front"), x.user("ann")
	x.grant(access.Permission{GateID: g.ID, UserID: ann.ID})
	for _, token := range []string{"registered", "signed-in-again"} {
		must(x.desk.AddToken(t.Context(), setup, ann.ID, token, "app"))(t)
	}
	caller := must(x.desk.Authenticate(t.Context(), "registered"))(t)
	phone := must(x.desk.RegisterDevice(t.Context(), setup, caller, registry.RegisterInput{}))(t)
	verify := func(token string, want access.Reason) {
		t.Helper()
		if got := x.keeper.Verify(t.Context(), gatekeeper.Request{Gate: "front", Token: token}); got.Reason != want {
			t.Errorf("%s: the gate answers %s, want %s", token, got.Reason, want)
		}
	}
	b, lost := x.as("manager"), devicePath(phone.ID)+"lost/"
	ask := b.get(lost).want(t, "ask", http.StatusOK)
	if !ask.shows("End also 1 other sign-in of ann, which belongs to no phone and still opens gates") || !ask.shows(`name="loose" value="yes" checked`) || ask.shows("opens nothing with it") {
		t.Errorf("before it is reported:\n%s", ask.body)
	}
	page := b.get(b.post(lost, "seen", ask.seen(t)).want(t, "without the tick", http.StatusSeeOther).location)
	if !page.shows("is reported lost and revoked. Sign-ins ended: 1. Sign-ins of ann that belong to no phone and still open gates: 1.") {
		t.Errorf("without the tick:\n%s", page.body)
	}
	verify("registered", access.TokenInvalid)
	verify("signed-in-again", access.OK)
	b.post(devicePath(phone.ID)+"reactivate/").want(t, "reactivate", http.StatusSeeOther)
	page = b.get(b.post(lost, "seen", b.get(lost).seen(t), "loose", "yes").want(t, "with the tick", http.StatusSeeOther).location)
	if !page.shows("is reported lost and revoked. Sign-ins ended: 1.<") {
		t.Errorf("with the tick:\n%s", page.body)
	}
	verify("signed-in-again", access.TokenInvalid)
	b.post(devicePath(phone.ID) + "reactivate/")
	if ask := b.get(lost); ask.shows(`name="loose"`) {
		t.Errorf("nothing is loose:\n%s", ask.body)
	}
}

func TestAuditInWords(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	g, staff, ann := x.gate("front", "Front door"), x.group("Staff"), x.user("ann")
	p := x.grant(access.Permission{GateID: g.ID, GroupID: staff.ID})
	owner := x.as("owner")
	edit := owner.get(gatePath(g.ID) + "edit/")
	owner.post(gatePath(g.ID)+"edit/", "version", edit.version(t), "code", "front", "name", "Main door", "release_ms", "1500").want(t, "edit", http.StatusSeeOther)
	must(x.desk.SuspendPermission(t.Context(), setup, p))(t)
	must(x.desk.SetUserActive(t.Context(), setup, ann.ID, false))(t)
	b := x.as("viewer")
	for path, texts := range map[string][]string{
		"/admin/audit/?object=gate&action=change":                            {"<del>Front door</del>", "<ins>Main door</ins>", "<ins>1.5 s</ins>", "Olga Holder", "Gate: changed (Main door)"},
		"/admin/audit/?object=permission&action=change":                      {"Permission: changed (Staff → Main door)", "<del>yes</del>", "<ins>no</ins>"},
		fmt.Sprintf("/admin/audit/?object=user&id=%d&action=change", ann.ID): {"Person: changed (ann)", fmt.Sprintf(`href="/admin/users/%d/"`, ann.ID)},
		"/admin/audit/?actor=owner&from=2020-01-01T00:00":                    {"Main door"},
		"/admin/audit/?to=2020-01-01T00:00":                                  {"No change matches"},
		"/admin/audit/?actor=owner&object=gate&action=delete":                {"No change matches"},
	} {
		page := b.get(path).want(t, path, http.StatusOK)
		for _, text := range texts {
			if !page.shows(text) {
				t.Errorf("%s does not show %q:\n%s", path, text, page.body)
			}
		}
	}
	if page := b.get("/admin/audit/?actor=owner&object=gate"); page.shows("Staff") {
		t.Error("the filter lets other lines through")
	}
	for path, text := range map[string]string{
		"/admin/audit/?actor=who": "nobody with the user name “who”", "/admin/audit/?object=door": "“door” is not a kind", "/admin/audit/?action=paint": "“paint” is not an action",
		"/admin/audit/?id=3": "Say what has the number 3", "/admin/audit/?object=gate&id=x": "“x” is not a number", "/admin/audit/?from=yesterday": "“yesterday” is not a date",
	} {
		if page := b.get(path); page.status != http.StatusUnprocessableEntity || !page.shows(text) {
			t.Errorf("%s: %d, want 422 and %q", path, page.status, text)
		}
	}
	// Who was refused is unknown, and what commands leave in the audit has words and can be asked for as well.
	x.browser().post("/admin/login/", "username", "ann", "password", "not hers")
	for action, line := range map[string]struct {
		object string
		detail access.Fields
	}{
		access.ActionBackup:  {access.ObjectBackup, access.Fields{"file": "a.db.zst", "directory": "/b", "size": "2097152", "verified": "true", "encrypted": "false", "taken_at": "2026-03-01T10:00:00Z"}},
		access.ActionRestore: {access.ObjectRestore, access.Fields{"brought back: users deactivated": "3", "events carried over": "7"}},
		access.ActionImport:  {access.ObjectSite, access.Fields{"former passwords": "20"}},
	} {
		if err := x.store.Note(t.Context(), access.Actor{Kind: "cli", Label: "root@door"}, func(tx *store.Tx) error { return tx.Record(line.object, 0, action, nil, line.detail) }); err != nil {
			t.Fatal(err)
		}
	}
	for action, texts := range map[string][]string{
		access.ActionSignInRefused: {"<strong>Somebody unknown</strong>", "Person: sign-in refused (ann)"},
		access.ActionBackup:        {"Backup: taken", "root@door", "Directory", "Encrypted", "<ins>2.0 MB</ins>", "2026, 10:00</ins>"},
		access.ActionRestore:       {"Database: restored", "People deactivated and brought back", "Events carried over"},
		access.ActionImport:        {"Site: imported", "Former passwords"},
	} {
		page := b.get("/admin/audit/?"+url.Values{"action": {action}}.Encode()).want(t, action, http.StatusOK)
		for _, text := range append(texts, `<option value="`+action+`" selected>`) {
			if !page.shows(text) {
				t.Errorf("of %s the audit does not show %q:\n%s", action, text, page.body)
			}
		}
	}
	file := b.get("/admin/audit/export/?format=csv&object=gate&action=change").want(t, "export", http.StatusOK)
	rows := must(csv.NewReader(strings.NewReader(file.body)).ReadAll())(t)
	if len(rows) != 2 || !strings.Contains(file.header.Get("Content-Disposition"), "audit-") {
		t.Errorf("the export has %d lines, want a head and one, as %q:\n%s", len(rows), file.header.Get("Content-Disposition"), file.body)
	}
	b.get("/admin/audit/export/?format=xls").want(t, "an export in another format", http.StatusBadRequest)
	for range pageRows {
		must(x.desk.SetUserActive(t.Context(), setup, ann.ID, true))(t)
		must(x.desk.SetUserActive(t.Context(), setup, ann.ID, false))(t)
	}
	first := b.get("/admin/audit/?object=user&action=change")
	_, rest, more := strings.Cut(first.body, "before=")
	last, _, _ := strings.Cut(rest, `"`)
	if !more || strings.Count(first.body, `class="who"`) != pageRows || !b.get("/admin/audit/?object=user&action=change&before="+last).shows(`class="who"`) {
		t.Errorf("the second page:\n%s", first.body)
	}
}

func TestSearchFromEveryPage(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	x.gate("north", "North gate")
	x.group("Northerners")
	x.user("nora")
	off := x.user("norbert")
	must(x.desk.SetUserActive(t.Context(), setup, off.ID, false))(t)
	b := x.as("viewer")
	if page := b.get("/admin/gates/"); !page.shows(`action="/admin/search/"`) || !page.shows("data-search") {
		t.Errorf("no box in the frame:\n%s", page.body)
	}
	page := b.get("/admin/search/?q=NOR")
	for _, text := range []string{"North gate", "Northerners", "nora", "norbert", "deactivated"} {
		if !page.shows(text) {
			t.Errorf("%q is not found:\n%s", text, page.body)
		}
	}
	if page := b.get("/admin/search/?q=nora").want(t, "one hit", http.StatusOK); !page.shows("nora") {
		t.Errorf("one hit:\n%s", page.body)
	}
	if page := b.get("/admin/search/?q=zzz"); !page.shows("Nothing found") {
		t.Errorf("no hit:\n%s", page.body)
	}
	for i := range mostFound {
		x.user(fmt.Sprintf("nor%d", i))
	}
	if page := b.get("/admin/search/?q=nor"); !page.shows(`href="/admin/users/?q=nor"`) || page.shows(`href="/admin/gates/?q=nor"`) {
		t.Errorf("many hits do not lead on:\n%s", page.body)
	}
}

func TestSettings(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			x := newSite(t, engine, nil)
			b := x.as("owner")
			const path = "/admin/settings/"
			version := b.get(path).version(t)
			save := func(version, name, zone, release, retention string, more ...string) answer {
				return b.post(path, append([]string{"version", version, "name", name, "zone", zone, "default_release_ms", release, "retention_days", retention}, more...)...)
			}
			bad := save(version, "Works", "Mars/Olympus", "0", "x").want(t, "bad input", http.StatusUnprocessableEntity)
			if strings.Count(bad.body, `class="error"`) == 0 || !bad.shows(`value="Mars/Olympus"`) || !bad.shows(`value="x"`) {
				t.Errorf("no errors by the fields, or entered values lost:\n%s", bad.body)
			}
			bad.has(t, "bad input", "Enter a whole number from 1 to 60,000.", "Enter a whole number from 0 to 36,525.", "There is no such time zone", "As in Europe/Berlin").
				lacks(t, "bad input", "no such thing")
			if strings.Count(bad.body, " autofocus") != 1 {
				t.Errorf("the focus goes to more than one field, or none:\n%s", bad.body)
			}
			save(version, "Works", "europe/berlin", "800", "-5").want(t, "a zone that is not there", http.StatusUnprocessableEntity).
				has(t, "a zone that is not there", "There is no such time zone", "Enter a whole number from 0 to 36,525.")
			if empty := save(version, "Works", "", "", "").want(t, "nothing", http.StatusUnprocessableEntity); strings.Count(empty.body, "Fill this in.") != 3 {
				t.Errorf("nothing was filled in, and it is not said thrice:\n%s", empty.body)
			}
			save(version, "Works", "Asia/Tokyo", "1200", "0").want(t, "save", http.StatusSeeOther)
			if site := must(x.desk.Site(t.Context()))(t); site.Name != "Works" || site.Zone != "Asia/Tokyo" || site.DefaultReleaseMS != 1200 {
				t.Errorf("saved: %+v", site)
			}
			told := save(version, "Mill", "UTC", "800", "0").want(t, "from before the change", http.StatusConflict)
			if !told.shows("Time zone: was “UTC”, is now “Asia/Tokyo”") || !told.shows(`value="Mill"`) {
				t.Errorf("the second editor is not told:\n%s", told.body)
			}
			version = told.version(t)

			// What deletes events is said first.
			x.keeper.Verify(t.Context(), gatekeeper.Request{Gate: "nowhere", Token: "of nobody at all"})
			x.admin.now = func() time.Time { return time.Now().AddDate(0, 0, 10) } // the event is ten days old then
			b = x.as("owner")
			asked := save(version, "Works", "UTC", "800", "7").want(t, "a short retention", http.StatusUnprocessableEntity)
			if !asked.shows("This deletes all events from before") {
				t.Errorf("it is not said what is deleted:\n%s", asked.body)
			}
			if site := must(x.desk.Site(t.Context()))(t); site.RetentionDays != 0 {
				t.Errorf("saved before anybody agreed: %+v", site)
			}
			save(version, "Works", "UTC", "800", "6", "consent", "7").want(t, "another number than was agreed to", http.StatusUnprocessableEntity)
			save(version, "Works", "UTC", "800", "7", "consent", "7").want(t, "agreed", http.StatusSeeOther)
			if site := must(x.desk.Site(t.Context()))(t); site.RetentionDays != 7 {
				t.Errorf("agreed and not saved: %+v", site)
			}
		})
	}
}

// The overview says that its numbers are not up to date when events wait for longer than they do on a busy site, and not before.
func TestOverviewWithEventsToCount(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	b := x.as("viewer")
	x.keeper.Verify(t.Context(), gatekeeper.Request{Gate: "nowhere", Token: "nobody's phone", At: time.Now(), RequestID: "one", Address: netip.MustParseAddr("10.0.0.7")})
	for _, later := range []struct {
		by    time.Duration
		count bool
		says  bool
	}{{0, false, false}, {time.Minute, false, true}, {time.Minute, true, false}} {
		if later.count {
			if _, more, err := x.store.CountEvents(t.Context()); more || err != nil {
				t.Fatalf("CountEvents: more %v, %v", more, err)
			}
		}
		x.admin.now = func() time.Time { return time.Now().Add(later.by) }
		if page := b.get("/admin/").want(t, "the overview", http.StatusOK); page.shows("Events are still being counted.") != later.says {
			t.Errorf("the overview %v later, counted %v: says that events wait: %v", later.by, later.count, !later.says)
		}
	}
}
