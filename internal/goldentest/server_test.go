package goldentest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver named pgx

	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

const secretKey = "a key for the golden corpus, of more than 32 bytes"

// buildDir is where the binary is built; TestMain makes and removes it.
var buildDir string

// binary builds openway once for all tests of this package.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "openway")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/openway").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build openway: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "openway-golden")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// environment is all that the binary sees: nothing of the developer's own settings.
func environment(database string, more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir(),
		"OPENWAY_DATABASE=" + database, "OPENWAY_SECRET_KEY=" + secretKey,
	}, more...)
}

// throttlesOff is how the corpus was recorded.
func throttlesOff() []string {
	return []string{"ACCESS_VERIFY_RATE=off", "OPENWAY_USER_RATE=off", "OPENWAY_ANON_RATE=off", "OPENWAY_LOGIN_RATE=off"}
}

// seeds makes databases that hold the site of the corpus.
type seeds struct {
	engine   string
	template string // the database that is copied: a path, or a URL
	dir      string // where copies go
}

func newSeeds(t testing.TB, engine string) seeds {
	t.Helper()
	s := seeds{engine: engine, template: storetest.New(t, engine).DSN, dir: t.TempDir()}
	run(t, s.template, "apply", "-f", "../../testdata/site.yaml")
	return s
}

// run runs a command of the binary.
func run(t testing.TB, database string, args ...string) []byte {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, args...)
	c.Env = environment(database)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("openway %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// fresh copies the template. Drop the copy.
func (s seeds) fresh() (string, error) {
	if s.engine == store.SQLite {
		dir, err := os.MkdirTemp(s.dir, "")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "openway.db")
		b, err := os.ReadFile(s.template)
		if err != nil {
			return "", err
		}
		return path, os.WriteFile(path, b, 0o600)
	}
	u, err := url.Parse(s.template)
	if err != nil {
		return "", err
	}
	from, to := strings.TrimPrefix(u.Path, "/"), "openway_golden_"+strings.ToLower(rand.Text())
	if err := onServer(fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", to, from)); err != nil {
		return "", err
	}
	u.Path = "/" + to
	return u.String(), nil
}

// drop removes a database that fresh made, once nobody serves it.
func (s seeds) drop(t testing.TB, database string) {
	t.Helper()
	if s.engine == store.SQLite {
		return // it goes with the test's directory
	}
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	if err := onServer(fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", strings.TrimPrefix(u.Path, "/"))); err != nil {
		t.Error(err)
	}
}

func onServer(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := sql.Open("pgx", os.Getenv(storetest.Variable))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// process is a running openway serve.
type process struct {
	address  string
	database string
	cmd      *exec.Cmd
	exited   chan struct{}
	log      *bytes.Buffer // whole only after it has exited
}

// start serves a database on a port that is free and returns when the server says that it listens.
func start(database string, env ...string) (*process, error) {
	path, err := binary()
	if err != nil {
		return nil, err
	}
	p := &process{database: database, cmd: exec.Command(path, "serve"), exited: make(chan struct{}), log: new(bytes.Buffer)}
	p.cmd.Env = environment(database, append(env, "OPENWAY_LISTEN=127.0.0.1:0")...)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	address := make(chan string, 1)
	go func() {
		defer close(p.exited)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fmt.Fprintln(p.log, lines.Text())
			var line struct{ Message, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "listening" {
				address <- line.Address
			}
		}
		_ = p.cmd.Wait() // how it ended shows in ProcessState
	}()
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	select {
	case p.address = <-address:
		return p, nil
	case <-p.exited:
		return nil, fmt.Errorf("openway serve ended: %v\n%s", p.cmd.ProcessState, p.log)
	case <-patience.C:
		_ = p.cmd.Process.Kill()
		<-p.exited
		return nil, fmt.Errorf("openway serve did not listen in time\n%s", p.log)
	}
}

// stop ends the server as an operator does, and returns what it logged.
func (p *process) stop(t testing.TB) string {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop openway serve: %v", err)
	}
	<-p.exited
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("openway serve ended with %d\n%s", code, p.log)
	}
	return p.log.String()
}
