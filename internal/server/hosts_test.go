package server

import (
	"strings"
	"testing"
)

func TestAllowedHosts(t *testing.T) {
	for _, tt := range []struct {
		setting string
		yes, no []string
	}{
		{"", []string{"", "anything", "a b", "[::1]:1"}, nil},
		{"*", []string{"anything", ""}, nil},
		{
			"Example.org",
			[]string{"example.org", "EXAMPLE.ORG", "example.org:8001", "example.org.", "example.org.:80"},
			[]string{"", "www.example.org", "example.org.evil.test", "evil-example.org", "example.org:port", "example.org:80:80", "[example.org]", "example.org@evil.test"},
		},
		{
			".example.org",
			[]string{"example.org", "a.example.org", "a.b.example.org:443", "A.EXAMPLE.org."},
			[]string{"badexample.org", ".example.org", "example.org.evil.test", "org"},
		},
		{"192.0.2.1, ::1", []string{"192.0.2.1", "192.0.2.1:80", "[::1]", "[::1]:8001", "[0:0::1]:8001"}, []string{"192.0.2.10", "[::2]", "[::1", "[::1]x", "[::1]:x"}},
		{"[2001:db8::1]", []string{"[2001:db8::1]:443", "[2001:DB8::1]"}, []string{"[2001:db8::2]"}},
		{"example.org:8001,[::1]:8001", []string{"example.org:8001", "Example.org.:8001", "[::1]:8001"}, []string{"example.org", "example.org:80", "[::1]"}},
	} {
		hosts, err := ParseHosts(strings.Split(tt.setting, ","))
		if err != nil {
			t.Errorf("%q: %v", tt.setting, err)
			continue
		}
		for _, h := range tt.yes {
			if !hosts.allow(h) {
				t.Errorf("%q does not allow %q", tt.setting, h)
			}
		}
		for _, h := range tt.no {
			if hosts.allow(h) {
				t.Errorf("%q allows %q", tt.setting, h)
			}
		}
	}
	for _, bad := range []string{"https://example.org", "a b", "*.example.org", ".", "example.org:", "example.org:x", "a..b", "[::1", "a/b", "a@b"} {
		if _, err := ParseHosts([]string{bad}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: error is %v, want one that names it", bad, err)
		}
	}
}

func FuzzAllowedHosts(f *testing.F) {
	hosts, err := ParseHosts([]string{".example.org", "192.0.2.1", "::1", "a:1"})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "[", "[]:1", "a:b:c", ".example.org", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if hosts.allow(host) && !strings.Contains(strings.ToLower(host), "example.org") && !strings.Contains(host, "192.0.2.1") &&
			!strings.Contains(host, ":") {
			t.Errorf("%q is allowed", host)
		}
	})
}

func TestOrigins(t *testing.T) {
	for in, want := range map[string]string{
		"https://app.example.org":     "https://app.example.org",
		" HTTPS://App.Example.org/ ":  "https://app.example.org",
		"http://localhost:3000":       "http://localhost:3000",
		"https://app.example.org:443": "https://app.example.org",
		"http://[::1]:80":             "http://[::1]",
		"http://app.example.org:443":  "http://app.example.org:443",
	} {
		if got, err := ParseOrigin(in); got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"", "*", "null", "example.org", "ftp://a", "https://", "https://a/b", "https://a?b", "https://u@a", "https://*.example.org"} {
		if got, err := ParseOrigin(bad); err == nil {
			t.Errorf("%q is accepted as %q", bad, got)
		}
	}
}
