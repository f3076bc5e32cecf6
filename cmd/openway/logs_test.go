package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// through sends a log through a command line, as an operator at a shell does.
func through(t *testing.T, log, commands string) string {
	t.Helper()
	c := exec.Command("bash", "-euo", "pipefail", "-c", commands)
	c.Stdin = strings.NewReader(log)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", commands, err, out)
	}
	return string(out)
}

// The lines with which operators of the Django service read its log work on ours, over all that serve writes, errors at its start and end included.
func TestTheSeedsLogLines(t *testing.T) {
	t.Parallel()
	in := install(t, "sqlite").withAnna()
	p := in.serve("--log-level=debug")
	slow, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	// A request that takes over a second, because its body does.
	fmt.Fprintf(slow, "POST %s HTTP/1.1\r\nHost: x\r\nX-Request-ID: slow\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", verifyURL, len(annasQuestion))
	client := newAuthority(t).client(false)
	send(t, client, "POST", "http://"+p.address+verifyURL, annasQuestion, "X-Request-ID", "quick")
	send(t, client, "GET", "http://"+p.address+"/nowhere%22%0A", "")
	send(t, client, "GET", "http://"+p.address+"/readyz", "")
	<-time.After(1100 * time.Millisecond)
	fmt.Fprint(slow, annasQuestion)
	if _, err := io.ReadAll(slow); err != nil {
		t.Fatal(err)
	}
	second := in.command("serve", "--listen="+p.address) // an error at its start
	log, err := second.CombinedOutput()
	if err == nil {
		t.Fatal("two servers listen at one address")
	}
	for _, args := range [][]string{{"serve", "--user-rate=fast"}, {"serve", "--nonsense"}, {"serve", "--env-file=missing.env"}} {
		out, err := in.command(args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), `"level":"ERROR"`) {
			t.Errorf("%v: %v, %s", args, err, out)
		}
		log = append(log, out...)
	}
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
	all := p.log.String() + string(log)
	for line := range strings.Lines(all) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil || fields["ts"] == nil || fields["level"] == nil || fields["logger"] == nil || fields["message"] == nil {
			t.Errorf("not a line of the log: %q", line)
		}
	}
	for _, tt := range []struct {
		commands string
		want     []string // in the result
		not      string
	}{
		{`grep "request_id"`, []string{`"request_id":"quick"`, `"request_id":"slow"`}, `"message":"listening"`},
		{`grep "status.*200"`, []string{`"request_id":"quick"`}, "/nowhere"},
		{`jq 'select(.duration_ms > 1000)'`, []string{`"request_id": "slow"`}, "quick"},
		{`jq 'select(.level == "ERROR")'`, []string{"OPENWAY_LISTEN: port", "OPENWAY_USER_RATE", "unknown flag --nonsense", "missing.env"}, "request_id"},
		{`jq -r 'select(.status == 404) | .path'`, []string{`/nowhere"`}, "healthz"},
	} {
		got := through(t, all, tt.commands)
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %s in\n%s", tt.commands, want, got)
			}
		}
		if strings.Contains(got, tt.not) {
			t.Errorf("%s: %s is in\n%s", tt.commands, tt.not, got)
		}
	}
}

// SIGHUP takes the log's level from the file of settings, and the server goes on.
func TestHangupRereadsTheLogLevel(t *testing.T) {
	in := install(t, "sqlite")
	file := filepath.Join(in.dir, "site.env")
	write(t, file, []byte("OPENWAY_LOG_LEVEL=info\n"))
	in.env = append(in.env, "OPENWAY_ENV_FILE="+file)
	p := in.serve()
	next := 0
	hangup := func(text string, texts ...string) {
		t.Helper()
		write(t, file, []byte(text))
		p.signal(t, syscall.SIGHUP)
		_, next = p.log.await(t, next, texts...)
	}
	health := func() {
		send(t, newAuthority(t).client(false), "GET", "http://"+p.address+"/health", "")
	}
	health()
	hangup("OPENWAY_LOG_LEVEL=debug\n", `"message":"the log level has changed","from":"INFO","to":"DEBUG"`)
	health()
	_, next = p.log.await(t, next, `"level":"DEBUG"`, "GET /health 200")
	hangup("OPENWAY_LOG_LEVEL=loud\n", `"message":"the log level stays as it was"`, "OPENWAY_LOG_LEVEL", "loud")
	hangup("nonsense\n", `"message":"the log level stays as it was"`, "site.env:1: expected NAME=value")
	hangup("", `"message":"the log level has changed","from":"DEBUG","to":"INFO"`)
	health()
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Errorf("serve ended with %v:\n%s", err, p.log)
	}
	if n := strings.Count(p.log.String(), "GET /health 200"); n != 1 {
		t.Errorf("%d lines of health probes, want the one while the level was DEBUG:\n%s", n, p.log)
	}
}

// What was given on the command line, or otherwise in the environment, stays, whatever the file says. An environment that says the same as the file
// is the file's: systemd reads it as well.
func TestHangupLeavesWhatIsNotTheFiles(t *testing.T) {
	for _, tt := range []struct {
		env, arg string
		follows  bool
	}{{"OPENWAY_LOG_LEVEL=info", "", false}, {"", "--log-level=info", false}, {"OPENWAY_LOG_LEVEL=debug", "", true}} {
		in := install(t, "sqlite")
		file := filepath.Join(in.dir, "site.env")
		write(t, file, []byte("OPENWAY_LOG_LEVEL=debug\n"))
		in.env = append(in.env, "OPENWAY_ENV_FILE="+file)
		var args []string
		if tt.env != "" {
			in.env = append(in.env, tt.env)
		} else {
			args = append(args, tt.arg)
		}
		p := in.serve(args...)
		write(t, file, []byte("OPENWAY_LOG_LEVEL=warn\n"))
		p.signal(t, syscall.SIGHUP)
		if tt.follows {
			p.log.await(t, 0, `"message":"the log level has changed","from":"DEBUG","to":"WARN"`)
		} else {
			p.log.await(t, 0, `"level":"INFO"`, `"message":"reloaded"`)
		}
	}
}

// Any other command ends at SIGHUP, as programs do whose terminal was closed.
func TestHangupEndsOtherCommands(t *testing.T) {
	in := install(t, "sqlite")
	c := in.command("demo", "--listen=127.0.0.1:0")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), "Ctrl-C ends the demo") {
		n, err := out.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			t.Fatalf("the demo ended: %v\n%s", err, text.String())
		}
	}
	if err := c.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(out)
	if err := c.Wait(); err != nil || !strings.Contains(string(rest), "The demo is over") {
		t.Errorf("the demo ended with %v and %q", err, rest)
	}
}
