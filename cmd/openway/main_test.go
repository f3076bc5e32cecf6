package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/openway-access/openway/internal/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"openway": main})
}

// onPostgresToo marks the scripts that run on both engines: they name no file of SQLite's. It stands in their first line.
const onPostgresToo = "# Runs on SQLite and PostgreSQL."

// raceEndsAtOnce takes away the second that a process with the race detector waits at its end.
const raceEndsAtOnce = "GORACE=atexit_sleep_ms=0"

const testKey = "0123456789abcdef0123456789abcdef"

// TestScripts runs the scripts in testdata/script through the real main, each in a directory of its own.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run("sqlite/"+name, func(t *testing.T) {
			t.Parallel()
			runScript(t, file)
		})
		if bytes.HasPrefix(text, []byte(onPostgresToo)) {
			t.Run("postgres/"+name, func(t *testing.T) {
				t.Parallel()
				db := storetest.Empty(t, "postgres")
				runScript(t, file, "OPENWAY_DATABASE="+db.DSN, "OPENWAY_SECRET_KEY="+testKey)
			})
		}
	}
}

func runScript(t *testing.T, file string, env ...string) {
	testscript.Run(t, testscript.Params{
		Files: []string{file},
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, env...)
			e.Vars = append(e.Vars, "OPENWAY_LISTEN=127.0.0.1:0", raceEndsAtOnce)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve":     cmdServe,
			"terminate": cmdTerminate,
			"request":   cmdRequest,
			"request-with": func(ts *testscript.TestScript, neg bool, args []string) {
				if len(args) != 3 {
					ts.Fatalf("usage: request-with HEADERFILE METHOD PATH")
				}
				cmdRequest(ts, neg, []string{args[1], args[2], "", strings.TrimSpace(ts.ReadFile(args[0]))})
			},
		},
	})
}

// served is a server that a script has started.
type served struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{} // its output has ended
}

var servers sync.Map // *testscript.TestScript -> *served

// cmdServe starts "openway serve ARGS" and waits until it listens: ADDR is then its address.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: serve [flags]; use exec for a server that must not start")
	}
	path, err := exec.LookPath("openway")
	ts.Check(err)
	s := &served{cmd: exec.Command(path, append([]string{"serve"}, args...)...), done: make(chan struct{})}
	s.cmd.Dir = ts.MkAbs(".")
	for _, name := range append([]string{"PATH", "HOME", "TMPDIR"}, settingNames(ts)...) {
		if v := ts.Getenv(name); v != "" {
			s.cmd.Env = append(s.cmd.Env, name+"="+v)
		}
	}
	out, err := s.cmd.StdoutPipe()
	ts.Check(err)
	s.cmd.Stderr = s.cmd.Stdout
	ts.Check(s.cmd.Start())
	servers.Store(ts, s)
	ts.Defer(func() {
		_ = s.cmd.Process.Kill()
		<-s.done
		_ = s.cmd.Wait()
	})
	address := make(chan string, 1)
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			s.log.WriteString(lines.Text() + "\n")
			if _, after, ok := strings.Cut(lines.Text(), `"message":"listening","address":"`); ok {
				a, _, _ := strings.Cut(after, `"`)
				address <- a
			}
		}
	}()
	select {
	case a := <-address:
		ts.Setenv("ADDR", a)
	case <-s.done:
		ts.Fatalf("the server ended before it listened:\n%s", s.log.String())
	case <-time.After(30 * time.Second):
		ts.Fatalf("the server does not listen after 30 s")
	}
}

// settingNames are the variables that a script may set for its server.
func settingNames(ts *testscript.TestScript) []string {
	return []string{
		"OPENWAY_DATABASE", "OPENWAY_SECRET_KEY", "OPENWAY_SECRET_KEY_FILE", "OPENWAY_SECRET_KEY_FALLBACKS", "OPENWAY_LISTEN", "OPENWAY_ENV", "OPENWAY_ENV_FILE",
		"OPENWAY_LOG_LEVEL", "OPENWAY_ANON_RATE", "ALLOWED_HOSTS", "ACCESS_VERIFY_RATE", "OPENWAY_LANGUAGE", "OPENWAY_TYPO",
	}
}

// cmdTerminate sends SIGTERM, waits for the end, which must be a good one, and leaves the log in serve.log.
func cmdTerminate(ts *testscript.TestScript, _ bool, _ []string) {
	v, ok := servers.LoadAndDelete(ts)
	if !ok {
		ts.Fatalf("no server runs")
	}
	s := v.(*served)
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	<-s.done
	err := s.cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs("serve.log"), s.log.Bytes(), 0o600))
	if err != nil {
		ts.Fatalf("serve ended with %v:\n%s", err, s.log.String())
	}
}

// cmdRequest sends a request to the server: request METHOD PATH [BODY [HEADER: VALUE ...]]. Status, header and body go to standard output.
// A body that begins with @ is a file.
func cmdRequest(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: request METHOD PATH [BODY [HEADER: VALUE ...]]")
	}
	body := ""
	if len(args) > 2 {
		body = args[2]
	}
	if name, ok := strings.CutPrefix(body, "@"); ok {
		body = strings.TrimSpace(ts.ReadFile(name))
	}
	req, err := http.NewRequest(args[0], "http://"+ts.Getenv("ADDR")+args[1], strings.NewReader(body))
	ts.Check(err)
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	} else if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range args[min(3, len(args)):] {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d\n", resp.StatusCode)
	_ = resp.Header.Write(ts.Stdout())
	fmt.Fprintf(ts.Stdout(), "\n%s\n", answer)
}
