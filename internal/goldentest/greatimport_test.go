package goldentest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/djangotest"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/storetest"
)

// drill names the environment variable that makes the import of a great site great: 20,000 users and a million events.
const drill = "OPENWAY_IMPORT_DRILL"

// TestImportOfAGreatSite imports a generated site on both engines and says how long that took and how much memory. The memory must not grow with the events: at
// four times as many it is about the same.
func TestImportOfAGreatSite(t *testing.T) {
	users, gates, most := 500, 20, 8000
	if os.Getenv(drill) != "" {
		users, gates, most = 20_000, 100, 1_000_000
	} else {
		t.Parallel()
	}
	path, err := processtest.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			memory := map[int]int64{}
			for _, n := range []int{most / 4, most} {
				dump := filepath.Join(t.TempDir(), "great.sql.gz")
				djangotest.WriteFile(t, dump, djangotest.Great(users, gates, n), djangotest.Format{Restrict: true})
				database := storetest.Empty(t, engine).DSN
				c := exec.Command(path, "import", "django", "--from-dump", dump)
				c.Env = processtest.Environment(database)
				began := time.Now()
				out, err := c.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				took := time.Since(began)
				memory[n] = c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss // KiB on Linux
				t.Logf("%d users, %d events: %.1f s, %.0f events/s, %d MiB, %.1f s of processor time", users, n, took.Seconds(), float64(n)/took.Seconds(),
					memory[n]>>10, (c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Seconds())
				if newest := processtest.Run(t, database, "events", "list", "--json", "--limit", "1"); !bytes.HasPrefix(newest, fmt.Appendf(nil, `{"id":%d,`, n)) {
					t.Errorf("the newest event: %s", newest)
				}
			}
			if limit := memory[most/4]*3/2 + 32<<10; memory[most] > limit {
				t.Errorf("memory grows with the events: %v KiB", memory)
			}
		})
	}
}
