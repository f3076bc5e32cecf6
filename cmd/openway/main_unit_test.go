package main

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func newParser(t *testing.T, c *cli) *kong.Kong {
	t.Helper()
	p, err := newKong(c, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryCommandHasAnExample(t *testing.T) {
	var walk func(n *kong.Node)
	leaves := 0
	walk = func(n *kong.Node) {
		for _, c := range n.Children {
			walk(c)
		}
		if len(n.Children) == 0 {
			leaves++
		}
		if n.Type == kong.ApplicationNode {
			return
		}
		if !strings.Contains(n.Detail, "Example:\n\n    ") {
			t.Errorf("openway %s --help has no example: %q", n.Path(), n.Detail)
		}
		if n.Help == "" {
			t.Errorf("openway %s has no help", n.Path())
		}
	}
	walk(newParser(t, new(cli)).Model.Node)
	if leaves < 40 {
		t.Errorf("found %d commands; something is wrong with this test", leaves)
	}
}

// The old service's names have no prefix; everything else is OPENWAY_ and the flag's name, but for a few whose bare name would say too little, and for what
// is too dangerous to be left in an environment.
func TestEveryFlagIsAVariable(t *testing.T) {
	inherited := map[string]string{
		"access-verify-rate": "ACCESS_VERIFY_RATE", "allowed-hosts": "ALLOWED_HOSTS", "cors-allowed-origins": "CORS_ALLOWED_ORIGINS",
		"postgres-db": "POSTGRES_DB", "postgres-user": "POSTGRES_USER", "db-host": "DB_HOST", "db-port": "DB_PORT",
	}
	apart := map[string][]string{
		"backup --to": {"BACKUP_DIR", "OPENWAY_BACKUP_DIR"}, "backup --keep": {"KEEP_BACKUPS", "OPENWAY_KEEP_BACKUPS"}, "backup --encrypt-to": {"OPENWAY_BACKUP_ENCRYPT_TO"},
		"backup --identity": {"OPENWAY_BACKUP_IDENTITY"}, "import --from": {"OPENWAY_DJANGO_DATABASE"}, "import --replace": nil, "import --force": nil, "import --yes": nil,
		"restore --yes": nil, "restore --bring-back": nil, "restore --no-safety-backup": nil, "restore --write-key": nil,
	}
	maps.Copy(apart, map[string][]string{"restore --to": apart["backup --to"], "restore --encrypt-to": apart["backup --encrypt-to"], "restore --identity": apart["backup --identity"]})
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			if f.Name == "help" || f.Name == "version" {
				continue
			}
			command, _, _ := strings.Cut(strings.TrimPrefix(n.Path(), "openway "), " ")
			if want, ok := apart[command+" --"+f.Name]; ok {
				if !slices.Equal(f.Envs, want) {
					t.Errorf("openway %s --%s reads %v, want %v", n.Path(), f.Name, f.Envs, want)
				}
				continue
			}
			want := "OPENWAY_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			if s := inherited[f.Name]; s != "" {
				if len(f.Envs) != 2 || f.Envs[0] != s || f.Envs[1] != want {
					t.Errorf("--%s reads %v, want %s and %s", f.Name, f.Envs, s, want)
				}
				continue
			}
			if len(f.Envs) == 0 || f.Envs[0] != want {
				t.Errorf("--%s reads %v, want %s first", f.Name, f.Envs, want)
			}
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(newParser(t, new(cli)).Model.Node)
}

// broken refuses every byte.
type broken struct{ error }

func (w broken) Write([]byte) (int, error) { return 0, w.error }

func TestWhatCannotBePrintedIsAnError(t *testing.T) {
	t.Setenv("OPENWAY_ENV_FILE", "")
	for _, tt := range []struct {
		out    io.Writer
		status int
		says   string
	}{
		{io.Discard, 0, ""},
		{broken{errors.New("the disk is full")}, 1, "openway: print: the disk is full\n"},
	} {
		var says bytes.Buffer
		if got := run([]string{"version"}, strings.NewReader(""), tt.out, &says); got != tt.status || says.String() != tt.says {
			t.Errorf("version to %#v: status %d, %q; want %d, %q", tt.out, got, says.String(), tt.status, tt.says)
		}
	}
}

// A pager that was closed has had enough, whatever it read.
func TestAReaderThatHasHadEnoughIsNoError(t *testing.T) {
	t.Setenv("OPENWAY_ENV_FILE", "")
	t.Setenv("OPENWAY_DATABASE", filepath.Join(t.TempDir(), "openway.db"))
	for _, command := range []string{"gate create front", "gate list", "gate list --json", "gate show front --json", "export", "events export", "audit export", "audit list", "check", "version", "--help"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var says bytes.Buffer
		if got := run(strings.Fields(command), strings.NewReader(""), w, &says); got != 0 || says.Len() != 0 {
			t.Errorf("%s to a closed pipe: status %d, %q; want 0 and nothing", command, got, says.String())
		}
		w.Close()
	}
}

func TestAListIsReadPageByPageUpToItsLimit(t *testing.T) {
	for _, tt := range []struct {
		items, limit int
		asked        []int // how much was asked for each time
		want         int
	}{
		{items: 0, asked: []int{500}, want: 0},
		{items: 3, asked: []int{500}, want: 3},
		{items: 500, asked: []int{500, 500}, want: 500},
		{items: 501, asked: []int{500, 500}, want: 501},
		{items: 3, limit: 2, asked: []int{2}, want: 2},
		{items: 3, limit: 3, asked: []int{3}, want: 3},
		{items: 3, limit: 4, asked: []int{4}, want: 3},
		{items: 2000, limit: 500, asked: []int{500}, want: 500},
		{items: 2000, limit: 501, asked: []int{500, 1}, want: 501},
		{items: 600, limit: 1500, asked: []int{500, 500}, want: 600},
	} {
		var asked []int
		got := 0
		err := all(tt.limit, func(after int64, limit int) ([]int64, error) {
			asked = append(asked, limit)
			var items []int64
			for id := after + 1; id <= int64(tt.items) && len(items) < limit; id++ {
				items = append(items, id)
			}
			return items, nil
		}, func(id int64) int64 { return id }, func(id int64) error {
			if got++; id != int64(got) {
				t.Fatalf("%d items, limit %d: item %d came as the one with the id %d", tt.items, tt.limit, got, id)
			}
			return nil
		})
		if err != nil || got != tt.want || !slices.Equal(asked, tt.asked) {
			t.Errorf("%d items, limit %d: got %d by pages of %v, error %v; want %d by %v", tt.items, tt.limit, got, asked, err, tt.want, tt.asked)
		}
	}
}

// Names that people chose must not steer the terminal of who reads about them.
func TestPrintedNamesSteerNoTerminal(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"Анна Meier 李", "Анна Meier 李"},
		{"a\x1b[31mb", "a\ufffd[31mb"},
		{"a\u202eb", "a\ufffdb"}, // right-to-left override
		{"a\u200bb", "a\ufffdb"}, // zero-width space
		{"a\nopenway: done", "a\ufffdopenway: done"},
	} {
		var out bytes.Buffer
		a := &app{out: &out}
		a.printf("Created user %s (id %d)\n", tt.name, int64(7))
		if want := "Created user " + tt.want + " (id 7)\n"; out.String() != want {
			t.Errorf("%q: got %q, want %q", tt.name, out.String(), want)
		}
	}
}
