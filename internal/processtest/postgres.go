package processtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postgres is a PostgreSQL server of a test's own, with its files' durability as people have it.
type Postgres struct {
	Port int
	Dir  string // of its data
	bin  string
	home string // of its socket and logs
	as   *syscall.SysProcAttr
}

// URL is the server's database of a superuser.
func (p *Postgres) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", p.Port)
}

// Binaries is the directory of PostgreSQL's server programs, of the newest version on this machine.
func Binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	for _, path := range []string{"/usr/local/pgsql/bin/initdb", "/opt/homebrew/opt/postgresql/bin/initdb"} {
		if _, err := os.Stat(path); err == nil && len(found) == 0 {
			found = append(found, path)
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil && len(found) == 0 {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", errors.New("no PostgreSQL server programs (initdb) on this machine: install PostgreSQL's server (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

func version(path string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return n
}

// NewPostgres makes a server in dir ("" = a directory that goes with the test) and starts it with the settings, each "name=value". It is
// ended and removed with the test.
func NewPostgres(t testing.TB, dir string, settings ...string) *Postgres {
	t.Helper()
	p := newServer(t, dir)
	if err := p.Do("initdb", "-D", p.Dir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"); err != nil {
		t.Fatal(err)
	}
	p.configure(t, settings)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// NewStandby makes a streaming standby of the server and starts it. name is its application_name, as synchronous_standby_names has it.
func (p *Postgres) NewStandby(t testing.TB, name string, settings ...string) *Postgres {
	t.Helper()
	s := newServer(t, "")
	from := fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=%s", p.Port, name)
	if err := s.Do("pg_basebackup", "-D", s.Dir, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", from); err != nil {
		t.Fatal(err)
	}
	s.configure(t, settings)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func newServer(t testing.TB, dir string) *Postgres {
	t.Helper()
	bin, err := Binaries()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir, whose parents nobody else may enter; and a socket's path must be short.
	home, err := os.MkdirTemp("", "openway-pg")
	if err != nil {
		t.Fatal(err)
	}
	p := &Postgres{Port: FreePort(t), bin: bin, home: home, Dir: filepath.Join(home, "data")}
	if dir != "" {
		p.Dir = filepath.Join(dir, "data")
	}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		const nobody = 65534
		p.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		err = os.Chown(home, nobody, nobody)
		if dir != "" {
			err = errors.Join(err, os.Chown(dir, nobody, nobody))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if p.Running() {
			if err := p.Stop("immediate"); err != nil {
				t.Errorf("end PostgreSQL: %v", err)
			}
		}
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *Postgres) configure(t testing.TB, settings []string) {
	t.Helper()
	text := fmt.Sprintf("\nport = %d\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nshared_buffers = '64MB'\nmax_connections = 200\n", p.Port, p.home)
	for _, s := range settings {
		text += s + "\n"
	}
	f, err := os.OpenFile(filepath.Join(p.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// FreePort is a port of this machine that nobody listened at a moment ago, below the range that connections take theirs from.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 15000 + rand.IntN(15000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return 0
}

// Do runs one of PostgreSQL's programs as the user who owns the server.
func (p *Postgres) Do(name string, args ...string) error {
	c := exec.Command(filepath.Join(p.bin, name), args...)
	c.Dir, c.SysProcAttr = p.home, p.as
	out, err := os.CreateTemp(p.home, name)
	if err != nil {
		return err
	}
	defer out.Close()
	c.Stdout, c.Stderr = out, out // not a pipe: the server would keep it open
	if err := c.Run(); err != nil {
		said, readErr := os.ReadFile(out.Name())
		return errors.Join(fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, said), readErr)
	}
	return os.Remove(out.Name())
}

// Start starts the server and returns when it takes connections.
func (p *Postgres) Start() error {
	if err := p.Do("pg_ctl", "-D", p.Dir, "-w", "-t", "60", "-l", filepath.Join(p.home, "log"), "start"); err != nil {
		said := p.Log()
		return fmt.Errorf("%w\n%s", err, said[max(0, len(said)-4000):])
	}
	return nil
}

// Stop ends the server: mode is smart, fast or immediate, which is a crash.
func (p *Postgres) Stop(mode string) error {
	return p.Do("pg_ctl", "-D", p.Dir, "-w", "-t", "60", "-m", mode, "stop")
}

// Promote makes a standby a primary.
func (p *Postgres) Promote() error { return p.Do("pg_ctl", "-D", p.Dir, "-w", "-t", "60", "promote") }

// Log is what the server has logged.
func (p *Postgres) Log() string {
	said, err := os.ReadFile(filepath.Join(p.home, "log"))
	if err != nil {
		return err.Error()
	}
	return string(said)
}

// Postmaster is the id of the server's first process.
func (p *Postgres) Postmaster() (int, error) {
	lock, err := os.ReadFile(filepath.Join(p.Dir, "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(lock), "\n")
	return strconv.Atoi(first)
}

// Running reports whether the server runs.
func (p *Postgres) Running() bool { return p.Do("pg_ctl", "-D", p.Dir, "status") == nil }

// Children are the ids of the server's processes beside the first whose title contains what is given: "postgres postgres 127.0.0.1" finds those that serve a
// connection, "walwriter" one of its own.
func (p *Postgres) Children(title string) ([]int, error) {
	first, err := p.Postmaster()
	if err != nil {
		return nil, err
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// "pid (name) state ppid …": the name may hold anything.
		_, rest, _ := strings.Cut(string(raw), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(first) {
			continue
		}
		command, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || !strings.Contains(string(command), title) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Bind lets the server's processes run only on the given processors, such as 0, and those that it begins from now on.
func (p *Postgres) Bind(processors string) error {
	first, err := p.Postmaster()
	if err != nil {
		return err
	}
	children, err := p.Children("")
	if err != nil {
		return err
	}
	for _, pid := range append(children, first) {
		if out, err := exec.Command("taskset", "-cp", processors, strconv.Itoa(pid)).CombinedOutput(); err != nil {
			return fmt.Errorf("taskset: %w\n%s", err, out)
		}
	}
	return nil
}

// Crash kills the server's first process, and with it all, as a loss of power to it alone would. It returns when all have ended.
func (p *Postgres) Crash() error {
	first, err := p.Postmaster()
	if err != nil {
		return err
	}
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil { // it begins no more of them
		return err
	}
	children, err := p.Children("")
	if err != nil {
		return err
	}
	for _, pid := range append([]int{first}, children...) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	// Until the system has forgotten them: PostgreSQL does not start while the first one's number is taken.
	deadline := time.Now().Add(20 * time.Second)
	for _, pid := range append([]int{first}, children...) {
		for !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d of PostgreSQL was killed and is still there", pid)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	return nil
}
