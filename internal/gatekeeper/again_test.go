package gatekeeper_test

import (
	"testing"
	"testing/synctest"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
)

// What would be decided now is what Verify decides, and leaves no trace.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTown(t)
		g := m.guard(t, nil)
		defer leave(t, g)
		for _, c := range []struct {
			gate       string
			credential int64
			want       gatekeeper.Retrial
		}{
			{"north", 1, gatekeeper.Retrial{Outcome: access.Allow, Reason: access.OK, ReleaseMS: 1200, PermissionID: 101}},
			{"south", 1, gatekeeper.Retrial{Outcome: access.Deny, Reason: access.NoPermission}},
			{"west", 1, gatekeeper.Retrial{Outcome: access.Deny, Reason: access.UnknownGate}},
			{"north", 99, gatekeeper.Retrial{Outcome: access.Deny, Reason: access.TokenInvalid}},
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
