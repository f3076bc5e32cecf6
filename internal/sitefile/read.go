package sitefile

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/openway-access/openway/internal/access"
)

// reader turns the tree into a Site, noting what is wrong on its way.
type reader struct {
	bad     *Mistakes
	anchors map[string]ast.Node
	copied  int // nodes read by way of an alias
}

// mostCopied bounds what aliases may multiply.
const mostCopied = 200_000

// The keys of each kind of item, in the order that a file writes them.
var (
	siteKeys       = []string{"groups", "users", "gates", "permissions", "devices"}
	groupKeys      = []string{"name", "was"}
	userKeys       = []string{"username", "was", "first_name", "last_name", "email", "language", "password", "password_hash", "active", "staff", "superuser", "role", "groups", "tokens"}
	gateKeys       = []string{"code", "was", "name", "location", "release_ms"}
	permissionKeys = []string{"gate", "user", "group", "allow", "valid_from", "valid_until"}
	deviceKeys     = []string{"user", "name", "android_device_id", "token", "active"}
)

func (r *reader) site(root ast.Node) *Site {
	r.anchors = map[string]ast.Node{}
	ast.Walk(anchorFinder{r.anchors}, root)
	s := &Site{}
	top := r.item(root, "", siteKeys)
	for i, n := range r.items(top, "groups") {
		f := r.item(n, fmt.Sprintf("groups[%d]", i), groupKeys)
		s.Groups = append(s.Groups, Group{Place: f.Place, Name: r.text(f, "name"), Was: r.text(f, "was")})
	}
	for i, n := range r.items(top, "users") {
		s.Users = append(s.Users, r.user(r.item(n, fmt.Sprintf("users[%d]", i), userKeys)))
	}
	for i, n := range r.items(top, "gates") {
		f := r.item(n, fmt.Sprintf("gates[%d]", i), gateKeys)
		s.Gates = append(s.Gates, Gate{
			Place: f.Place, Code: r.text(f, "code"), Was: r.text(f, "was"), Name: r.text(f, "name"),
			Location: r.text(f, "location"), ReleaseMS: r.number(f, "release_ms", access.MaxReleaseMS),
		})
	}
	for i, n := range r.items(top, "permissions") {
		f := r.item(n, fmt.Sprintf("permissions[%d]", i), permissionKeys)
		s.Permissions = append(s.Permissions, Permission{
			Place: f.Place, Gate: r.text(f, "gate"), User: r.text(f, "user"), Group: r.text(f, "group"),
			Allow: r.yes(f, "allow", true), ValidFrom: r.when(f, "valid_from"), ValidUntil: r.when(f, "valid_until"),
		})
	}
	for i, n := range r.items(top, "devices") {
		f := r.item(n, fmt.Sprintf("devices[%d]", i), deviceKeys)
		s.Devices = append(s.Devices, Device{
			Place: f.Place, User: r.text(f, "user"), Name: r.text(f, "name"), AndroidDeviceID: r.text(f, "android_device_id"),
			Token: r.text(f, "token"), Active: r.yes(f, "active", true),
		})
	}
	return s
}

func (r *reader) user(f fields) User {
	return User{
		Place: f.Place, Username: r.text(f, "username"), Was: r.text(f, "was"),
		FirstName: r.text(f, "first_name"), LastName: r.text(f, "last_name"), Email: r.text(f, "email"), Language: r.text(f, "language"),
		Password: r.text(f, "password"), PasswordHash: r.text(f, "password_hash"),
		Active: r.yes(f, "active", true), Staff: r.yes(f, "staff", false), Superuser: r.yes(f, "superuser", false),
		Role: access.Role(r.text(f, "role")), Groups: r.texts(f, "groups"), Tokens: r.texts(f, "tokens"),
	}
}

// fields are the values of one item by key.
type fields struct {
	Place
	values map[string]ast.Node
}

// item reads a mapping with the given keys.
func (r *reader) item(n ast.Node, path string, known []string) fields {
	f := fields{Place: Place{Path: path, Line: lineOf(n), lines: map[string]int{}}, values: map[string]ast.Node{}}
	pairs, ok := r.pairs(n)
	if !ok {
		what := "must have keys such as " + known[0] + ":"
		r.bad.add(f.Line, path, "%s", what+", not "+kindOf(r.follow(n)))
		return f
	}
	own := map[string]bool{}
	for _, p := range pairs {
		key, isText := p.key()
		where := path
		if where == "" {
			where = "key"
		}
		switch {
		case !isText:
			r.bad.add(p.line, where, "a key must be plain text")
			continue
		case !contains(known, key):
			r.bad.add(p.line, where, "unknown key %q: %s", clip(key), near(key, known))
			continue
		case p.merged && f.values[key] != nil:
			continue // the item's own value wins over a merged one
		case own[key]:
			r.bad.add(p.line, where, "%s is given twice, first on line %d", key, f.lines[key])
			continue
		}
		own[key] = !p.merged
		f.values[key], f.lines[key] = p.value, p.line
	}
	return f
}

// pair is one key with its value. merged: it came by "<<".
type pair struct {
	node   ast.Node
	value  ast.Node
	line   int
	merged bool
}

func (p pair) key() (string, bool) {
	if s, ok := p.node.(*ast.StringNode); ok {
		return s.Value, true
	}
	return "", false
}

// pairs lists the keys of a mapping, its own first, then those that "<<" merges into it.
func (r *reader) pairs(n ast.Node) ([]pair, bool) {
	values, ok := mappingValues(r.follow(n))
	if !ok {
		return nil, false
	}
	var own, merged []pair
	for _, v := range values {
		if v.Key == nil {
			continue
		}
		if v.Key.Type() != ast.MergeKeyType {
			own = append(own, pair{node: v.Key, value: v.Value, line: lineOf(v.Key)})
			continue
		}
		from := []ast.Node{v.Value}
		if list, ok := r.follow(v.Value).(*ast.SequenceNode); ok {
			from = list.Values
		}
		for _, m := range from {
			more, ok := mappingValues(r.follow(m))
			if !ok {
				r.bad.add(lineOf(v.Key), "", "<< can merge a mapping only")
				continue
			}
			for _, x := range more {
				if x.Key == nil || x.Key.Type() == ast.MergeKeyType {
					r.bad.add(lineOf(v.Key), "", "<< inside a mapping that is merged itself is not supported")
					continue
				}
				if r.copied++; r.copied <= mostCopied {
					merged = append(merged, pair{node: x.Key, value: x.Value, line: lineOf(v.Key), merged: true})
				}
			}
		}
	}
	r.checkCopied(n)
	return append(own, merged...), true
}

func mappingValues(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch v := n.(type) {
	case *ast.MappingNode:
		return v.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{v}, true
	}
	return nil, false
}

// follow looks through anchors and aliases.
func (r *reader) follow(n ast.Node) ast.Node {
	for range deepest {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			target, ok := r.anchors[nameOf(v.Value)]
			if !ok {
				return n
			}
			n = target
			r.copied++
		default:
			return n
		}
	}
	return nil // an alias of itself
}

func (r *reader) checkCopied(n ast.Node) {
	if r.copied > mostCopied && r.copied < math.MaxInt32 {
		r.bad.add(lineOf(n), "", "aliases repeat more than %d values: write them out", mostCopied)
		r.copied = math.MaxInt32
	}
}

// items are the entries of a section. A section without a value is an empty one.
func (r *reader) items(f fields, key string) []ast.Node {
	if n := r.follow(f.values[key]); n == nil || n.Type() == ast.NullType {
		return nil
	}
	return r.entries(f, key)
}

func (r *reader) entries(f fields, key string) []ast.Node {
	n, ok := f.values[key]
	if !ok {
		return nil
	}
	list, ok := r.follow(n).(*ast.SequenceNode)
	if !ok {
		r.bad.add(f.At(key), pathOf(f, key), "must be a list, not %s", kindOf(r.follow(n)))
		return nil
	}
	if aliased(n) {
		r.copied += len(list.Values)
		r.checkCopied(n)
	}
	if r.copied > mostCopied {
		return nil
	}
	return list.Values
}

// text is a text field, "" when it is left out.
func (r *reader) text(f fields, key string) string {
	n, ok := f.values[key]
	if !ok {
		return ""
	}
	s, why := r.scalar(n)
	if why != "" {
		r.bad.add(f.At(key), pathOf(f, key), "%s", why)
	}
	return s
}

// texts is a list of texts; nil when it is left out or empty. It notes the line of each, as "key[0]".
func (r *reader) texts(f fields, key string) []string {
	var list []string
	for i, n := range r.entries(f, key) {
		s, why := r.scalar(n)
		path := fmt.Sprintf("%s[%d]", key, i)
		if f.lines[path] = lineOf(n); aliased(f.values[key]) {
			f.lines[path] = f.lines[key]
		}
		if why != "" {
			r.bad.add(f.At(path), pathOf(f, path), "%s", why)
		}
		list = append(list, s)
	}
	return list
}

// scalar is a text value, or why it is none.
func (r *reader) scalar(n ast.Node) (s, why string) {
	n = r.follow(n)
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, ""
	case *ast.LiteralNode:
		return v.Value.Value, ""
	case *ast.TagNode:
		if v.Start != nil && v.Start.Value == "!!str" && v.Value != nil {
			if inner, ok := v.Value.(ast.ScalarNode); ok && inner.GetToken() != nil {
				return inner.GetToken().Value, ""
			}
		}
		return "", "must be text without a tag"
	case *ast.NullNode:
		return "", `has no value: write "" for none, or leave the line out`
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return "", fmt.Sprintf("must be text, and %s is %s: put it in quotes, %q", clip(n.GetToken().Value), kindOf(n), clip(n.GetToken().Value))
	}
	return "", "must be text, not " + kindOf(n)
}

// yes is a true or false field.
func (r *reader) yes(f fields, key string, otherwise bool) bool {
	n, ok := f.values[key]
	if !ok {
		return otherwise
	}
	if b, ok := r.follow(n).(*ast.BoolNode); ok {
		return b.Value
	}
	r.bad.add(f.At(key), pathOf(f, key), "must be true or false, not %s", kindOf(r.follow(n)))
	return otherwise
}

// number is a whole number in 0..limit.
func (r *reader) number(f fields, key string, limit int) int {
	n, ok := f.values[key]
	if !ok {
		return 0
	}
	n = r.follow(n)
	what := kindOf(n)
	switch n := n.(type) {
	case *ast.IntegerNode:
		what = clip(strings.TrimSpace(n.GetToken().Value))
		if v, err := strconv.Atoi(strings.TrimSpace(n.GetToken().Value)); err == nil && v >= 0 && v <= limit {
			return v
		}
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		what = clip(strings.TrimSpace(n.GetToken().Value))
	case *ast.StringNode: // numbers of more digits than a computer counts with come here too
		if n.Token.Type == token.StringType {
			what = clip(n.Value)
		}
	}
	r.bad.add(f.At(key), pathOf(f, key), "must be a whole number between 0 and %d, not %s", limit, what)
	return 0
}

func (r *reader) when(f fields, key string) When {
	before := len(r.bad.List)
	s := r.text(f, key)
	if s == "" || len(r.bad.List) > before {
		return When{}
	}
	w, err := ParseWhen(s)
	if err != nil {
		r.bad.add(f.At(key), pathOf(f, key), "%q %v", clip(s), err)
	}
	return w
}

func pathOf(f fields, key string) string {
	if f.Path == "" {
		return key
	}
	return f.Path + "." + key
}

// kindOf says what a value is, in words.
func kindOf(n ast.Node) string {
	switch v := n.(type) {
	case nil:
		return "an alias of itself"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.AliasNode:
		return fmt.Sprintf("an alias (*%s) of nothing", clip(nameOf(v.Value)))
	}
	return "something else"
}

func aliased(n ast.Node) bool { return n != nil && n.Type() == ast.AliasType }

func nameOf(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}

// anchorFinder collects what aliases can stand for.
type anchorFinder struct{ found map[string]ast.Node }

func (a anchorFinder) Visit(n ast.Node) ast.Visitor {
	if v, ok := n.(*ast.AnchorNode); ok {
		a.found[nameOf(v.Name)] = v.Value
	}
	return a
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// clip shortens what a message quotes from the file.
func clip(s string) string {
	const longest = 60
	if utf8.RuneCountInString(s) <= longest {
		return s
	}
	return string([]rune(s)[:longest]) + "…"
}
