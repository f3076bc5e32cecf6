package opstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnitsAreSound asks systemd itself: the units are understood whole, and the server's leaves it little to do harm with.
func TestUnitsAreSound(t *testing.T) {
	units, err := filepath.Glob(filepath.Join(root, "ops/*/*.service"))
	if err != nil || len(units) == 0 {
		t.Fatalf("no units: %v", err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// Programs that are not installed here are not the unit's fault.
		here := filepath.Join(t.TempDir(), filepath.Base(unit))
		if err := os.WriteFile(here, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/openway", "/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", here).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
	unit, err := os.ReadFile(filepath.Join(root, "ops/systemd/openway.service"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(unit), "\nProcSubset=pid") { // Go reads net.core.somaxconn there, and takes 128 if it cannot
		t.Error("ProcSubset=pid shortens the queue of new connections to 128")
	}
	// What runs outside of the server's unit (commands, the timer, cron) knows this file only: without it they would look for data/openway.db.
	if !strings.Contains(read(t, "ops/systemd/openway.env.example"), "\nOPENWAY_DATABASE=/var/lib/openway/openway.db\n") {
		t.Error("openway.env.example does not name the database that openway.service uses")
	}
	if !strings.Contains(read(t, "docs/backup.md"), "install -d -m 0700 -o openway -g openway /var/backups/openway /var/log/openway") {
		t.Error("docs/backup.md does not make the directories that the timer and the crontab write to")
	}
	if !strings.Contains(string(unit), "\nWorkingDirectory=/var/lib/openway\n") {
		t.Error("relative paths lead to /, which is read-only")
	}
	server := filepath.Join(root, "ops/systemd/openway.service")
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", server).CombinedOutput(); err != nil {
		t.Errorf("%s: exposure over 2.0: %v\n%s", server, err, out)
	}
}
