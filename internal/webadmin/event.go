package webadmin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// eventPage is one event: a sentence, why, the facts, and what would be decided now.
type eventPage struct {
	frame
	Event    access.Event
	At       moment
	Until    moment // of folded ones
	Sentence string
	Why      string
	Doubt    bool // the audit does not hold all of that time any more
	Who      string
	UserPath string
	Gate     string
	GatePath string
	Grants   []grantRow
	Facts    []fact
	Now      *retrial
	Since    []changeRow
	UserLog  string // where all events of the person are; "" = there is no person
	GateLog  string
	Same     string // where the other events of the request are; "" = there is no request id
}

// fact is a name with its value.
type fact struct {
	Name, Value string
	Mono        bool
}

// grantRow is a permission that has to do with an event.
type grantRow struct {
	Through, Then, Now string
	Held               bool // then
}

// retrial is what would be decided now.
type retrial struct {
	Outcome access.Outcome
	Why     string
}

// changeRow is a line of the audit in short.
type changeRow struct {
	At   moment
	Who  string
	What string
}

func (a *Admin) eventPage(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	id, err := pathID(r, "event")
	if err != nil {
		return err
	}
	x, err := a.desk.Explain(ctx, id)
	if err != nil {
		return err
	}
	e := x.Event
	p := &eventPage{frame: v.frame("events", v.t("event.title", id)), Event: e, At: v.moment(e.At), Until: v.moment(e.Until), Doubt: !x.Certain}
	p.Who, _ = v.whoOf(e, x.Objects)
	p.Gate = v.gateOfEvent(e, x.Objects)
	if u, ok := x.Objects.Users[e.UserID]; ok {
		if p.UserLog = logOfUser(u, nil); u.DeletedAt.IsZero() {
			p.UserPath = userPath(e.UserID)
		}
	}
	if g, ok := x.Objects.Gates[e.GateID]; ok {
		if p.GateLog = logOfGate(g, nil); g.DeletedAt.IsZero() {
			p.GatePath = gatePath(e.GateID)
		}
	}
	p.Sentence, p.Why = v.sentence(e, p.Who, p.Gate), v.cause(x)
	for _, g := range x.Grants {
		p.Grants = append(p.Grants, grantRow{Through: v.through(g.Permission, x.Objects), Then: v.grantState(g.Then), Now: v.grantState(g.Now), Held: g.Then == registry.GrantHolds})
	}
	p.Facts = v.eventFacts(e, x.Objects)
	if p.Now, err = a.decideAgain(ctx, v, x); err != nil {
		return err
	}
	named, err := a.desk.ObjectsOfChanges(ctx, x.Since)
	if err != nil {
		return err
	}
	for _, c := range x.Since {
		p.Since = append(p.Since, changeRow{At: v.moment(c.At), Who: c.Actor.Label, What: v.change(c, named)})
	}
	if e.RequestID != "" {
		p.Same = "/admin/events/?" + url.Values{"request": {e.RequestID}}.Encode()
	}
	return a.render(w, "event", p)
}

func userPath(id int64) string { return "/admin/users/" + idText(id) + "/" }

// sentence says what happened.
func (v *visit) sentence(e access.Event, who, gate string) string {
	at := e.At.In(v.zone).Format("15:04:05")
	switch {
	case e.Kind != access.DecisionEvent:
		return v.t("event.note", at, v.reason(e.Reason))
	case e.Decision == access.Allow:
		return v.t("event.allowed", who, gate, at)
	case e.UserID == 0:
		return v.t("event.refused_unknown", gate, at, v.reason(e.Reason))
	}
	return v.t("event.refused", who, gate, at, v.reason(e.Reason))
}

// cause says why, in a sentence.
func (v *visit) cause(x registry.Explanation) string {
	switch x.Cause {
	case registry.CauseOwn, registry.CauseGroup:
		through := ""
		for _, g := range x.Grants {
			if g.ID == x.Event.PermissionID {
				through = v.through(g.Permission, x.Objects)
			}
		}
		if through == "" {
			return v.t("cause.granted")
		}
		return v.t("cause.granted_through", through)
	case registry.CauseSuspended, registry.CauseNotYet, registry.CauseOver, registry.CauseTakenAway:
		if len(x.Grants) > 0 {
			return v.t("cause."+string(x.Cause), v.through(x.Grants[0].Permission, x.Objects))
		}
		return v.reason(x.Event.Reason)
	case registry.CauseOther:
		if x.Event.Kind == access.DecisionEvent {
			return v.t("cause.other." + string(x.Event.Reason))
		}
		return ""
	}
	return v.t("cause." + string(x.Cause))
}

// through names the way of a permission: a user's own, or a group.
func (v *visit) through(p access.Permission, named registry.Objects) string {
	if p.GroupID == 0 {
		return v.t("access.own")
	}
	if g, ok := named.Groups[p.GroupID]; ok && g.Name != "" {
		return v.t("access.through", g.Name)
	}
	return v.t("access.through", "№ "+idText(p.GroupID))
}

func (v *visit) grantState(s registry.GrantState) string { return v.t("grant." + string(s)) }

// eventFacts are the facts that an engineer asks for.
func (v *visit) eventFacts(e access.Event, named registry.Objects) []fact {
	var facts []fact
	add := func(key, value string, mono bool) {
		if value != "" && value != "0" {
			facts = append(facts, fact{v.t(key), value, mono})
		}
	}
	add("event.reason", string(e.Reason), true)
	if e.Count > 1 {
		add("event.count", number(v.lang, e.Count), false)
	}
	if c, ok := named.Credentials[e.CredentialID]; ok {
		add("event.credential", join(v.t("credential."+string(c.Kind)), c.Preview), false)
	}
	if d, ok := named.Devices[e.DeviceID]; ok {
		add("event.device", d.Name, false)
	}
	add("event.fingerprint", e.Fingerprint, true)
	add("event.address", e.Address, true)
	add("event.request", e.RequestID, true)
	add("event.policy", idText(e.PolicyVersion), true)
	add("event.batch", idText(e.WriterID)+" · "+idText(e.Seq), true)
	if took := e.RecordedAt.Sub(e.At); !e.RecordedAt.IsZero() && took >= 0 {
		add("event.recorded", v.t("event.recorded.after", v.took(took)), false)
	}
	return facts
}

// took is how long something took, to the hundredth.
func (v *visit) took(d time.Duration) string {
	if d < time.Second {
		return v.decimal(float64(d)/float64(time.Millisecond), 2) + " " + v.t("time.ms")
	}
	return v.t("time.seconds", v.decimal(d.Seconds(), 2))
}

// decideAgain asks what would be decided now. nil when nobody can tell: an unknown token, or a gate that is not there.
func (a *Admin) decideAgain(ctx context.Context, v *visit, x registry.Explanation) (*retrial, error) {
	e := x.Event
	g, err := a.desk.Gate(ctx, e.GateID)
	if errors.Is(err, access.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch {
	case x.Credential != 0:
		now, err := a.gate.Again(ctx, g.Code, x.Credential)
		if err != nil {
			return nil, err
		}
		return v.retrial(now.Outcome, now.Reason, now.PermissionID, x), nil
	case e.UserID != 0:
		now, err := a.gate.Try(ctx, g.Code, e.UserID, v.now)
		if err != nil {
			return nil, err
		}
		return v.retrial(now.Outcome, now.Reason, now.PermissionID, x), nil
	}
	return nil, nil
}

func (v *visit) retrial(outcome access.Outcome, reason access.Reason, permission int64, x registry.Explanation) *retrial {
	t := &retrial{Outcome: outcome, Why: v.reason(reason)}
	if outcome == access.Allow {
		t.Why = ""
		for _, g := range x.Grants {
			if g.ID == permission {
				t.Why = v.through(g.Permission, x.Objects)
			}
		}
	}
	return t
}
