package sitefile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Parse reads a site file. name is what mistakes call it. The error is a *Mistakes.
func Parse(name string, data []byte) (site *Site, err error) {
	bad := &Mistakes{File: name}
	root := tree(bad, data)
	if root == nil {
		return nil, bad.OrNil()
	}
	r := &reader{bad: bad}
	site = r.site(root)
	site.File = name
	check(site, bad)
	if err := bad.OrNil(); err != nil {
		return nil, err
	}
	return site, nil
}

// tree is the one document of the file, or nil after noting why there is none.
func tree(bad *Mistakes, data []byte) ast.Node {
	// The library's parser is not ours and has panicked on odd input before; here that is a mistake in the file, no more.
	defer func() {
		if p := recover(); p != nil {
			bad.add(0, "", "is not YAML that can be read")
		}
	}()
	if len(data) > MaxBytes {
		bad.add(0, "", "is larger than %d MiB", MaxBytes>>20)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !plainText(bad, data) {
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if line := tooDeep(tokens); line > 0 {
		bad.add(line, "", "is nested too deeply for a site")
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		line, text := 0, err.Error()
		var y yaml.Error
		if errors.As(err, &y) {
			text = y.GetMessage()
			if t := y.GetToken(); t != nil && t.Position != nil {
				line = t.Position.Line
			}
		}
		bad.add(line, "", "is not YAML: %s", firstLine(text))
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if doc.Body.Type() == ast.DirectiveType { // %YAML 1.2: the parser makes a document of it
			continue
		}
		if root != nil {
			bad.add(lineOf(doc.Body), "", "a second document begins: a site file has one")
			return nil
		}
		root = doc.Body
	}
	if root == nil {
		bad.add(0, "", "is empty: it must have groups, users, gates, permissions or devices")
	}
	return root
}

// plainText refuses what no YAML parser should see, with the line: bytes that are not UTF-8, control characters, tabs as indentation.
func plainText(bad *Mistakes, data []byte) bool {
	before := len(bad.List)
	for n, line := range bytes.Split(data, []byte("\n")) {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		switch {
		case !utf8.Valid(line):
			bad.add(n+1, "", "is not UTF-8 text")
		case bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' || r == 0x7f }):
			bad.add(n+1, "", "contains a control character")
		case bytes.IndexByte(indent, '\t') >= 0 && len(bytes.TrimSpace(line)) > 0:
			bad.add(n+1, "", "is indented with a tab: YAML wants spaces")
		}
		if len(bad.List) > most {
			break
		}
	}
	return len(bad.List) == before
}

// How deep a file may be nested: brackets, and columns of its block structure. A site needs four levels; the parser's time and
// stack grow with the square of the depth.
const (
	deepest   = 32
	rightmost = 400
)

// tooDeep is the line where the nesting goes beyond what a site can need, or 0.
func tooDeep(tokens token.Tokens) int {
	depth, line, marks := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, marks = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.AnchorType, token.TagType:
			marks++
			if depth == 0 && (marks > deepest || t.Type == token.SequenceEntryType && t.Position.Column > rightmost) {
				return line
			}
			if depth == 0 && t.Type == token.MappingValueType && marks == 1 && t.Prev != nil && t.Prev.Position.Column > rightmost {
				return line
			}
		}
		if depth > deepest {
			return line
		}
	}
	return 0
}

func lineOf(n ast.Node) int {
	// A mapping's own token is the colon of its first key, which may be on a later line than the key.
	switch v := n.(type) {
	case *ast.MappingNode:
		if len(v.Values) > 0 {
			return lineOf(v.Values[0])
		}
	case *ast.MappingValueNode:
		if v.Key != nil {
			return lineOf(v.Key)
		}
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.TrimSpace(s)
}

// near is a hint for a name that is not in known: the one that differs by at most two letters.
func near(name string, known []string) string {
	best, at := 3, ""
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < best && d < len(k) {
			best, at = d, k
		}
	}
	if at == "" {
		return "known are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("did you mean %q?", at)
}

// distance is Levenshtein's, over bytes; names longer than 40 bytes are far from everything.
func distance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 40
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
