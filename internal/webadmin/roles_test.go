package webadmin

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// rights is what each kind of visitor is answered at one route. 403 and a page to sign in (303 to /admin/login/) are refusals.
type rights struct {
	route                  string // "METHOD pattern"
	path                   string // that is asked; "" = the pattern as it is
	form                   string // that is sent
	nobody                 int    // nobody is signed in; signIn = sent to sign in
	viewer, manager, owner int
}

// signIn stands for being sent to the page to sign in.
const signIn = -1

// rightsOf holds every line of routes. Each cell is asserted, direct POSTs too.
func rightsOf(x *site) []rights {
	const (
		ok    = http.StatusOK
		moved = http.StatusSeeOther
		no    = http.StatusForbidden
		bad   = http.StatusUnprocessableEntity
	)
	g := x.gate("north", "North")
	staff := x.group("Staff")
	p := x.grant(access.Permission{GateID: g.ID, GroupID: staff.ID})
	asset, _ := x.admin.assets.url("app.css")
	gate := strings.TrimSuffix(gatePath(g.ID), "/")
	permission := fmt.Sprintf("%s/permissions/%d", gate, p.ID)
	subject := fmt.Sprintf("subject=group:%d", staff.ID)
	return slices.Concat(peopleRights(x), deskRights(x), []rights{
		{"GET /admin/static/{file}", asset, "", ok, ok, ok, ok},
		{"GET /admin/login/{$}", "", "", ok, moved, moved, moved},
		{"POST /admin/login/{$}", "", "", bad, bad, bad, bad},
		{"POST /admin/preferences/{$}", "", "theme=dark", moved, moved, moved, moved},
		{"GET /admin/{$}", "", "", signIn, ok, ok, ok},
		{"GET /admin/account/{$}", "", "", signIn, ok, ok, ok},
		{"POST /admin/account/password/{$}", "", "", signIn, bad, bad, bad},
		{"POST /admin/account/sessions/end/{$}", "", "session=1000000", signIn, moved, moved, moved},
		{"POST /admin/account/sessions/end-all/{$}", "", "", signIn, moved, moved, moved},
		{"POST /admin/logout/{$}", "", "", moved, moved, moved, moved},

		{"GET /admin/events/{$}", "", "", signIn, ok, ok, ok},
		{"GET /admin/events/stream/{$}", "/admin/events/stream/?after=none", "", signIn, ok, ok, ok},
		{"GET /admin/events/export/{$}", "/admin/events/export/?format=csv", "", signIn, ok, ok, ok},
		{"GET /admin/events/{event}/{$}", "/admin/events/1/", "", signIn, http.StatusNotFound, http.StatusNotFound, http.StatusNotFound}, // there is none yet

		{"GET /admin/gates/{$}", "", "", signIn, ok, ok, ok},
		{"GET /admin/gates/new/{$}", "", "", signIn, no, no, ok},
		{"POST /admin/gates/new/{$}", "", "code=", signIn, no, no, bad},
		{"GET /admin/gates/{gate}/{$}", gate + "/", "", signIn, ok, ok, ok},
		{"GET /admin/gates/{gate}/edit/{$}", gate + "/edit/", "", signIn, no, no, ok},
		{"POST /admin/gates/{gate}/edit/{$}", gate + "/edit/", fmt.Sprintf("version=%d&code=north&name=N", g.Version), signIn, no, no, moved},
		{"POST /admin/gates/{gate}/permissions/add/{$}", gate + "/permissions/add/", subject, signIn, no, moved, moved},
		{"POST /admin/gates/{gate}/permissions/{permission}/suspend/{$}", permission + "/suspend/", fmt.Sprintf("version=%d", p.Version), signIn, no, moved, moved},
		{"POST /admin/gates/{gate}/permissions/{permission}/resume/{$}", permission + "/resume/", fmt.Sprintf("version=%d", p.Version), signIn, no, moved, moved},
		{"GET /admin/gates/{gate}/delete/{$}", gate + "/delete/", "", signIn, no, no, ok},
		{"POST /admin/gates/{gate}/permissions/{permission}/remove/{$}", permission + "/remove/", "", signIn, no, moved, http.StatusNotFound}, // the manager has removed it
		{"POST /admin/gates/{gate}/delete/{$}", gate + "/delete/", fmt.Sprintf("version=%d", g.Version), signIn, no, no, http.StatusConflict}, // the owner has changed it
	})
}

func TestRolesAndRoutes(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	table := rightsOf(x)
	held := map[string]bool{}
	browsers := map[string]*browser{}
	for _, want := range table {
		held[want.route] = true
		if _, there := x.admin.table[want.route]; !there {
			t.Errorf("%s is held here and is no route", want.route)
		}
		method, path, _ := strings.Cut(want.route, " ")
		if path = strings.TrimSuffix(path, "{$}"); want.path != "" {
			path = want.path
		}
		for _, cell := range []struct {
			who  string
			want int
		}{{"", want.nobody}, {"viewer", want.viewer}, {"manager", want.manager}, {"owner", want.owner}} {
			b := browsers[cell.who]
			if b == nil {
				if b = x.browser(); cell.who != "" {
					b = x.as(cell.who)
				}
				browsers[cell.who] = b
			}
			if strings.Contains(path, "/logout/") || strings.Contains(path, "/sessions/") || strings.Contains(path, "/login/") {
				delete(browsers, cell.who) // it may be signed out by this
			}
			var got answer
			if method == http.MethodGet {
				got = b.get(path)
			} else {
				got = b.do(method, path, strings.NewReader(want.form))
			}
			status := got.status
			if cell.want == signIn && status == http.StatusSeeOther && strings.HasPrefix(got.location, "/admin/login/") {
				status = signIn
			} else if cell.want == http.StatusSeeOther && strings.HasPrefix(got.location, "/admin/login/?next=") {
				t.Errorf("%s as %q is sent to sign in", want.route, cell.who)
			}
			if status != cell.want {
				t.Errorf("%s as %q: %d (to %s), want %d", want.route, cell.who, status, got.location, cell.want)
			}
		}
	}
	for route := range x.admin.table {
		if !held[route] {
			t.Errorf("%s has no line in rightsOf", route)
		}
	}
}

// What a role may not do is not shown to it either: no link and no form leads there.
func TestPagesShowWhatARoleMayDo(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	front := x.town()
	paths := append(x.peoplePaths(), x.deskPaths(front)...)
	paths = append(paths, "/admin/gates/", gatePath(front.ID), gatePath(front.ID)+"?who=a", "/admin/account/")
	for _, who := range []string{"viewer", "manager", "owner"} {
		b := x.as(who)
		for _, path := range paths {
			page := b.get(path).want(t, path, http.StatusOK)
			base := must(url.Parse(path))(t)
			for _, target := range targets(t, page.body) {
				u := base.ResolveReference(must(url.Parse(target.url))(t))
				_, pattern := x.admin.mux.Handler(&http.Request{Method: target.method, URL: u, Host: "localhost"})
				rt, there := x.admin.table[pattern]
				if !there {
					t.Errorf("%s as %s leads to %s %s, which is no route", path, who, target.method, u)
					continue
				}
				if role := access.Role(who); !role.Includes(rt.role) {
					t.Errorf("%s as %s leads to %s %s, which is for %s", path, who, target.method, u, rt.role)
				}
			}
		}
	}
}
