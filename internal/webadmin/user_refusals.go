package webadmin

import (
	"net/http"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// refusalsPage answers "why was this person refused?": the last refusals, each explained.
type refusalsPage struct {
	frame
	User     access.User
	Name     string
	Back     string
	Log      string // the rest of them
	Refusals []refusalRow
}

// refusalRow is one refusal.
type refusalRow struct {
	Path  string
	At    moment
	Gate  string
	Count int
	Why   string   // a sentence
	Ways  []string // the permissions that there were, and why they did not count
	Now   string   // what the gate would answer now
	Would access.Outcome
	Sure  bool // it is known how things were; else it is told how they are
}

// refusalsShown is how many are explained: each takes some dozens of small queries.
const refusalsShown = 10

func (a *Admin) userRefusals(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	u, err := a.userOf(r)
	if err != nil {
		return err
	}
	p := &refusalsPage{frame: v.frame("people", v.t("refusals.title", fullName(u))), User: u, Name: fullName(u), Back: userPath(u.ID)}
	page, err := a.desk.EventPage(ctx, access.EventFilter{UserID: u.ID, Decision: access.Deny, Limit: refusalsShown})
	if err != nil {
		return err
	}
	tried := map[int64]refusalRow{} // what a gate would answer now, by gate
	for _, e := range page.Events {
		x, err := a.desk.Explain(ctx, e.ID)
		if err != nil {
			return err
		}
		row := refusalRow{Path: eventPath(e.ID), At: v.moment(e.At), Gate: v.gateThen(e, x.Objects), Count: e.Count, Why: v.refusal(x), Sure: x.Certain}
		for _, g := range x.Grants {
			row.Ways = append(row.Ways, v.grantThen(g, x.Objects))
		}
		now, known := tried[e.GateID]
		if !known && e.GateID != 0 {
			if now, err = a.wouldPass(r, e.GateID, u); err != nil {
				return err
			}
			tried[e.GateID] = now
		}
		row.Now, row.Would = now.Now, now.Would
		p.Refusals = append(p.Refusals, row)
	}
	return a.render(w, "user_refusals", p)
}

// wouldPass is what a gate would answer a person now. A gate that is gone answers nothing.
func (a *Admin) wouldPass(r *http.Request, gateID int64, u access.User) (row refusalRow, err error) {
	g, err := a.desk.Gate(r.Context(), gateID)
	if notThere(err) {
		return row, nil
	}
	if err == nil {
		row.Would, row.Now, err = a.tryUser(r, g, u)
	}
	return row, err
}

// refusal is why somebody was refused, as a sentence.
func (v *visit) refusal(x registry.Explanation) string {
	key := "refused." + string(x.Cause)
	if _, ok := catalogue()[key]; ok {
		return v.t(key)
	}
	return v.t("refused.other", v.reason(x.Event.Reason))
}

// grantThen is a permission as it stood when somebody was refused.
func (v *visit) grantThen(g registry.GrantThen, named registry.Objects) string {
	who := v.t("access.own")
	if g.GroupID != 0 {
		who = v.t("access.through", named.Groups[g.GroupID].Name)
	}
	then := ""
	switch g.Then {
	case registry.GrantSuspended:
		then = v.t("refusals.suspended")
	case registry.GrantNotYet:
		then = v.t("access.later", v.minute(g.ValidFrom))
	case registry.GrantOver:
		then = v.t("access.over", v.minute(g.ValidUntil))
	case registry.GrantGone:
		then = v.t("refusals.gone")
	case registry.GrantNone:
		then = v.t("refusals.none_yet")
	default:
		return who
	}
	return strings.Join([]string{who, then}, ": ")
}
