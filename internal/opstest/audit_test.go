package opstest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vulnerabilities makes a vulnerability database in which kong.New of every version is (not) vulnerable, and returns its address.
func vulnerabilities(t *testing.T, none bool) string {
	t.Helper()
	dir := t.TempDir()
	modules, vulns := "[]", "[]"
	if !none {
		modules = `[{"path":"github.com/alecthomas/kong","vulns":[{"id":"GO-2026-9999","modified":"2026-01-01T00:00:00Z"}]}]`
		vulns = `[{"id":"GO-2026-9999","modified":"2026-01-01T00:00:00Z"}]`
	}
	for name, text := range map[string]string{
		"index/db.json":      `{"modified":"2026-01-01T00:00:00Z"}`,
		"index/modules.json": modules,
		"index/vulns.json":   vulns,
		"ID/GO-2026-9999.json": `{"schema_version":"1.3.1","id":"GO-2026-9999","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z","details":"made up for a test",
			"affected":[{"package":{"name":"github.com/alecthomas/kong","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
			"ecosystem_specific":{"imports":[{"path":"github.com/alecthomas/kong","symbols":["New"]}]}}]}`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + dir
}

// TestAuditCanFail: a finding fails, an audit that could not be made says so in a status of its own, and neither is taken for the other.
func TestAuditCanFail(t *testing.T) {
	for _, c := range []struct {
		name, database string
		status         int
		says           string
	}{
		{"a vulnerable function is called", vulnerabilities(t, false), 1, "FAILED: govulncheck"},
		{"nothing is known", vulnerabilities(t, true), 0, "Nothing found."},
		{"the database cannot be asked", "http://127.0.0.1:1", 3, "INCOMPLETE: the vulnerability database http://127.0.0.1:1 could not be asked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out := audit(t, c.database, "govulncheck")
			if status != c.status || !strings.Contains(out, c.says) {
				t.Errorf("exit status %d, want %d with %q; it printed\n%s", status, c.status, c.says, out)
			}
		})
	}
}

func audit(t *testing.T, database string, steps ...string) (status int, report string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "security.txt")
	cmd := exec.Command("bash", append([]string{filepath.Join(root, "scripts/audit.sh")}, steps...)...)
	cmd.Env = append(os.Environ(), "GOVULNDB="+database, "AUDIT_REPORT="+file)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("no report: %v\n%s", err, out)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}
