package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/decide"
)

// demoHours is how far back the demo's events go.
const demoHours = 9

// visit is somebody at a gate: how often in a hundred, and what is presented there.
type visit struct {
	weight  int
	gate    string
	present func(*demoSite) string
}

// visits are the habits of the demo's people. Most may pass; each reason for a denial occurs.
func visits() []visit {
	phone := func(user string) func(*demoSite) string {
		return func(d *demoSite) string { return d.phones[user][0] }
	}
	app := func(user string) func(*demoSite) string {
		return func(d *demoSite) string { return d.tokens[user] }
	}
	return []visit{
		{14, "front-door", phone("anna.petrova")},
		{12, "front-door", phone("ben.okafor")},
		{10, "front-door", app("chloe.martin")},
		{8, "front-door", phone("elena.rossi")},
		{6, "front-door", app("admin")},
		{5, "front-door", app("grace.lee")},
		{10, "lab", phone("anna.petrova")},
		{9, "lab", phone("chloe.martin")},
		{6, "parking-in", phone("ben.okafor")},
		{4, "parking-in", phone("admin")},
		{3, "server-room", phone("admin")},
		{3, "lab", phone("elena.rossi")},                                            // suspended
		{3, "server-room", phone("ben.okafor")},                                     // no permission
		{2, "front-door", app("felix.novak")},                                       // not active any more
		{2, "lab", func(d *demoSite) string { return d.phones["chloe.martin"][1] }}, // a lost phone
		{2, "front-door", func(*demoSite) string { return credential.MintUserToken() }},
		{1, "parking-out", phone("ben.okafor")}, // a controller that nobody has entered
	}
}

// addresses are the demo's controllers.
func demoAddress(gate string) string {
	at, ok := map[string]int{"front-door": 21, "lab": 22, "parking-in": 23, "server-room": 24}[gate]
	if !ok {
		at = 25
	}
	return fmt.Sprintf("192.168.40.%d", at)
}

// events writes the last hours through the same append as a gate's decisions, each decided by the policy as it stood and recorded a moment
// after it happened.
func (d *demoSite) events(ctx context.Context, in *installation, clock *demoClock) error {
	builder := decide.NewBuilder(in.idleDays)
	mark, err := in.store.LoadPolicy(ctx, builder)
	if err != nil {
		return err
	}
	policy := builder.Snapshot(mark)
	habits := visits()
	total := 0
	for _, v := range habits {
		total += v.weight
	}
	now := clock.now()
	clock.set(now.Add(-demoHours * time.Hour))
	lane, err := in.store.ClaimWriter(ctx)
	if err != nil {
		return err
	}
	seq := int64(0)
	for at := now.Add(-demoHours * time.Hour); at.Before(now.Add(-time.Minute)); at = at.Add(time.Minute + chance(9*time.Minute)) {
		n, i := chance(total), 0
		for n >= habits[i].weight {
			n -= habits[i].weight
			i++
		}
		event := d.decision(in, policy, habits[i], at.UTC().Truncate(time.Microsecond))
		clock.set(at.Add(time.Millisecond + chance(6*time.Millisecond)))
		seq++
		landed, err := in.store.AppendBatch(ctx, lane, seq, &access.EventBatch{Policy: mark, Events: []*access.Event{event}})
		if err != nil {
			return err
		}
		if !landed {
			return fmt.Errorf("batch %d was not written: the policy moved", seq)
		}
	}
	clock.set(now)
	return in.store.RetireWriter(ctx, lane)
}

// decision is the event of one visit.
func (d *demoSite) decision(in *installation, policy *decide.Snapshot, v visit, at time.Time) *access.Event {
	var p credential.Presented
	in.keys.Present(v.present(d), &p)
	got := policy.Decide(decide.Request{Gate: v.gate, Lookups: p.Lookups[:p.N], At: at.UnixMicro()})
	e := &access.Event{
		Kind: access.DecisionEvent, At: at, Count: 1, Address: demoAddress(v.gate), RequestID: fmt.Sprintf("demo-%08x", chance(uint32(math.MaxUint32))),
		PolicyVersion: policy.Mark().Version, Decision: got.Outcome, Reason: got.Reason, Fingerprint: string(p.Fingerprint[:]),
		GateID: got.GateID, UserID: got.UserID, CredentialID: got.CredentialID, DeviceID: got.DeviceID, PermissionID: got.PermissionID,
	}
	if got.GateID == 0 {
		e.PresentedGate = v.gate
	}
	return e
}

// chance is a number in [0, n).
func chance[N int | uint32 | time.Duration](n N) N {
	return rand.N(n) // #nosec G404 -- for visits that never were
}
