package webadmin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

type gatesPage struct {
	frame
	Search string
	Gates  []gateRow
	Pager  pager
	Steps  []step // for a site without gates: what to do first
}

type gateRow struct {
	Path, Code, Name, Location string
	Release                    string
	Seen                       moment // of the last decision; zero = there was none
	Outcome                    access.Outcome
}

// step is one line of the checklist of a new site.
type step struct {
	Done        bool
	Title, Text string
	Path        string // where it is done; "" = not open yet
	Action      string
}

// gateName is how a gate is called: by its name, else by its code.
func gateName(g access.Gate) string {
	if g.Name != "" {
		return g.Name
	}
	return g.Code
}

func gatePath(id int64) string { return fmt.Sprintf("/admin/gates/%d/", id) }

// release is how long a lock opens, in words: 0.8 s.
func (v *visit) release(ms int) string {
	s := strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64)
	if v.lang == russian {
		s = strings.Replace(s, ".", ",", 1)
	}
	return v.t("time.seconds", s)
}

func (a *Admin) gateList(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	p := &gatesPage{frame: v.frame("gates", v.t("nav.gates")), Search: strings.TrimSpace(r.URL.Query().Get("q"))}
	found, err := a.desk.FindGates(r.Context(), registry.Search{Query: p.Search, After: r.URL.Query().Get("after"), Limit: pageRows})
	if err != nil {
		return err
	}
	site, err := a.desk.Site(r.Context())
	if err != nil {
		return err
	}
	ids := make([]int64, len(found.List))
	for i, g := range found.List {
		ids[i] = g.ID
	}
	seen, err := a.desk.GatesSeen(r.Context(), ids)
	if err != nil {
		return err
	}
	for _, g := range found.List {
		row := gateRow{Path: gatePath(g.ID), Code: g.Code, Name: gateName(g), Location: g.Location, Release: v.release(site.DefaultReleaseMS)}
		if g.ReleaseMS != 0 {
			row.Release = v.release(g.ReleaseMS)
		}
		if last, ok := seen[g.ID]; ok {
			row.Seen, row.Outcome = v.moment(last.At), last.Decision
		}
		p.Gates = append(p.Gates, row)
	}
	if p.Pager = pagerTo(r, "after", found.Next); len(p.Gates) == 0 && p.Search == "" && v.May("GET /admin/gates/new/{$}") {
		p.Steps = []step{
			{Title: v.t("start.gate"), Text: v.t("start.gate.text"), Path: "/admin/gates/new/", Action: v.t("gates.new")},
			{Title: v.t("start.let_in"), Text: v.t("start.let_in.text")},
			{Title: v.t("start.try"), Text: v.t("start.try.text")},
		}
	}
	return a.render(w, "gates", p)
}

// gateForm creates or changes a gate.
type gateForm struct {
	frame
	Gate     access.Gate // as it stands; the zero Gate when one is created
	Code     field
	Name     field
	Location field
	Release  field
	Version  int64 // the gate's that the form was made from
	Problems []string
	Conflict *conflict
	Back     string
}

func (p *gateForm) fields() []*field { return []*field{&p.Code, &p.Name, &p.Location, &p.Release} }

func (a *Admin) newGateForm(r *http.Request, g access.Gate) (*gateForm, error) {
	v := visitOf(r)
	site, err := a.desk.Site(r.Context())
	if err != nil {
		return nil, err
	}
	p := &gateForm{
		frame: v.frame("gates", v.t("gates.new")), Gate: g, Version: g.Version, Back: "/admin/gates/",
		Code:     field{Name: "code", Label: v.t("gates.code"), Value: g.Code, Hint: v.t("gates.code.hint"), Required: true, Max: 64, Focus: g.ID == 0},
		Name:     field{Name: "name", Label: v.t("gates.name"), Value: g.Name, Hint: v.t("gates.name.hint"), Max: 128},
		Location: field{Name: "location", Label: v.t("gates.location"), Value: g.Location, Max: 128},
		Release:  field{Name: "release_ms", Label: v.t("gates.release"), Hint: v.t("gates.release.hint", number(v.lang, site.DefaultReleaseMS)), Unit: v.t("time.ms"), Type: "number"},
	}
	if g.ReleaseMS != 0 {
		p.Release.Value = strconv.Itoa(g.ReleaseMS)
	}
	if g.ID != 0 {
		p.Title, p.Back = v.t("gates.edit", gateName(g)), gatePath(g.ID)
	}
	return p, nil
}

// read takes what was sent into the form and returns the gate that it describes.
func (p *gateForm) read(r *http.Request) (access.Gate, error) {
	for _, f := range p.fields() {
		f.Value = sent(r, f.Name)
	}
	g := access.Gate{ID: p.Gate.ID, Code: p.Code.Value, Name: p.Name.Value, Location: p.Location.Value, Version: p.Version}
	if p.Release.Value == "" {
		return g, nil
	}
	ms, err := strconv.Atoi(p.Release.Value)
	if err != nil || ms < 1 || ms > access.MaxReleaseMS {
		var bad access.Invalid
		bad.AddRange("release_ms", 1, access.MaxReleaseMS)
		return g, bad
	}
	g.ReleaseMS = ms
	return g, nil
}

func (a *Admin) newGate(w http.ResponseWriter, r *http.Request) error {
	p, err := a.newGateForm(r, access.Gate{})
	if err != nil {
		return err
	}
	return a.render(w, "gate_form", p)
}

func (a *Admin) createGate(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	p, err := a.newGateForm(r, access.Gate{})
	if err != nil {
		return err
	}
	g, err := p.read(r)
	if err == nil {
		g, err = a.desk.CreateGate(r.Context(), v.actor(), g)
	}
	if err == nil {
		return v.done(w, r, gatePath(g.ID), "flash.gate_created", gateName(g))
	}
	var ok bool
	if p.Problems, ok = v.faults(err, p.fields()...); !ok {
		return err
	}
	p.Status = http.StatusUnprocessableEntity
	return a.render(w, "gate_form", p)
}

// gateOf is the gate that the path names.
func (a *Admin) gateOf(r *http.Request) (access.Gate, error) {
	id, err := pathID(r, "gate")
	if err != nil {
		return access.Gate{}, err
	}
	return a.desk.Gate(r.Context(), id)
}

func (a *Admin) editGate(w http.ResponseWriter, r *http.Request) error {
	g, err := a.gateOf(r)
	if err != nil {
		return err
	}
	p, err := a.newGateForm(r, g)
	if err != nil {
		return err
	}
	return a.render(w, "gate_form", p)
}

func (a *Admin) updateGate(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	now, err := a.gateOf(r)
	if err != nil {
		return err
	}
	p, err := a.newGateForm(r, now)
	if err != nil {
		return err
	}
	p.Version = seen
	g, err := p.read(r)
	if err == nil {
		g, err = a.desk.UpdateGate(r.Context(), v.actor(), g)
	}
	if err == nil {
		return v.done(w, r, gatePath(g.ID), "flash.saved", gateName(g))
	}
	if overtaken(err) {
		if p.Conflict, err = a.whatChanged(r.Context(), v, access.ObjectGate, now.ID, seen, p.fields()...); err != nil {
			return err
		}
		p.Version, p.Status = now.Version, http.StatusConflict
		return a.render(w, "gate_form", p)
	}
	var ok bool
	if p.Problems, ok = v.faults(err, p.fields()...); !ok {
		return err
	}
	p.Status = http.StatusUnprocessableEntity
	return a.render(w, "gate_form", p)
}

// confirmPage says what a deletion takes along, and asks.
type confirmPage struct {
	frame
	Lead    string   // what goes
	Lines   []string // what goes with it, and what stays
	Verb    string   // on the button
	Stop    string   // why it cannot be done; then there is no button
	Version int64    // of what is deleted
	Back    string
}

func (a *Admin) confirmDeleteGate(w http.ResponseWriter, r *http.Request) error {
	g, err := a.gateOf(r)
	if err != nil {
		return err
	}
	return a.askToDeleteGate(w, r, g, http.StatusOK)
}

func (a *Admin) askToDeleteGate(w http.ResponseWriter, r *http.Request, g access.Gate, status int) error {
	v := visitOf(r)
	n, err := a.desk.CountPermissions(r.Context(), g.ID)
	if err != nil {
		return err
	}
	p := &confirmPage{
		frame: v.frame("gates", v.t("gates.delete.title", gateName(g))), Version: g.Version, Back: gatePath(g.ID), Verb: v.t("gates.delete.verb"),
		Lead: v.t("gates.delete.lead", g.Code), Lines: []string{v.atMost("gates.delete.permissions", "gates.delete.permissions.more", n), v.t("gates.delete.events")},
	}
	if p.Status = status; status == http.StatusConflict {
		p.Lines = append([]string{v.t("confirm.changed")}, p.Lines...)
	}
	return a.render(w, "confirm", p)
}

// atMost is v.n for a number that was counted up to registry.MostCounted; beyond that it says by another text that there are more.
func (v *visit) atMost(key, more string, n int) string {
	if n > registry.MostCounted {
		return v.t(more, number(v.lang, registry.MostCounted))
	}
	return v.n(key, n)
}

func (a *Admin) deleteGate(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	g, err := a.gateOf(r)
	if err != nil {
		return err
	}
	err = a.desk.DeleteGate(r.Context(), v.actor(), g.ID, seen)
	if overtaken(err) {
		return a.askToDeleteGate(w, r, g, http.StatusConflict)
	}
	if err != nil {
		return err
	}
	return v.done(w, r, "/admin/gates/", "flash.gate_deleted", gateName(g))
}

// gatePage is one gate: who may pass it and through what, what happened there, and a box to try somebody or let them in.
type gatePage struct {
	frame
	Gate    access.Gate
	Name    string
	Release string
	Default bool // the release time is the site's
	Groups  []passerRow
	People  []passerRow
	Pager   pager // of the groups and then the people
	Who     string
	Found   []candidate
	Events  []eventRow
}

// passerRow is one permission as its gate shows it.
type passerRow struct {
	Name    string
	Sub     string // the user name
	Group   bool
	State   string // "on", "off" (suspended), "later", "over", "inactive"
	Cause   string // why it does not hold now, or until when it does
	Action  string // where it is changed: its path
	ID      int64
	Version int64
	Allow   bool
}

// candidate is somebody whom the box found.
type candidate struct {
	Name, Sub string
	Group     bool
	Subject   string // "user:5", "group:3"
	Outcome   access.Outcome
	Why       string
	CanAdd    bool
}

// How many of them the page of a gate shows.
const (
	mostCandidates = 8
	recentEvents   = 10
)

func (a *Admin) gatePage(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	g, err := a.gateOf(r)
	if err != nil {
		return err
	}
	site, err := a.desk.Site(ctx)
	if err != nil {
		return err
	}
	p := &gatePage{frame: v.frame("gates", gateName(g)), Gate: g, Name: gateName(g), Release: v.release(g.ReleaseMS), Who: strings.TrimSpace(r.URL.Query().Get("who"))}
	if g.ReleaseMS == 0 {
		p.Release, p.Default = v.release(site.DefaultReleaseMS), true
	}
	page, err := a.desk.GatePassers(ctx, g.ID, passersAfter(r.URL.Query().Get("after")), pageRows)
	if err != nil {
		return err
	}
	for _, x := range page.Passers {
		if row := v.passerRow(x); row.Group {
			p.Groups = append(p.Groups, row)
		} else {
			p.People = append(p.People, row)
		}
	}
	p.Pager = pagerTo(r, "after", afterPasser(page.Next))
	if p.Events, err = a.recentEvents(r, g.ID); err != nil {
		return err
	}
	if p.Who != "" {
		if p.Found, err = a.candidates(r, g, p.Who); err != nil {
			return err
		}
	}
	return a.render(w, "gate", p)
}

// afterPasser says in a URL behind which permission the next page of a gate's passers begins; "" = there is none.
func afterPasser(p *access.Permission) string {
	switch {
	case p == nil:
		return ""
	case p.GroupID != 0:
		return fmt.Sprintf("group.%d.%d", p.GroupID, p.ID)
	}
	return fmt.Sprintf("user.%d.%d", p.UserID, p.ID)
}

// passersAfter reads what afterPasser wrote. What is no such place is the beginning.
func passersAfter(s string) *access.Permission {
	kind, rest, _ := strings.Cut(s, ".")
	of, id, _ := strings.Cut(rest, ".")
	subject, err := strconv.ParseInt(of, 10, 64)
	if err != nil {
		return nil
	}
	p := &access.Permission{}
	if p.ID, err = strconv.ParseInt(id, 10, 64); err != nil {
		return nil
	}
	switch kind {
	case "group":
		p.GroupID = subject
	case "user":
		p.UserID = subject
	default:
		return nil
	}
	return p
}

func (v *visit) passerRow(x registry.GatePasser) passerRow {
	row := passerRow{
		ID: x.ID, Version: x.Version, Allow: x.Allow, Group: x.GroupID != 0, Name: x.Group.Name,
		Action: fmt.Sprintf("/admin/gates/%d/permissions/%d/", x.GateID, x.ID),
	}
	row.State, row.Cause = v.standing(x.Permission)
	if !row.Group {
		row.Name, row.Sub = fullName(x.User), x.User.Username
		if x.Allow && !x.User.Active {
			row.State, row.Cause = "inactive", v.t("access.inactive")
		}
	}
	return row
}

// standing says whether a permission lets pass now, and if not why, or until when it does.
func (v *visit) standing(p access.Permission) (state, cause string) {
	switch {
	case !p.Allow:
		return "off", v.t("access.suspended")
	case !p.ValidUntil.IsZero() && !v.now.Before(p.ValidUntil):
		return "over", v.t("access.over", v.minute(p.ValidUntil))
	case !p.ValidFrom.IsZero() && v.now.Before(p.ValidFrom):
		return "later", v.t("access.later", v.minute(p.ValidFrom))
	case !p.ValidUntil.IsZero():
		return "on", v.t("access.until", v.minute(p.ValidUntil))
	}
	return "on", ""
}

// minute writes an instant as a date and a time of the site's zone.
func (v *visit) minute(t time.Time) string {
	t = t.In(v.zone)
	return day(v.lang, t) + ", " + t.Format("15:04")
}

func (a *Admin) recentEvents(r *http.Request, gateID int64) ([]eventRow, error) {
	page, err := a.desk.EventPage(r.Context(), access.EventFilter{GateID: gateID, Limit: recentEvents})
	if err != nil {
		return nil, err
	}
	named, err := a.desk.ObjectsOfEvents(r.Context(), page.Events)
	if err != nil {
		return nil, err
	}
	return visitOf(r).eventRows(page.Events, named), nil
}

// reason is why a gate answered as it did, in words.
func (v *visit) reason(r access.Reason) string {
	if _, ok := catalogue()["reason."+string(r)]; ok {
		return v.t("reason." + string(r))
	}
	return string(r)
}

// candidates finds groups and people by any part of their names, and says of each whether they would pass now.
func (a *Admin) candidates(r *http.Request, g access.Gate, text string) ([]candidate, error) {
	v, ctx := visitOf(r), r.Context()
	var found []candidate
	search := registry.Search{Query: text, Limit: mostCandidates}
	groups, err := a.desk.FindGroups(ctx, search)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(groups.List))
	for i, group := range groups.List {
		ids[i] = group.ID
	}
	ways, err := a.desk.GroupWays(ctx, g.ID, ids)
	if err != nil {
		return nil, err
	}
	for _, group := range groups.List {
		c := candidate{Name: group.Name, Group: true, Subject: fmt.Sprintf("group:%d", group.ID), Outcome: access.Deny, Why: v.reason(access.NoPermission), CanAdd: true}
		for _, x := range ways {
			if x.GroupID != group.ID {
				continue
			}
			state, cause := v.standing(x.Permission)
			if state == "on" {
				c.Outcome, c.Why, c.CanAdd = access.Allow, cause, false
				break
			}
			c.Why = cause
		}
		found = append(found, c)
	}
	users, err := a.desk.FindUsers(ctx, registry.UserSearch{Search: search})
	if err != nil {
		return nil, err
	}
	for _, u := range users.List {
		c := candidate{Name: fullName(u), Sub: u.Username, Subject: fmt.Sprintf("user:%d", u.ID)}
		if c.Outcome, c.Why, err = a.tryUser(r, g, u); err != nil {
			return nil, err
		}
		c.CanAdd = c.Outcome == access.Deny && u.Active
		found = append(found, c)
	}
	return found, nil
}

// tryUser says what the gate would answer a user now, and why. Nothing is recorded.
func (a *Admin) tryUser(r *http.Request, g access.Gate, u access.User) (access.Outcome, string, error) {
	v, ctx := visitOf(r), r.Context()
	trial, err := a.gate.Try(ctx, g.Code, u.ID, v.now)
	if err != nil {
		return "", "", err
	}
	ways, err := a.desk.Ways(ctx, g.ID, u.ID)
	if err != nil {
		return "", "", err
	}
	if trial.Outcome == access.Allow {
		for _, x := range ways {
			if x.ID == trial.PermissionID {
				_, until := v.standing(x.Permission)
				if x.GroupID != 0 {
					return trial.Outcome, join(v.t("access.through", x.Group.Name), until), nil
				}
				return trial.Outcome, join(v.t("access.own"), until), nil
			}
		}
		return trial.Outcome, "", nil
	}
	if !u.Active {
		return trial.Outcome, v.t("access.inactive"), nil
	}
	var why []string
	for _, x := range ways {
		_, cause := v.standing(x.Permission)
		if x.GroupID != 0 {
			why = append(why, v.t("access.through", x.Group.Name)+": "+cause)
		} else {
			why = append(why, v.t("access.own")+": "+cause)
		}
	}
	if len(why) == 0 {
		why = []string{v.reason(trial.Reason)}
	}
	return trial.Outcome, strings.Join(why, "; "), nil
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + ", " + b
}
