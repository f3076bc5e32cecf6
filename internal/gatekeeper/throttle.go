package gatekeeper

import (
	"net/netip"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/throttle"
)

// maxAddresses bounds each table that has a row for each client address.
const maxAddresses = 10_000

// Admit counts a request of the address and reports whether it may go on to Verify. If not, the answer is RATE_LIMIT. It is asked first, before
// the body is read. The limit holds for this process; IPv6 counts by /64.
func (g *Gatekeeper) Admit(address netip.Addr, requestID string) (Answer, bool) {
	key := throttle.AddressKey(address)
	ok, after := g.limiter.Allow(key)
	if ok {
		return Answer{}, true
	}
	g.tally.add("", access.RateLimit)
	now := g.now()
	ev := access.Event{
		Kind: access.DecisionEvent, At: now, Count: 1, Decision: access.Deny, Reason: access.RateLimit,
		Address: addressText(address), RequestID: requestID, PolicyVersion: g.policy.Mark().Version,
	}
	g.limited.take(foldKey{reason: access.RateLimit, address: key}, &ev)
	return Answer{Outcome: access.Deny, Reason: access.RateLimit, RetryAfter: after}, false
}
