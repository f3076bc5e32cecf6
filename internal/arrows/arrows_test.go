// Package arrows holds the picture of who may import whom. It has no code, only the test.
package arrows

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/openway-access/openway"

// allowed lists, for each package, what it may import of this module. Imports point down, never sideways; what is not listed is
// refused. docs/architecture.md draws the same picture.
var allowed = map[string][]string{
	"api":                 {},
	"bench":               {"internal/access", "internal/decide", "internal/store"},
	"internal/access":     {},
	"internal/throttle":   {},
	"internal/posting":    {},
	"internal/server":     {},
	"internal/decide":     {"internal/access"},
	"internal/credential": {"internal/access"},
	"internal/sitefile":   {"internal/access"},
	"internal/table":      {},
	"internal/store":      {"internal/access", "internal/posting"},
	"internal/eventlog":   {"internal/access"},
	"internal/gatekeeper": {"internal/access", "internal/credential", "internal/decide", "internal/eventlog", "internal/throttle"},
	"internal/backup":     {"internal/access", "internal/store"},
	"internal/registry":   {"internal/access", "internal/credential", "internal/sitefile", "internal/store", "internal/table"},
	"internal/importer":   {"internal/access", "internal/credential", "internal/decide", "internal/store"},
	"internal/httpapi":    {"api", "internal/access", "internal/eventlog", "internal/gatekeeper", "internal/registry", "internal/throttle"},
	"internal/metrics":    {"internal/access", "internal/eventlog", "internal/gatekeeper", "internal/registry"},
	"internal/webadmin":   {"internal/access", "internal/eventlog", "internal/gatekeeper", "internal/registry", "internal/table", "internal/throttle"},
	"internal/storetest":  {"internal/store"},
	"internal/djangotest": {"internal/sitefile"},
	"internal/goldentest": {},
	"internal/opstest":    {},
	"internal/arrows":     {},

	// What starts and breaks others, for tests.
	"internal/processtest": {},
	"internal/drill":       {},
}

// unrestricted may import everything: the binary that wires the parts.
var unrestricted = []string{"cmd/openway"}

func TestImportsPointDown(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module+"/")
		if slices.Contains(unrestricted, pkg) {
			continue
		}
		seen[pkg] = true
		may, listed := allowed[pkg]
		if !listed {
			t.Errorf("%s is not in the picture: list what it may import here and in docs/architecture.md", pkg)
			continue
		}
		for _, imported := range fields[1:] {
			if own, ok := strings.CutPrefix(imported, module+"/"); ok && !slices.Contains(may, own) {
				t.Errorf("%s imports %s; it may import only %v", pkg, own, may)
			}
		}
	}
	for pkg := range allowed {
		if !seen[pkg] {
			t.Errorf("%s is in the picture and nowhere else", pkg)
		}
	}
}
