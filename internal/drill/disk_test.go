//go:build drill

package drill

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
)

// freeze makes everything that would write to the disk wait, as a controller that hangs does; thaw lets it go on.
func (d *disk) freeze() error { return exec.Command("fsfreeze", "-f", d.dir).Run() }
func (d *disk) thaw() error   { return exec.Command("fsfreeze", "-u", d.dir).Run() }

// TestDiskStalled freezes the file system under the database for longer than a commit is waited for.
func TestDiskStalled(t *testing.T) {
	for _, stall := range []time.Duration{5 * time.Second, 15 * time.Second} {
		t.Run(fmt.Sprint("sqlite/", stall), func(t *testing.T) {
			disk := newDisk(t, 256)
			database := filepath.Join(disk.dir, "openway.db")
			processtest.Run(t, database, "migrate")
			d := serveOne(t, database, 1000)
			d.endure(stall, disk.freeze, disk.thaw)
			d.some(3)
			d.finish()
			d.settled()
			d.bounded(d.check(true))
			sound(t, database)
		})
		t.Run(fmt.Sprint("postgres/", stall), func(t *testing.T) {
			disk := newDisk(t, 512)
			p := processtest.NewPostgres(t, disk.dir)
			d := serveOne(t, p.URL(), 1000)
			d.endure(stall, disk.freeze, disk.thaw)
			d.some(3)
			d.finish()
			d.settled()
			d.bounded(d.check(true))
			soundPostgres(t, p)
		})
	}
}
