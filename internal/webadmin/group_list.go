package webadmin

import (
	"net/http"

	"github.com/openway-access/openway/internal/registry"
)

// pastePage takes a list of people for a group, and says whom each line means before anything is changed.
type pastePage struct {
	frame
	Group groupChip
	List  string
	Error string
	Read  bool // the list was looked at
	Join  []bulkRow
	Lines []listedRow // those that add nobody
}

// listedRow is a line of a list that adds nobody, and why.
type listedRow struct {
	Number int
	Text   string
	Why    string
	Who    []string // whom it may mean
	Bad    bool     // somebody has to look at it
}

func (a *Admin) newPastePage(r *http.Request) (*pastePage, error) {
	v := visitOf(r)
	g, err := a.groupOf(r)
	return &pastePage{frame: v.frame("groups", v.t("paste.title", g.Name)), Group: groupChip{g.ID, g.Name, groupPath(g.ID)}}, err
}

func (a *Admin) pasteMembers(w http.ResponseWriter, r *http.Request) error {
	p, err := a.newPastePage(r)
	if err != nil {
		return err
	}
	return a.render(w, "group_paste", p)
}

// readMembers looks at a list. It changes nothing: what was found is added by the form of its page.
func (a *Admin) readMembers(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	p, err := a.newPastePage(r)
	if err != nil {
		return err
	}
	if p.List = r.PostForm.Get("list"); sent(r, "list") == "" {
		p.Error, p.Status = v.t("fault.required"), http.StatusUnprocessableEntity
		return a.render(w, "group_paste", p)
	}
	lines, err := a.desk.ResolveMembers(r.Context(), p.Group.ID, p.List)
	if err != nil {
		if _, bad := v.faults(err); !bad {
			return err
		}
		p.Error, p.Status = v.t("paste.too_many", number(v.lang, registry.MaxBulk)), http.StatusUnprocessableEntity
		return a.render(w, "group_paste", p)
	}
	p.Read = true
	for _, l := range lines {
		row := listedRow{Number: l.Number, Text: l.Text}
		switch l.State {
		case registry.ListedFound:
			p.Join = append(p.Join, bulkRow{ID: l.Users[0].ID, Name: fullName(l.Users[0]), Sub: l.Users[0].Username})
			continue
		case registry.ListedMember:
			row.Why = v.t("bulk.member")
		case registry.ListedTwice:
			row.Why = v.t("paste.twice")
		case registry.ListedUnknown:
			row.Why, row.Bad = v.t("paste.unknown"), true
		case registry.ListedAmbiguous:
			row.Why, row.Bad = v.t("paste.ambiguous"), true
			for _, u := range l.Users {
				row.Who = append(row.Who, u.Username)
			}
		}
		p.Lines = append(p.Lines, row)
	}
	return a.render(w, "group_paste", p)
}
