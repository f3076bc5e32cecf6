package main

import (
	"encoding/json"
	"fmt"
	"net"
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

const annasPassword = `a "good" \ long phrase`

// checked is a line of reports/e2e.jsonl.
type checked struct {
	TS     time.Time `json:"ts"`
	Op     string    `json:"op"`
	Status int       `json:"status"`
	Body   string    `json:"body"`
	OK     bool      `json:"ok"`
}

// e2e runs scripts/e2e.sh and returns what it reports, by op, and how it ended.
func e2e(t *testing.T, env []string, args ...string) (lines map[string]checked, text string, code int) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "reports", "e2e.jsonl")
	c := exec.Command("bash", append([]string{"../../scripts/e2e.sh"}, args...)...)
	c.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "E2E_REPORT=" + report, "E2E_USER=anna", "E2E_PASSWORD=" + annasPassword, "E2E_GATE_ALLOW=front", "E2E_GATE_DENY=vault",
	}, env...)
	out, _ := c.CombinedOutput()
	lines = map[string]checked{}
	b, _ := os.ReadFile(report)
	for line := range strings.Lines(string(b)) {
		var l checked
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil || l.TS.IsZero() {
			t.Errorf("the report has a line %q: %v", line, err)
		}
		lines[l.Op] = l
	}
	return lines, string(out) + string(b), c.ProcessState.ExitCode()
}

func failures(lines map[string]checked) (failed []string) {
	for _, op := range []string{"healthz", "readyz", "token", "allow", "no_permission", "token_invalid", "unknown_gate", "invalid_request", "schema", "rate_limit"} {
		if l, ok := lines[op]; ok && !l.OK {
			failed = append(failed, op)
		}
	}
	return failed
}

func TestE2E(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("shellcheck", "../../scripts/e2e.sh").CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
	in := install(t, "sqlite").withAnna()
	in.must("", "gate", "create", "vault")
	in.must(annasPassword+"\n", "user", "set-password", "anna", "--password-stdin")
	s := secured{installed: in, authority: newAuthority(t)}
	cert, key := s.issue(t, 1)
	write(t, filepath.Join(s.dir, "cert.pem"), cert)
	write(t, filepath.Join(s.dir, "key.pem"), key)
	root := filepath.Join(s.dir, "root.pem")
	write(t, root, s.pem)
	s.env = append(s.env, "OPENWAY_TLS_CERT=cert.pem", "OPENWAY_TLS_KEY=key.pem", "OPENWAY_LOGIN_RATE=off")
	p := s.serve("--http-listen=off")
	url, trust := "https://"+p.address, "CURL_CA_BUNDLE="+root
	token := regexp.MustCompile(`[0-9a-f]{40}`)

	lines, text, code := e2e(t, []string{trust}, url+"/")
	if failed := failures(lines); code != 0 || len(failed) > 0 || len(lines) != 9 {
		t.Errorf("a site that is well: exit %d, %d checks, failed %v\n%s", code, len(lines), failed, text)
	}
	if lines["allow"].Status != 200 || !strings.Contains(lines["allow"].Body, `"ALLOW"`) {
		t.Errorf("allow is reported as %+v", lines["allow"])
	}
	if token.MatchString(text) || strings.Contains(text, "good") {
		t.Errorf("a token or a password is shown:\n%s", text)
	}
	if lines, text, code = e2e(t, []string{trust}, "--rate-limit", url); code != 1 || fmt.Sprint(failures(lines)) != "[rate_limit]" {
		t.Errorf("--rate-limit where there is none: exit %d\n%s", code, text)
	}

	// Each of these must fail, and only in what is wrong.
	for _, tt := range []struct {
		name, url string
		env       []string
		want      string
	}{
		{"a gate that does not let in", url, []string{trust, "E2E_GATE_ALLOW=vault"}, "[allow]"},
		{"a gate that lets in", url, []string{trust, "E2E_GATE_DENY=front"}, "[no_permission]"},
		{"a gate that is not there", url, []string{trust, "E2E_GATE_ALLOW=nowhere"}, "[allow token_invalid]"},
		{"a wrong password", url, []string{trust, "E2E_PASSWORD=wrong"}, "[token allow no_permission]"},
		{"a certificate that is not trusted", url, nil, "[healthz readyz token allow no_permission token_invalid unknown_gate invalid_request schema]"},
		{"another server", elsewhere(t), nil, "[healthz readyz token allow no_permission token_invalid unknown_gate invalid_request schema]"},
		{"nobody there", "http://" + freePort(t), nil, "[healthz readyz token allow no_permission token_invalid unknown_gate invalid_request schema]"},
	} {
		lines, text, code := e2e(t, tt.env, tt.url)
		if got := fmt.Sprint(failures(lines)); code != 1 || got != tt.want {
			t.Errorf("%s: exit %d, failed %s, want 1 and %s\n%s", tt.name, code, got, tt.want, text)
		}
	}
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Error(err)
	}
	p = s.serve("--http-listen=off", "--access-verify-rate=30/second")
	if lines, text, code := e2e(t, []string{trust}, "--rate-limit", "https://"+p.address); code != 0 || !lines["rate_limit"].OK {
		t.Errorf("--rate-limit: exit %d\n%s", code, text)
	}
	for _, args := range [][]string{{}, {"access.example.org"}, {url, "--fast"}} {
		if _, text, code := e2e(t, nil, args...); code != 2 || !strings.Contains(text, "e2e.sh: ") {
			t.Errorf("%v: exit %d, %s", args, code, text)
		}
	}
	if _, text, code := e2e(t, []string{"E2E_USER="}, url); code != 2 || !strings.Contains(text, "E2E_USER is not set") {
		t.Errorf("no user: exit %d, %s", code, text)
	}
}

// elsewhere answers everything with a token and a page.
func elsewhere(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, `{"token":"`+strings.Repeat("ab", 20)+"\"}\x01\t<html>")
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}
