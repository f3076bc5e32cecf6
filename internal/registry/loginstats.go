package registry

import (
	"errors"
	"sync/atomic"

	"github.com/openway-access/openway/internal/access"
)

// LoginStats counts how sign-ins ended since the process began.
type LoginStats struct {
	OK     uint64
	Failed uint64 // a wrong password, an unknown or an inactive user; in the admin pages one without a role
	Busy   uint64 // too many were waiting already, or the database was away
}

type logins struct{ ok, failed, busy atomic.Uint64 }

func (l *logins) count(err error) {
	switch {
	case err == nil:
		l.ok.Add(1)
	case errors.Is(err, access.ErrBadLogin), errors.Is(err, ErrNoRole):
		l.failed.Add(1)
	default:
		l.busy.Add(1)
	}
}

// Logins reads the counters.
func (r *Registry) Logins() LoginStats {
	return LoginStats{OK: r.logins.ok.Load(), Failed: r.logins.failed.Load(), Busy: r.logins.busy.Load()}
}
