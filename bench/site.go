package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// siteDef describes a made-up site: user u is a member of group u mod Groups, and group g may pass every gate but those
// whose number is g modulo 6. With the numbers below 5 of 6 requests of known users are allowed, as in the deployments that we know (83.7 %).
type siteDef struct {
	Users, Gates, Groups int
}

const refusedOneIn = 6

func (s siteDef) token(user int) string {
	sum := sha256.Sum256([]byte("bench user " + strconv.Itoa(user)))
	return hex.EncodeToString(sum[:20])
}

func (s siteDef) gate(gate int) string { return fmt.Sprintf("gate-%03d", gate) }

func (s siteDef) allowed(user, gate int) bool {
	return (user%s.Groups)%refusedOneIn != gate%refusedOneIn
}

// yaml is the site as `openway apply` reads it. Nobody can sign in: the bench needs no passwords.
func (s siteDef) yaml() []byte {
	var b strings.Builder
	b.WriteString("groups:\n")
	for g := range s.Groups {
		fmt.Fprintf(&b, "  - name: \"group-%d\"\n", g)
	}
	b.WriteString("users:\n")
	for u := range s.Users {
		fmt.Fprintf(&b, "  - username: \"user-%d\"\n    password_hash: \"!\"\n    groups: [\"group-%d\"]\n    tokens: [%q]\n", u, u%s.Groups, s.token(u))
	}
	b.WriteString("gates:\n")
	for g := range s.Gates {
		fmt.Fprintf(&b, "  - code: %q\n", s.gate(g))
	}
	b.WriteString("permissions:\n")
	for group := range s.Groups {
		for gate := range s.Gates {
			if s.allowed(group, gate) {
				fmt.Fprintf(&b, "  - gate: %q\n    group: \"group-%d\"\n", s.gate(gate), group)
			}
		}
	}
	return []byte(b.String())
}

var (
	wantAllow = []byte(`"decision":"ALLOW"`)
	wantDeny  = []byte(`"reason":"NO_PERMISSION"`)
)

// asker renders requests about a site.
type asker struct {
	site   siteDef
	host   string
	tokens []string
	gates  []string
}

// newAsker makes an asker whose requests name a host; "" = 127.0.0.1.
func newAsker(s siteDef, host string) *asker {
	a := &asker{site: s, host: cmp.Or(host, "127.0.0.1"), tokens: make([]string, s.Users), gates: make([]string, s.Gates)}
	for u := range a.tokens {
		a.tokens[u] = s.token(u)
	}
	for g := range a.gates {
		a.gates[g] = s.gate(g)
	}
	return a
}

// login appends a sign-in whose password is wrong.
func (a *asker) login(out []byte, rng *rand.Rand) []byte {
	body := fmt.Sprintf(`{"username":"user-%d","password":"not this one"}`, rng.IntN(a.site.Users))
	return fmt.Appendf(out, "POST /api/v1/auth/token HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", a.host, len(body), body)
}

// fixedAsk is one request about a gate and a token.
func fixedAsk(gate, token string) []byte {
	body := fmt.Sprintf(`{"gate_id":%q,"token":%q}`, gate, token)
	return fmt.Appendf(nil, "POST /api/v1/access/verify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// request appends one HTTP request of a random user at a random gate, and says what its answer must contain.
func (a *asker) request(out []byte, rng *rand.Rand, closing bool) (request, want []byte) {
	user, gate := rng.IntN(a.site.Users), rng.IntN(a.site.Gates)
	length := len(`{"gate_id":"","token":""}`) + len(a.gates[gate]) + len(a.tokens[user])
	out = append(out, "POST /api/v1/access/verify HTTP/1.1\r\nHost: "...)
	out = append(out, a.host...)
	out = append(out, "\r\nContent-Type: application/json\r\n"...)
	if closing {
		out = append(out, "Connection: close\r\n"...)
	}
	out = append(out, "Content-Length: "...)
	out = strconv.AppendInt(out, int64(length), 10)
	out = append(out, "\r\n\r\n{\"gate_id\":\""...)
	out = append(out, a.gates[gate]...)
	out = append(out, `","token":"`...)
	out = append(out, a.tokens[user]...)
	out = append(out, `"}`...)
	want = wantDeny
	if a.site.allowed(user, gate) {
		want = wantAllow
	}
	return out, want
}
