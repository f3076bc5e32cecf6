package decide_test

import (
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/decide"
)

// By its id a credential is decided as by its token.
func TestDecideCredential(t *testing.T) {
	b := decide.NewBuilder(30)
	b.Gate(access.PolicyGate{ID: 1, Code: "hall"})
	b.User(access.PolicyUser{ID: 1, Active: true})
	b.User(access.PolicyUser{ID: 2})
	b.Permission(access.PolicyPermission{ID: 1, GateID: 1, UserID: 1, Allow: true})
	var lookups []access.Lookup
	for i := range 5 {
		var l access.Lookup
		for j := range l {
			l[j] = byte(i*31 + j*7)
		}
		lookups = append(lookups, l)
		b.Credential(access.PolicyCredential{ID: int64(i + 1), UserID: int64(i%2 + 1), Lookup: l, Inactive: i == 2, ValidUntil: int64(i * 100)})
	}
	s := b.Snapshot(access.PolicyMark{Version: 1})
	for _, gate := range []string{"hall", "yard"} {
		for i, l := range lookups {
			for _, at := range []int64{1, 350} {
				want := s.Decide(decide.Request{Gate: gate, Lookups: []access.Lookup{l}, At: at})
				if got := s.DecideCredential(gate, int64(i+1), at); got != want {
					t.Errorf("credential %d at %s, %d: got %+v, want %+v", i+1, gate, at, got, want)
				}
			}
		}
	}
	if got := s.DecideCredential("hall", 99, 1); got.Reason != access.TokenInvalid || got.CredentialID != 0 {
		t.Errorf("an unknown one: %+v, want TOKEN_INVALID", got)
	}
	if got := new(decide.Snapshot).DecideCredential("hall", 1, 1); got.Reason != access.UnknownGate {
		t.Errorf("an empty policy: %+v, want UNKNOWN_GATE", got)
	}
}
