package drill

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
)

// disk is a small file system of its own: at length ext4 in a file, mounted over a loop device, in short one in memory. It needs root.
type disk struct{ dir, image string }

func newDisk(t *testing.T, megabytes int) *disk {
	t.Helper()
	home, err := os.MkdirTemp("", "openway-disk")
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{dir: filepath.Join(home, "disk"), image: filepath.Join(home, "image")}
	size := fmt.Sprintf("%dM", megabytes)
	err = errors.Join(os.Chmod(home, 0o755), os.Mkdir(d.dir, 0o755))
	switch {
	case err != nil:
		t.Fatal(err)
	case long(true, false):
		if err := run("mount", "-t", "tmpfs", "-o", "size="+size, "openway", d.dir); err != nil {
			t.Skipf("a file system of its own needs root and the right to mount: %v", err)
		}
	default:
		err = errors.Join(run("truncate", "-s", size, d.image), run("mkfs.ext4", "-q", "-m", "0", d.image))
		if err == nil {
			err = run("mount", "-o", "loop", d.image, d.dir)
		}
		if err != nil {
			t.Fatalf("a disk of its own (this needs root and loop devices): %v", err)
		}
	}
	t.Cleanup(func() {
		if err := errors.Join(run("umount", d.dir), os.RemoveAll(home)); err != nil {
			t.Error(err)
		}
	})
	return d
}

// run runs a program.
func run(name string, args ...string) error {
	_, err := output(name, args...)
	return err
}

// output is what a program says.
func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func (d *disk) filler() string { return filepath.Join(d.dir, "filler") }

// fill leaves about so many KB of room.
func (d *disk) fill(leave int64) error { return fillUp(d.dir, d.filler(), leave) }

// fillUp makes a file that leaves about so many KB of room on the file system of a directory.
func fillUp(dir, filler string, leave int64) error {
	f, err := os.Create(filler)
	if err != nil {
		return err
	}
	defer f.Close()
	for range 100 {
		var s syscall.Statfs_t
		if err := syscall.Statfs(dir, &s); err != nil {
			return err
		}
		err = syscall.Fallocate(int(f.Fd()), 0, 0, max(int64(s.Bavail)*s.Bsize-leave<<10, 1))
		if !errors.Is(err, syscall.ENOSPC) { // else the server took some of the room meanwhile
			break
		}
	}
	return err
}

func (d *disk) empty() error { return os.Remove(d.filler()) }

// TestDiskFull fills the disk under the database: everybody is answered 503 meanwhile, nothing is corrupt, and it works again when there is room.
func TestDiskFull(t *testing.T) {
	measuring(t)
	full := func(t *testing.T, disk *disk, d *drill, leave int64, room func()) {
		t.Helper()
		for round := range long(1, 3) {
			d.some(3)
			if err := disk.fill(leave); err != nil {
				t.Fatal(err)
			}
			d.refuses("the disk is full")
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
