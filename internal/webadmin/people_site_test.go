package webadmin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/registry"
)

// What the tests of all pages are told of those of people and groups.

func peopleSamples() []sample {
	choices := func(s string, rows int) []option {
		return append([]option{{"", s, false}}, slices.Repeat([]option{{"3", s, true}}, rows)...)
	}
	found := func(s string, rows int) []gateFound {
		return slices.Repeat([]gateFound{{ID: 1, Name: s, Code: s, Outcome: access.Deny, Why: s, CanAdd: true, Text: s}}, rows)
	}
	reached := func(s string, rows int) []reach {
		ways := []wayRow{
			{Text: s, State: "off", Cause: s, Action: "/admin/users/1/permissions/1/", Label: s, Version: 2},
			{Text: s, Group: "/admin/groups/1/", State: "on", Allow: true, Label: s},
		}
		return slices.Repeat([]reach{{Path: "/admin/gates/1/", Name: s, Code: s, Passes: rows > 1, Ways: ways}}, rows)
	}
	person := func(s string) userRow {
		return userRow{ID: 1, Path: "/admin/users/1/", Name: s, Username: s, Email: s, Role: s}
	}
	pages := pager{First: "/admin/users/", Next: "/admin/users/?after=1"}
	return []sample{
		{"users", func(v *visit, s string, rows int) page {
			return &usersPage{
				frame: v.frame("people", s), Search: s, State: "active", States: choices(s, rows), Group: 1, Groups: choices(s, rows), Users: slices.Repeat([]userRow{person(s)}, rows),
				All: "/admin/users/?all=1", Pager: pages,
			}
		}},
		{"bulk", func(v *visit, s string, rows int) page {
			row := bulkRow{ID: 1, Name: s, Sub: s, Why: s}
			return &bulkPage{frame: v.frame("people", s), Action: s, Group: 1, Changes: slices.Repeat([]bulkRow{row}, rows), Stays: slices.Repeat([]bulkRow{row}, rows), Lead: s, Verb: s, Back: "/admin/users/"}
		}},
		{"user_form", func(v *visit, s string, rows int) page {
			p := &userForm{
				frame: v.frame("people", s), User: access.User{ID: int64(rows)}, Username: textField("username", s), First: textField("first_name", s), Last: textField("last_name", s),
				Email: textField("email", s), Language: textField("language", s), Password: textField("password", s), Group: textField("group", s), Role: textField("role", s),
				Staff: textField("staff", s), Superuser: textField("superuser", s), Roles: true, Version: 3, Problems: slices.Repeat([]string{s}, rows), Back: "/admin/users/",
			}
			for _, f := range []*field{&p.Language, &p.Group, &p.Role} {
				f.Choices = choices(s, rows)
			}
			if rows > 0 {
				p.Conflict = &conflict{Who: s, When: v.moment(v.now), Changes: slices.Repeat([]conflictLine{{s, s, s}}, rows-1)}
			}
			return p
		}},
		{"user_password", func(v *visit, s string, rows int) page {
			return &passwordPage{frame: v.frame("people", s), Lead: s, Password: textField("password", s), Repeat: textField("repeat", s), Problems: slices.Repeat([]string{s}, rows), Back: "/admin/users/1/"}
		}},
		{"user", func(v *visit, s string, rows int) page {
			device := deviceRow{Path: "/admin/devices/1/", Name: s, Android: s, Preview: s, Lost: "/admin/devices/1/lost/"}
			token := tokenRow{Action: "/admin/users/1/tokens/1/revoke/", Name: s, Agent: s, Preview: s, Device: s, Since: v.moment(v.now), Used: s, Until: s}
			event := eventRow{Path: "/admin/events/1/", At: v.moment(v.now), Gate: s, Outcome: access.Deny, Why: s, Count: rows}
			return &userPage{
				frame: v.frame("people", s), User: access.User{ID: 1, Username: s, Email: s, Active: rows == 1}, Name: s, Role: s, Created: v.moment(v.now), Language: s, MayChange: true,
				Last: rows == 1, Lost: device.Lost, Groups: slices.Repeat([]groupChip{{1, s, "/admin/groups/1/"}}, rows), Join: choices(s, rows), Gates: reached(s, rows), Pager: pages, Gate: s,
				Found: found(s, rows), Devices: slices.Repeat([]deviceRow{device}, rows), Tokens: slices.Repeat([]tokenRow{token}, rows), MoreTokens: rows > 1,
				Events: slices.Repeat([]eventRow{event}, rows), Log: "/admin/events/?user=a",
			}
		}},
		{"user_refusals", func(v *visit, s string, rows int) page {
			row := refusalRow{Path: "/admin/events/1/", At: v.moment(v.now), Gate: s, Count: rows, Why: s, Ways: slices.Repeat([]string{s}, rows), Now: s, Would: access.Allow}
			return &refusalsPage{frame: v.frame("people", s), Name: s, Back: "/admin/users/1/", Refusals: slices.Repeat([]refusalRow{row}, rows)}
		}},
		{"groups", func(v *visit, s string, rows int) page {
			p := &groupsPage{frame: v.frame("groups", s), Search: s, Groups: slices.Repeat([]groupChip{{1, s, "/admin/groups/1/"}}, rows), Pager: pages}
			if rows == 0 {
				p.Search = ""
			}
			return p
		}},
		{"group_form", func(v *visit, s string, rows int) page {
			p := &groupForm{frame: v.frame("groups", s), Group: access.Group{ID: int64(rows)}, Name: textField("name", s), Version: 3, Problems: slices.Repeat([]string{s}, rows), Back: "/admin/groups/"}
			if rows > 0 {
				p.Conflict = &conflict{Who: s, When: v.moment(v.now)}
			}
			return p
		}},
		{"group", func(v *visit, s string, rows int) page {
			return &groupPage{
				frame: v.frame("groups", s), Group: access.Group{ID: 1, Name: s}, Who: s, Found: slices.Repeat([]memberFound{{1, s, s, rows > 1}}, rows),
				Members: slices.Repeat([]userRow{person(s)}, rows), Pager: pages, Gate: s, Gates: found(s, rows), Reach: reached(s, rows), Gated: pages,
			}
		}},
		{"group_paste", func(v *visit, s string, rows int) page {
			line := listedRow{Number: 1, Text: s, Why: s, Who: slices.Repeat([]string{s}, rows), Bad: rows > 1}
			return &pastePage{
				frame: v.frame("groups", s), Group: groupChip{1, s, "/admin/groups/1/"}, List: s, Error: s, Read: rows > 0, Join: slices.Repeat([]bulkRow{{ID: 1, Name: s, Sub: s}}, rows),
				Lines: slices.Repeat([]listedRow{line}, rows),
			}
		}},
	}
}

// peopleRights holds the lines of rightsOf for people and groups.
func peopleRights(x *site) []rights {
	const (
		ok    = http.StatusOK
		moved = http.StatusSeeOther
		no    = http.StatusForbidden
		bad   = http.StatusUnprocessableEntity
		gone  = http.StatusNotFound
	)
	ctx := x.t.Context()
	gate, team, ann := x.gate("lines", "Lines"), x.group("Team"), x.user("ann")
	own, theirs := x.grant(access.Permission{GateID: gate.ID, UserID: ann.ID}), x.grant(access.Permission{GateID: gate.ID, GroupID: team.ID})
	token := must(x.desk.AddToken(ctx, setup, ann.ID, "a token of Ann's", "app"))(x.t)
	user, group := strings.TrimSuffix(userPath(ann.ID), "/"), strings.TrimSuffix(groupPath(team.ID), "/")
	one, all := fmt.Sprintf("%s/permissions/%d", user, own.ID), fmt.Sprintf("%s/permissions/%d", group, theirs.ID)
	version := func(n int64) string { return fmt.Sprintf("version=%d", n) }
	bulk := fmt.Sprintf("action=join&group=%d&id=%d", team.ID, ann.ID)
	return []rights{
		{"GET /admin/users/{$}", "", "", signIn, ok, ok, ok},
		{"GET /admin/users/new/{$}", "", "", signIn, no, ok, ok},
		{"POST /admin/users/new/{$}", "", "username=", signIn, no, bad, bad},
		{"GET /admin/users/bulk/{$}", "/admin/users/bulk/?" + bulk, "", signIn, no, ok, ok},
		{"POST /admin/users/bulk/{$}", "", bulk, signIn, no, moved, moved},
		{"GET /admin/users/{user}/{$}", user + "/", "", signIn, ok, ok, ok},
		{"GET /admin/users/{user}/refusals/{$}", user + "/refusals/", "", signIn, ok, ok, ok},
		{"GET /admin/users/{user}/edit/{$}", user + "/edit/", "", signIn, no, ok, ok},
		{"POST /admin/users/{user}/edit/{$}", user + "/edit/", version(ann.Version) + "&username=", signIn, no, bad, bad},
		{"POST /admin/users/{user}/deactivate/{$}", user + "/deactivate/", "", signIn, no, moved, moved},
		{"POST /admin/users/{user}/activate/{$}", user + "/activate/", "", signIn, no, moved, moved},
		{"GET /admin/users/{user}/password/{$}", user + "/password/", "", signIn, no, ok, ok},
		{"POST /admin/users/{user}/password/{$}", user + "/password/", "password=1", signIn, no, bad, bad},
		{"POST /admin/users/{user}/groups/add/{$}", user + "/groups/add/", fmt.Sprintf("group=%d", team.ID), signIn, no, moved, moved},
		{"POST /admin/users/{user}/groups/{group}/remove/{$}", fmt.Sprintf("%s/groups/%d/remove/", user, team.ID), "", signIn, no, moved, moved},
		{"POST /admin/users/{user}/permissions/add/{$}", user + "/permissions/add/", fmt.Sprintf("gate=%d", gate.ID), signIn, no, moved, moved},
		{"POST /admin/users/{user}/permissions/{permission}/suspend/{$}", one + "/suspend/", version(own.Version), signIn, no, moved, moved},
		{"POST /admin/users/{user}/permissions/{permission}/resume/{$}", one + "/resume/", version(own.Version), signIn, no, moved, moved},
		{"POST /admin/users/{user}/permissions/{permission}/remove/{$}", one + "/remove/", "", signIn, no, moved, gone},
		{"POST /admin/users/{user}/tokens/{token}/revoke/{$}", fmt.Sprintf("%s/tokens/%d/revoke/", user, token.ID), "", signIn, no, moved, gone},
		{"GET /admin/users/{user}/tokens/revoke/{$}", user + "/tokens/revoke/", "", signIn, no, ok, ok},
		{"POST /admin/users/{user}/tokens/revoke/{$}", user + "/tokens/revoke/", "", signIn, no, moved, moved},
		{"GET /admin/users/{user}/delete/{$}", user + "/delete/", "", signIn, no, ok, ok},
		{"GET /admin/users/{user}/erase/{$}", user + "/erase/", "", signIn, no, no, ok},
		{"POST /admin/users/{user}/erase/{$}", user + "/erase/", version(1 << 40), signIn, no, no, http.StatusConflict},
		{"POST /admin/users/{user}/delete/{$}", user + "/delete/", version(1 << 40), signIn, no, http.StatusConflict, http.StatusConflict},

		{"GET /admin/groups/{$}", "", "", signIn, ok, ok, ok},
		{"GET /admin/groups/new/{$}", "", "", signIn, no, ok, ok},
		{"POST /admin/groups/new/{$}", "", "name=", signIn, no, bad, bad},
		{"GET /admin/groups/{group}/{$}", group + "/", "", signIn, ok, ok, ok},
		{"GET /admin/groups/{group}/edit/{$}", group + "/edit/", "", signIn, no, ok, ok},
		{"POST /admin/groups/{group}/edit/{$}", group + "/edit/", version(team.Version) + "&name=", signIn, no, bad, bad},
		{"POST /admin/groups/{group}/members/add/{$}", group + "/members/add/", fmt.Sprintf("user=%d", ann.ID), signIn, no, moved, moved},
		{"POST /admin/groups/{group}/members/{user}/remove/{$}", fmt.Sprintf("%s/members/%d/remove/", group, ann.ID), "", signIn, no, moved, moved},
		{"GET /admin/groups/{group}/members/paste/{$}", group + "/members/paste/", "", signIn, no, ok, ok},
		{"POST /admin/groups/{group}/members/paste/{$}", group + "/members/paste/", "list=ann", signIn, no, ok, ok},
		{"POST /admin/groups/{group}/permissions/add/{$}", group + "/permissions/add/", fmt.Sprintf("gate=%d", gate.ID), signIn, no, moved, moved},
		{"POST /admin/groups/{group}/permissions/{permission}/suspend/{$}", all + "/suspend/", version(theirs.Version), signIn, no, moved, moved},
		{"POST /admin/groups/{group}/permissions/{permission}/resume/{$}", all + "/resume/", version(theirs.Version), signIn, no, moved, moved},
		{"POST /admin/groups/{group}/permissions/{permission}/remove/{$}", all + "/remove/", "", signIn, no, moved, gone},
		{"GET /admin/groups/{group}/delete/{$}", group + "/delete/", "", signIn, no, ok, ok},
		{"POST /admin/groups/{group}/delete/{$}", group + "/delete/", version(1 << 40), signIn, no, http.StatusConflict, http.StatusConflict},
	}
}

// crowd adds to town: people in numbers, and one, Anna, who has all that a person can have. It returns her and the group Staff.
func (x *site) crowd() (anna access.User, staff access.Group) {
	t, ctx := x.t, x.t.Context()
	t.Helper()
	anna = must(x.desk.UserByName(ctx, "anna.petrova"))(t)
	staff = must(x.desk.GroupByName(ctx, "Staff"))(t)
	anna.Email = "anna.petrova@example.org"
	anna = must(x.desk.UpdateUser(ctx, setup, anna))(t)
	first, last := []string{"Иван", "Maria", "Jean-Baptiste", "Ольга", "Li"}, []string{"Смирнов", "da Silva Rodrigues", "Kowalczyk", "Кузнецова", "Wei"}
	var ids []int64
	for i := range 70 {
		u := access.User{Username: fmt.Sprintf("person.%02d", i), FirstName: first[i%5], LastName: last[i/5%5], Email: fmt.Sprintf("person.%02d@example.org", i), Active: i%9 != 4}
		ids = append(ids, must(x.desk.CreateUser(ctx, setup, u, registry.Password{}))(t).ID)
	}
	must(x.desk.ApplyBulk(ctx, setup, registry.Bulk{Action: registry.BulkJoin, GroupID: staff.ID, UserIDs: ids}))(t)
	lab := must(x.desk.Groups(ctx, registry.GroupFilter{}))(t)[1]
	if err := x.desk.AddMember(ctx, setup, lab.ID, anna.ID); err != nil {
		t.Fatal(err)
	}
	for i, g := range must(x.desk.Gates(ctx, registry.GateFilter{Limit: 30}))(t)[1:] {
		p := access.Permission{GateID: g.ID, UserID: anna.ID}
		switch i % 4 {
		case 0:
			p.UserID, p.GroupID = 0, staff.ID
		case 1:
			p.ValidFrom, p.ValidUntil = time.Now().Add(-72*time.Hour), time.Now().Add(-time.Hour)
		case 2:
			p.ValidFrom = time.Now().Add(72 * time.Hour)
		}
		p = x.grant(p)
		if i%8 == 3 {
			must(x.desk.SuspendPermission(ctx, setup, p))(t)
		}
		if i == 6 {
			x.grant(access.Permission{GateID: g.ID, GroupID: lab.ID})
		}
	}
	for i, name := range []string{"Pixel 9 of Anna", "", "Рабочий телефон охраны, второй"} {
		d, token, err := x.desk.CreateDevice(ctx, setup, access.Device{UserID: anna.ID, Name: name, AndroidDeviceID: fmt.Sprintf("9774d56d682e549%d", i), Active: true}, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range []string{"front-door", "gate-00", "gate-01", "gate-02", "gate-35", "nowhere"} {
			x.keeper.Verify(ctx, gatekeeper.Request{Gate: code, Token: token})
		}
		if i == 1 {
			must(x.desk.SetDeviceActive(ctx, setup, d.ID, false))(t)
			x.keeper.Verify(ctx, gatekeeper.Request{Gate: "front-door", Token: token})
		}
	}
	for i, label := range []string{"okhttp/4.12.0", "Mozilla/5.0 (Linux; Android 15) Chrome/141.0", ""} {
		must(x.desk.AddToken(ctx, setup, anna.ID, fmt.Sprintf("a token of Anna's, number %d", i), label))(t)
	}
	return anna, staff
}

// peoplePaths are pages whose links and forms are followed as each role.
func (x *site) peoplePaths() []string {
	anna, staff := x.crowd()
	owner := must(x.desk.UserByName(x.t.Context(), "owner"))(x.t)
	return []string{
		"/admin/users/", "/admin/users/?q=a", userPath(anna.ID), userPath(anna.ID) + "?gate=door", userPath(anna.ID) + "refusals/", userPath(owner.ID),
		"/admin/groups/", groupPath(staff.ID), groupPath(staff.ID) + "?who=a&gate=door",
	}
}

// peopleVisits are the pages of people and groups that a real browser looks at.
func (x *site) peopleVisits() []visitTo {
	anna, staff := x.crowd()
	felix := must(x.desk.UserByName(x.t.Context(), "felix.novak"))(x.t)
	owner := must(x.desk.UserByName(x.t.Context(), "owner"))(x.t)
	empty := x.group("Night shift")
	return []visitTo{
		{name: "users", path: "/admin/users/"},
		{name: "users-picked", path: fmt.Sprintf("/admin/users/?q=person&group=%d&all=1", staff.ID)},
		{name: "users-bulk", path: fmt.Sprintf("/admin/users/bulk/?action=deactivate&id=%d&id=%d&id=%d", anna.ID, felix.ID, owner.ID)},
		{name: "user", path: userPath(anna.ID) + "?gate=corridor"},
		{name: "user-menu", path: userPath(anna.ID), click: ".head .menu summary"},
		{name: "user-inactive", path: userPath(felix.ID)},
		{name: "user-refusals", path: userPath(anna.ID) + "refusals/"},
		{name: "user-invalid", failing: true, path: "/admin/users/new/", script: `document.querySelector("form.form").noValidate = true`, click: "form.form .primary", ready: ".field.wrong"},
		{name: "user-edit", path: userPath(owner.ID) + "edit/"},
		{name: "user-password", path: userPath(anna.ID) + "password/"},
		{name: "user-delete", path: userPath(anna.ID) + "delete/"},
		{name: "groups", path: "/admin/groups/"},
		{name: "group", path: groupPath(staff.ID) + "?who=pet&gate=front"},
		{name: "group-new", path: "/admin/groups/new/"},
		{name: "group-paste", path: groupPath(empty.ID) + "members/paste/"},
		{
			name: "group-pasted", path: groupPath(empty.ID) + "members/paste/", script: `document.querySelector("#list").value = "anna.petrova\nPerson.01@example.org; nobody.at.all\nИван Смирнов\nanna.petrova"`,
			click: "form.form .primary", ready: ".lines",
		},
	}
}
