package main

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // makes a role

	"github.com/openway-access/openway/internal/storetest"
)

// Who ends a command by a signal is told that, as at a prompt, and not what it was just doing with the database.
func TestAnInterruptedCommandSaysSo(t *testing.T) {
	t.Setenv("OPENWAY_ENV_FILE", "")
	t.Setenv("OPENWAY_DATABASE", filepath.Join(t.TempDir(), "openway.db"))
	ctx, cancel := context.WithCancel(t.Context())
	a := &app{ctx: ctx, in: strings.NewReader(""), out: io.Discard, err: io.Discard}
	if err := a.run([]string{"gate", "create", "front"}); err != nil {
		t.Fatal(err)
	}
	cancel()
	for _, command := range []string{"gate list", "events export", "user create anna --no-password"} {
		err := a.run(strings.Fields(command))
		if err == nil || message(err) != "interrupted" {
			t.Errorf("%s, interrupted: %v; want that in one word", command, err)
		}
	}
}

// Whoever forgot sudo -u is told whose the files are.
func TestFilesOfAnotherUser(t *testing.T) {
	dir, err := os.MkdirTemp("", "openway") // t.TempDir lets nobody else in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "openway")
	path, err := exec.LookPath("openway")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil { // #nosec G306 -- to be run by another user
		t.Fatal(err)
	}
	site := filepath.Join(dir, "site")
	database := filepath.Join(site, "openway.db")
	run := func(other bool, args ...string) (string, error) {
		c := exec.Command(program, args...)
		c.Dir, c.Env = dir, []string{"OPENWAY_DATABASE=" + database, raceEndsAtOnce}
		if other && os.Geteuid() == 0 {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := c.CombinedOutput()
		return string(out), err
	}
	if out, err := run(false, "gate", "create", "front"); err != nil {
		t.Fatal(err, out)
	}
	for _, tt := range []struct {
		name      string
		dir, file os.FileMode
		says      string
	}{
		{"the file may not be read", 0o755, 0, " may not read and write " + database + ", which belongs to "},
		{"the file may not be written", 0o777, 0o444, " may not read and write " + database + ", which belongs to "},
		{"nothing may be written beside it", 0o555, 0o666, " may not write in " + site + ", which belongs to "},
		{"the directory is closed", 0, 0o600, " may not read and write " + database + ", which belongs to "},
	} {
		if err := os.Chmod(dir, 0o755); err != nil { // #nosec G302 -- of this test
			t.Fatal(err)
		}
		if err := os.Chmod(database, tt.file); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(site, tt.dir); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"gate list", "check"} {
			if out, err := run(true, strings.Fields(command)...); err == nil || !strings.Contains(out, tt.says) || !strings.Contains(out, "sudo -u ") || strings.Contains(out, "Start it") {
				t.Errorf("%s: %s: %v, %s; want an error that says %q, and to use sudo -u", tt.name, command, err, out, tt.says)
			}
		}
		if err := os.Chmod(site, 0o755); err != nil { // #nosec G302 -- of this test
			t.Fatal(err)
		}
	}
}

// A role that may make no tables is told which right is missing.
func TestARoleWithoutRights(t *testing.T) {
	db := storetest.Empty(t, "postgres")
	u, err := url.Parse(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	boss, err := sql.Open("pgx", db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer boss.Close()
	const role = "openway_without_rights"
	if _, err := boss.Exec("CREATE ROLE " + role + " LOGIN PASSWORD 'secret'"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := boss.Exec("DROP ROLE " + role); err != nil {
			t.Error(err)
		}
	}()
	u.User = url.UserPassword(role, "secret")
	t.Setenv("OPENWAY_ENV_FILE", "")
	t.Setenv("OPENWAY_DATABASE", u.String())
	t.Setenv("OPENWAY_SECRET_KEY", testKey)
	var says bytes.Buffer
	want := "; the role that openway connects as lacks this right: make it the owner of the database (ALTER DATABASE … OWNER TO …), or GRANT it what it needs"
	if got := run([]string{"migrate"}, strings.NewReader(""), io.Discard, &says); got != 1 || !strings.Contains(says.String(), want) {
		t.Errorf("migrate by a role without rights: status %d, %q; want 1, and %q", got, says.String(), want)
	}
}
