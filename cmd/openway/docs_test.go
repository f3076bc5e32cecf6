package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// called matches a call of openway in code quotes or at the start of a line of a code block.
var called = regexp.MustCompile("(?m)(?:`|^|\\$ |/|sudo -u openway (?:env [A-Z_]+=\\S+ )?)openway ([a-z][a-z-]*(?: [^`|\n#)]*)?)")

// TestPagesCallWhatIsThere: commands and flags that README and docs name exist.
func TestPagesCallWhatIsThere(t *testing.T) {
	var c cli
	parser, err := newKong(&c, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, page := range append(append(pages, more...), "../../README.md", "../../CONTRIBUTING.md", "../../SECURITY.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range called.FindAllStringSubmatch(string(text), -1) {
			calls++
			if wrong := unknownIn(parser.Model.Node, strings.Fields(m[1])); wrong != "" {
				t.Errorf("%s: openway %s: %s is not there", page, m[1], wrong)
			}
		}
	}
	if calls < 20 {
		t.Errorf("%d calls were found: the pattern misses them", calls)
	}
}

// unknownIn is the first word that names no command, or flag that the command does not have; "" = all are there.
func unknownIn(node *kong.Node, words []string) string {
	flags := func(name string) bool {
		for _, group := range node.AllFlags(false) {
			for _, f := range group {
				if f.Name == name || f.Tag.Negatable != "" && "no-"+f.Name == name {
					return true
				}
				for _, alias := range f.Aliases {
					if alias == name {
						return true
					}
				}
			}
		}
		return false
	}
	for _, word := range words {
		if strings.HasPrefix(word, "--") && node.DefaultCmd != nil {
			node = node.DefaultCmd
		}
		if name, ok := strings.CutPrefix(word, "--"); ok {
			name, _, _ = strings.Cut(name, "=")
			if name = strings.TrimRight(name, ".,;:…"); !flags(name) {
				return word
			}
			continue
		}
		if len(node.Children) == 0 {
			continue // an argument
		}
		found := false
		for _, child := range node.Children {
			if child.Name == word {
				node, found = child, true
				break
			}
		}
		if !found {
			if node.Type == kong.ApplicationNode || regexp.MustCompile(`^[a-z-]+$`).MatchString(word) {
				return word
			}
		}
	}
	return ""
}
