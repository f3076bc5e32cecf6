package registry_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/decide"
	"github.com/openway-access/openway/internal/registry"
)

// door decides by the desk's policy and writes events as a gate would.
type door struct {
	*desk
	lane, seq int64
}

func newDoor(t *testing.T, d *desk) *door {
	t.Helper()
	return &door{desk: d, lane: must(d.s.ClaimWriter(t.Context()))(t)}
}

// ask presents a token at a gate and returns the event's id.
func (d *door) ask(gate, token string) int64 {
	d.t.Helper()
	ctx := context.Background()
	b := decide.NewBuilder(90)
	mark, err := d.s.LoadPolicy(ctx, b)
	if err != nil {
		d.t.Fatal(err)
	}
	at := time.UnixMicro(d.micros.Load()).UTC()
	k := keys(d.t, oldKey)
	var p credential.Presented
	k.Present(token, &p)
	dec := b.Snapshot(mark).Decide(decide.Request{Gate: gate, Lookups: p.Lookups[:p.N], At: at.UnixMicro()})
	e := &access.Event{
		Kind: access.DecisionEvent, At: at, Decision: dec.Outcome, Reason: dec.Reason, GateID: dec.GateID, UserID: dec.UserID, CredentialID: dec.CredentialID, DeviceID: dec.DeviceID,
		PermissionID: dec.PermissionID, PolicyVersion: mark.Version, Count: 1, Fingerprint: string(p.Fingerprint[:]),
	}
	if dec.GateID == 0 {
		e.PresentedGate = gate
	}
	d.seq++
	if landed, err := d.s.AppendBatch(ctx, d.lane, d.seq, &access.EventBatch{Policy: mark, Events: []*access.Event{e}}); err != nil || !landed {
		d.t.Fatal(landed, err)
	}
	newest, err := d.s.Events(ctx, access.EventFilter{Limit: 1})
	if err != nil {
		d.t.Fatal(err)
	}
	return newest[0].ID
}

// Every event is explained right after it, and again when everything has changed since: the cause must be the same, and what changed must be told.
func TestExplain(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		x := newDoor(t, d)
		now := func() time.Time { return time.UnixMicro(d.micros.Load()).UTC() }
		gate := must(d.CreateGate(ctx, clerk, access.Gate{Code: "hall"}))(t)
		old := must(d.CreateGate(ctx, clerk, access.Gate{Code: "old"}))(t)
		group := must(d.CreateGroup(ctx, clerk, access.Group{Name: "staff"}))(t)
		people := map[string]access.User{}
		for _, name := range []string{"own", "through", "suspended", "early", "late", "taken", "nothing", "later", "left", "shut", "lost", "short"} {
			people[name] = d.user(name)
			must(d.AddToken(ctx, clerk, people[name].ID, name+"-token-1", ""))(t)
		}
		grant := func(p access.Permission) access.Permission {
			p.GateID = gate.ID
			return must(d.GrantPermission(ctx, clerk, p))(t)
		}
		change := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		own := grant(access.Permission{UserID: people["own"].ID})
		viaGroup := grant(access.Permission{GroupID: group.ID})
		change(d.AddMember(ctx, clerk, group.ID, people["through"].ID))
		change(d.AddMember(ctx, clerk, group.ID, people["left"].ID))
		change(d.RemoveMember(ctx, clerk, group.ID, people["left"].ID))
		must(d.SuspendPermission(ctx, clerk, grant(access.Permission{UserID: people["suspended"].ID})))(t)
		grant(access.Permission{UserID: people["early"].ID, ValidFrom: now().Add(time.Hour)})
		grant(access.Permission{UserID: people["late"].ID, ValidUntil: now().Add(-time.Hour)})
		change(d.RevokePermission(ctx, clerk, grant(access.Permission{UserID: people["taken"].ID}).ID))
		must(d.SetUserActive(ctx, clerk, people["shut"].ID, false))(t)
		lost := must(d.RegisterDevice(ctx, clerk, d.caller("lost-token-1"), registry.RegisterInput{}))(t)
		change(d.DeleteGate(ctx, clerk, old.ID, 0))

		type asked struct {
			event int64
			want  string
		}
		var all []asked
		ask := func(gate, token, want string) { t.Helper(); all = append(all, asked{x.ask(gate, token), want}) }
		ask("hall", "own-token-1", fmt.Sprintf("own [%d:holds]", own.ID))
		ask("hall", "through-token-1", fmt.Sprintf("group [%d:holds]", viaGroup.ID))
		ask("hall", "suspended-token-1", "suspended [3:suspended]")
		ask("hall", "early-token-1", "not_yet [4:not_yet]")
		ask("hall", "late-token-1", "over [5:over]")
		ask("hall", "taken-token-1", "taken_away [6:gone]")
		ask("hall", "nothing-token-1", "no_permission []")
		ask("hall", "later-token-1", "no_permission []")
		ask("hall", "left-token-1", "no_permission []")
		ask("hall", "shut-token-1", "user_inactive []")
		ask("hall", lost.Token, "no_permission []")
		ask("hall", "never-was-one", "token_unknown []")
		ask("yard", "own-token-1", "gate_unknown []")
		ask("old", "own-token-1", "gate_deleted []")
		ask("hall", "short-token-1", "no_permission []")
		change(d.RevokeToken(ctx, clerk, d.caller("short-token-1").CredentialID))
		ask("hall", "short-token-1", "token_ended []")
		_, err := d.LostDevice(ctx, clerk, lost.ID, false)
		change(err)
		ask("hall", lost.Token, "device []")

		check := func(when string) {
			t.Helper()
			for _, a := range all {
				e, err := d.Explain(ctx, a.event)
				if err != nil {
					t.Errorf("%s: event %d: %v", when, a.event, err)
					continue
				}
				var grants []string
				for _, g := range e.Grants {
					if g.Then != registry.GrantNone { // not there yet: what may show is said by Since
						grants = append(grants, fmt.Sprintf("%d:%s", g.ID, g.Then))
					}
				}
				if got := fmt.Sprintf("%s [%s]", e.Cause, strings.Join(grants, " ")); got != a.want {
					t.Errorf("%s: event %d: got %s, want %s", when, a.event, got, a.want)
				}
				if !e.Certain {
					t.Errorf("%s: event %d is not certain", when, a.event)
				}
			}
		}
		check("at once")
		if e := must(d.Explain(ctx, all[0].event))(t); len(e.Since) != 0 || e.Objects.Gates[gate.ID].Code != "hall" || e.Objects.Users[people["own"].ID].Username != "own" {
			t.Errorf("the first event: %+v; want nothing since, and the names", e)
		}

		// Now turn everything round.
		d.advance(time.Hour)
		change(d.RevokePermission(ctx, clerk, own.ID))
		must(d.UpdatePermission(ctx, clerk, access.Permission{ID: viaGroup.ID, Allow: false, ValidUntil: now()}))(t)
		change(d.RemoveMember(ctx, clerk, group.ID, people["through"].ID))
		change(d.AddMember(ctx, clerk, group.ID, people["nothing"].ID))
		must(d.GrantPermission(ctx, clerk, access.Permission{GateID: gate.ID, UserID: people["suspended"].ID}))(t)
		must(d.UpdatePermission(ctx, clerk, access.Permission{ID: 4, Allow: true}))(t)
		must(d.UpdatePermission(ctx, clerk, access.Permission{ID: 5, Allow: false}))(t)
		grant(access.Permission{UserID: people["taken"].ID})
		grant(access.Permission{UserID: people["later"].ID})
		must(d.SetUserActive(ctx, clerk, people["shut"].ID, true))(t)
		check("after changes")
		e := must(d.Explain(ctx, all[0].event))(t)
		if len(e.Since) != 1 || e.Since[0].Action != "delete" || len(e.Grants) != 1 || e.Grants[0].Now != registry.GrantGone || !e.Grants[0].DeletedAt.Equal(now()) {
			t.Errorf("what was taken away since: %+v", e)
		}
		change(d.DeleteGroup(ctx, clerk, group.ID, 0))
		for _, name := range []string{"own", "through", "suspended", "shut"} {
			change(d.DeleteUser(ctx, clerk, people[name].ID, 0))
		}
		change(d.DeleteGate(ctx, clerk, gate.ID, 0))
		check("after they are gone")
		change(d.EraseUser(ctx, clerk, people["shut"].ID))
		i := slices.IndexFunc(all, func(a asked) bool { return a.want == "user_inactive []" })
		if e := must(d.Explain(ctx, all[i].event))(t); e.Certain || e.Objects.Users[people["shut"].ID].ErasedAt.IsZero() {
			t.Errorf("of an erased user: certain %v, %+v; want uncertain, and erased", e.Certain, e.Objects.Users)
		}
		for _, permission := range []int64{0, 9999} { // as imported events have it, and as none of ours
			past := must(d.Explain(ctx, all[0].event))(t).Event
			past.PermissionID = permission
			x.seq++
			if landed, err := d.s.AppendBatch(ctx, x.lane, x.seq, &access.EventBatch{Policy: must(d.s.PolicyMark(ctx))(t), Events: []*access.Event{&past}}); err != nil || !landed {
				t.Fatal(landed, err)
			}
			if e := must(d.Explain(ctx, must(d.s.Events(ctx, access.EventFilter{Limit: 1}))(t)[0].ID))(t); e.Certain {
				t.Errorf("an ALLOW by permission %d is explained as %s, for certain", permission, e.Cause)
			}
		}
		if _, err := d.Explain(ctx, 9999); err == nil {
			t.Error("an event that never was is explained")
		}
	})
}
