package webadmin

import (
	"fmt"
	"net/http"
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

// has ends the test unless a page has all of these texts.
func (a answer) has(t *testing.T, what string, texts ...string) answer {
	t.Helper()
	for _, text := range texts {
		if !a.shows(text) {
			t.Errorf("%s: the page does not show %q:\n%s", what, text, a.body)
		}
	}
	return a
}

// lacks is the opposite of has.
func (a answer) lacks(t *testing.T, what string, texts ...string) answer {
	t.Helper()
	for _, text := range texts {
		if a.shows(text) {
			t.Errorf("%s: the page shows %q:\n%s", what, text, a.body)
		}
	}
	return a
}

func TestPersonFromCreationToErasure(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			x := newSite(t, engine, nil)
			staff := x.group("Staff")
			b := x.as("owner")
			b.post("/admin/users/new/", "username", "ann", "first_name", "Ann <b>", "email", "ann", "password", "8392017564").want(t, "bad fields", http.StatusUnprocessableEntity).
				has(t, "bad fields", "Enter an e-mail address", "Use more than digits", `value="Ann &lt;b&gt;"`, `value="ann"`).lacks(t, "bad fields", "8392017564")
			made := b.post("/admin/users/new/", "username", "ann", "first_name", "Ann", "language", "ru", "password", password, "group", fmt.Sprint(staff.ID), "role", "viewer").
				want(t, "create", http.StatusSeeOther)
			b.get(made.location).want(t, "the new person", http.StatusOK).has(t, "the new person", "Ann is added.", "Staff", "Viewer", "Nowhere yet", "Русский")
			if page := x.as("ann").get("/admin/users/"); page.status != http.StatusOK || !page.shows("Люди") {
				t.Errorf("the new person cannot look, or not in Russian: %d", page.status)
			}
			b.post("/admin/users/new/", "username", "ann").want(t, "the same user name", http.StatusUnprocessableEntity).has(t, "the same user name", "taken already")

			seen := b.get(made.location+"edit/").want(t, "edit", http.StatusOK).version(t)
			ann := must(x.desk.UserByName(t.Context(), "ann"))(t)
			ann.LastName = "Bee"
			must(x.desk.UpdateUser(t.Context(), setup, ann))(t)
			told := b.post(made.location+"edit/", "version", seen, "username", "ann", "last_name", "Sea", "role", "viewer").want(t, "an older version", http.StatusConflict).
				has(t, "an older version", "Last name: was “—”, is now “Bee”", `value="Sea"`)
			b.post(made.location+"edit/", "version", told.version(t), "username", "anna", "last_name", "Sea", "role", "").want(t, "all the same", http.StatusSeeOther)
			if now := must(x.desk.User(t.Context(), ann.ID))(t); now.Username != "anna" || now.LastName != "Sea" || now.Role() != access.None || !now.Active {
				t.Errorf("after the change: %+v", now)
			}

			b.get(b.post(made.location+"deactivate/").location).has(t, "deactivated", "is deactivated. No gate lets them pass.", "no gate lets this person pass, whatever stands below")
			b.get("/admin/users/?state=inactive").has(t, "the deactivated", made.location)
			b.get("/admin/users/?state=active").lacks(t, "the active", made.location)
			b.get(fmt.Sprintf("/admin/users/?q=se&group=%d", staff.ID)).has(t, "found", made.location)
			b.post(made.location+"activate/").want(t, "activate", http.StatusSeeOther)

			b.post(made.location+"password/", "password", "another long enough door", "repeat", "another").want(t, "two that differ", http.StatusUnprocessableEntity).has(t, "two that differ", "The two do not agree.")
			b.post(made.location+"password/", "password", password, "repeat", password).want(t, "the old one", http.StatusUnprocessableEntity).has(t, "the old one", "It was used before.")
			b.post(made.location+"password/", "password", "another long enough door", "repeat", "another long enough door").want(t, "a new one", http.StatusSeeOther)

			b.get(made.location+"delete/").want(t, "ask", http.StatusOK).has(t, "ask", "They leave 1 group.", "Their events and the audit stay")
			erase := b.get(made.location+"erase/").want(t, "ask to erase", http.StatusOK).has(t, "ask to erase", "This cannot be undone.")
			b.post(made.location+"erase/", "version", erase.version(t)).want(t, "erase", http.StatusSeeOther)
			b.get(made.location).want(t, "an erased person", http.StatusNotFound)
			named := must(x.desk.Objects(t.Context(), registry.ObjectIDs{Users: []int64{ann.ID}}))(t)
			if u := named.Users[ann.ID]; strings.Contains(u.FirstName+u.LastName+u.Username, "Sea") || u.FirstName == "Ann" {
				t.Errorf("erased, and still called %+v", u)
			}
		})
	}
}

// A list of groups that has an end before the groups do says so, wherever one is chosen.
func TestMoreGroupsThanAreOffered(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	ann, b := x.user("ann"), x.as("manager")
	if _, _, err := x.store.Change(t.Context(), setup, func(tx *store.Tx) error {
		for i := range mostChoices {
			g := access.Group{Name: fmt.Sprintf("Group %03d", i)}
			if err := tx.InsertGroup(&g); err != nil {
				return err
			}
		}
		return tx.Record(access.ObjectGroup, 1, "create", nil, nil)
	}); err != nil {
		t.Fatal(err)
	}
	pages := []string{userPath(ann.ID), "/admin/users/", "/admin/users/new/"}
	for _, path := range pages {
		b.get(path).has(t, path, "Group 499").lacks(t, path, "there are more")
	}
	x.group("Group 500")
	for _, path := range pages {
		b.get(path).has(t, path, "Group 499", "… there are more: find the group under Groups")
	}
	b.post("/admin/users/new/", "username", "", "group", "").want(t, "no user name", http.StatusUnprocessableEntity).has(t, "no user name", "… there are more").lacks(t, "no user name", "selected>… there are more")
}

// Whoever is deactivated passes nowhere: no page says otherwise, or offers what would not help.
func TestLetInWhoIsDeactivated(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	ann, g := x.user("ann"), x.gate("lab", "Lab")
	b, page := x.as("manager"), userPath(ann.ID)
	b.get(page).has(t, "active", "Find a gate above and let them in")
	b.post(page+"deactivate/").want(t, "deactivate", http.StatusSeeOther)
	b.get(page+"?gate=lab").lacks(t, "deactivated", "let them in", "Let them in").has(t, "deactivated", "Activate the account first", "the person is deactivated")
	const told = "ann may pass Lab once the account is active again"
	b.get(b.post(page+"permissions/add/", "gate", fmt.Sprint(g.ID)).location).has(t, "from an older page", told).lacks(t, "from an older page", "from now on")
	b.get(b.post(gatePath(g.ID)+"permissions/add/", "subject", fmt.Sprintf("user:%d", ann.ID)).location).has(t, "from an older page of the gate", told).lacks(t, "from an older page of the gate", "from now on")
}

// A manager cannot make anybody more than they are, nor get at an owner's account, whatever is sent.
func TestManagersDoNotRaiseThemselves(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	ctx := t.Context()
	me, owner := must(x.desk.UserByName(ctx, "manager"))(t), must(x.desk.UserByName(ctx, "owner"))(t)
	b := x.as("manager")
	form := b.get(userPath(me.ID)+"edit/").want(t, "one's own form", http.StatusOK).lacks(t, "one's own form", `name="role"`, `name="staff"`, `name="superuser"`)
	b.post(userPath(me.ID)+"edit/", "version", form.version(t), "username", "manager", "role", "owner", "staff", "yes", "superuser", "yes").want(t, "raise oneself", http.StatusSeeOther)
	if now := must(x.desk.User(ctx, me.ID))(t); now.Role() != access.Manager || now.Staff || now.Superuser {
		t.Errorf("the manager is %s now: %+v", now.Role(), now)
	}
	b.post("/admin/users/new/", "username", "friend", "role", "owner", "superuser", "yes").want(t, "a friend", http.StatusSeeOther)
	if now := must(x.desk.UserByName(ctx, "friend"))(t); now.Role() != access.None {
		t.Errorf("the friend is %s", now.Role())
	}
	b.get(userPath(owner.ID)).want(t, "an owner's page", http.StatusOK).lacks(t, "an owner's page", `href="edit/"`, `href="password/"`, `href="delete/"`, `action="deactivate/"`)
	for _, path := range []string{"edit/", "password/", "delete/"} {
		b.get(userPath(owner.ID)+path).want(t, path, http.StatusForbidden)
	}
	for _, path := range []string{"edit/", "password/", "delete/", "erase/", "deactivate/", "activate/"} {
		b.post(userPath(owner.ID)+path, "version", fmt.Sprint(owner.Version), "username", "mine", "password", "another long enough door", "repeat", "another long enough door").
			want(t, "POST "+path, http.StatusForbidden)
	}
	b.get(fmt.Sprintf("/admin/users/bulk/?action=deactivate&id=%d&id=%d", owner.ID, me.ID)).want(t, "preview", http.StatusOK).
		has(t, "preview", "Nobody will be changed", "only an owner may change this", "this is you")
	b.post("/admin/users/bulk/", "action", "deactivate", "id", fmt.Sprint(owner.ID)).want(t, "apply", http.StatusSeeOther)
	if now := must(x.desk.User(ctx, owner.ID))(t); !now.Active || now.Username != "owner" {
		t.Errorf("the owner was changed: %+v", now)
	}
	if to := b.get(userPath(me.ID) + "password/").location; to != "/admin/account/" {
		t.Errorf("one's own password without the present one: sent to %q", to)
	}
	b.post(userPath(me.ID)+"password/", "password", "another long enough door", "repeat", "another long enough door").want(t, "one's own password", http.StatusSeeOther)
	x.as("manager") // with the old one
}

// A role that somebody gave meanwhile is not taken away unseen by who had the form open.
func TestTwoEditorsOfARole(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	ann := x.user("ann")
	b, path := x.as("owner"), userPath(ann.ID)+"edit/"
	seen := b.get(path).version(t)
	if err := x.desk.GrantRole(t.Context(), setup, ann.ID, access.Manager, 0); err != nil {
		t.Fatal(err)
	}
	b.post(path, "version", seen, "username", "ann", "last_name", "Bee", "role", "").want(t, "an older form", http.StatusConflict).has(t, "an older form", "Role: was “—”, is now “Manager”")
	must(x.desk.UpdateUser(t.Context(), setup, access.User{ID: ann.ID, Username: "ann", Language: "ru", Active: true, Staff: true}))(t)
	b.post(path, "version", seen, "username", "ann").want(t, "an older form", http.StatusConflict).has(t, "an older form", "Language: was “—”, is now “Русский”", "is now “yes”")
	if now := must(x.desk.User(t.Context(), ann.ID))(t); now.Role() != access.Manager {
		t.Errorf("the role given meanwhile is gone: %q", now.Role())
	}
}

// The focus goes to the field that is to be mended.
func TestFocusAfterARefusal(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	b := x.as("owner")
	for path, form := range map[string][]string{
		"/admin/users/new/": {"username", "owner", "first_name", "Ann"},
		"/admin/gates/new/": {"release_ms", "0", "code", "east", "name", "East"},
	} {
		page := b.post(path, form...).want(t, path, http.StatusUnprocessableEntity)
		_, at, _ := strings.Cut(page.body, fmt.Sprintf(`id="f-%s"`, form[0]))
		if control, _, _ := strings.Cut(at, ">"); strings.Count(page.body, " autofocus") != 1 || !strings.Contains(control, " autofocus") {
			t.Errorf("%s: the focus does not go to %s alone:\n%s", path, form[0], page.body)
		}
	}
}

func TestTheLastOwnerStays(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	owner := must(x.desk.UserByName(t.Context(), "owner"))(t)
	b := x.as("owner")
	const told = "This is the last active owner."
	b.get(userPath(owner.ID)).lacks(t, "the page", `href="delete/"`, `action="deactivate/"`).has(t, "the page", told)
	form := b.get(userPath(owner.ID)+"edit/").has(t, "the form", told)
	b.post(userPath(owner.ID)+"edit/", "version", form.version(t), "username", "owner", "first_name", "Olga the First", "role", "manager").want(t, "step down", http.StatusUnprocessableEntity).
		has(t, "step down", told, `aria-invalid="true"`, `value="Olga the First"`)
	for _, act := range []string{"delete/", "erase/"} { // nothing to press that would do nothing
		for _, page := range []answer{b.get(userPath(owner.ID) + act), b.post(userPath(owner.ID)+act, "version", form.version(t)).want(t, act, http.StatusConflict)} {
			page.has(t, act, `class="notice bad"`, told).lacks(t, act, "button danger")
		}
	}
	b.get(b.post(userPath(owner.ID)+"deactivate/").location).has(t, "deactivate", "You cannot deactivate yourself")
	if now := must(x.desk.User(t.Context(), owner.ID))(t); now.Role() != access.Owner || !now.Active || now.FirstName != "Olga" {
		t.Errorf("the last owner was changed: %+v", now)
	}
}

func TestBulkIsPreviewed(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	ann, bob, cat, team := x.user("ann"), x.user("bob"), x.user("cat"), x.group("Team")
	if err := x.desk.AddMember(t.Context(), setup, team.ID, bob.ID); err != nil {
		t.Fatal(err)
	}
	b := x.as("manager")
	ids := fmt.Sprintf("&id=%d&id=%d", ann.ID, bob.ID)
	// Whoever chose no group, or thinks better of it, comes back to the list as it was, with the same people ticked; who is done, with nobody.
	filtered := fmt.Sprintf("/admin/users/?q=a&state=active&group=%d", team.ID)
	list := b.get("/admin/users/?q=a").has(t, "the list", `name="back" value="/admin/users/?q=a"`)
	if list.shows("checked") {
		t.Errorf("somebody is ticked already:\n%s", list.body)
	}
	selection := fmt.Sprintf("&id=%d&id=%d&back=%s", ann.ID, cat.ID, url.QueryEscape("/admin/users/?q=a"))
	refused := b.get("/admin/users/bulk/?action=join"+selection).want(t, "no group", http.StatusSeeOther)
	again := b.get(refused.location).has(t, "no group", "Choose a group first.", `name="q" type="search" value="a"`, fmt.Sprintf(`value="%d" checked`, ann.ID), fmt.Sprintf(`value="%d" checked`, cat.ID), `name="back" value="/admin/users/?q=a"`)
	if strings.Count(again.body, " checked") != 2 {
		t.Errorf("others are ticked as well:\n%s", again.body)
	}
	b.get("/admin/users/bulk/?action=deactivate"+selection).has(t, "cancel", fmt.Sprintf(`class="button" href="/admin/users/?q=a&amp;id=%d&amp;id=%d"`, ann.ID, cat.ID), `name="back" value="/admin/users/?q=a"`)
	if to := b.post("/admin/users/bulk/", "action", "activate", "id", fmt.Sprint(ann.ID), "back", filtered).location; to != filtered {
		t.Errorf("when it is done: %s, want %s", to, filtered)
	}
	for _, elsewhere := range []string{"https://example.org/", "//example.org/admin/users/?q=", "/admin/gates/"} {
		if to := b.post("/admin/users/bulk/", "action", "activate", "id", fmt.Sprint(ann.ID), "back", elsewhere).location; to != "/admin/users/" {
			t.Errorf("back to %s: %s, want /admin/users/", elsewhere, to)
		}
	}
	b.get(b.get("/admin/users/bulk/?action=join&id=1").location).has(t, "no group", "Choose a group first.")
	b.get(b.get("/admin/users/bulk/?action=activate").location).has(t, "nobody", "Tick the people first.")
	b.get("/admin/users/bulk/?action=promote"+ids).want(t, "no such action", http.StatusBadRequest)
	page := b.get(fmt.Sprintf("/admin/users/bulk/?action=join&group=%d", team.ID)+ids).want(t, "preview", http.StatusOK).
		has(t, "preview", "Add to Team", "1 person will be changed", "in the group already", fmt.Sprintf(`name="id" value="%d"`, ann.ID))
	page.lacks(t, "preview", fmt.Sprintf(`name="id" value="%d"`, bob.ID))
	if in := must(x.desk.GroupsOf(t.Context(), ann.ID))(t); len(in) != 0 {
		t.Error("the preview has changed something")
	}
	done := b.post("/admin/users/bulk/", "action", "join", "group", fmt.Sprint(team.ID), "id", fmt.Sprint(ann.ID), "id", fmt.Sprint(cat.ID)).want(t, "apply", http.StatusSeeOther)
	b.get(done.location).has(t, "done", "Changed: 2 of 2.", `class="notice good"`)
	idle := b.post("/admin/users/bulk/", "action", "join", "group", fmt.Sprint(team.ID), "id", fmt.Sprint(ann.ID))
	b.get(idle.location).has(t, "nothing to do", "Changed: 0 of 1.", `class="notice bad"`)
	b.post("/admin/users/bulk/", "action", "deactivate", "id", fmt.Sprint(ann.ID), "id", fmt.Sprint(cat.ID)).want(t, "deactivate", http.StatusSeeOther)
	if members := must(x.desk.Users(t.Context(), registry.UserFilter{GroupID: team.ID, Inactive: true}))(t); len(members) != 2 {
		t.Errorf("%d members are deactivated, want 2", len(members))
	}
}

// Where somebody can go is said with the cause, and a change on the page holds at the gate from the next request on.
func TestWhereCanTheyGo(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	ctx := t.Context()
	front, side, back := x.gate("front", "Front door"), x.gate("side", "Side gate"), x.gate("back", "Back gate")
	ann, team := x.user("ann"), x.group("Team")
	device, token, err := x.desk.CreateDevice(ctx, setup, access.Device{UserID: ann.ID, Name: "Phone", Active: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	asks := func(g access.Gate, want access.Outcome) {
		t.Helper()
		if got := x.keeper.Verify(ctx, gatekeeper.Request{Gate: g.Code, Token: token}); got.Outcome != want {
			t.Errorf("%s answers %s (%s), want %s", g.Name, got.Outcome, got.Reason, want)
		}
	}
	b, page := x.as("manager"), userPath(ann.ID)
	asks(front, access.Deny)
	b.get(page+"?gate=front").has(t, "found", "Front door", "no permission for this gate", "Let them in")
	b.post(page+"permissions/add/", "gate", fmt.Sprint(front.ID), "text", "front").want(t, "let in", http.StatusSeeOther)
	asks(front, access.Allow)
	x.grant(access.Permission{GateID: side.ID, GroupID: team.ID})
	x.grant(access.Permission{GateID: back.ID, UserID: ann.ID, ValidFrom: time.Now().Add(48 * time.Hour)})
	b.post(page+"groups/add/", "group", fmt.Sprint(team.ID)).want(t, "join", http.StatusSeeOther)
	asks(side, access.Allow)
	b.get(page).has(t, "reasons", "own permission", "through group Team", "begins ")
	p := must(x.desk.Permissions(ctx, registry.PermissionFilter{GateID: front.ID}))(t)[0]
	at := fmt.Sprintf("%spermissions/%d/", page, p.ID)
	b.post(at+"suspend/", "version", fmt.Sprint(p.Version)).want(t, "suspend", http.StatusSeeOther)
	asks(front, access.Deny)
	b.get(b.post(at+"resume/", "version", fmt.Sprint(p.Version)).location).has(t, "an older version", "Somebody else changed the permission of ann", "suspended")
	b.post(fmt.Sprintf("%spermissions/%d/remove/", userPath(ann.ID+1_000), p.ID)).want(t, "of nobody", http.StatusNotFound)
	b.post(fmt.Sprintf("%spermissions/%d/remove/", groupPath(team.ID), p.ID)).want(t, "of another", http.StatusNotFound)
	b.post(fmt.Sprintf("%sgroups/%d/remove/", page, team.ID)).want(t, "leave", http.StatusSeeOther)
	asks(side, access.Deny)

	refusals := b.get(page+"refusals/").want(t, "why", http.StatusOK)
	refusals.has(t, "why", "There is a permission, but it was suspended: own permission.", "Neither they nor any of their groups has a permission", "own permission: suspended")

	b.post(at+"resume/", "version", fmt.Sprint(must(x.desk.Permission(ctx, p.ID))(t).Version)).want(t, "resume", http.StatusSeeOther)
	asks(front, access.Allow)
	b.get(page).has(t, "a phone", `href="`+devicePath(device.ID)+`lost/"`)
	_, seen, _ := strings.Cut(b.get(devicePath(device.ID)+"lost/").want(t, "ask", http.StatusOK).body, `name="seen" value="`)
	seen, _, _ = strings.Cut(seen, `"`)
	b.post(devicePath(device.ID)+"lost/", "seen", seen).want(t, "lost", http.StatusSeeOther)
	b.get(page).has(t, "a lost phone", "revoked").lacks(t, "a lost phone", `lost/"`)
	asks(front, access.Deny)
	b.get(page+"refusals/").has(t, "why now", "The phone was taken out of service, or reported lost.")
}

func TestTokensOfAPerson(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	ann, bob := x.user("ann"), x.user("bob")
	var ids []int64
	for _, name := range []string{"first", "second", "third"} {
		ids = append(ids, must(x.desk.AddToken(t.Context(), setup, ann.ID, "the token "+name, name))(t).ID)
	}
	b, page := x.as("manager"), userPath(ann.ID)
	b.get(page).has(t, "tokens", "first", "second", "third", "used today")
	b.post(fmt.Sprintf("%stokens/%d/revoke/", userPath(bob.ID), ids[0])).want(t, "another's token", http.StatusNotFound)
	b.post(fmt.Sprintf("%stokens/%d/revoke/", page, ids[0])).want(t, "one", http.StatusSeeOther)
	b.get(page).lacks(t, "one is ended", "first</strong>").has(t, "one is ended", "second</strong>")
	b.get(page+"tokens/revoke/").want(t, "ask", http.StatusOK).has(t, "ask", "They can sign in again")
	to := b.post(page + "tokens/revoke/").location
	b.get(strings.TrimSuffix(to, "#tokens")).has(t, "all", "Tokens ended: 2.").lacks(t, "all", "second</strong>")
}

func TestGroupWithAListOfMembers(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			x := newSite(t, engine, nil)
			b := x.as("manager")
			b.post("/admin/groups/new/", "name", " ").want(t, "no name", http.StatusUnprocessableEntity).has(t, "no name", "Fill this in.")
			page := b.post("/admin/groups/new/", "name", "Day shift").want(t, "create", http.StatusSeeOther).location
			b.get(page).has(t, "the new group", "Day shift is created.", "Nobody is in this group yet", "Nowhere yet")
			ann := must(x.desk.CreateUser(t.Context(), setup, access.User{Username: "ann", Email: "ann@example.org", FirstName: "Ann", Active: true}, registry.Password{}))(t)
			for _, name := range []string{"twin1", "twin2"} {
				must(x.desk.CreateUser(t.Context(), setup, access.User{Username: name, Email: "twins@example.org", Active: true}, registry.Password{}))(t)
			}
			b.get(page+"?who=ann").has(t, "found", fmt.Sprintf(`name="user" value="%d"`, ann.ID))
			b.post(page+"members/add/", "user", fmt.Sprint(ann.ID)).want(t, "add", http.StatusSeeOther)
			b.post(page+"members/paste/", "list", " \n").want(t, "an empty list", http.StatusUnprocessableEntity)
			b.post(page+"members/paste/", "list", strings.Repeat("a\n", registry.MaxBulk+1)).want(t, "a long list", http.StatusUnprocessableEntity).has(t, "a long list", "Paste at most 1,000 lines")
			owner := must(x.desk.UserByName(t.Context(), "owner"))(t)
			b.post(page+"members/paste/", "list", "ANN@example.org\nowner; owner\nno <such>\ntwins@example.org").want(t, "a list", http.StatusOK).has(t, "a list",
				"1 person will be added", "4 lines add nobody", "in the group already", "named above already", "nobody is called so", "no &lt;such&gt;", "twin1, twin2", fmt.Sprintf(`name="id" value="%d"`, owner.ID))
			to := b.post("/admin/users/bulk/", "action", "join", "from", "group", "group", strings.Trim(strings.TrimPrefix(page, "/admin/groups/"), "/"), "id", fmt.Sprint(owner.ID)).location
			if to != page {
				t.Errorf("after the list: sent to %q, want the group", to)
			}
			b.get(page).has(t, "members", "Ann", "Olga Holder")
			g := x.gate("front", "Front door")
			b.get(page+"?gate=front").has(t, "a gate found", "Front door", "Let them in")
			b.post(page+"permissions/add/", "gate", fmt.Sprint(g.ID)).want(t, "let in", http.StatusSeeOther)
			b.get(page).has(t, "where", "Front door", "at all times")
			b.post(fmt.Sprintf("%smembers/%d/remove/", page, owner.ID)).want(t, "remove", http.StatusSeeOther)
			form := b.get(page + "edit/")
			b.post(page+"edit/", "version", form.version(t), "name", "Night shift").want(t, "rename", http.StatusSeeOther)
			b.post(page+"edit/", "version", form.version(t), "name", "Late shift").want(t, "rename an older one", http.StatusConflict).has(t, "rename an older one", "was “Day shift”, is now “Night shift”", `value="Late shift"`)
			confirm := b.get(page+"delete/").has(t, "ask", "1 person leaves the group.", "1 permission goes with it.")
			b.post(page+"delete/", "version", confirm.version(t)).want(t, "delete", http.StatusSeeOther)
			b.get(page).want(t, "a deleted group", http.StatusNotFound)
		})
	}
}

func TestPeopleAndMembersAreReadInPages(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	team := x.group("Team")
	var ids []int64
	for i := range pageRows + 3 {
		ids = append(ids, x.user(fmt.Sprintf("u%03d", i)).ID)
	}
	must(x.desk.ApplyBulk(t.Context(), setup, registry.Bulk{Action: registry.BulkJoin, GroupID: team.ID, UserIDs: ids}))(t)
	b := x.as("viewer")
	for _, path := range []string{"/admin/users/?q=u0", groupPath(team.ID)} {
		first := b.get(path).has(t, path, "u000", "u049").lacks(t, path, "u050")
		at := strings.LastIndex(first.body[:strings.Index(first.body, `rel="next"`)], `href="`)
		next, _, _ := strings.Cut(first.body[at+len(`href="`):], `"`)
		b.get(strings.ReplaceAll(next, "&amp;", "&")).has(t, next, "u050", "u052").lacks(t, next, "u049")
	}
}
