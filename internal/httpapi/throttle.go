package httpapi

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/openway-access/openway/internal/throttle"
)

// How many keys each limiter remembers. Beyond them those are forgotten that have been quiet the longest.
const (
	maxUsers     = 100_000
	maxAddresses = 50_000
)

// limits are the throttles of everything but verify, whose own is the gatekeeper's.
type limits struct {
	users     *throttle.Limiter[int64]        // authenticated calls
	anonymous *throttle.Limiter[netip.Prefix] // anonymous calls under /api/
	signIns   *throttle.SignIns
}

func newLimits(c Config) limits {
	if c.SignIns == nil {
		c.SignIns = throttle.NewSignIns(throttle.Rate{}, c.Now)
	}
	return limits{
		users:     throttle.New[int64](c.UserRate, maxUsers, c.Now),
		anonymous: throttle.New[netip.Prefix](c.AnonRate, maxAddresses, c.Now),
		signIns:   c.SignIns,
	}
}

func throttled(wait time.Duration) error {
	return refusal{
		status: http.StatusTooManyRequests, phrase: sayThrottled, args: []any{seconds(wait)}, retry: max(wait, time.Nanosecond),
	}
}

// countUser counts a call of a signed-in user.
func (t *limits) countUser(id int64) error {
	if ok, wait := t.users.Allow(id); !ok {
		return throttled(wait)
	}
	return nil
}

// countAnonymous counts a call under /api/ of nobody in particular.
func (t *limits) countAnonymous(r *http.Request) error {
	if ok, wait := t.anonymous.Allow(throttle.AddressKey(clientAddress(r))); !ok {
		return throttled(wait)
	}
	return nil
}

// tryAddress counts an attempt to sign in by its address, before anything of it is read.
func (t *limits) tryAddress(address netip.Addr) error {
	if ok, wait := t.signIns.Address(address); !ok {
		return throttled(wait)
	}
	return nil
}

// tryName counts an attempt to sign in as a failure under its user name until it has turned out otherwise.
func (t *limits) tryName(address netip.Addr, username string) (throttle.SignIn, error) {
	attempt, ok, wait := t.signIns.Name(address, username)
	if !ok {
		return attempt, throttled(wait)
	}
	return attempt, nil
}
