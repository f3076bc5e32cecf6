package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/store"
)

// A backup is called DATABASE_2025-10-04_1559.sql.gz (PostgreSQL) or .db.gz (SQLite), with .age at its end when it is encrypted. The time
// is UTC. A second one within a minute gets its seconds, one more within that second a number, so that names sort by age. One that a restore took says so: it is no part of the rotation.
const beforeRestore = "before-restore"

var nameForm = regexp.MustCompile(`^_(\d{4}-\d{2}-\d{2}_\d{4})(\d{2})?(?:_(\d+))?(?:_(` + beforeRestore + `))?(\.(?:sql|db)\.gz)(\.age)?$`)

// extension is what the names of an engine's backups end with.
func extension(engine string) string {
	if engine == store.Postgres {
		return ".sql.gz"
	}
	return ".db.gz"
}

// DatabaseName is what the backups of a database are called by: the name of the PostgreSQL database, or of the SQLite file without its
// extension. What a file's name cannot hold is replaced.
func DatabaseName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r < ' ' || r == 0x7f {
			return '-'
		}
		return r
	}, name)
	return strings.TrimLeft(name, ".")
}

// Entry is a file in a directory of backups.
type Entry struct {
	Name      string
	Path      string
	At        time.Time // as its name says
	Size      int64
	Encrypted bool
	Safety    bool      // a restore took it
	Manifest  *Manifest // nil when it is encrypted, or Problem says why
	Problem   string    // "" = none that can be seen without reading it all

	order string
}

// List returns the backups of a database in a directory, newest first. Every file in it has been verified when it got its name.
func List(dir, database, engine string) ([]Entry, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the backups: %w", err)
	}
	var all []Entry
	for _, f := range files {
		rest, ours := strings.CutPrefix(f.Name(), database)
		part := nameForm.FindStringSubmatch(rest)
		if !ours || part == nil || part[5] != extension(engine) || !f.Type().IsRegular() {
			continue
		}
		at, err := time.Parse("2006-01-02_150405", part[1]+cmp.Or(part[2], "00"))
		if err != nil {
			continue
		}
		st, err := f.Info()
		if err != nil {
			return nil, fmt.Errorf("list the backups: %w", err)
		}
		e := Entry{
			Name: f.Name(), Path: filepath.Join(dir, f.Name()), At: at, Size: st.Size(), Safety: part[4] != "", Encrypted: part[6] != "",
			order: part[1] + fmt.Sprintf("%2s%9s", part[2], part[3]), // the first one of a minute has no seconds
		}
		if !e.Encrypted {
			if e.Manifest, err = peek(e.Path); err != nil {
				e.Problem = err.Error()
			}
		}
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return cmp.Compare(b.order, a.order) })
	return all, nil
}

// place gives a finished file a name that sorts behind those of its minute, without ever replacing one.
//
// Calls: link the temporary file to its name (fails if there is one), unlink the temporary name, fsync the directory.
func place(temporary, dir, database, suffix, ext string, at time.Time) (string, error) {
	at = at.UTC()
	minute, second := at.Format("2006-01-02_1504"), at.Format("05")
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	next := 0 // 0: the first one of its minute, 1: of its second
	for _, f := range files {
		rest, ours := strings.CutPrefix(f.Name(), database)
		part := nameForm.FindStringSubmatch(rest)
		if !ours || part == nil || part[1] != minute {
			continue
		}
		next = max(next, 1)
		if part[2] == second {
			n, _ := strconv.Atoi(cmp.Or(part[3], "1")) // more digits than a number has are nobody's
			next = max(next, n+1)
		}
	}
	name := database + "_" + minute
	if next > 0 {
		name += second
	}
	if next > 1 {
		name += fmt.Sprintf("_%d", next)
	}
	if suffix != "" {
		name += "_" + suffix
	}
	path := filepath.Join(dir, name+ext)
	if err := os.Link(temporary, path); err != nil {
		return "", err
	}
	return path, errors.Join(os.Remove(temporary), syncDir(dir))
}

// pointLatest makes latest.sql.gz (or .db.gz, or with .age) a link to the newest backup, and takes away the one of the other kind.
func pointLatest(path, ext string) error {
	dir := filepath.Dir(path)
	link := filepath.Join(dir, "latest"+ext)
	other := strings.TrimSuffix(link, ".age")
	if other == link {
		other += ".age"
	}
	for _, l := range []string{link, other} {
		if st, err := os.Lstat(l); err == nil && st.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("%s is no link: move it away", l)
		}
	}
	temporary := filepath.Join(dir, temporaryPrefix+"latest")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(path), temporary); err != nil {
		return err
	}
	owned(temporary, dir)
	if err := os.Rename(temporary, link); err != nil {
		return err
	}
	if err := os.Remove(other); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(dir)
}

// rotate deletes the oldest backups of a database until keep are left, the one just taken among them whatever its name says of its age.
func rotate(dir, database, engine string, keep int, taken string) (removed []string, err error) {
	all, err := List(dir, database, engine)
	if err != nil {
		return nil, err
	}
	kept := 1
	for _, e := range all {
		if e.Path == taken || e.Safety {
			continue
		}
		if kept++; kept <= keep {
			continue
		}
		if err := os.Remove(e.Path); err != nil {
			return removed, fmt.Errorf("delete an old backup: %w", err)
		}
		removed = append(removed, e.Name)
	}
	return removed, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// owned gives a file that root made to the owner of the directory, who takes the other backups. A backup is as good where root may not do that, as on some
// network shares.
func owned(path, dir string) {
	_ = store.OwnedAs(path, dir)
}
