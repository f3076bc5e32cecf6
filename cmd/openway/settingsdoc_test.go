package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write the table of settings into docs/operate.md")

const (
	operatePage   = "../../docs/operate.md"
	settingsBegin = "<!-- settings: go test ./cmd/openway -run TestSettingsAreDocumented -update writes what follows -->\n"
	settingsEnd   = "<!-- end of settings -->\n"
)

// TestSettingsAreDocumented holds the table of settings in docs/operate.md to what serve and backup read.
func TestSettingsAreDocumented(t *testing.T) {
	var c cli
	parser, err := newKong(&c, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := settingsTable(parser)
	page, err := os.ReadFile(operatePage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), settingsBegin)
	got, after, ended := strings.Cut(rest, settingsEnd)
	if !ok || !ended {
		t.Fatalf("%s has no markers for the table of settings", operatePage)
	}
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("the table of settings is not what serve and backup read: go test ./cmd/openway -run TestSettingsAreDocumented -update")
	}
	if err := os.WriteFile(operatePage, []byte(before+settingsBegin+want+settingsEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// settingsTable is a table for each group of the flags of serve, and of backup.
func settingsTable(parser *kong.Kong) string {
	var b strings.Builder
	var flags []*kong.Flag
	for _, node := range parser.Model.Leaves(false) {
		if path := node.Path(); path != "serve" && path != "backup take" {
			continue
		}
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				if !slices.ContainsFunc(flags, func(had *kong.Flag) bool { return had.Name == f.Name }) {
					flags = append(flags, f)
				}
			}
		}
	}
	for _, g := range flagGroups() {
		fmt.Fprintf(&b, "\n### %s\n\n| variable | flag | what |\n|---|---|---|\n", strings.TrimSuffix(g.Title, ":"))
		for _, f := range flags {
			if f.Group == nil || f.Group.Key != g.Key {
				continue
			}
			value := ""
			if !f.IsBool() {
				value = "=" + f.FormatPlaceHolder()
			}
			fmt.Fprintf(&b, "| `%s` | `--%s%s` | %s |\n", strings.Join(f.Envs, "`, `"), f.Name, strings.ReplaceAll(value, "|", `\|`), strings.ReplaceAll(f.Help, "|", `\|`))
		}
		if g.Key == "database" {
			b.WriteString("| `OPENWAY_SECRET_KEY` | | The secret key itself: 32 bytes at least, such as `openssl rand -hex 32` prints. |\n" +
				"| `OPENWAY_SECRET_KEY_FALLBACKS` | | Former secret keys, with commas, until `openway rekey` has run. |\n" +
				"| `POSTGRES_PASSWORD` | | Password of `POSTGRES_USER`, with `DB_HOST`. |\n")
		}
	}
	return b.String()
}
