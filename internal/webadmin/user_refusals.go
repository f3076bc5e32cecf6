package webadmin

import (
	"net/http"

	"github.com/openway-access/openway/internal/access"
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
		row := refusalRow{Path: eventPath(e.ID), At: v.moment(e.At), Gate: v.gateOfEvent(e, x.Objects), Count: e.Count, Why: v.cause(x), Sure: x.Certain}
		for _, g := range x.Grants {
			row.Ways = append(row.Ways, v.through(g.Permission, x.Objects)+": "+v.grantState(g.Then))
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
