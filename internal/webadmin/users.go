package webadmin

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// usersPage is the list of people.
type usersPage struct {
	frame
	Search string
	State  string // "active", "inactive", "" = all
	States []option
	Group  int64
	Groups []option
	Users  []userRow
	Here   string // this page with nobody ticked, to come back to
	All    string // this page with everybody ticked
	Picked bool   // everybody is
	Pager  pager
}

type userRow struct {
	ID       int64
	Path     string
	Name     string
	Username string
	Email    string
	Role     string // "" = none
	Active   bool
	Picked   bool
}

// roleName is a role in words; "" for none.
func (v *visit) roleName(r access.Role) string {
	if !r.Known() {
		return ""
	}
	return v.t("role." + string(r))
}

// mostChoices is how many groups a control offers; people are added to others on the group's own page.
const mostChoices = 500

// groupChoices offers groups, and says at its end when there are more. The one that is chosen is among them, if it is there at all.
func (a *Admin) groupChoices(ctx context.Context, v *visit, chosen int64) ([]option, error) {
	groups, err := a.desk.Groups(ctx, registry.GroupFilter{Limit: mostChoices + 1})
	if err != nil {
		return nil, err
	}
	var list []option
	there := chosen == 0
	for _, g := range groups[:min(mostChoices, len(groups))] {
		list = append(list, option{strconv.FormatInt(g.ID, 10), g.Name, g.ID == chosen})
		there = there || g.ID == chosen
	}
	if !there {
		if g, err := a.desk.Group(ctx, chosen); err == nil {
			list = append(list, option{strconv.FormatInt(g.ID, 10), g.Name, true})
		}
	}
	slices.SortStableFunc(list, func(a, b option) int { return strings.Compare(access.Fold(a.Text), access.Fold(b.Text)) })
	if len(groups) > mostChoices {
		list = append(list, option{Text: v.t("users.more_groups")})
	}
	return list, nil
}

// pagerTo is the pager of a list whose next page begins at a place.
func pagerTo(r *http.Request, key, next string) pager {
	p := pagerOf(r, key, 0, false)
	if next != "" {
		q := r.URL.Query()
		q.Set(key, next)
		p.Next = r.URL.Path + "?" + q.Encode()
	}
	return p
}

// with is the address of this page with a parameter set, or without it (value ""), on the first page of its list.
func with(r *http.Request, key, value string) string {
	q := r.URL.Query()
	q.Del("after")
	q.Del("all")
	if q.Set(key, value); value == "" {
		q.Del(key)
	}
	if len(q) == 0 {
		return r.URL.Path
	}
	return r.URL.Path + "?" + q.Encode()
}

func (a *Admin) userList(w http.ResponseWriter, r *http.Request) error {
	v, ctx, q := visitOf(r), r.Context(), r.URL.Query()
	picked := q["id"]
	all := q.Get("all") != ""
	q.Del("id")
	q.Del("all")
	r.URL.RawQuery = q.Encode() // where this page leads to, those who were ticked do not come along
	p := &usersPage{frame: v.frame("people", v.t("nav.people")), Here: r.URL.RequestURI(), Search: strings.TrimSpace(q.Get("q")), State: q.Get("state"), Group: queryID(r, "group"), Picked: all}
	if p.State != "active" && p.State != "inactive" {
		p.State = ""
	}
	for _, s := range []struct{ value, text string }{{"", v.t("users.all")}, {"active", v.t("users.active")}, {"inactive", v.t("users.inactive")}} {
		p.States = append(p.States, option{with(r, "state", s.value), s.text, s.value == p.State})
	}
	var err error
	if p.Groups, err = a.groupChoices(ctx, v, p.Group); err != nil {
		return err
	}
	found, err := a.desk.FindUsers(ctx, registry.UserSearch{
		Search:  registry.Search{Query: p.Search, After: q.Get("after"), Limit: pageRows},
		GroupID: p.Group, Active: p.State == "active", Inactive: p.State == "inactive",
	})
	if err != nil {
		return err
	}
	for _, u := range found.List {
		p.Users = append(p.Users, userRow{
			ID: u.ID, Path: userPath(u.ID), Name: fullName(u), Username: u.Username, Email: u.Email, Role: v.roleName(u.Role()), Active: u.Active,
			Picked: p.Picked || slices.Contains(picked, strconv.FormatInt(u.ID, 10)),
		})
	}
	p.Pager = pagerTo(r, "after", found.Next)
	if len(p.Users) > 1 {
		all := url.Values{}
		for name, value := range q {
			all[name] = value
		}
		if all.Set("all", "1"); p.Picked {
			all.Del("all")
		}
		p.All = r.URL.Path + "?" + all.Encode()
	}
	return a.render(w, "users", p)
}

// bulkPage says what an action on a selection of people will change, what not, and why.
type bulkPage struct {
	frame
	Action  string
	Group   int64
	Changes []bulkRow
	Stays   []bulkRow
	Lead    string
	Verb    string
	List    string // where the selection was made
	Back    string // to it, with those ticked who were
}

type bulkRow struct {
	ID        int64
	Name, Sub string
	Why       string // of those that stay as they are
}

// readBulk reads an action on a selection.
func readBulk(q url.Values) registry.Bulk {
	b := registry.Bulk{Action: registry.BulkAction(q.Get("action"))}
	for _, s := range q["id"] {
		if id, err := strconv.ParseInt(s, 10, 64); err == nil && id > 0 {
			b.UserIDs = append(b.UserIDs, id)
		}
	}
	if b.Action == registry.BulkJoin || b.Action == registry.BulkLeave {
		b.GroupID, _ = strconv.ParseInt(q.Get("group"), 10, 64)
	}
	return b
}

// bulkList is the list of people in which a selection was made, with its search, filters and page.
func bulkList(q url.Values) string {
	const list = "/admin/users/"
	if back := localPath(q.Get("back")); strings.HasPrefix(back, list+"?") {
		return back
	}
	return list
}

// pickedIn is a list of people with those of a selection ticked.
func pickedIn(list string, b registry.Bulk) string {
	ids := url.Values{}
	for _, id := range b.UserIDs {
		ids.Add("id", strconv.FormatInt(id, 10))
	}
	switch {
	case len(ids) == 0:
		return list
	case strings.Contains(list, "?"):
		return list + "&" + ids.Encode()
	}
	return list + "?" + ids.Encode()
}

// missing says what has to be chosen before a selection can be acted on: the key of a sentence, "" = nothing.
func missing(b registry.Bulk) string {
	switch {
	case len(b.UserIDs) == 0:
		return "flash.bulk_nobody"
	case (b.Action == registry.BulkJoin || b.Action == registry.BulkLeave) && b.GroupID <= 0:
		return "flash.bulk_no_group"
	}
	return ""
}

func (a *Admin) previewBulk(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	b, list := readBulk(r.URL.Query()), bulkList(r.URL.Query())
	if key := missing(b); key != "" {
		return v.sorry(w, r, pickedIn(list, b), key)
	}
	lines, err := a.desk.PreviewBulk(ctx, v.actor(), b)
	if err != nil {
		return err
	}
	group := ""
	if b.GroupID != 0 {
		g, err := a.desk.Group(ctx, b.GroupID)
		if err != nil {
			return err
		}
		group = g.Name
	}
	p := &bulkPage{frame: v.frame("people", v.bulkTitle(b.Action, group)), Action: string(b.Action), Group: b.GroupID, List: list, Back: pickedIn(list, b)}
	for _, l := range lines {
		row := bulkRow{ID: l.UserID, Name: fullName(l.User), Sub: l.User.Username}
		if l.Outcome == registry.BulkGone {
			row.Name, row.Sub = v.t("access.deleted_user"), ""
		}
		if l.Outcome == registry.BulkChanges {
			p.Changes = append(p.Changes, row)
			continue
		}
		row.Why = v.bulkWhy(b.Action, l.Outcome)
		p.Stays = append(p.Stays, row)
	}
	p.Verb, p.Lead = v.bulkVerb(b.Action, len(p.Changes)), v.bulkLead(b.Action)
	return a.render(w, "bulk", p)
}

func (v *visit) bulkTitle(action registry.BulkAction, group string) string {
	switch action {
	case registry.BulkActivate:
		return v.t("bulk.activate.title")
	case registry.BulkDeactivate:
		return v.t("bulk.deactivate.title")
	case registry.BulkJoin:
		return v.t("bulk.join.title", group)
	}
	return v.t("bulk.leave.title", group)
}

func (v *visit) bulkLead(action registry.BulkAction) string {
	switch action {
	case registry.BulkActivate:
		return v.t("bulk.activate.lead")
	case registry.BulkDeactivate:
		return v.t("bulk.deactivate.lead")
	case registry.BulkJoin:
		return v.t("bulk.join.lead")
	}
	return v.t("bulk.leave.lead")
}

func (v *visit) bulkVerb(action registry.BulkAction, n int) string {
	switch action {
	case registry.BulkActivate:
		return v.n("bulk.activate.verb", n)
	case registry.BulkDeactivate:
		return v.n("bulk.deactivate.verb", n)
	case registry.BulkJoin:
		return v.n("bulk.join.verb", n)
	}
	return v.n("bulk.leave.verb", n)
}

// bulkWhy says why somebody stays as they are.
func (v *visit) bulkWhy(action registry.BulkAction, o registry.BulkOutcome) string {
	switch o {
	case registry.BulkGone:
		return v.t("bulk.gone")
	case registry.BulkSelf:
		return v.t("bulk.self")
	case registry.BulkOwner:
		return v.t("bulk.owner")
	case registry.BulkLastOwner:
		return v.t("bulk.last_owner")
	}
	switch action {
	case registry.BulkActivate:
		return v.t("bulk.active")
	case registry.BulkDeactivate:
		return v.t("bulk.inactive")
	case registry.BulkJoin:
		return v.t("bulk.member")
	}
	return v.t("bulk.no_member")
}

func (a *Admin) applyBulk(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	b := readBulk(r.PostForm)
	back := bulkList(r.PostForm)
	if sent(r, "from") == "group" && b.GroupID > 0 {
		back = groupPath(b.GroupID)
	}
	if key := missing(b); key != "" {
		return v.sorry(w, r, pickedIn(back, b), key)
	}
	lines, err := a.desk.ApplyBulk(r.Context(), v.actor(), b)
	if err != nil {
		return err
	}
	done := 0
	for _, l := range lines {
		if l.Outcome == registry.BulkChanges {
			done++
		}
	}
	tell := v.done
	if done == 0 {
		tell = v.sorry
	}
	return tell(w, r, back, "flash.bulk_done", number(v.lang, done), number(v.lang, len(lines)))
}
