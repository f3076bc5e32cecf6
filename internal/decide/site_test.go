package decide

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// site is a policy written with names, for tests that read as policy. Ids count from 1 in the order of writing.
type site struct {
	t      *testing.T
	delta  access.PolicyDelta
	ids    map[string]int64   // "user demo", "gate gate-01", "group USER"
	tokens map[string][]token // by user name, in the order of writing
	idle   int
	at     time.Time
}

type token struct {
	text string
	id   int64
}

func newSite(t *testing.T) *site {
	return &site{
		t: t, ids: make(map[string]int64), tokens: make(map[string][]token), at: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
		delta: access.PolicyDelta{Site: &access.PolicySite{DefaultReleaseMS: 800}, Mark: access.PolicyMark{Version: 7, Stamp: 1}},
	}
}

func (s *site) id(kind, name string) int64 {
	s.t.Helper()
	id, ok := s.ids[kind+" "+name]
	if !ok {
		s.t.Fatalf("the test speaks of %s %q, which its site does not have", kind, name)
	}
	return id
}

func (s *site) groups(names ...string) {
	for i, n := range names {
		s.ids["group "+n] = int64(i + 1)
	}
}

type userOption func(*site, *access.PolicyUser)

func in(groups ...string) userOption {
	return func(s *site, u *access.PolicyUser) {
		for _, g := range groups {
			u.Groups = append(u.Groups, s.id("group", g))
		}
	}
}

func inactive(_ *site, u *access.PolicyUser) { u.Active = false }

func tokens(texts ...string) userOption {
	return func(s *site, u *access.PolicyUser) {
		for _, text := range texts {
			s.credential(u, text, nil)
		}
	}
}

func (s *site) user(name string, options ...userOption) {
	u := access.PolicyUser{ID: int64(len(s.delta.Users) + 1), Active: true}
	s.ids["user "+name] = u.ID
	for _, o := range options {
		o(s, &u)
	}
	s.tokens[name] = s.tokens[""]
	delete(s.tokens, "")
	s.delta.Users = append(s.delta.Users, u)
}

// credential gives u one more token; change may set what is special about it.
func (s *site) credential(u *access.PolicyUser, text string, change func(*access.PolicyCredential)) {
	c := access.PolicyCredential{
		ID: int64(len(s.delta.Credentials) + 1), UserID: u.ID, Lookup: lookup(text), LastUsedDay: int32(access.Day(s.at)),
	}
	if change != nil {
		change(&c)
	}
	s.delta.Credentials = append(s.delta.Credentials, c)
	s.tokens[""] = append(s.tokens[""], token{text, c.ID})
}

func special(text string, change func(*access.PolicyCredential)) userOption {
	return func(s *site, u *access.PolicyUser) { s.credential(u, text, change) }
}

// device gives a user a phone with this token.
func (s *site) device(name, text string, active bool) {
	n := 0
	for _, c := range s.delta.Credentials {
		if c.DeviceID != 0 {
			n++
		}
	}
	u := access.PolicyUser{ID: s.id("user", name)}
	s.credential(&u, text, func(c *access.PolicyCredential) { c.DeviceID, c.Inactive = int64(n+1), !active })
	delete(s.tokens, "")
}

func (s *site) gate(codes ...string) {
	for _, c := range codes {
		g := access.PolicyGate{ID: int64(len(s.delta.Gates) + 1), Code: c}
		s.ids["gate "+c] = g.ID
		s.delta.Gates = append(s.delta.Gates, g)
	}
}

type permissionOption func(*access.PolicyPermission)

func suspended(p *access.PolicyPermission) { p.Allow = false }

func from(t time.Time) permissionOption {
	return func(p *access.PolicyPermission) { p.ValidFrom = t.UnixMicro() }
}

func until(t time.Time) permissionOption {
	return func(p *access.PolicyPermission) { p.ValidUntil = t.UnixMicro() }
}

// permit lets "user NAME" or "group NAME" through a gate.
func (s *site) permit(gate, subject string, options ...permissionOption) {
	p := access.PolicyPermission{ID: int64(len(s.delta.Permissions) + 1), GateID: s.id("gate", gate), Allow: true}
	id, ok := s.ids[subject]
	switch {
	case !ok:
		s.t.Fatalf("permit(%q, %q): no such subject", gate, subject)
	case subject[0] == 'u':
		p.UserID = id
	default:
		p.GroupID = id
	}
	for _, o := range options {
		o(&p)
	}
	s.delta.Permissions = append(s.delta.Permissions, p)
}

// compiled tries both ways to make a snapshot.
func (s *site) compiled() map[string]*Snapshot {
	return map[string]*Snapshot{
		"compiled": modelOf(s.idle, s.delta).compile(slices.Clone[[]int]),
		"applied":  NewBuilder(s.idle).Snapshot(access.PolicyMark{}).With(s.delta),
	}
}

// asks holds what one site answers.
type asks struct {
	*site
	snapshots map[string]*Snapshot
}

func (s *site) asks() asks { return asks{s, s.compiled()} }

// first is the request of a user's first token at a gate.
func (a asks) first(user, gate string) Request {
	a.t.Helper()
	a.id("user", user)
	if len(a.tokens[user]) == 0 {
		a.t.Fatalf("user %q of the test has no token", user)
	}
	return a.request(a.tokens[user][0].text, gate)
}

func (a asks) request(text, gate string) Request {
	return Request{Gate: gate, Lookups: []access.Lookup{lookup(text)}, At: a.at.UnixMicro()}
}

// allow wants the user's first token to open the gate.
func (a asks) allow(user, gate string) {
	a.t.Helper()
	for how, s := range a.snapshots {
		if d := s.Decide(a.first(user, gate)); d.Outcome != access.Allow || d.Reason != access.OK || d.ReleaseMS == 0 || d.PermissionID == 0 {
			a.t.Errorf("%s: %s at %s: got %s, want ALLOW", how, user, gate, show(d))
		}
	}
}

// deny wants it not to, for this reason.
func (a asks) deny(user, gate string, why access.Reason) {
	a.t.Helper()
	a.denyToken(a.tokens[user][0].text, gate, why)
}

func (a asks) allowToken(text, gate string) {
	a.t.Helper()
	for how, s := range a.snapshots {
		if d := s.Decide(a.request(text, gate)); d.Outcome != access.Allow {
			a.t.Errorf("%s: token %.12s… at %s: got %s, want ALLOW", how, text, gate, show(d))
		}
	}
}

func (a asks) denyToken(text, gate string, why access.Reason) {
	a.t.Helper()
	for how, s := range a.snapshots {
		if d := s.Decide(a.request(text, gate)); d.Outcome != access.Deny || d.Reason != why || d.ReleaseMS != 0 || d.PermissionID != 0 {
			a.t.Errorf("%s: token %.12s… at %s: got %s, want DENY %s", how, text, gate, show(d), why)
		}
	}
}

func lookup(text string) access.Lookup { return sha256.Sum256([]byte(text)) }

func show(d Decision) string { return fmt.Sprintf("%+v", d) }
