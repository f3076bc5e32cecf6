package sitefile

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
)

// check notes what is wrong with the values: the nouns' own rules, and what is declared twice.
func check(s *Site, bad *Mistakes) {
	groups, users, gates := newNames(bad), newNames(bad), newNames(bad)
	for _, g := range s.Groups {
		rules(bad, g.Place, g.noun().Validate())
		groups.declare(g.Place, "name", g.Name, g.Was)
	}
	tokens := map[string]string{}
	for _, u := range s.Users {
		checkUser(bad, u, tokens)
		users.declare(u.Place, "username", u.Username, u.Was)
	}
	for _, g := range s.Gates {
		rules(bad, g.Place, g.noun().Validate())
		gates.declare(g.Place, "code", g.Code, g.Was)
	}
	groups.renames()
	users.renames()
	gates.renames()
	checkPermissions(bad, s.Permissions)
	for _, d := range s.Devices {
		rules(bad, d.Place, d.noun().Validate())
		need(bad, d.Place, "user", d.User)
		if d.Has("token") {
			checkToken(bad, d.Place, "token", d.Token, tokens)
		}
	}
}

func checkUser(bad *Mistakes, u User, tokens map[string]string) {
	rules(bad, u.Place, u.noun().Validate())
	if u.Role != access.None && !u.Role.Known() {
		bad.Add(u.Place, "role", "unknown role %q: known are viewer, manager, owner", clip(string(u.Role)))
	}
	if u.Has("password") && u.Has("password_hash") {
		bad.Add(u.Place, "password_hash", "give a password or a password_hash, not both")
	}
	if u.Has("password") && u.Password == "" {
		bad.Add(u.Place, "password", "may not be blank: leave the line out to keep the password that is there")
	}
	if strings.IndexByte(u.Password, 0) >= 0 {
		bad.Add(u.Place, "password", "may not contain null characters")
	}
	if u.Has("password_hash") && u.PasswordHash == "" {
		bad.Add(u.Place, "password_hash", `may not be blank: "!" is a hash that no password matches`)
	}
	seen := map[string]bool{}
	for i, g := range u.Groups {
		field := fmt.Sprintf("groups[%d]", i)
		need(bad, u.Place, field, g)
		if g != "" && seen[g] {
			bad.Add(u.Place, field, "group %q is listed twice", clip(g))
		}
		seen[g] = true
	}
	for i, t := range u.Tokens {
		checkToken(bad, u.Place, fmt.Sprintf("tokens[%d]", i), t, tokens)
	}
}

// checkToken holds a token to what a gate accepts. Messages never quote a token.
func checkToken(bad *Mistakes, at Place, field, token string, seen map[string]string) {
	if bad.paths[at.Path+"."+field] {
		return
	}
	switch n := utf8.RuneCountInString(token); {
	case !utf8.ValidString(token) || strings.ContainsFunc(token, unicode.IsControl):
		bad.Add(at, field, "contains characters that are not allowed")
		return
	case strings.TrimSpace(token) != token:
		bad.Add(at, field, "may not begin or end with white space")
		return
	case n < access.MinToken || n > access.MaxToken:
		bad.Add(at, field, "must have %d to %d characters, as a gate accepts them, and has %d", access.MinToken, access.MaxToken, n)
		return
	}
	if first, ok := seen[token]; ok {
		bad.Add(at, field, "is the same token as %s", first)
		return
	}
	seen[token] = fmt.Sprintf("%s.%s on line %d", at.Path, field, at.At(field))
}

func checkPermissions(bad *Mistakes, list []Permission) {
	seen := map[[5]string]int{}
	for _, p := range list {
		need(bad, p.Place, "gate", p.Gate)
		switch {
		case p.User == "" && p.Group == "" && (bad.paths[p.Path] || bad.paths[p.Path+".user"] || bad.paths[p.Path+".group"]):
		case p.User == "" && p.Group == "":
			bad.Add(p.Place, "", "name a user or a group")
		case p.User != "" && p.Group != "":
			bad.Add(p.Place, "", "name a user or a group, not both: write two permissions")
		}
		if p.ValidFrom.surelyNotBefore(p.ValidUntil) {
			bad.Add(p.Place, "valid_until", "ends before it begins")
		}
		key := [5]string{p.Gate, p.User, p.Group, p.ValidFrom.String(), p.ValidUntil.String()}
		if first, ok := seen[key]; ok {
			bad.Add(p.Place, "", "gate %q for %s is declared twice, first on line %d", clip(p.Gate), clip(p.Subject()), first)
			continue
		}
		seen[key] = p.Line
	}
}

// need notes a field that must have a value, unless a mistake in it or in its item says why it has none.
func need(bad *Mistakes, at Place, field, value string) {
	if value == "" && !bad.paths[at.Path+"."+field] && !bad.paths[at.Path] {
		bad.Add(at, field, "is required")
	}
}

// rules notes what a noun's own Validate found, on the line of the field it concerns. One mistake a field is enough.
func rules(bad *Mistakes, at Place, err error) {
	var invalid access.Invalid
	if !errors.As(err, &invalid) {
		return
	}
	for _, f := range invalid {
		if f.Code == access.CodeBlank && !at.Has(f.Field) {
			need(bad, at, f.Field, "")
			continue
		}
		if bad.paths[at.Path+"."+f.Field] {
			continue
		}
		text := access.FieldError{Code: f.Code, Limit: f.Limit, Least: f.Least, Text: f.Text}.Error()
		if f.Field == "language" && f.Code == access.CodeUnknown {
			text += ": known are en, ru"
		}
		bad.Add(at, f.Field, "%s", text)
	}
}

// names are the names of one kind that a file declares.
type names struct {
	bad   *Mistakes
	lines map[string]int
	was   map[string]int
	moved []renaming
}

type renaming struct {
	Place
	from, to string
}

func newNames(bad *Mistakes) *names {
	return &names{bad: bad, lines: map[string]int{}, was: map[string]int{}}
}

func (n *names) declare(at Place, field, name, was string) {
	if name != "" {
		if first, ok := n.lines[name]; ok {
			n.bad.Add(at, field, "%q is declared twice, first on line %d", clip(name), first)
			return
		}
		n.lines[name] = at.At(field)
	}
	if was == "" {
		return
	}
	if first, ok := n.was[was]; ok {
		n.bad.Add(at, "was", "%q becomes something else already on line %d", clip(was), first)
		return
	}
	n.was[was] = at.At("was")
	n.moved = append(n.moved, renaming{at, was, name})
}

// renames notes an old name that the file declares as well: one of the two must be wrong.
func (n *names) renames() {
	for _, m := range n.moved {
		switch line, ok := n.lines[m.from]; {
		case m.from == m.to:
			n.bad.Add(m.Place, "was", "%q is the name it has: leave the line out", clip(m.from))
		case ok:
			n.bad.Add(m.Place, "was", "%q is declared on line %d as well: rename it in a file of its own first", clip(m.from), line)
		}
	}
}
