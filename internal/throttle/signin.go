package throttle

import (
	"crypto/sha256"
	"net/netip"
	"time"
)

// How many keys SignIns remembers. Beyond them those are forgotten that have been quiet the longest.
const (
	maxSignInAddresses = 50_000
	maxSignInNames     = 50_000
)

// lately is how long a sign-in from an address vouches for it.
const lately = 30 * 24 * time.Hour

// SignIns is the rule for trying passwords, wherever they are typed: attempts count by address, failures by user name as well. All the
// doors of a process share one, so that who is held up at one cannot go on at the next.
type SignIns struct {
	attempts *Limiter[netip.Prefix] // by address
	failures *Limiter[nameKey]      // by user name
	signedIn *Limiter[signInKey]    // remembers from where who signed in
}

// nameKey stands for a user name as it was given: names of any length take the same room.
type nameKey [sha256.Size]byte

type signInKey struct {
	address netip.Prefix
	name    nameKey
}

// NewSignIns makes the rule with one rate for attempts by address and for failures by user name; the zero rate is no limit. now is as in New.
func NewSignIns(rate Rate, now func() time.Time) *SignIns {
	return &SignIns{
		attempts: New[netip.Prefix](rate, maxSignInAddresses, now),
		failures: New[nameKey](rate, maxSignInNames, now),
		signedIn: New[signInKey](Rate{N: 1, Per: lately}, maxSignInNames, now),
	}
}

// Address counts an attempt by its address, before anything of it is read. When it is refused, wait says for how long.
func (s *SignIns) Address(address netip.Addr) (ok bool, wait time.Duration) {
	return s.attempts.Allow(AddressKey(address))
}

// SignIn is an attempt under way.
type SignIn struct {
	of      *SignIns
	key     signInKey
	counted bool // as a failure, until it has turned out
}

// Name counts an attempt as a failure under its user name until it has turned out otherwise: so many at once cannot get past the limit.
// From an address where this user signed in lately it is let pass, so that nobody can lock another out.
func (s *SignIns) Name(address netip.Addr, username string) (a SignIn, ok bool, wait time.Duration) {
	a = SignIn{of: s, key: signInKey{AddressKey(address), sha256.Sum256([]byte(username))}}
	if stranger, _ := s.signedIn.Peek(a.key); !stranger {
		return a, true, 0
	}
	ok, wait = s.failures.Allow(a.key.name)
	a.counted = ok
	return a, ok, wait
}

// Succeeded notes that the user signed in.
func (a SignIn) Succeeded() {
	a.Abandoned()
	a.of.signedIn.Add(a.key)
}

// Abandoned notes that the attempt was no failure of the one who made it.
func (a SignIn) Abandoned() {
	if a.counted {
		a.of.failures.Undo(a.key.name)
	}
}
