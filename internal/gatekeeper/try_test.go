package gatekeeper_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
)

// Try answers what Verify would, and leaves no trace.
func TestTryIsVerifyWithoutATrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, nil)
		defer leave(t, g)
		for _, gate := range []string{"north", "south"} {
			answer := g.Verify(t.Context(), ask(gate, ann))
			m.recorded()
			trial, err := g.Try(t.Context(), gate, answer.UserID, time.Now())
			if err != nil || trial.Outcome != answer.Outcome || trial.Reason != answer.Reason || trial.ReleaseMS != answer.ReleaseMS {
				t.Errorf("at %s: tried %+v (%v), verified %+v", gate, trial, err, answer)
			}
		}
		for _, c := range []struct {
			gate string
			user int64
			want access.Reason
		}{{"west", 1, access.UnknownGate}, {"north", 99, access.TokenInvalid}} {
			if trial, err := g.Try(t.Context(), c.gate, c.user, time.Now()); err != nil || trial.Outcome != access.Deny || trial.Reason != c.want {
				t.Errorf("user %d at %s: %+v (%v), want %s", c.user, c.gate, trial, err, c.want)
			}
		}
		if events := m.recorded(); len(events) != 0 {
			t.Errorf("trying recorded %d events", len(events))
		}
	})
}

// What would be decided now is what Verify decides, and leaves no trace.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, nil)
		defer leave(t, g)
		for _, c := range []struct {
			gate       string
			credential int64
			want       gatekeeper.Trial
		}{
			{"north", 1, gatekeeper.Trial{Outcome: access.Allow, Reason: access.OK, ReleaseMS: 1200, PermissionID: 101}},
			{"south", 1, gatekeeper.Trial{Outcome: access.Deny, Reason: access.NoPermission}},
			{"west", 1, gatekeeper.Trial{Outcome: access.Deny, Reason: access.UnknownGate}},
			{"north", 99, gatekeeper.Trial{Outcome: access.Deny, Reason: access.TokenInvalid}},
		} {
			if got, err := g.Again(t.Context(), c.gate, c.credential); err != nil || got != c.want {
				t.Errorf("Again(%s, %d) = %+v, %v; want %+v", c.gate, c.credential, got, err, c.want)
			}
		}
		if events := m.recorded(); len(events) != 0 {
			t.Errorf("%d events were recorded, want none", len(events))
		}
		if h := g.Health(); h.Recorded != 0 || h.Gates == 0 || h.Credentials == 0 || h.PolicyVersion == 0 {
			t.Errorf("health %+v; want a policy, and nothing recorded", h)
		}
	})
}
