package gatekeeper

import (
	"context"
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Trial is what a gate would answer a user.
type Trial struct {
	Outcome      access.Outcome
	Reason       access.Reason
	ReleaseMS    int   // how long the lock would open, milliseconds; 0 unless ALLOW
	PermissionID int64 // what would grant it
}

// Try says what a gate would answer if a user presented something good there at an instant, by the newest policy. Nothing is recorded, counted or throttled.
func (g *Gatekeeper) Try(ctx context.Context, gateCode string, userID int64, at time.Time) (Trial, error) {
	if err := g.policy.CatchUp(ctx); err != nil {
		return Trial{}, fmt.Errorf("try user %d at gate %q: %w", userID, gateCode, err)
	}
	d := g.policy.current.Load().DecideUser(gateCode, userID, at.UTC().UnixMicro())
	return Trial{Outcome: d.Outcome, Reason: d.Reason, ReleaseMS: d.ReleaseMS, PermissionID: d.PermissionID}, nil
}
