package main

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// scripted runs a script of the repository with the variables of the Django service, as its operator would.
type scripted struct {
	t   *testing.T
	dir string // for backups
	env []string
}

func newScripted(t *testing.T) scripted {
	t.Helper()
	in := installWithAnna(t, "postgres")
	u, err := url.Parse(in.database())
	if err != nil {
		t.Fatal(err)
	}
	openway, err := exec.LookPath("openway")
	if err != nil {
		t.Fatal(err)
	}
	return scripted{t, filepath.Join(in.dir, "backups"), []string{
		"HOME=" + in.dir, "OPENWAY_BIN=" + openway, "POSTGRES_DB=" + strings.TrimPrefix(u.Path, "/"), "POSTGRES_USER=" + u.User.Username(), "POSTGRES_PASSWORD=unused",
		"DB_PORT=" + u.Port(), "BACKUP_DIR=" + filepath.Join(in.dir, "backups"), raceEndsAtOnce, "KEEP_BACKUPS=2",
	}}
}

func (s scripted) run(name string, args ...string) (string, error) {
	c := exec.Command(filepath.Join("..", "..", "scripts", name), args...)
	c.Env = s.env
	out, err := c.CombinedOutput()
	return string(out), err
}

func (s scripted) must(name string, args ...string) string {
	s.t.Helper()
	out, err := s.run(name, args...)
	if err != nil {
		s.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return out
}

func (s scripted) check() {
	s.t.Helper()
	for range 3 {
		s.must("backup.sh")
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "*.sql.gz"))
	if err != nil || len(files) != 3 { // two, and the link
		s.t.Errorf("backups: %v, %v; want two and the link to the latest", files, err)
	}
	form := regexp.MustCompile(`/openway_test_\w+_\d{4}-\d\d-\d\d_\d{4}(\d\d)?(_\d)?\.sql\.gz$`)
	if !form.MatchString(files[1]) || !form.MatchString(files[2]) {
		s.t.Errorf("names of backups: %v", files)
	}
	latest := filepath.Join(s.dir, "latest.sql.gz")
	if out, err := exec.Command("gunzip", "-t", latest).CombinedOutput(); err != nil {
		s.t.Errorf("gunzip -t: %v: %s", err, out)
	}
	if out := s.must("restore.sh"); !strings.Contains(out, files[2]) || !strings.Contains(out, "VERIFIED") {
		s.t.Errorf("restore.sh without a file printed %s", out)
	}
	if out, err := s.run("restore.sh", latest); err == nil || !strings.Contains(out, "give --yes") {
		s.t.Errorf("restore.sh without anybody to ask = %v: %s", err, out)
	}
	if out := s.must("restore.sh", "--yes", latest); !strings.Contains(out, "Restored "+latest) {
		s.t.Errorf("restore.sh printed %s", out)
	}
}

func TestBackupScripts(t *testing.T) {
	s := newScripted(t)
	s.env = append(s.env, "PATH="+os.Getenv("PATH"), "DB_HOST=127.0.0.1")
	s.check()
	s.env = append(s.env, "POSTGRES_USER=nobody_of_that_name")
	if out, err := s.run("backup.sh"); err == nil || !strings.Contains(out, "openway: ") {
		t.Errorf("backup.sh of a database that cannot be reached = %v: %s", err, out)
	}
}

// Where pg_dump and psql are not installed they run in the container of the database. A docker that does as its own would stands for it: what it is told to run
// in the container runs here.
func TestBackupScriptsWithContainers(t *testing.T) {
	s := newScripted(t)
	bin, inside := t.TempDir(), filepath.Join(t.TempDir(), "ran")
	for _, name := range []string{"bash", "sh", "env", "dirname", "basename", "cat"} {
		if err := os.Symlink(lookPath(t, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	docker := `#!/bin/bash
set -eu
[ "$1 $2 $3 $4" = "compose exec -T db" ]
shift 4
echo "$*" >>` + inside + `
case $1 in
hostname) echo 127.0.0.1 ;;
*) PATH=` + os.Getenv("PATH") + ` PGHOST=127.0.0.1 PGPORT="$DB_PORT" exec "$@" ;;
esac
`
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(docker), 0o700); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "PATH="+bin)
	s.check()
	ran, err := os.ReadFile(inside)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pg_dump --username=", "psql --username=", "hostname -i"} {
		if !strings.Contains(string(ran), want) {
			t.Errorf("in the container ran\n%s\nwithout %s", ran, want)
		}
	}
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
