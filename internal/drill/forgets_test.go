package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/processtest"
)

// thinDisk is a file system on a device that promises more room than it has, as thin volumes do: when its store is full, what is written
// is lost, and only a sync says so. It needs root and loop devices.
type thinDisk struct{ dir, store, device string }

func newThinDisk(t *testing.T, megabytes int) *thinDisk {
	t.Helper()
	home, err := os.MkdirTemp("", "openway-thin")
	if err != nil {
		t.Fatal(err)
	}
	d := &thinDisk{dir: filepath.Join(home, "disk"), store: filepath.Join(home, "store")}
	image := filepath.Join(d.store, "image")
	undo := []func() error{func() error { return os.RemoveAll(home) }}
	t.Cleanup(func() {
		for i := len(undo) - 1; i >= 0; i-- {
			if err := undo[i](); err != nil {
				t.Error(err)
			}
		}
	})
	may := func(err error) {
		t.Helper()
		switch {
		case err == nil:
		case long(true, false):
			t.Skipf("a thin disk needs root, the right to mount, and loop devices: %v", err)
		default:
			t.Fatalf("a thin disk (this needs root and loop devices): %v", err)
		}
	}
	if err := errors.Join(os.Chmod(home, 0o755), os.Mkdir(d.dir, 0o755), os.Mkdir(d.store, 0o755)); err != nil {
		t.Fatal(err)
	}
	may(run("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dM", megabytes), "openway", d.store))
	undo = append(undo, func() error { return run("umount", "-l", d.store) })
	may(run("fallocate", "-l", fmt.Sprintf("%dM", megabytes/2), image))
	may(run("mkfs.ext4", "-q", "-m", "0", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", image))
	d.device, err = output("losetup", "-f", "--show", image)
	may(err)
	undo = append(undo, func() error { return run("losetup", "-d", d.device) })
	// Of a write of several pages that ends half-way the loop device says that all is well. (Linux 6.18)
	may(os.WriteFile(filepath.Join("/sys/block", filepath.Base(d.device), "queue/max_sectors_kb"), []byte("4"), 0))
	may(run("mount", d.device, d.dir))
	undo = append(undo, func() error { return run("umount", "-l", d.dir) })
	may(d.trim())
	return d
}

// remount makes the kernel forget all that the disk does not have.
func (d *thinDisk) remount() error {
	if err := run("umount", d.dir); err != nil {
		return err
	}
	return run("mount", d.device, d.dir)
}

// trim leaves its room to what the file system itself writes, and to files: all else gets it when it is written.
func (d *thinDisk) trim() error { return run("fstrim", d.dir) }

// gaveUp reports whether ext4 has made itself read-only.
func (d *thinDisk) gaveUp() bool {
	return errors.Is(unix.Access(d.dir, unix.W_OK), unix.EROFS)
}

func (d *thinDisk) filler() string { return filepath.Join(d.store, "filler") }

// fill leaves no room for what is not there yet.
func (d *thinDisk) fill() error {
	if err := d.trim(); err != nil {
		return err
	}
	return fillUp(d.store, d.filler(), 0)
}

// byCommand takes rights away as an administrator at a terminal does. A store in this process would see the disk fail as well, and hold its files open from then on.
func byCommand(database string) func(context.Context, *person) error {
	return func(_ context.Context, p *person) error {
		out, err := processtest.Try(database, "permission", "revoke", door, "--user", p.name)
		switch {
		case err == nil:
			return nil
		case strings.Contains(string(out), "has no permission at gate"):
			return fmt.Errorf("%w: %w", access.ErrNotFound, err)
		}
		return fmt.Errorf("%w: %w", access.ErrOutcomeUnknown, err)
	}
}

// TestDiskThatForgets: a disk fails to keep what was written, and works again. Nothing that was answered is lost, nothing is corrupt, also when the kernel has
// forgotten what it had held for written; and the server goes on by itself.
func TestDiskThatForgets(t *testing.T) {
	measuring(t)
	disk := newThinDisk(t, 240)
	database := filepath.Join(disk.dir, "openway.db")
	processtest.Run(t, database, "migrate")
	list := people(t, database, 1000)
	p := processtest.Serve(t, processtest.Options{Database: database, Env: append(processtest.ThrottlesOff(), fmt.Sprintf("OPENWAY_LISTEN=127.0.0.1:%d", processtest.FreePort(t))), Brief: true})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Stop(t))
		}
	})
	d := startDrillWith(t, byCommand(database), database, list, 40*time.Millisecond, p.Address)
	for round := range long(2, 10) {
		d.some(3)
		if err := disk.fill(); err != nil {
			t.Fatal(err)
		}
		d.refuses("the disk fails")
		rest(2 * time.Second)
		if disk.gaveUp() {
			t.Skip("blocks of ext4 itself were among those that could not be written: it is read-only from now on, and nothing can be learnt of the server")
		}
		began := time.Since(d.clock)
		if err := os.Remove(disk.filler()); err != nil {
			t.Fatal(err)
		}
		d.recovers(0, 30*time.Second)
		t.Logf("round %d: answers again %v after the disk works", round+1, (time.Since(d.clock) - began).Round(time.Millisecond))
	}
	d.some(3)
	d.finish()
	log := p.Stop(t)
	if strings.Contains(log, "malformed") || strings.Count(log, "starting anew") < long(2, 10) {
		t.Errorf("the server did not start anew, or saw what is not on the disk:\n%s", log)
	}
	if err := disk.remount(); err != nil {
		t.Fatal(err)
	}
	sound(t, database)
	if f := d.check(false); f.refused == 0 {
		t.Errorf("%v: want refusals while the disk fails", f)
	}
}

// TestServerBeginsAnew: a server whose disk has failed says so and why, and goes on by itself as a new process of the same number, beside one that has the file open.
func TestServerBeginsAnew(t *testing.T) {
	t.Parallel()
	failing, err := processtest.Build(processtest.Edit{
		File: "internal/store/wal_linux.go",
		Old:  `	return os.NewSyscallError("fdatasync", failed)`,
		New:  `	if os.Remove(f.Name()+".fails") == nil { failed = unix.EIO }; return os.NewSyscallError("fdatasync", failed)`,
	})
	if err != nil {
		t.Fatal(err)
	}
	database := filepath.Join(t.TempDir(), "openway.db")
	processtest.Run(t, database, "migrate")
	list := people(t, database, 200)
	environment := append(processtest.ThrottlesOff(), fmt.Sprintf("OPENWAY_LISTEN=127.0.0.1:%d", processtest.FreePort(t)))
	p := processtest.Serve(t, processtest.Options{Binary: failing, Database: database, Env: environment, Brief: true})
	d := startDrill(t, database, list, 40*time.Millisecond, p.Address)
	const rounds = 3
	for range rounds {
		d.some(1)
		if err := os.WriteFile(database+"-wal.fails", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		until(t, 30*time.Second, "the server sees it", func() bool {
			_, err := os.Stat(database + "-wal.fails")
			return errors.Is(err, os.ErrNotExist)
		})
		d.recovers(0, 30*time.Second)
	}
	d.some(1)
	d.finish()
	log := p.Stop(t)
	if strings.Count(log, "starting anew") != rounds || !strings.Contains(log, "input/output error") {
		t.Errorf("want the server to say %d times that it starts anew, and why:\n%s", rounds, log)
	}
	d.check(false)
	sound(t, database)
}
