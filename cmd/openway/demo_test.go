package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startDemo runs the real binary and returns what it prints until it is ready.
func startDemo(t *testing.T, tmp string) (cmd *exec.Cmd, printed string, rest io.Reader) {
	t.Helper()
	cmd = exec.Command("openway", "demo")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "OPENWAY_LISTEN=127.0.0.1:0", "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errors bytes.Buffer
	cmd.Stderr = &errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { stop.Stop(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	for !strings.Contains(printed, "Ctrl-C") {
		line, err := lines.ReadString('\n')
		if printed += line; err != nil {
			t.Fatalf("the demo ended (%v):\n%s%s", err, printed, errors.String())
		}
	}
	return cmd, printed, lines
}

// command cuts the command out of the text as a person with a mouse would: from the word curl to the first line that does
// not end with a backslash.
func command(t *testing.T, text string) string {
	t.Helper()
	at := strings.Index(text, "curl")
	if at < 0 {
		t.Fatalf("no curl in:\n%s", text)
	}
	var cut []string
	for line := range strings.Lines(text[at:]) {
		cut = append(cut, line)
		if !strings.HasSuffix(line, "\\\n") {
			break
		}
	}
	return strings.Join(cut, "")
}

func found(t *testing.T, text, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%s is not in:\n%s", pattern, text)
	}
	return m[1]
}

func TestDemo(t *testing.T) {
	tmp := t.TempDir()
	cmd, text, rest := startDemo(t, tmp)
	if strings.ContainsAny(text, "\x1b|") {
		t.Errorf("colour or a pipe in:\n%q", text)
	}
	url := found(t, text, `Server +(http://\S+)`)
	paste := command(t, text)
	if out, err := exec.Command("bash", "-c", paste).CombinedOutput(); err != nil || !bytes.Contains(out, []byte(`"decision":"ALLOW"`)) {
		t.Errorf("pasted\n%s\n got %s, %v, want ALLOW", paste, out, err)
	}

	login, err := http.Post(url+"/api/v1/auth/token", "application/json",
		strings.NewReader(`{"username":"`+found(t, text, `user (\S+),`)+`","password":"`+found(t, text, `password (\S+)`)+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer login.Body.Close()
	if login.StatusCode != http.StatusOK {
		t.Errorf("the login that it prints answers %s", login.Status)
	}
	demoEvents(t, found(t, text, `Database +(\S+)`))

	again := exec.Command("openway", "demo")
	again.Env = append(os.Environ(), "OPENWAY_LISTEN="+strings.TrimPrefix(url, "http://"), "TMPDIR="+tmp)
	out, err := again.CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "is taken by another program, perhaps by a server that runs already; choose another one, such as :8002") {
		t.Errorf("a second demo on the same port: %v, %q, want one line that says what to do", err, out)
	}

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, rest); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v, want a good end", err)
	}
	if left, _ := filepath.Glob(tmp + "/openway-demo-*"); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
}

// demoEvents sees that the log tells of some hours, at gates and by people, with both outcomes.
func demoEvents(t *testing.T, database string) {
	t.Helper()
	list := exec.Command("openway", "events", "list", "--json", "--limit", "1000")
	list.Env = append(os.Environ(), "OPENWAY_DATABASE="+database)
	out, err := list.Output()
	if err != nil {
		t.Fatalf("events list: %v", err)
	}
	reasons, oldest, newest := map[string]int{}, time.Time{}, time.Time{}
	events := json.NewDecoder(bytes.NewReader(out))
	n := 0
	for ; events.More(); n++ {
		var e struct {
			At     time.Time `json:"at"`
			Reason string    `json:"reason"`
		}
		if err := events.Decode(&e); err != nil {
			t.Fatal(err)
		}
		reasons[e.Reason]++
		if n == 0 {
			newest = e.At
		}
		oldest = e.At
	}
	if n < 40 || reasons["OK"] < 20 || reasons["OK"] == n || newest.Sub(oldest) < 6*time.Hour || time.Since(newest) > 15*time.Minute || newest.After(time.Now()) {
		t.Errorf("%d events from %v to %v, reasons %v: want the last hours, and denials among them", n, oldest, newest, reasons)
	}
}

func TestDemoEndsWhileItIsMade(t *testing.T) {
	tmp := t.TempDir()
	cmd := exec.Command("openway", "demo")
	cmd.Env = append(os.Environ(), "OPENWAY_LISTEN=127.0.0.1:0", "TMPDIR="+tmp)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for begun := time.Now(); len(dirs) == 0 && time.Since(begun) < 30*time.Second; {
		dirs, _ = filepath.Glob(tmp + "/openway-demo-*/openway.db")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended early: %v, want a good end", err)
	}
	if left, _ := filepath.Glob(tmp + "/openway-demo-*"); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
}

func TestLocalAddress(t *testing.T) {
	for _, c := range []struct{ listen, at, want string }{
		{":8001", "[::]:8001", "localhost:8001"},
		{"0.0.0.0:0", "0.0.0.0:4711", "localhost:4711"},
		{"[::]:8001", "[::]:8001", "localhost:8001"},
		{"127.0.0.1:9000", "127.0.0.1:9000", "127.0.0.1:9000"},
		{"[::1]:9000", "[::1]:9000", "[::1]:9000"},
		{"door.example:80", "10.0.0.1:80", "door.example:80"},
	} {
		if got := localAddress(c.listen, address(c.at)); got != c.want {
			t.Errorf("localAddress(%q, %s) = %s, want %s", c.listen, c.at, got, c.want)
		}
	}
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }
