package webadmin

import (
	"fmt"
	"html/template"
	"io/fs"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// hostile are names that people give, or that somebody gives who means harm. Each is shown wherever a name is.
func hostile() []string {
	return []string{
		"Ann", `<script>alert("x")</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, "{{.}} ${x} %s %d %!", "javascript:alert(1)",
		"\u202Eerutcip\u202C مرحبا بالعالم", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 👩‍🚒", strings.Repeat("W", 10_000), "",
	}
}

// sample is a page with a number of rows, every text in it being s. The render test draws each in both languages with no, one and many rows of
// each hostile name. A page that is not here fails TestTemplatesAreSampled.
type sample struct {
	name string // of the template
	make func(v *visit, s string, rows int) page
}

func samples() []sample {
	return append(peopleSamples(), []sample{
		{"login", func(v *visit, s string, _ int) page {
			v.user, v.session = access.User{}, registry.Session{}
			return &loginPage{frame: v.frame("", s), Username: textField("username", s), Password: textField("password", s), Next: s, Refusal: s}
		}},
		{"error", func(v *visit, s string, rows int) page {
			return &errorPage{frame: v.frame("", s), Code: 404 + 100*min(rows, 1), Text: s, Hint: s, Back: "/admin/"}
		}},
		{"confirm", func(v *visit, s string, rows int) page {
			return &confirmPage{frame: v.frame("gates", s), Lead: s, Lines: slices.Repeat([]string{s}, rows), Verb: s, Version: 3, Back: "/admin/"}
		}},
		{"account", func(v *visit, s string, rows int) page {
			row := sessionRow{ID: 1, Browser: s, Agent: s, Address: s, Since: v.moment(v.now), Seen: v.moment(v.now), Here: true}
			return &accountPage{
				frame: v.frame("", s), Username: s, Email: s, Current: textField("current", s), Password: textField("password", s), Repeat: textField("repeat", s),
				Problems: slices.Repeat([]string{s}, rows), Sessions: slices.Repeat([]sessionRow{row}, rows), Others: rows,
			}
		}},
		{"overview", func(v *visit, s string, rows int) page {
			row := eventRow{Path: "/admin/events/1/", At: v.moment(v.now), Who: s, Sub: s, Gate: s, Outcome: access.Deny, Why: s, Count: rows, System: rows == 1}
			seen := seenRow{Path: "/admin/gates/1/", Name: s, At: v.moment(v.now), Outcome: access.Allow}
			p := &overviewPage{
				frame: v.frame("overview", s), Feed: slices.Repeat([]eventRow{row}, rows), Stream: "/admin/events/stream/?after=1", Behind: rows == 0,
				Denials: slices.Repeat([]denial{{s, 3, "/admin/events/"}}, rows), Recent: slices.Repeat([]seenRow{seen}, rows), Silent: slices.Repeat([]seenRow{seen}, rows),
				Needs: slices.Repeat([]need{{s, "/admin/events/"}, {Text: s}}, rows), Health: slices.Repeat([]fact{{Name: s, Value: s}}, rows),
			}
			if rows == 0 {
				p.Steps = []step{{Done: true, Title: s, Text: s}, {Title: s, Text: s, Path: "/admin/", Action: s}}
			} else {
				hours := slices.Repeat([]registry.Hour{{Begins: v.now, Sum: registry.Sum{Allowed: 3, Denied: 1}}}, 24)
				p.Chart = v.chart(registry.Overview{Zone: time.UTC, Hours: hours})
			}
			return p
		}},
		{"events", func(v *visit, s string, rows int) page {
			row := eventRow{Path: "/admin/events/1/", At: v.moment(v.now), Who: s, Sub: s, Gate: s, Outcome: access.Deny, Why: s, Count: rows, System: rows == 1}
			return &eventsPage{
				frame: v.frame("events", s), Filter: eventFilter{s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, slices.Repeat([]string{s}, rows)}, Chips: slices.Repeat([]chip{{s, "/admin/events/"}}, rows),
				Reasons: []option{{s, s, true}}, Events: slices.Repeat([]eventRow{row}, rows), Pager: pager{First: "/admin/events/", Next: "/admin/events/?before=1"}, Looked: rows == 0,
				CSV: "/admin/events/export/?q=1", NDJSON: "/admin/events/export/?q=2",
			}
		}},
		{"event", func(v *visit, s string, rows int) page {
			p := &eventPage{
				frame: v.frame("events", s), Event: access.Event{ID: 1, Kind: access.DecisionEvent, Decision: access.Deny}, At: v.moment(v.now), Sentence: s, Why: s, Doubt: rows == 1, Who: s, Gate: s,
				Grants: slices.Repeat([]grantRow{{s, s, s, rows == 1}}, rows), Facts: slices.Repeat([]fact{{s, s, rows == 1}}, rows),
				Since: slices.Repeat([]changeRow{{v.moment(v.now), s, s}}, rows),
			}
			if rows > 0 {
				p.UserLog, p.GateLog = "/admin/events/?user=a", "/admin/events/?gate=a"
				p.UserPath, p.GatePath, p.Same, p.Now = "/admin/users/1/", "/admin/gates/1/", "/admin/events/?request=1", &retrial{access.Allow, s}
			}
			return p
		}},
		{"matrix", func(v *visit, s string, rows int) page {
			head := axisHead{ID: 1, Name: s, Sub: s, Path: "/admin/access/?group=1"}
			var b strings.Builder
			for range rows {
				writeCell(&b, registry.Cell{State: registry.CellAllowed, Seen: 3, Dated: rows - 1}, v.cellWords())
			}
			p := &matrixPage{
				frame: v.frame("access", s), Groups: s, Gates: s, Heads: slices.Repeat([]axisHead{head}, rows), Rows: slices.Repeat([]matrixRow{{head, template.HTML(b.String())}}, rows),
				Few: rows == 1, Manage: rows != 1, Mixed: rows > 1, Pages: slices.Repeat([]option{{"/admin/access/?after_gate=1", s, false}}, rows),
			}
			if rows == 0 {
				p.Empty = "gates"
			}
			return p
		}},
		{"cells", func(v *visit, s string, rows int) page {
			head := axisHead{ID: 1, Name: s, Sub: s, Path: "/admin/access/?group=1"}
			p := &cellsPage{frame: v.frame("access", s), Axis: "group", Chosen: head, Page: "/admin/groups/1/", Search: s, Here: "/admin/access/?group=1", Manage: rows != 1}
			for i := range rows {
				h := head
				h.ID = int64(i)
				row := v.cellRow(h, registry.Cell{GroupID: 1, GateID: 1, State: registry.CellSuspended, Seen: 3, Dated: i})
				p.Rows = append(p.Rows, row)
			}
			return p
		}},
		{"devices", func(v *visit, s string, rows int) page {
			row := phoneRow{Path: "/admin/devices/1/", Name: s, Android: s, Owner: s, Username: s, Active: rows == 1, Added: v.moment(v.now)}
			return &devicesPage{frame: v.frame("devices", s), Search: s, States: []option{{"/admin/devices/", s, true}}, Devices: slices.Repeat([]phoneRow{row}, rows)}
		}},
		{"device", func(v *visit, s string, rows int) page {
			event := eventRow{Path: "/admin/events/1/", At: v.moment(v.now), Gate: s, Outcome: access.Allow, Why: s, Count: rows}
			return &devicePage{
				frame: v.frame("devices", s), Device: access.Device{ID: 1, UserID: 1, AndroidDeviceID: s, TokenPreview: s, Active: rows == 1}, Owner: s, Username: s, Added: v.moment(v.now),
				Events: slices.Repeat([]eventRow{event}, rows),
			}
		}},
		{"device_owner", func(v *visit, s string, rows int) page {
			return &ownerPage{
				frame: v.frame("devices", s), Device: access.Device{ID: int64(rows / 2)}, Lead: s, Search: s, Found: slices.Repeat([]ownerRow{{1, s, s, true}}, rows), Others: rows > 1, Back: "/admin/devices/",
			}
		}},
		{"device_form", func(v *visit, s string, rows int) page {
			p := &deviceForm{
				frame: v.frame("devices", s), Device: access.Device{ID: int64(rows)}, Name: textField("name", s), Android: textField("android_device_id", s), Version: 3,
				Problems: slices.Repeat([]string{s}, rows), Back: "/admin/",
			}
			if rows > 0 {
				p.Conflict = &conflict{Who: s, When: v.moment(v.now), Changes: slices.Repeat([]conflictLine{{s, s, s}}, rows-1)}
			}
			return p
		}},
		{"device_act", func(v *visit, s string, rows int) page {
			p := &deviceAct{frame: v.frame("devices", s), Lead: s, Lines: slices.Repeat([]string{s}, rows), Verb: s, Icon: "trash", Danger: rows == 1, Seen: s, Back: "/admin/"}
			if rows > 0 {
				loose := textField("loose", s)
				p.Loose = &loose
			}
			return p
		}},
		{"device_token", func(v *visit, s string, _ int) page {
			return &tokenPage{frame: v.frame("devices", s), Name: s, Owner: s, Token: s, Back: "/admin/"}
		}},
		{"audit", func(v *visit, s string, rows int) page {
			field := auditField{Label: s, Before: s, After: s, HadBefore: rows != 1, HasAfter: true}
			row := auditRow{At: v.moment(v.now), Who: s, From: s, What: s, Fields: slices.Repeat([]auditField{field}, rows)}
			if rows > 1 {
				row.Path = "/admin/gates/1/"
			}
			return &auditPage{
				frame: v.frame("audit", s), Filter: auditFilter{s, s, s, s, s, s, slices.Repeat([]string{s}, rows)}, Set: rows > 0, Objects: []option{{s, s, true}}, Actions: []option{{s, s, true}},
				Changes: slices.Repeat([]auditRow{row}, rows), CSV: "/admin/audit/export/?q=1", NDJSON: "/admin/audit/export/?q=2",
			}
		}},
		{"search", func(v *visit, s string, rows int) page {
			kind := foundKind{Name: "people", Text: s, Rows: slices.Repeat([]foundRow{{"/admin/users/1/", s, s, s}}, rows), All: "/admin/users/"}
			return &searchPage{frame: v.frame("search", s), Query: s, Kinds: slices.Repeat([]foundKind{kind}, rows)}
		}},
		{"settings", func(v *visit, s string, rows int) page {
			p := &settingsPage{
				frame: v.frame("settings", s), Name: textField("name", s), Zone: textField("zone", s), Release: textField("default_release_ms", s), Retention: textField("retention_days", s),
				Version: 3, Problems: slices.Repeat([]string{s}, rows),
			}
			if rows > 0 {
				p.Deletes, p.Consent = s, s
				p.Conflict = &conflict{Who: s, When: v.moment(v.now), Changes: slices.Repeat([]conflictLine{{s, s, s}}, rows-1)}
			}
			return p
		}},
		{"gates", func(v *visit, s string, rows int) page {
			row := gateRow{Path: "/admin/gates/1/", Code: s, Name: s, Location: s, Release: s, Seen: v.moment(v.now), Outcome: access.Deny}
			p := &gatesPage{frame: v.frame("gates", s), Search: s, Gates: slices.Repeat([]gateRow{row}, rows), Pager: pager{First: "/admin/gates/", Next: "/admin/gates/?after=1"}}
			if rows == 0 {
				p.Search, p.Steps = "", []step{{Done: true, Title: s, Text: s}, {Title: s, Text: s, Path: "/admin/", Action: s}}
			}
			return p
		}},
		{"gate_form", func(v *visit, s string, rows int) page {
			p := &gateForm{
				frame: v.frame("gates", s), Gate: access.Gate{ID: int64(rows)}, Code: textField("code", s), Name: textField("name", s), Location: textField("location", s),
				Release: textField("release_ms", s), Version: 3, Problems: slices.Repeat([]string{s}, rows), Back: "/admin/",
			}
			if rows > 0 {
				p.Conflict = &conflict{Who: s, When: v.moment(v.now), Changes: slices.Repeat([]conflictLine{{s, s, s}}, rows-1)}
			}
			return p
		}},
		{"gate", func(v *visit, s string, rows int) page {
			group := passerRow{Name: s, Group: true, State: "on", Action: "/admin/gates/1/permissions/1/", ID: 1, Version: 2, Allow: true}
			person := passerRow{Name: s, Sub: s, State: "off", Cause: s, Action: "/admin/gates/1/permissions/2/", ID: 2, Version: 2}
			found := candidate{Name: s, Sub: s, Subject: "user:1", Outcome: access.Deny, Why: s, CanAdd: true}
			event := eventRow{At: v.moment(v.now), Who: s, Outcome: access.Allow, Why: s, Count: rows}
			return &gatePage{
				frame: v.frame("gates", s), Gate: access.Gate{ID: 1, Code: s, Name: s, Location: s}, Name: s, Release: s, Default: rows == 0, Who: s,
				Groups: slices.Repeat([]passerRow{group}, rows), People: slices.Repeat([]passerRow{person}, rows), Found: slices.Repeat([]candidate{found}, rows),
				Events: slices.Repeat([]eventRow{event}, rows),
			}
		}},
	}...)
}

// textField is a field in which everything is s.
func textField(name, s string) field {
	return field{Name: name, Label: s, Value: s, Hint: s, Error: s, Unit: s, Required: true, Max: 10}
}

// testVisit is a visit of an owner.
func testVisit(a *Admin, l language) *visit {
	return &visit{
		admin: a, lang: l, now: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC), zone: time.UTC, path: "/admin/gates/", requestID: "test-1",
		user: access.User{ID: 1, Username: "owner", Superuser: true}, session: registry.Session{ID: 1},
	}
}

// alone is the pages without anything behind them, for what only draws.
func alone(t *testing.T) *Admin {
	t.Helper()
	return must(New(Config{}))(t)
}

func TestTemplatesAreSampled(t *testing.T) {
	files := must(fs.Glob(templateFiles, "templates/[a-z]*.html"))(t)
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name != "layout" && !slices.ContainsFunc(samples(), func(s sample) bool { return s.name == name }) {
			t.Errorf("templates/%s.html has no line in samples", name)
		}
	}
}

func TestEveryTemplateWithHostileNames(t *testing.T) {
	a := alone(t)
	for _, s := range samples() {
		for _, l := range languages() {
			plain := map[int][]string{}
			for _, rows := range []int{0, 1, 3} {
				for i, name := range hostile() {
					v := testVisit(a, l)
					v.user.FirstName = name
					v.flash = &flash{Kind: "bad", Text: name}
					w := httptest.NewRecorder()
					if err := a.render(w, s.name, s.make(v, name, rows)); err != nil {
						t.Fatalf("%s in %s with %d rows of %.40q: %v", s.name, l, rows, name, err)
					}
					tags := outline(t, w.Body.String())
					if name == "" { // other blocks may be shown then
						continue
					}
					if i == 0 {
						plain[rows] = tags
					} else if at := firstDifference(tags, plain[rows]); at >= 0 {
						t.Errorf("%s in %s with %d rows of %.40q: the name changed what elements there are, from number %d: %v", s.name, l, rows, name, at, tags[at:min(at+3, len(tags))])
					}
				}
			}
		}
	}
}

// outline lists the elements of a page with the names of their attributes, and fails on what the policy of the pages forbids.
func outline(t *testing.T, page string) []string {
	t.Helper()
	var tags []string
	ids := map[string]bool{}
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return tags
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			tag := token.Data
			for _, attr := range token.Attr {
				tag += " " + attr.Key
				switch {
				case attr.Key == "style" || strings.HasPrefix(attr.Key, "on"):
					t.Errorf("an inline %s in <%s>", attr.Key, token.Data)
				case (attr.Key == "href" || attr.Key == "src" || attr.Key == "action") && strings.HasPrefix(strings.ToLower(strings.TrimSpace(attr.Val)), "javascript:"):
					t.Errorf("a script in <%s %s=%q>", token.Data, attr.Key, attr.Val)
				case attr.Key == "id":
					if ids[attr.Val] {
						t.Errorf("two elements with the id %q", attr.Val)
					}
					ids[attr.Val] = true
				}
			}
			if token.Data == "style" || token.Data == "script" && !strings.Contains(tag, " src") {
				t.Errorf("an inline <%s>", token.Data)
			}
			tags = append(tags, tag)
		}
	}
}

func firstDifference(a, b []string) int {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return min(i, len(a))
		}
	}
	return -1
}

func TestInitials(t *testing.T) {
	for name, want := range map[string]string{"Ann Bee": "AB", "анна": "А", "": "?", "<script>": "S", "a.b.c": "AB", "👩‍🚒": "?"} {
		if got := initials(name); got != want {
			t.Errorf("initials(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestTimesInWords(t *testing.T) {
	a := alone(t)
	for _, tc := range []struct {
		before time.Duration
		en, ru string
	}{
		{time.Second, "just now", "только что"},
		{12 * time.Second, "12 s ago", "12 с назад"},
		{3 * time.Minute, "3 min ago", "3 мин назад"},
		{5 * time.Hour, "5 h ago", "5 ч назад"},
		{-49 * time.Hour, "in 2 d", "через 2 дн."},
		{30 * 24 * time.Hour, "4\u00a0Apr\u00a02026", "4\u00a0апр.\u00a02026"},
	} {
		for l, want := range map[language]string{english: tc.en, russian: tc.ru} {
			v := testVisit(a, l)
			v.zone = time.FixedZone("", 2*60*60)
			m := v.moment(v.now.Add(-tc.before))
			if m.Brief != want {
				t.Errorf("%v before, in %s: %q, want %q", tc.before, l, m.Brief, want)
			}
			if !strings.HasSuffix(m.Exact, "+02:00") || !strings.HasSuffix(m.ISO, "Z") {
				t.Errorf("%v before, in %s: exactly %q and %q, want the site's zone and UTC", tc.before, l, m.Exact, m.ISO)
			}
		}
	}
}

func TestPlurals(t *testing.T) {
	for n, want := range map[int]string{0: "0 many", 1: "1 one", 2: "2 few", 4: "4 few", 5: "5 many", 11: "11 many", 12: "12 many", 21: "21 one", 22: "22 few", 101: "101 one", 111: "111 many", 1000: "1000 many"} {
		forms := strings.Split("one|few|many", "|")
		if got := fmt.Sprintf("%s %s", number(russian, n), forms[pluralForm(russian, n)]); got != want {
			t.Errorf("%d in Russian: %q, want %q", n, got, want)
		}
		if got := pluralForm(english, n); (got == 0) != (n == 1) {
			t.Errorf("%d in English takes form %d", n, got)
		}
	}
	if got := number(english, 1234567) + number(russian, 1234567); got != "1,234,5671\u00a0234\u00a0567" {
		t.Errorf("1234567 is written %q", got)
	}
}

// A page is parsed when it is first asked for; here each is, so that none fails then.
func TestEveryPageParses(t *testing.T) {
	static, err := readAssets()
	if err != nil {
		t.Fatal(err)
	}
	all, err := findPages(static)
	if err != nil {
		t.Fatal(err)
	}
	for l, named := range all {
		if len(named) < 10 {
			t.Errorf("%s: %d pages", l, len(named))
		}
		for name := range named {
			if _, err := all.page(l, name); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := all.page(languages()[0], "nosuch"); err == nil {
		t.Error("a page that is not there was found")
	}
}
