package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// checks runs check --deploy and returns what was found under a name.
func (in installed) checks(name string, env ...string) (found []finding) {
	in.t.Helper()
	c := in.command("check", "--deploy", "--json")
	c.Env = append(c.Env, env...)
	out, err := c.Output() // exit status 1 where something else fails
	for line := range strings.Lines(string(out)) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			in.t.Fatalf("%q: %v", line, err)
		}
		if f.Check == name {
			found = append(found, f)
		}
	}
	if len(found) == 0 {
		in.t.Fatalf("nothing about %q: %v\n%s", name, err, out)
	}
	return found
}

func TestCheckDeployKnowsHTTPS(t *testing.T) {
	in := install(t, "sqlite")
	in.must("", "user", "create", "anna")
	a := newAuthority(t)
	const day = 24 * time.Hour
	now := time.Now()
	pair := func(dir, name string, from, until time.Duration, names ...string) (cert, key string) {
		c, k := a.issueFor(t, 7, now.Add(from), now.Add(until), names...)
		cert, key = filepath.Join(in.dir, dir, name+".pem"), filepath.Join(in.dir, dir, name+".key")
		write(t, cert, c)
		write(t, key, k)
		return cert, key
	}
	for _, tt := range []struct {
		name        string
		from, until time.Duration
		env         []string
		want        state
		found       string
	}{
		{"good", -69 * day, 22 * day, nil, stateOK, "holds until"},
		{"near", -70 * day, 20*day + time.Hour, nil, stateWarn, "expires in 20 days"},
		{"short but fresh", -2 * day, 5 * day, nil, stateOK, "holds until"},
		{"short and near", -6 * day, day, nil, stateWarn, "expires in"},
		{"over", -90 * day, -time.Hour, nil, stateFail, "expired on"},
		{"early", day, 90 * day, nil, stateFail, "holds from"},
		{"for another", -day, 80 * day, []string{"OPENWAY_PUBLIC_URL=https://other.example.org"}, stateFail, "is not for other.example.org"},
		{"not there", -day, 80 * day, []string{"OPENWAY_TLS_CERT=nowhere.pem"}, stateFail, "nowhere.pem"},
		{"with the wrong key", -day, 80 * day, []string{"OPENWAY_TLS_KEY=" + filepath.Join(in.dir, "good.key")}, stateFail, "private key does not match"},
	} {
		cert, key := pair("", tt.name, tt.from, tt.until, "access.example.org")
		env := append([]string{"OPENWAY_PUBLIC_URL=https://access.example.org", "OPENWAY_TLS_CERT=" + cert, "OPENWAY_TLS_KEY=" + key}, tt.env...)
		if got := in.checks("certificate", env...); len(got) != 1 || got[0].State != tt.want || !strings.Contains(got[0].Found, tt.found) {
			t.Errorf("%s: %+v, want %s, %q", tt.name, got, tt.want, tt.found)
		}
	}

	// A key that everybody may read, and HTTPS without or against the public address.
	cert, key := pair("", "mode", -day, 80*day, "access.example.org")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	pem := []string{"OPENWAY_TLS_CERT=" + cert, "OPENWAY_TLS_KEY=" + key}
	if got := in.checks("file modes", pem...); got[0].State != stateFail || !strings.Contains(got[0].Found, "mode.key (0644)") {
		t.Errorf("a key for everybody: %+v", got)
	}
	for url, want := range map[string]state{"": stateWarn, "http://access.example.org": stateFail, "https://access.example.org": stateOK} {
		if got := in.checks("HTTPS", append(slices.Clone(pem), "OPENWAY_PUBLIC_URL="+url)...); got[0].State != want {
			t.Errorf("OPENWAY_PUBLIC_URL=%s: %+v, want %s", url, got, want)
		}
	}

	// By ACME: one domain has a certificate, one that was not renewed, one none, one a broken file.
	storage := filepath.Join(in.dir, "acme")
	if err := os.Mkdir(storage, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, until := range map[string]time.Duration{"a.example.org": 80 * day, "b.example.org": 10 * day} {
		c, k := a.issueFor(t, 8, now.Add(-80*day), now.Add(until), name)
		write(t, filepath.Join(storage, name), append(k, c...))
	}
	write(t, filepath.Join(storage, "d.example.org"), []byte("nothing"))
	if err := os.Chmod(filepath.Join(storage, "b.example.org"), 0o604); err != nil {
		t.Fatal(err)
	}
	acme := []string{"OPENWAY_ACME_DOMAIN=a.example.org,b.example.org,c.example.org,d.example.org", "OPENWAY_ACME_STORAGE=acme"}
	var got []state
	for _, f := range in.checks("certificate", acme...) {
		got = append(got, f.State)
	}
	if want := []state{stateOK, stateWarn, stateWarn, stateFail}; !slices.Equal(got, want) {
		t.Errorf("by ACME: %v, want %v", got, want)
	}
	if got := in.checks("file modes", acme...); got[0].State != stateFail || !strings.Contains(got[0].Found, "acme/b.example.org (0604)") {
		t.Errorf("a kept key for everybody: %+v", got)
	}
	for url, want := range map[string]state{"https://a.example.org": stateOK, "https://z.example.org": stateFail} {
		got := in.checks("certificate", "OPENWAY_ACME_DOMAIN=a.example.org", "OPENWAY_ACME_STORAGE=acme", "OPENWAY_PUBLIC_URL="+url)
		if last := got[len(got)-1]; last.State != want {
			t.Errorf("by ACME, with OPENWAY_PUBLIC_URL=%s: %+v, want %s", url, last, want)
		}
	}
	if got := in.checks("certificate"); got[0].State != stateOK {
		t.Errorf("without HTTPS of its own: %+v", got)
	}
}

// HTTPS that is not the server's own is a proxy's, whose clients all have one address unless it is trusted.
func TestCheckDeployMissesTheProxy(t *testing.T) {
	in := install(t, "sqlite")
	in.must("", "user", "create", "anna")
	for _, tt := range []struct {
		want state
		env  []string
	}{
		{stateFail, []string{"OPENWAY_PUBLIC_URL=https://access.example.org", "OPENWAY_LISTEN=127.0.0.1:8001"}},
		{stateWarn, []string{"OPENWAY_PUBLIC_URL=https://access.example.org", "OPENWAY_LISTEN=:8001"}},
		{stateOK, []string{"OPENWAY_PUBLIC_URL=https://access.example.org", "OPENWAY_LISTEN=:8001", "OPENWAY_TRUSTED_PROXIES=10.0.0.7"}},
		{stateOK, []string{"OPENWAY_PUBLIC_URL=https://access.example.org", "OPENWAY_LISTEN=:8443", "OPENWAY_ACME_DOMAIN=access.example.org"}},
		{stateOK, []string{"OPENWAY_PUBLIC_URL=http://10.0.0.5:8001", "OPENWAY_LISTEN=:8001"}},
	} {
		if got := in.checks("trusted proxies", tt.env...); len(got) != 1 || got[0].State != tt.want {
			t.Errorf("%v: %+v, want %s", tt.env, got, tt.want)
		}
	}
}

func TestCheckDeployKnowsListeners(t *testing.T) {
	in := install(t, "sqlite")
	in.must("", "user", "create", "anna")
	for address, want := range map[string]state{
		"off": stateOK, "127.0.0.1:8080": stateOK, "10.0.0.5:8080": stateOK, "[fd00::5]:8080": stateOK, "localhost:8080": stateOK,
		":8080": stateWarn, "0.0.0.0:8080": stateWarn, "[::]:8080": stateWarn, "198.51.100.7:8080": stateWarn, "[2001:db8::1]:8080": stateWarn,
	} {
		for check, setting := range map[string]string{"gate listener": gateListener, "metrics listener": metricsListener} {
			if got := in.checks(check, setting+"="+address); len(got) != 1 || got[0].State != want {
				t.Errorf("%s=%s: %+v, want %s", setting, address, got, want)
			}
		}
	}
}
