package webadmin

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// version is that of the form on a page.
func (a answer) version(t *testing.T) string {
	t.Helper()
	_, rest, found := strings.Cut(a.body, `name="version" value="`)
	if !found {
		t.Fatalf("the page has no form with a version:\n%s", a.body)
	}
	v, _, _ := strings.Cut(rest, `"`)
	return v
}

func TestGateFromCreationToDeletion(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			x := newSite(t, engine, nil)
			b := x.as("owner")
			if page := b.get("/admin/gates/").want(t, "an empty site", http.StatusOK); !page.shows("Add a gate") || !page.shows(`href="/admin/gates/new/"`) {
				t.Errorf("an empty site does not say what to do first:\n%s", page.body)
			}
			if page := b.post("/admin/gates/new/", "code", "", "name", "Front <door>", "release_ms", "70000"); page.status != http.StatusUnprocessableEntity ||
				!page.shows("Enter a whole number from 1 to 60,000.") || !page.shows(`value="Front &lt;door&gt;"`) || !page.shows(`value="70000"`) {
				t.Errorf("a release time out of range: status %d, want 422, the error at the field and what was entered:\n%s", page.status, page.body)
			}
			made := b.post("/admin/gates/new/", "code", " front ", "name", "Front door", "release_ms", "1500").want(t, "create", http.StatusSeeOther)
			page := b.get(made.location).want(t, "the new gate", http.StatusOK)
			for _, text := range []string{"Front door is created.", "1.5 s", "Nobody may pass yet"} {
				if !page.shows(text) {
					t.Errorf("the new gate's page does not show %q:\n%s", text, page.body)
				}
			}
			if page := b.get(made.location); page.shows("is created") {
				t.Error("what was done is told twice")
			}
			if page := b.post("/admin/gates/new/", "code", "front").want(t, "the same code", http.StatusUnprocessableEntity); !page.shows("taken already") {
				t.Errorf("a code that is taken:\n%s", page.body)
			}
			edit := b.get(made.location+"edit/").want(t, "edit", http.StatusOK)
			b.post(made.location+"edit/", "version", edit.version(t), "code", "front", "name", "Main door").want(t, "save", http.StatusSeeOther)
			if page := b.get("/admin/gates/?q=main"); !page.shows("Main door") || !page.shows("0.8 s") {
				t.Errorf("the changed gate is not found:\n%s", page.body)
			}
			x.grant(access.Permission{GateID: 1, GroupID: x.group("Staff").ID})
			confirm := b.get(made.location+"delete/").want(t, "ask", http.StatusOK)
			if !confirm.shows("1 permission goes with it.") || !confirm.shows("Its events stay.") {
				t.Errorf("it is not said what goes with the gate:\n%s", confirm.body)
			}
			b.post(made.location+"delete/", "version", confirm.version(t)).want(t, "delete", http.StatusSeeOther)
			b.get(made.location).want(t, "a deleted gate", http.StatusNotFound)
		})
	}
}

// Two people edit one gate: the second is told what the first one changed, and nothing that either entered is lost unseen.
func TestTwoEditors(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	g := must(x.desk.CreateGate(t.Context(), setup, access.Gate{Code: "front", Name: "Front", Location: "Hall"}))(t)
	path := gatePath(g.ID) + "edit/"
	if err := x.desk.GrantRole(t.Context(), setup, must(x.desk.UserByName(t.Context(), "manager"))(t).ID, access.Owner, 0); err != nil {
		t.Fatal(err)
	}
	first, second := x.as("owner"), x.as("manager")
	seen := second.get(path).version(t)
	first.post(path, "version", first.get(path).version(t), "code", "front", "name", "North", "location", "Hall").want(t, "the first", http.StatusSeeOther)
	told := second.post(path, "version", seen, "code", "front", "name", "South", "location", "Yard").want(t, "the second", http.StatusConflict)
	for _, text := range []string{"Somebody else changed this", "Changed by owner.", "Name: was “Front”, is now “North”", `value="South"`, `value="Yard"`} {
		if !told.shows(text) {
			t.Errorf("the second editor is not shown %q:\n%s", text, told.body)
		}
	}
	if now := must(x.desk.Gate(t.Context(), g.ID))(t); now.Name != "North" {
		t.Errorf("the first one's change is gone: %q", now.Name)
	}
	second.post(path, "version", told.version(t), "code", "front", "name", "South", "location", "Yard").want(t, "all the same", http.StatusSeeOther)
	second.post(path, "version", told.version(t), "code", "front", "name", "East").want(t, "an older window of the same person", http.StatusConflict).
		has(t, "an older window of the same person", "You changed this in another window", "Location: was “Hall”, is now “Yard”").lacks(t, "an older window of the same person", "Somebody else", "Changed by")
	if now := must(x.desk.Gate(t.Context(), g.ID))(t); now.Name != "South" || now.Location != "Yard" {
		t.Errorf("saved after having been told: %+v", now)
	}
	second.post(path, "code", "front").want(t, "a form without a version", http.StatusBadRequest)
	second.post(gatePath(g.ID)+"delete/", "version", seen).want(t, "delete what has changed", http.StatusConflict)
}

func TestTryAndLetIn(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	g, staff, ann := x.gate("front", "Front"), x.group("Staff"), x.user("ann")
	b := x.as("manager")
	box := gatePath(g.ID) + "?who=ann"
	expect := func(what string, texts ...string) {
		t.Helper()
		page := b.get(box).want(t, what, http.StatusOK)
		_, list, _ := strings.Cut(page.body, `aria-live="polite"`)
		list, _, _ = strings.Cut(list, "</ul>")
		for _, text := range texts {
			if !strings.Contains(list, text) {
				t.Errorf("%s: the box does not show %q:\n%s", what, text, list)
			}
		}
	}
	expect("nothing granted", "Deny", "no permission for this gate", fmt.Sprintf(`value="user:%d"`, ann.ID))
	b.post(gatePath(g.ID)+"permissions/add/", "subject", fmt.Sprintf("user:%d", ann.ID), "who", "ann").want(t, "let in", http.StatusSeeOther)
	expect("let in", "Allow", "own permission")
	p := must(x.desk.Permissions(t.Context(), registry.PermissionFilter{GateID: g.ID}))(t)[0]
	at := fmt.Sprintf("%spermissions/%d/", gatePath(g.ID), p.ID)
	b.post(at+"suspend/", "version", fmt.Sprint(p.Version)).want(t, "suspend", http.StatusSeeOther)
	expect("suspended", "Deny", "own permission: suspended")
	if told := b.get(b.post(at+"resume/", "version", fmt.Sprint(p.Version)).location); !told.shows("Somebody else changed the permission of ann") {
		t.Errorf("an older version of a permission was changed, or nobody was told:\n%s", told.body)
	}
	x.grant(access.Permission{GateID: g.ID, GroupID: staff.ID})
	if err := x.desk.AddMember(t.Context(), setup, staff.ID, ann.ID); err != nil {
		t.Fatal(err)
	}
	expect("through a group", "Allow", "through group Staff")
	must(x.desk.SetUserActive(t.Context(), setup, ann.ID, false))(t)
	expect("deactivated", "Deny", "the person is deactivated")
	b.post(at+"remove/").want(t, "remove", http.StatusSeeOther)
	b.post(at+"remove/").want(t, "remove what is gone", http.StatusNotFound)
	b.post(gatePath(g.ID)+"permissions/add/", "subject", "user:x").want(t, "nobody in particular", http.StatusBadRequest)
	if log, err := x.desk.EventPage(t.Context(), access.EventFilter{GateID: g.ID}); err != nil || len(log.Events) != 0 {
		t.Errorf("trying has recorded %d events (%v)", len(log.Events), err)
	}
}

func TestGatesAreReadInPages(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	for i := range pageRows + 1 {
		x.gate(fmt.Sprintf("g%03d", i), "")
	}
	b := x.as("viewer")
	first := b.get("/admin/gates/")
	if first.shows(fmt.Sprintf("g%03d", pageRows)) || !first.shows(`href="/admin/gates/?after=0.50"`) {
		t.Errorf("the first page:\n%s", first.body)
	}
	if next := b.get("/admin/gates/?after=0.50"); !next.shows("g050") || next.shows("g049") || !next.shows(`href="/admin/gates/"`) {
		t.Errorf("the second page:\n%s", next.body)
	}
}

// The groups and then the people of a gate are read in pages, and what goes with it is not counted beyond a thousand.
func TestManyMayPass(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	g, staff := x.gate("front", "Front"), x.group("Staff")
	x.grant(access.Permission{GateID: g.ID, GroupID: staff.ID})
	for i := range pageRows {
		x.grant(access.Permission{GateID: g.ID, UserID: x.user(fmt.Sprintf("p%03d", i)).ID})
	}
	b := x.as("viewer")
	first := b.get(gatePath(g.ID)).want(t, "the first page", http.StatusOK)
	_, rest, _ := strings.Cut(first.body, `href="`+gatePath(g.ID)+`?after=`)
	after, _, _ := strings.Cut(rest, `"`)
	if !first.shows("Staff") || !first.shows("p000") || first.shows("p049") || after == "" {
		t.Errorf("the first page:\n%s", first.body)
	}
	if next := b.get(gatePath(g.ID) + "?after=" + after); !next.shows("p049") || next.shows("p048") || next.shows("Staff") {
		t.Errorf("the page after %q:\n%s", after, next.body)
	}
	b.get(gatePath(g.ID)+"?after=user.x.1").want(t, "no such place", http.StatusOK)
	begin := time.Now()
	for i := range registry.MostCounted - pageRows {
		from := begin.Add(time.Duration(i) * time.Hour)
		x.grant(access.Permission{GateID: g.ID, GroupID: staff.ID, ValidFrom: from, ValidUntil: from.Add(time.Hour)})
	}
	owner := x.as("owner")
	for _, path := range []string{gatePath(g.ID), groupPath(staff.ID)} {
		confirm := owner.get(path+"delete/").want(t, "ask", http.StatusOK)
		if want := path == gatePath(g.ID); confirm.shows("More than 1,000 permissions go with it.") != want {
			t.Errorf("%s: more than a thousand: %t, want %t\n%s", path, !want, want, confirm.body)
		}
	}
}

// When the database cannot be reached, pages say so, with the time to wait and without a word of the inside.
func TestDatabaseGone(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	b := x.as("owner")
	if err := x.store.Close(); err != nil {
		t.Fatal(err)
	}
	got := b.get("/admin/gates/")
	if got.status != http.StatusServiceUnavailable && got.status != http.StatusInternalServerError || !got.shows("<h1>") || got.shows("sql") {
		t.Errorf("status %d:\n%s", got.status, got.body)
	}
}
