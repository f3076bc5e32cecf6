package gatekeeper

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// Retrial is what a gate would answer a credential now.
type Retrial struct {
	Outcome      access.Outcome
	Reason       access.Reason
	ReleaseMS    int   // how long the lock would open, milliseconds; 0 unless ALLOW
	PermissionID int64 // what would grant it
}

// Again says what a gate would answer now if the token of a credential was presented there, by the newest policy; one that is unknown or revoked is TOKEN_INVALID.
// Nothing is recorded, counted or throttled.
func (g *Gatekeeper) Again(ctx context.Context, gateCode string, credentialID int64) (Retrial, error) {
	if err := g.policy.CatchUp(ctx); err != nil {
		return Retrial{}, fmt.Errorf("try credential %d at gate %q: %w", credentialID, gateCode, err)
	}
	d := g.policy.current.Load().DecideCredential(gateCode, credentialID, g.now().UnixMicro())
	return Retrial{Outcome: d.Outcome, Reason: d.Reason, ReleaseMS: d.ReleaseMS, PermissionID: d.PermissionID}, nil
}

// Health is how the decider is doing, for people. Counters run since the process began.
type Health struct {
	PolicyVersion int64
	Queued        int // decisions that wait to be recorded
	Recorded      uint64
	Refused       uint64 // decisions that were answered UNAVAILABLE
	Unsettled     int    // batches of which nobody knows yet whether they were written
	Lost          uint64 // folded denials and notes that could not be kept
	Users         int
	Gates         int
	Permissions   int // that grant something
	Credentials   int
	PolicyBytes   int64
}

// Health reads it from memory, nearly for nothing.
func (g *Gatekeeper) Health() Health {
	mark, policy := g.Policy()
	events := g.Events()
	return Health{
		PolicyVersion: mark.Version, Queued: events.Queued, Recorded: events.Recorded, Refused: events.Refused, Unsettled: events.Fences, Lost: events.Dropped,
		Users: policy.Users, Gates: policy.Gates, Permissions: policy.Permissions, Credentials: policy.Credentials, PolicyBytes: policy.Bytes,
	}
}
