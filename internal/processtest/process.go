package processtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SecretKey is the secret key of every installation here.
const SecretKey = "a key for the golden corpus, of more than 32 bytes"

// Environment is all that the binary sees: nothing of the developer's own settings.
func Environment(database string, more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "TMPDIR=" + os.TempDir(),
		"OPENWAY_DATABASE=" + database, "OPENWAY_SECRET_KEY=" + SecretKey,
	}, more...)
}

// ThrottlesOff are the settings under which nobody is throttled.
func ThrottlesOff() []string {
	return []string{"ACCESS_VERIFY_RATE=off", "OPENWAY_USER_RATE=off", "OPENWAY_ANON_RATE=off", "OPENWAY_LOGIN_RATE=off"}
}

// Run runs a command of the binary, which must succeed, and returns what it printed.
func Run(t testing.TB, database string, args ...string) []byte {
	t.Helper()
	out, err := Try(database, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try runs a command of the binary and returns what it printed.
func Try(database string, args ...string) ([]byte, error) {
	path, err := Build()
	if err != nil {
		return nil, err
	}
	c := exec.Command(path, args...)
	c.Env = Environment(database)
	out, err := c.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("openway %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

// Options say what is started.
type Options struct {
	Binary   string // "" = openway as it stands
	Database string
	Under    []string // a command that runs it, such as taskset -c 0; nil = none
	Env      []string // beside Environment
	Brief    bool     // the lines of requests are read and not kept
}

// Process is a running openway serve.
type Process struct {
	Address  string
	Database string
	Cmd      *exec.Cmd
	Exited   chan struct{}
	log      *bytes.Buffer // whole only after it has exited
}

// Start serves a database on a port that is free and returns when the server says that it listens.
func Start(o Options) (*Process, error) {
	if o.Binary == "" {
		path, err := Build()
		if err != nil {
			return nil, err
		}
		o.Binary = path
	}
	words := append(slices.Clone(o.Under), o.Binary, "serve")
	p := &Process{Database: o.Database, Cmd: exec.Command(words[0], words[1:]...), Exited: make(chan struct{}), log: new(bytes.Buffer)}
	p.Cmd.Env = append(Environment(o.Database, "OPENWAY_LISTEN=127.0.0.1:0"), o.Env...) // the last one of a name counts
	out, err := p.Cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.Cmd.Stderr = p.Cmd.Stdout
	if err := p.Cmd.Start(); err != nil {
		return nil, err
	}
	address := make(chan string, 1)
	go func() {
		defer close(p.Exited)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if o.Brief && bytes.Contains(lines.Bytes(), []byte(`"openway.request"`)) {
				continue
			}
			fmt.Fprintln(p.log, lines.Text())
			var line struct{ Message, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "listening" {
				select {
				case address <- line.Address:
				default: // only the first listener is asked
				}
			}
		}
		_ = p.Cmd.Wait() // how it ended shows in ProcessState
	}()
	patience := time.NewTimer(30 * time.Second)
	defer patience.Stop()
	select {
	case p.Address = <-address:
		return p, nil
	case <-p.Exited:
		return nil, fmt.Errorf("openway serve ended: %v\n%s", p.Cmd.ProcessState, p.log)
	case <-patience.C:
		p.Kill()
		return nil, fmt.Errorf("openway serve did not listen in time\n%s", p.log)
	}
}

// Serve starts a server that ends with the test, as an operator ends it.
func Serve(t testing.TB, o Options) *Process {
	t.Helper()
	p, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-p.Exited:
		default:
			p.Stop(t)
		}
	})
	return p
}

// Stop ends the server as an operator does, and returns what it logged.
func (p *Process) Stop(t testing.TB) string {
	t.Helper()
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop openway serve: %v", err)
	}
	<-p.Exited
	if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("openway serve ended with %d\n%s", code, p.log)
	}
	return p.log.String()
}

// Kill ends the server by SIGKILL, which it cannot notice.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill() // it may have ended already
	<-p.Exited
}

// Abort ends the server by SIGQUIT and returns the stacks of its goroutines, as the Go runtime prints them.
func (p *Process) Abort() (string, error) {
	if err := p.Cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return "", err
	}
	<-p.Exited
	_, stacks, found := strings.Cut(p.log.String(), "SIGQUIT: quit")
	if !found {
		return "", fmt.Errorf("the server printed no stacks\n%s", p.log)
	}
	return stacks, nil
}

// ResidentMB is the memory that the server has, in MB of 1024*1024 bytes.
func (p *Process) ResidentMB() (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if after, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(after), " kB"), 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("the server's status names no VmRSS")
}

// Established lists the local addresses of the TCP connections over IPv4 that this machine has open, or closed on one side.
func Established(t testing.TB) (local []string) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	const listening, timeWait = "0A", "06"
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line) // "0: 0100007F:1F41 … state …"
		if len(f) < 4 || f[3] == listening || f[3] == timeWait {
			continue
		}
		_, hex, found := strings.Cut(f[1], ":")
		if port, err := strconv.ParseUint(hex, 16, 16); err == nil && found {
			local = append(local, fmt.Sprint(":", port))
		}
	}
	return local
}
