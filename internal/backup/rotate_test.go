package backup_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/backup"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func storeFor(t *testing.T, engine string) storetest.Database { return storetest.New(t, engine) }

func TestRotation(t *testing.T) {
	each(t, func(t *testing.T, x *site) {
		x.must(os.MkdirAll(x.dir, 0o700))
		// None of these is ours to delete.
		strangers := []string{"site_2020-01-01_0000.txt", "other_2020-01-01_0000" + x.ext(), "site_x_2020-01-01_0000" + x.ext(), "site_2020-01-01" + x.ext(), "asite_2020-01-01_0000" + x.ext(), "site_2020-01-01_0000" + map[string]string{".sql.gz": ".db.gz", ".db.gz": ".sql.gz"}[x.ext()]}
		for _, name := range strangers {
			x.must(os.WriteFile(filepath.Join(x.dir, name), nil, 0o600))
		}
		x.must(os.WriteFile(filepath.Join(x.dir, ".openway-backup-unfinished"), []byte("of a process that died"), 0o600))
		cfg := x.config
		take := func(keep int) *backup.Taken {
			c := cfg()
			c.Keep = keep
			taken := made[*backup.Taken](t)(backup.Take(t.Context(), x.s, c))
			return taken
		}
		var paths []string
		for range 4 {
			paths = append(paths, take(3).Path)
			x.clock = x.clock.Add(24 * time.Hour)
		}
		want := "site_2026-05-04_1000 site_2026-05-05_1000 site_2026-05-06_1000 site_2026-05-07_1000"
		for i, name := range strings.Fields(want) {
			if got := filepath.Base(paths[i]); got != name+x.ext() {
				t.Errorf("backup %d is called %s, want %s", i, got, name+x.ext())
			}
		}
		if _, err := os.Stat(paths[0]); !os.IsNotExist(err) {
			t.Errorf("the oldest of four is there still (%v); three were to be kept", err)
		}
		if got := made[string](t)(os.Readlink(filepath.Join(x.dir, "latest"+x.ext()))); got != filepath.Base(paths[3]) {
			t.Errorf("latest%s points to %s, want %s", x.ext(), got, filepath.Base(paths[3]))
		}
		// A clock that was set back makes names that sort before: what was just taken stays all the same.
		x.clock = x.clock.Add(-1000 * 24 * time.Hour)
		early := take(2)
		if _, err := os.Stat(early.Path); err != nil {
			t.Errorf("the newest backup was deleted, because its name is older: %v", err)
		}
		if len(early.Removed) != 2 {
			t.Errorf("removed %v, want two", early.Removed)
		}
		// A restore's own backups are nobody's to rotate.
		x.restore(early.Path)
		one := take(1)
		all := made[[]backup.Entry](t)(backup.List(x.dir, "site", x.db.Engine))
		if len(all) != 2 || all[0].Path != one.Path || !all[1].Safety || all[0].Problem != "" || all[0].Manifest == nil {
			t.Errorf("left: %+v; want the newest and the one before the restore", all)
		}
		for _, name := range strangers {
			if _, err := os.Stat(filepath.Join(x.dir, name)); err != nil {
				t.Errorf("a file that is no backup of this database was touched: %v", err)
			}
		}
		if got := names(t, x.dir); strings.Contains(got, "unfinished") || strings.Contains(got, "-copy") {
			t.Errorf("unfinished files are left: %s", got)
		}
		if st := made[os.FileInfo](t)(os.Stat(one.Path)); st.Mode().Perm() != 0o600 {
			t.Errorf("a backup has the mode %v, want 0600", st.Mode())
		}
	})
}

func TestNamesWithinAMinute(t *testing.T) {
	x := open(t, storeFor(t, store.SQLite))
	var got []string
	for range 4 {
		got = append(got, filepath.Base(made[*backup.Taken](t)(backup.Take(t.Context(), x.s, x.config())).Path))
	}
	want := "[site_2026-05-04_1000.db.gz site_2026-05-04_100000.db.gz site_2026-05-04_100000_2.db.gz site_2026-05-04_100000_3.db.gz]"
	if fmt.Sprint(got) != want {
		t.Errorf("names: %v, want %s", got, want)
	}
	var listed []string
	for _, e := range made[[]backup.Entry](t)(backup.List(x.dir, "site", store.SQLite)) {
		listed = append(listed, e.Name)
	}
	if fmt.Sprint(listed) != "[site_2026-05-04_100000_3.db.gz site_2026-05-04_100000_2.db.gz site_2026-05-04_100000.db.gz site_2026-05-04_1000.db.gz]" {
		t.Errorf("listed: %v, want the newest first", listed)
	}
	// A name that is free again because its file was deleted would make the next one the oldest.
	var taken []string
	for range 4 {
		x.clock = x.clock.Add(time.Second / 2)
		c := x.config()
		c.Keep = 2
		taken = append(taken, made[*backup.Taken](t)(backup.Take(t.Context(), x.s, c)).Path)
	}
	left := made[[]backup.Entry](t)(backup.List(x.dir, "site", store.SQLite))
	if len(left) != 2 || left[0].Path != taken[3] || left[1].Path != taken[2] {
		t.Errorf("left: %+v; want the two that were taken last: %v", left, taken)
	}
}

// What root takes by hand belongs to whom the directory belongs to, whose timer takes the next one.
func TestWhatRootTakes(t *testing.T) {
	x := open(t, storeFor(t, store.SQLite))
	x.must(os.MkdirAll(x.dir, 0o700))
	if os.Geteuid() == 0 { // else all is one user's anyway
		x.must(os.Chown(x.dir, 65534, 65534))
	}
	owner := func(path string) [2]uint32 {
		is := made[os.FileInfo](t)(os.Lstat(path)).Sys().(*syscall.Stat_t)
		return [2]uint32{is.Uid, is.Gid}
	}
	made[*backup.Taken](t)(backup.Take(t.Context(), x.s, x.config()))
	files := made[[]os.DirEntry](t)(os.ReadDir(x.dir))
	if len(files) != 3 {
		t.Errorf("files: %s; want the lock, the backup and the link to it", names(t, x.dir))
	}
	for _, f := range files {
		if got, want := owner(filepath.Join(x.dir, f.Name())), owner(x.dir); got != want {
			t.Errorf("%s belongs to %v, want %v", f.Name(), got, want)
		}
	}
}

func TestTwoAtOnce(t *testing.T) {
	x := open(t, storeFor(t, store.SQLite))
	c := x.config()
	started := false
	c.Progress = func(string, int64, int64) {
		if started {
			return
		}
		started = true
		_, err := backup.Take(t.Context(), x.s, x.config())
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(process %d) takes a backup", os.Getpid())) {
			t.Errorf("a second backup at the same time = %v, want it refused", err)
		}
	}
	made[*backup.Taken](t)(backup.Take(t.Context(), x.s, c))
	if !started {
		t.Error("nobody was told of the progress")
	}
}

// A link that somebody replaced by a file is not overwritten, and that is said.
func TestLatestThatIsNoLink(t *testing.T) {
	x := open(t, storeFor(t, store.SQLite))
	x.must(os.MkdirAll(x.dir, 0o700))
	x.must(os.WriteFile(filepath.Join(x.dir, "latest.db.gz"), []byte("mine"), 0o600))
	taken, err := backup.Take(t.Context(), x.s, x.config())
	if err == nil || taken == nil || !strings.Contains(err.Error(), "is no link") {
		t.Errorf("take = %v, %v; want the backup, and a word about the link", taken, err)
	}
	if got := string(read(t, filepath.Join(x.dir, "latest.db.gz"))); got != "mine" {
		t.Errorf("the file is %q now", got)
	}
}
