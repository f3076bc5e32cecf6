package webadmin

import (
	"net/http"
	"net/url"
	"strings"
)

// searchPage is what the box in the frame finds: people, gates and groups by any part of a name.
type searchPage struct {
	frame
	Query string
	Kinds []foundKind
}

// foundKind is what was found of one kind.
type foundKind struct {
	Name string // of the icon
	Text string
	Rows []foundRow
	All  string // where the search goes on among these; "" = this is all
}

type foundRow struct {
	Path, Name, Sub string
	Off             string // why it is grey
}

// mostFound is how many of each kind the search shows.
const mostFound = 10

func (a *Admin) search(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	p := &searchPage{frame: v.frame("search", v.t("search.title")), Query: strings.TrimSpace(r.URL.Query().Get("q"))}
	if p.Query == "" {
		return a.render(w, "search", p)
	}
	found, err := a.desk.SearchAnywhere(r.Context(), p.Query, mostFound+1)
	if err != nil {
		return err
	}
	people, gates, groups := foundKind{Name: "people", Text: v.t("search.people")}, foundKind{Name: "gates", Text: v.t("nav.gates")}, foundKind{Name: "groups", Text: v.t("search.groups")}
	for _, u := range found.Users {
		row := foundRow{Path: userPath(u.ID), Name: fullName(u), Sub: u.Username}
		if !u.Active {
			row.Off = v.t("search.inactive")
		}
		people.Rows = append(people.Rows, row)
	}
	for _, g := range found.Gates {
		h := gateHead(g)
		gates.Rows = append(gates.Rows, foundRow{Path: gatePath(g.ID), Name: h.Name, Sub: h.Sub})
	}
	for _, g := range found.Groups {
		groups.Rows = append(groups.Rows, foundRow{Path: groupPath(g.ID), Name: g.Name})
	}
	for _, k := range []struct {
		foundKind
		path string
	}{{people, "/admin/users/"}, {gates, "/admin/gates/"}, {groups, "/admin/groups/"}} {
		if len(k.Rows) == 0 {
			continue
		}
		if len(k.Rows) > mostFound {
			k.Rows, k.All = k.Rows[:mostFound], searchAt(k.path, p.Query)
		}
		p.Kinds = append(p.Kinds, k.foundKind)
	}
	return a.render(w, "search", p)
}

// searchAt is the list at a path with what was searched for.
func searchAt(path, query string) string { return path + "?" + url.Values{"q": {query}}.Encode() }
