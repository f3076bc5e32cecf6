package webadmin

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// overviewPage is what happens at the doors: the live feed, today in numbers, what needs attention, how the service is.
type overviewPage struct {
	frame
	Steps   []step // of a new site, until each is done
	Feed    []eventRow
	Stream  string // where the feed goes on; "" = nowhere
	Day     registry.Sum
	People  int64
	Week    registry.Sum
	Chart   *chart
	Denials []denial
	Recent  []seenRow
	Silent  []seenRow
	Needs   []need
	Health  []fact
	Behind  bool // events have been waiting to be counted for longer than they do
}

// denial is a reason for refusals and how often it was given.
type denial struct {
	Why   string
	Count int64
	Path  string
}

// seenRow is a gate with its last decision.
type seenRow struct {
	Path, Name string
	At         moment
	Outcome    access.Outcome
}

// need is what somebody should look at.
type need struct{ Text, Path string }

const (
	feedRows     = 30
	overviewRows = 8
	// silentAfter is how long a gate may be without a request before it is named.
	silentAfter = 24 * time.Hour
	// countedWithin is how long an event waits to be counted where nothing is wrong, with room: a busy site is counted every five seconds, and that takes a few more.
	countedWithin = 30 * time.Second
	// backupDue is how old the last backup may be.
	backupDue = 26 * time.Hour
	// attentionSpan and how often within it the same was refused before somebody should look.
	attentionSpan   = time.Hour
	attentionUser   = 5
	attentionTokens = 10
)

func (a *Admin) overview(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	p := &overviewPage{frame: v.frame("overview", v.t("nav.overview"))}
	events, cursor, err := a.feed.Newest(ctx, feedRows)
	if err != nil {
		return err
	}
	named, err := a.desk.ObjectsOfEvents(ctx, events)
	if err != nil {
		return err
	}
	p.Feed, p.Stream = v.eventRows(events, named), "/admin/events/stream/?"+url.Values{"after": {cursor}}.Encode()
	o, err := a.desk.Overview(ctx, overviewRows)
	if err != nil {
		return err
	}
	p.Day, p.Week, p.People, p.Chart = o.Day, o.Week, o.People, v.chart(o)
	for _, d := range o.Denials[:min(5, len(o.Denials))] {
		q := url.Values{"reason": {string(d.Reason)}, "from": {o.Today.AddDate(0, 0, -6).Format("2006-01-02T15:04")}}
		p.Denials = append(p.Denials, denial{v.reason(d.Reason), d.Count, "/admin/events/?" + q.Encode()})
	}
	silent := slices.DeleteFunc(slices.Clone(o.Silent), func(s registry.GateSeen) bool { return v.now.Sub(s.At) < silentAfter })
	var gates registry.ObjectIDs
	for _, s := range slices.Concat(o.Recent, silent) {
		gates.Gates = append(gates.Gates, s.GateID)
	}
	if named, err = a.desk.Objects(ctx, gates); err != nil {
		return err
	}
	p.Recent, p.Silent = v.seen(o.Recent, named), v.seen(silent, named)
	health, err := a.desk.Health(ctx)
	if err != nil {
		return err
	}
	p.Behind = !health.Uncounted.IsZero() && v.now.Sub(health.Uncounted) > countedWithin
	p.Health = v.healthFacts(a, health)
	if p.Needs, err = a.needs(r, health); err != nil {
		return err
	}
	if p.Steps, err = a.firstSteps(r, len(events) > 0); err != nil {
		return err
	}
	return a.render(w, "overview", p)
}

func (v *visit) seen(gates []registry.GateSeen, named registry.Objects) []seenRow {
	var rows []seenRow
	for _, g := range gates {
		if gate := named.Gates[g.GateID]; gate.DeletedAt.IsZero() {
			rows = append(rows, seenRow{Path: gatePath(g.GateID), Name: namedGate(gate), At: v.moment(g.At), Outcome: g.Decision})
		}
	}
	return rows
}

// firstSteps is the checklist of a new site; nil once all of it is done.
func (a *Admin) firstSteps(r *http.Request, tried bool) ([]step, error) {
	v, ctx := visitOf(r), r.Context()
	gates, err := a.desk.Gates(ctx, registry.GateFilter{Limit: 1})
	if err != nil {
		return nil, err
	}
	people, err := a.desk.Users(ctx, registry.UserFilter{Limit: 2})
	if err != nil {
		return nil, err
	}
	granted, err := a.desk.Permissions(ctx, registry.PermissionFilter{Limit: 1})
	if err != nil {
		return nil, err
	}
	steps := []step{
		{Done: len(gates) > 0, Title: v.t("start.gate"), Text: v.t("start.gate.text")},
		{Done: len(people) > 1, Title: v.t("start.person"), Text: v.t("start.person.text")},
		{Done: len(granted) > 0, Title: v.t("start.let_in"), Text: v.t("start.let_in.text")},
		{Done: tried, Title: v.t("start.try"), Text: v.t("start.try.text")},
	}
	next := slices.IndexFunc(steps, func(s step) bool { return !s.Done })
	switch next {
	case -1:
		return nil, nil
	case 0:
		if v.May("GET /admin/gates/new/{$}") {
			steps[0].Path, steps[0].Action = "/admin/gates/new/", v.t("gates.new")
		}
	case 1:
		if v.May("GET /admin/users/new/{$}") {
			steps[1].Path, steps[1].Action = "/admin/users/new/", v.t("start.person.action")
		}
	case 2:
		steps[2].Path, steps[2].Action = gatePath(gates[0].ID), v.t("start.let_in.action")
	}
	return steps, nil
}

// needs lists what somebody should look at: the last backup, somebody who is refused again and again, unknown tokens at one gate. It looks at
// one page of the last hour's refusals.
func (a *Admin) needs(r *http.Request, h registry.Health) ([]need, error) {
	v, ctx := visitOf(r), r.Context()
	var needs []need
	switch age := v.now.Sub(h.LastBackup.At); {
	case h.LastBackup.At.IsZero() && !h.OldestEvent.IsZero() && v.now.Sub(h.OldestEvent) > backupDue:
		needs = append(needs, need{Text: v.t("needs.no_backup")})
	case !h.LastBackup.At.IsZero() && age > backupDue:
		needs = append(needs, need{Text: v.t("needs.old_backup", v.moment(h.LastBackup.At).Brief)})
	}
	page, err := a.desk.EventPage(ctx, access.EventFilter{Decision: access.Deny, From: v.now.Add(-attentionSpan), Limit: 500})
	if err != nil {
		return nil, err
	}
	named, err := a.desk.ObjectsOfEvents(ctx, page.Events)
	if err != nil {
		return nil, err
	}
	users, gates := map[int64]int{}, map[int64]int{}
	for _, e := range page.Events {
		switch {
		case e.UserID != 0:
			users[e.UserID] += e.Count
		case e.Reason == access.TokenInvalid && e.GateID != 0:
			gates[e.GateID] += e.Count
		}
	}
	for _, id := range often(users, attentionUser) {
		u := named.Users[id]
		needs = append(needs, need{v.n("needs.refused", users[id], namedUser(u)), logOfUser(u, url.Values{"decision": {string(access.Deny)}})})
	}
	for _, id := range often(gates, attentionTokens) {
		g := named.Gates[id]
		needs = append(needs, need{v.n("needs.tokens", gates[id], namedGate(g)), logOfGate(g, url.Values{"reason": {string(access.TokenInvalid)}})})
	}
	return needs, nil
}

// often lists whose count is n or more, the most first, at most three.
func often(counts map[int64]int, n int) []int64 {
	var ids []int64
	for id, c := range counts {
		if c >= n {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b int64) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return int(a - b)
	})
	return ids[:min(3, len(ids))]
}

// healthFacts is how the service is, at a glance.
func (v *visit) healthFacts(a *Admin, h registry.Health) []fact {
	decider := a.gate.Health()
	engine := map[string]string{"sqlite": "SQLite", "postgres": "PostgreSQL"}[h.Engine]
	facts := []fact{
		{Name: v.t("health.version"), Value: a.version},
		{Name: v.t("health.database"), Value: engine + ", " + v.size(h.Bytes)},
		{Name: v.t("health.queue"), Value: number(v.lang, decider.Queued)},
	}
	if !h.OldestEvent.IsZero() {
		facts = append(facts, fact{Name: v.t("health.oldest"), Value: v.minute(h.OldestEvent)}, fact{Name: v.t("health.newest"), Value: v.moment(h.NewestEvent).Brief})
	}
	backup := v.t("health.backup.never")
	if !h.LastBackup.At.IsZero() {
		backup = v.moment(h.LastBackup.At).Brief
	}
	return append(facts, fact{Name: v.t("health.backup"), Value: backup})
}

// size is a number of bytes in words.
func (v *visit) size(bytes int64) string {
	units := []string{"size.kb", "size.mb", "size.gb"}
	n := float64(bytes) / 1024
	i := 0
	for n >= 1024 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	precision := 0
	if n < 10 {
		precision = 1
	}
	return v.t(units[i], v.decimal(n, precision))
}

// chart is the day by the hour: what was passed stands on the axis, what was refused on top of it.
type chart struct {
	Bars  []bar
	Marks []mark
	Label string // for those who do not see it
	Width int
}

type bar struct {
	X, Width                int
	PassedY, PassedHeight   int
	RefusedY, RefusedHeight int
	Title                   string
}

type mark struct {
	X    int
	Text string
}

// The chart's measures, in its own units.
const (
	chartHeight = 96
	barStep     = 18
	barWidth    = 12
)

// chart draws the hours of the day. nil when nothing happened yet.
func (v *visit) chart(o registry.Overview) *chart {
	most := int64(0)
	for _, h := range o.Hours {
		most = max(most, h.Allowed+h.Denied)
	}
	if most == 0 {
		return nil
	}
	c := &chart{Label: v.t("chart.label", number(v.lang, int(o.Day.Allowed)), number(v.lang, int(o.Day.Denied)))}
	scale := func(n int64) int {
		if n == 0 {
			return 0
		}
		return max(2, int(n*(chartHeight-4)/most)) // what happened is seen, however small
	}
	for i, h := range o.Hours {
		passed, refused := scale(h.Allowed), scale(h.Denied)
		begins := h.Begins.Format("15:04")
		b := bar{
			X: i * barStep, Width: barWidth, PassedY: chartHeight - passed, PassedHeight: passed, RefusedY: chartHeight - passed - refused, RefusedHeight: refused,
			Title: v.t("chart.hour", begins, number(v.lang, int(h.Allowed)), number(v.lang, int(h.Denied))),
		}
		c.Bars = append(c.Bars, b)
		if h.Begins.Hour()%6 == 0 && h.Begins.Minute() == 0 {
			c.Marks = append(c.Marks, mark{i * barStep, begins})
		}
	}
	c.Width = max(24, len(c.Bars)) * barStep
	return c
}

// decimal writes a number with a decimal sign of the language.
func (v *visit) decimal(n float64, precision int) string {
	s := strconv.FormatFloat(n, 'f', precision, 64)
	if v.lang == russian {
		for i := range s {
			if s[i] == '.' {
				return s[:i] + "," + s[i+1:]
			}
		}
	}
	return s
}

// Num writes a count of the sums, which are int64, as a page does.
func (p *overviewPage) Num(n int64) string { return number(p.lang, int(n)) }

// Word is the form of a text that goes with a number which stands apart from it.
func (p *overviewPage) Word(key string, n int64) string {
	forms := strings.Split(say(p.lang, key), "|")
	return forms[pluralForm(p.lang, int(n))]
}
