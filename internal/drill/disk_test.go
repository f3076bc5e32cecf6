//go:build drill

package drill

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
)

// disk is a small file system of its own: ext4 in a file, mounted over a loop device. It needs root.
type disk struct{ dir, image string }

func newDisk(t *testing.T, megabytes int) *disk {
	t.Helper()
	home, err := os.MkdirTemp("", "openway-disk")
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{dir: filepath.Join(home, "disk"), image: filepath.Join(home, "image")}
	run := func(name string, args ...string) error {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, out)
		}
		return nil
	}
	err = errors.Join(os.Chmod(home, 0o755), os.Mkdir(d.dir, 0o755), run("truncate", "-s", fmt.Sprintf("%dM", megabytes), d.image),
		run("mkfs.ext4", "-q", "-m", "0", d.image))
	if err == nil {
		err = run("mount", "-o", "loop", d.image, d.dir)
	}
	if err != nil {
		t.Fatalf("a disk of its own (this needs root and loop devices): %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(run("umount", d.dir), os.RemoveAll(home)); err != nil {
			t.Error(err)
		}
	})
	return d
}

// freeze makes everything that would write to the disk wait, as a controller that hangs does; thaw lets it go on.
func (d *disk) freeze() error { return exec.Command("fsfreeze", "-f", d.dir).Run() }
func (d *disk) thaw() error   { return exec.Command("fsfreeze", "-u", d.dir).Run() }

func (d *disk) filler() string { return filepath.Join(d.dir, "filler") }

// fill leaves about so many KB of room.
func (d *disk) fill(leave int64) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		return err
	}
	f, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	defer f.Close()
	return syscall.Fallocate(int(f.Fd()), 0, 0, int64(s.Bavail)*s.Bsize-leave<<10)
}

func (d *disk) empty() error { return os.Remove(d.filler()) }

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

// TestDiskFull fills the disk under the database: everybody is answered 503 meanwhile, nothing is corrupt, and it works again when there is room.
func TestDiskFull(t *testing.T) {
	full := func(t *testing.T, disk *disk, d *drill, leave int64, room func()) {
		t.Helper()
		for round := range 3 {
			d.some(3)
			if err := disk.fill(leave); err != nil {
				t.Fatal(err)
			}
			c := newClient(d.clock)
			defer c.close()
			until(t, 2*time.Minute, "the disk is full and requests are refused", func() bool {
				a := c.ask(*d.servers[0].Load(), door, d.people[0].token, fmt.Sprint("full-", d.serial.Add(1)))
				d.mu.Lock()
				d.all = append(d.all, a)
				d.mu.Unlock()
				return a.status == 503
			})
			rest(2 * time.Second)
			began := time.Since(d.clock)
			if err := disk.empty(); err != nil {
				t.Fatal(err)
			}
			room()
			d.recovers(0, 30*time.Second)
			t.Logf("round %d: full; answers again %v after there was room", round+1, (time.Since(d.clock) - began).Round(time.Millisecond))
		}
		d.some(3)
		d.finish()
		d.settled()
		if f := d.check(true); f.broken > 0 || f.refused == 0 {
			t.Errorf("%v: want clean refusals", f)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		disk := newDisk(t, 128)
		database := filepath.Join(disk.dir, "openway.db")
		processtest.Run(t, database, "migrate")
		d := serveOne(t, database, 1000)
		full(t, disk, d, 256, func() {})
		sound(t, database)
	})
	t.Run("postgres", func(t *testing.T) {
		disk := newDisk(t, 512)
		p := processtest.NewPostgres(t, disk.dir, "max_wal_size = '48MB'", "min_wal_size = '32MB'")
		d := serveOne(t, p.URL(), 1000)
		full(t, disk, d, 4096, func() {
			if !p.Running() {
				t.Log("PostgreSQL had ended itself (it cannot go on without room for its log) and is started again, as its service manager does")
				if err := p.Start(); err != nil {
					t.Fatal(err)
				}
			}
		})
		soundPostgres(t, p)
	})
}
