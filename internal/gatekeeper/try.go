package gatekeeper

import (
	"context"
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/decide"
)

// Trial is what a gate would answer.
type Trial struct {
	Outcome      access.Outcome
	Reason       access.Reason
	ReleaseMS    int   // how long the lock would open, milliseconds; 0 unless ALLOW
	PermissionID int64 // what would grant it
}

func trial(d decide.Decision) Trial {
	return Trial{Outcome: d.Outcome, Reason: d.Reason, ReleaseMS: d.ReleaseMS, PermissionID: d.PermissionID}
}

// Try says what a gate would answer if a user presented something good there at an instant, by the newest policy. Nothing is recorded, counted or throttled.
func (g *Gatekeeper) Try(ctx context.Context, gateCode string, userID int64, at time.Time) (Trial, error) {
	if err := g.policy.CatchUp(ctx); err != nil {
		return Trial{}, fmt.Errorf("try user %d at gate %q: %w", userID, gateCode, err)
	}
	return trial(g.policy.current.Load().DecideUser(gateCode, userID, at.UTC().UnixMicro())), nil
}

// Again is Try for the token of a credential, now; one that is unknown or revoked is TOKEN_INVALID.
func (g *Gatekeeper) Again(ctx context.Context, gateCode string, credentialID int64) (Trial, error) {
	if err := g.policy.CatchUp(ctx); err != nil {
		return Trial{}, fmt.Errorf("try credential %d at gate %q: %w", credentialID, gateCode, err)
	}
	return trial(g.policy.current.Load().DecideCredential(gateCode, credentialID, g.now().UnixMicro())), nil
}
