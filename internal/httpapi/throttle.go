package httpapi

import (
	"crypto/sha256"
	"net/http"
	"net/netip"
	"time"

	"github.com/openway-access/openway/internal/throttle"
)

// How many keys each limiter remembers. Beyond them those are forgotten that have been quiet the longest.
const (
	maxUsers     = 100_000
	maxAddresses = 50_000
	maxNames     = 50_000
)

// lately is how long a sign-in from an address vouches for it.
const lately = 30 * 24 * time.Hour

// limits are the throttles of everything but verify, whose own is the gatekeeper's.
type limits struct {
	users     *throttle.Limiter[int64]        // authenticated calls
	anonymous *throttle.Limiter[netip.Prefix] // anonymous calls under /api/
	attempts  *throttle.Limiter[netip.Prefix] // sign-ins by address
	failures  *throttle.Limiter[nameKey]      // failed sign-ins by user name
	signedIn  *throttle.Limiter[signInKey]    // remembers from where who signed in
}

// nameKey stands for a user name as it was given: names of any length take the same room.
type nameKey [sha256.Size]byte

type signInKey struct {
	address netip.Prefix
	name    nameKey
}

func newLimits(c Config) limits {
	return limits{
		users:     throttle.New[int64](c.UserRate, maxUsers, c.Now),
		anonymous: throttle.New[netip.Prefix](c.AnonRate, maxAddresses, c.Now),
		attempts:  throttle.New[netip.Prefix](c.LoginRate, maxAddresses, c.Now),
		failures:  throttle.New[nameKey](c.LoginRate, maxNames, c.Now),
		signedIn:  throttle.New[signInKey](throttle.Rate{N: 1, Per: lately}, maxNames, c.Now),
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

// attempt is a sign-in under way.
type attempt struct {
	limits  *limits
	key     signInKey
	counted bool // as a failure, until it has turned out
}

// tryAddress counts an attempt to sign in by its address, before anything of it is read.
func (t *limits) tryAddress(address netip.Addr) error {
	if ok, wait := t.attempts.Allow(throttle.AddressKey(address)); !ok {
		return throttled(wait)
	}
	return nil
}

// tryName counts an attempt as a failure under its user name until it has turned out otherwise: so many at once cannot get past the limit.
// From an address where this user signed in lately it is let pass, so that nobody can lock another out.
func (t *limits) tryName(address netip.Addr, username string) (attempt, error) {
	a := attempt{limits: t, key: signInKey{throttle.AddressKey(address), sha256.Sum256([]byte(username))}}
	if stranger, _ := t.signedIn.Peek(a.key); !stranger {
		return a, nil
	}
	ok, wait := t.failures.Allow(a.key.name)
	if !ok {
		return a, throttled(wait)
	}
	a.counted = true
	return a, nil
}

// succeeded notes that the user signed in.
func (a attempt) succeeded() {
	a.abandoned()
	a.limits.signedIn.Add(a.key)
}

// abandoned notes that the attempt was no failure of the one who made it.
func (a attempt) abandoned() {
	if a.counted {
		a.limits.failures.Undo(a.key.name)
	}
}
