package importer

import (
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/decide"
)

// mostPairs is how many pairs of a token and a gate are decided by both rules; of more, so many are chosen evenly.
const mostPairs = 1_000_000

// Proof is what came of holding the original's rule against ours.
type Proof struct {
	Pairs   int64        `json:"pairs"`   // decided by both
	Of      int64        `json:"of"`      // that there are
	Equal   int64        `json:"equal"`   // of Pairs
	Changed []Difference `json:"changed"` // announced: they follow from what the notes say
	Faults  []Difference `json:"faults"`  // must be none
}

// Difference is a kind of decision that is not what it was.
type Difference struct {
	Why      string   `json:"why"`
	Was      string   `json:"was"`
	Is       string   `json:"is"`
	Count    int64    `json:"count"`
	Examples []string `json:"examples"`
}

// original is the original's rule, straight from its own rows: a token is found among the users' tokens alone, its user must be active, and a row
// with allow=true must name the gate and the user, or the gate and one of the user's groups.
type original struct {
	gates  map[string]int64
	tokens map[string]*djangoUser
	groups map[int64][]int64
	users  map[pair]bool // (gate, user) with allow=true
	teams  map[pair]bool // (gate, group)
}

type pair struct{ gate, subject int64 }

func originalOf(s *site) *original {
	o := &original{
		gates: map[string]int64{}, tokens: map[string]*djangoUser{}, groups: map[int64][]int64{}, users: map[pair]bool{}, teams: map[pair]bool{},
	}
	for _, g := range s.gates {
		o.gates[g.code] = g.id
	}
	for _, t := range s.tokens {
		o.tokens[t.key] = s.byUser[t.user]
	}
	for _, m := range s.members {
		o.groups[m.user] = append(o.groups[m.user], m.group)
	}
	for _, p := range s.permissions {
		if p.allow && p.user != 0 {
			o.users[pair{p.gate, p.user}] = true
		}
		if p.allow && p.group != 0 {
			o.teams[pair{p.gate, p.group}] = true
		}
	}
	return o
}

// decide answers for a gate's code and a token as they come out of a request.
func (o *original) decide(code, token string) access.Reason {
	gate, known := o.gates[code]
	if !known {
		return access.UnknownGate
	}
	return o.atGate(gate, o.tokens[token])
}

// atGate answers for a gate that is known and the user whose token was presented; nil = nobody's.
func (o *original) atGate(gate int64, u *djangoUser) access.Reason {
	if u == nil || !u.active {
		return access.TokenInvalid
	}
	if o.users[pair{gate, u.id}] {
		return access.OK
	}
	for _, g := range o.groups[u.id] {
		if o.teams[pair{gate, g}] {
			return access.OK
		}
	}
	return access.NoPermission
}

// What a difference may come from; the notes announce it.
const (
	whyGate   = "the gate's code had outer spaces, and could not be asked for before"
	whyDevice = "device tokens count now"
)

// asked is a token that can be presented, and whether it is a device's.
type asked struct {
	token           string
	device, revoked bool
	user            *djangoUser
}

// announced answers as the original would if it had what the notes announce: codes without outer spaces, and devices that count. why is the
// reason that the answer may differ from the original's own; "" = it may not.
func (o *original) announced(g djangoGate, t asked) (answer access.Reason, why string) {
	if t.device {
		why = whyDevice
	}
	if g.code != strings.TrimSpace(g.code) {
		why = whyGate
	}
	answer = o.atGate(g.id, t.user)
	if t.revoked && answer != access.TokenInvalid {
		answer = access.DeviceInactive
	}
	return answer, why
}

// prove decides every pair of a token and a gate, or evenly chosen ones, by both rules at an instant (Unix microseconds).
func prove(s *site, is *decide.Snapshot, keys *credential.Keyring, at int64, most int64, tick func(done, total int64) error) (*Proof, error) {
	o := originalOf(s)
	var list []asked
	for _, t := range s.tokens {
		if presentable(t.key) {
			list = append(list, asked{t.key, false, false, s.byUser[t.user]})
		}
	}
	for _, d := range s.devices {
		if presentable(d.token) && o.tokens[d.token] == nil {
			list = append(list, asked{d.token, true, !d.active, s.byUser[d.user]})
		}
	}
	p := &Proof{Of: int64(len(list)) * int64(len(s.gates))}
	if p.Of == 0 {
		return p, nil
	}
	gates := int64(len(s.gates))
	each, stride := gates, int64(1) // gates for a token, and every how many-th token
	if p.Of > most {
		each = max(most/int64(len(list)), 1)
		stride = max(int64(len(list))*each/most, 1)
	}
	total := (int64(len(list)) + stride - 1) / stride * each
	var presented credential.Presented
	for i := int64(0); i < int64(len(list)); i += stride {
		t := list[i]
		keys.Present(t.token, &presented)
		for k := range each {
			// Which gates: each token goes on where the one before stopped, so that all get their turn.
			g := s.gates[(i/stride*each+k)%gates]
			code := strings.TrimSpace(g.code)
			was := o.decide(code, t.token)
			now := is.Decide(decide.Request{Gate: code, Lookups: presented.Lookups[:presented.N], At: at}).Reason
			if was == now {
				p.Equal++
				continue
			}
			expected, why := o.announced(g, t)
			if now != expected {
				why = ""
			}
			p.differs(why, was, now, t, code)
		}
		if p.Pairs += each; i%256 == 0 {
			if err := tick(p.Pairs, total); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

func (p *Proof) differs(why string, was, is access.Reason, t asked, code string) {
	list := &p.Changed
	if why == "" {
		list = &p.Faults
	}
	for i := range *list {
		if d := &(*list)[i]; d.Why == why && d.Was == string(was) && d.Is == string(is) {
			if d.Count++; len(d.Examples) < maxExamples {
				d.Examples = append(d.Examples, fmt.Sprintf("user %q at gate %q", t.user.username, code))
			}
			return
		}
	}
	*list = append(*list, Difference{why, string(was), string(is), 1, []string{fmt.Sprintf("user %q at gate %q", t.user.username, code)}})
}

// faults is how many decisions differ without a reason.
func (p *Proof) faults() (n int64) {
	for _, d := range p.Faults {
		n += d.Count
	}
	return n
}
