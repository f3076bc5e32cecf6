package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// setup runs ops/tls/setup_certbot.sh in a directory instead of /, with programs of our own in the place of those that would change this machine or
// ask Let's Encrypt. They note how they were called.
type setup struct {
	t         *testing.T
	root, bin string
}

func newSetup(t *testing.T) setup {
	t.Helper()
	s := setup{t: t, root: t.TempDir(), bin: t.TempDir()}
	for name, does := range map[string]string{
		"apt-get": "", "systemctl": "", "nginx": `[ ! -e "$OPENWAY_TLS_ROOT/nginx-refuses" ] || ! grep -q 'ssl_certificate' "$OPENWAY_TLS_ROOT/etc/nginx/conf.d/openway.conf"`,
		"getent":  `[ ! -e "$OPENWAY_TLS_ROOT/no-dns" ] && echo "192.0.2.7 STREAM door.example.net"`,
		"certbot": `[ ! -e "$OPENWAY_TLS_ROOT/certbot-fails" ] || exit 1; mkdir -p "$OPENWAY_TLS_ROOT/etc/letsencrypt/live/door.example.net" && touch "$OPENWAY_TLS_ROOT/etc/letsencrypt/live/door.example.net/fullchain.pem"`,
	} {
		script := "#!/bin/sh\necho \"" + name + " $*\" >>\"$OPENWAY_TLS_ROOT/calls\"\n" + does + "\n"
		if err := os.WriteFile(filepath.Join(s.bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s setup) run(stdin string, args ...string) (out string, err error) {
	s.t.Helper()
	c := exec.Command("bash", append([]string{"../../ops/tls/setup_certbot.sh"}, args...)...)
	c.Env = []string{"PATH=" + s.bin + ":/usr/bin:/bin", "OPENWAY_TLS_ROOT=" + s.root}
	c.Stdin = strings.NewReader(stdin)
	b, err := c.CombinedOutput()
	return string(b), err
}

// state is every file below the root with what is in it, but for the calls.
func (s setup) state() string {
	s.t.Helper()
	var all strings.Builder
	if err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == "calls" {
			return err
		}
		all.WriteString(path + "\n")
		if d.Type().IsRegular() {
			b, err := os.ReadFile(path)
			all.Write(b)
			return err
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return all.String()
}

func (s setup) calls() string {
	b, _ := os.ReadFile(filepath.Join(s.root, "calls"))
	_ = os.Remove(filepath.Join(s.root, "calls"))
	return string(b)
}

func (s setup) file(path string) string {
	b, _ := os.ReadFile(filepath.Join(s.root, path))
	return string(b)
}

func TestSetupCertbot(t *testing.T) {
	if out, err := exec.Command("shellcheck", "../../ops/tls/setup_certbot.sh").CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
	s := newSetup(t)
	args := []string{"--domain", "door.example.net", "--email", "ops@example.net", "--upstream", "127.0.0.1:9000"}

	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no domain", []string{"--email", "a@b.net"}, "give your own domain"},
		{"no e-mail", args[:2], "give an e-mail address"},
		{"a domain that is none", []string{"--domain", "door;reboot", "--email", "a@b.net"}, `"door;reboot" is not a domain name`},
		{"an upstream that is none", append(args[:4:4], "--upstream", "x;y"), `"x;y" is not an address`},
		{"a flag that is none", []string{"--force"}, "unknown argument --force"},
		{"no value", []string{"--domain"}, "--domain needs a value"},
	} {
		if out, err := s.run("y\n", tt.args...); err == nil || !strings.Contains(out, "setup_certbot.sh: "+tt.want) {
			t.Errorf("%s: %v, %s", tt.name, err, out)
		}
	}
	before := s.state()
	out, err := s.run("", append(args, "--dry-run")...)
	if err != nil || !strings.Contains(out, "would run: certbot certonly") || !strings.Contains(out, "would write /etc/nginx/conf.d/openway.conf") || !strings.Contains(out, "Nothing was changed") {
		t.Errorf("--dry-run: %v\n%s", err, out)
	}
	for _, answer := range []string{"", "n\n", "\n"} {
		if out, err := s.run(answer, args...); err == nil || !strings.Contains(out, "nothing was changed") {
			t.Errorf("answered %q: %v\n%s", answer, err, out)
		}
	}
	if after := s.state(); after != before {
		t.Errorf("something was changed:\n%s", after)
	}
	if calls := strings.ReplaceAll(s.calls(), "getent ahosts door.example.net\n", ""); calls != "" {
		t.Errorf("something was called: %s", calls)
	}

	// The first time, without systemd.
	if out, err = s.run("y\n", args...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	conf := s.file("etc/nginx/conf.d/openway.conf")
	if strings.Contains(conf, "access.example.org") || !strings.Contains(conf, "server 127.0.0.1:9000;") || !strings.Contains(conf, "ssl_certificate     /etc/letsencrypt/live/door.example.net/fullchain.pem;") {
		t.Errorf("openway.conf is\n%s", conf)
	}
	calls := s.calls()
	for _, want := range []string{"certbot certonly --webroot -w " + s.root + "/var/www/letsencrypt -d door.example.net --email ops@example.net --agree-tos --non-interactive --keep-until-expiring\n", "nginx -t\n"} {
		if !strings.Contains(calls, want) {
			t.Errorf("no call %q in\n%s", want, calls)
		}
	}
	if strings.Contains(calls, "apt-get") {
		t.Errorf("what is there was installed again:\n%s", calls)
	}
	if !strings.Contains(s.file("etc/cron.d/openway-certbot"), "certbot renew") {
		t.Error("nothing renews")
	}
	if st, err := os.Stat(filepath.Join(s.root, "etc/letsencrypt/renewal-hooks/deploy/openway-nginx")); err != nil || st.Mode().Perm()&0o111 == 0 {
		t.Errorf("the hook: %v, %v", st, err)
	}

	// Again: nothing changes, nginx is left alone.
	before = s.state()
	if out, err = s.run("y\n", args...); err != nil || s.state() != before || strings.Contains(s.calls(), "nginx") {
		t.Errorf("the second time: %v\n%s", err, out)
	}
	// With systemd its timer renews.
	if err := os.MkdirAll(filepath.Join(s.root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err = s.run("y\n", append(args, "--staging")...); err != nil {
		t.Errorf("with systemd: %v\n%s", err, out)
	}
	if calls := s.calls(); !strings.Contains(calls, "systemctl enable --now certbot.timer") || !strings.Contains(calls, "--staging") {
		t.Errorf("with systemd: %s", calls)
	}

	// After a rehearsal certbot would keep the certificate that browsers refuse; capitals are the same domain.
	if err := os.MkdirAll(filepath.Join(s.root, "etc/letsencrypt/renewal"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.root, "etc/letsencrypt/renewal/door.example.net.conf"), []byte("[renewalparams]\nserver = https://acme-staging-v02.api.letsencrypt.org/directory\n"))
	if out, err = s.run("y\n", append([]string{"--domain", "Door.Example.net"}, args[2:]...)...); err != nil {
		t.Errorf("after a rehearsal: %v\n%s", err, out)
	}
	if calls := s.calls(); !strings.Contains(calls, "-d door.example.net ") || !strings.Contains(calls, "--force-renewal\n") || strings.Contains(calls, "--keep-until-expiring") || !strings.Contains(calls, "systemctl reload-or-restart nginx") {
		t.Errorf("after a rehearsal: %s", calls)
	}

	// Failures: certbot's is ours, and a configuration that nginx refuses does not stay.
	s = newSetup(t)
	mark := func(name string) { write(t, filepath.Join(s.root, name), nil) }
	mark("certbot-fails")
	if out, err := s.run("y\n", args...); err == nil {
		t.Errorf("certbot fails: %s", out)
	}
	if conf := s.file("etc/nginx/conf.d/openway.conf"); strings.Contains(conf, "ssl_certificate") {
		t.Error("a configuration without its certificate was installed")
	}
	_ = os.Remove(filepath.Join(s.root, "certbot-fails"))
	mark("nginx-refuses")
	if out, err := s.run("y\n", args...); err == nil || !strings.Contains(out, "nginx does not take /etc/nginx/conf.d/openway.conf; what was there before is there again") {
		t.Errorf("nginx refuses: %v\n%s", err, out)
	}
	if conf := s.file("etc/nginx/conf.d/openway.conf"); strings.Contains(conf, "ssl_certificate") {
		t.Error("the configuration that nginx refuses is still there")
	}
	if err := os.Remove(filepath.Join(s.root, "etc/nginx/conf.d/openway.conf")); err != nil { // certbot was here before us
		t.Fatal(err)
	}
	if out, err := s.run("y\n", args...); err == nil || !strings.Contains(out, "nginx does not take /etc/nginx/conf.d/openway.conf; it was taken away again") {
		t.Errorf("nginx refuses the first: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(s.root, "etc/nginx/conf.d/openway.conf")); err == nil {
		t.Error("the configuration that nginx refuses is there: it would not start again")
	}
	mark("no-dns")
	if out, err := s.run("y\n", args...); err == nil || !strings.Contains(out, "DNS does not know door.example.net yet") {
		t.Errorf("no DNS: %v\n%s", err, out)
	}
}
