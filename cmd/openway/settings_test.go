package main

import (
	"io"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/server"
)

// checkAll reads every setting of serve as it does before it touches anything.
func checkAll(args ...string) (settings, servePlan, error) {
	var c cli
	p, err := newKong(&c, io.Discard, io.Discard)
	if err != nil {
		return c.settings, servePlan{}, err
	}
	if _, err := p.Parse(append([]string{"serve"}, args...)); err != nil {
		return c.settings, servePlan{}, err
	}
	plan, err := c.Serve.plan()
	if err != nil {
		return c.settings, plan, err
	}
	if _, err := c.settings.level(); err != nil {
		return c.settings, plan, err
	}
	if _, err := c.settings.format(nil); err != nil {
		return c.settings, plan, err
	}
	if _, _, err := c.settings.database(); err != nil {
		return c.settings, plan, err
	}
	_, _, _, err = c.settings.site()
	return c.settings, plan, err
}

func TestBadSettings(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, value string }{
		{"ACCESS_VERIFY_RATE", "fast"},
		{"ACCESS_VERIFY_RATE", "30"},
		{"ACCESS_VERIFY_RATE", "-1/second"},
		{"ACCESS_VERIFY_RATE", "30/fortnight"},
		{"OPENWAY_USER_RATE", "many/day"},
		{"OPENWAY_ANON_RATE", "1/"},
		{"OPENWAY_LOGIN_RATE", "/minute"},
		{"ALLOWED_HOSTS", "https://example.org"},
		{"ALLOWED_HOSTS", " , "},
		{"ALLOWED_HOSTS", "exam ple.org"},
		{"ALLOWED_HOSTS", "*.example.org"},
		{"CORS_ALLOWED_ORIGINS", "*"},
		{"CORS_ALLOWED_ORIGINS", "example.org"},
		{"CORS_ALLOWED_ORIGINS", "https://example.org/app"},
		{"CORS_ALLOWED_ORIGINS", "null"},
		{"OPENWAY_TRUSTED_PROXIES", "10.0.0.0/33"},
		{"OPENWAY_TRUSTED_PROXIES", "proxy"},
		{"OPENWAY_PUBLIC_URL", "access.example.org"},
		{"OPENWAY_PUBLIC_URL", "ftp://access.example.org"},
		{"OPENWAY_LANGUAGE", "de"},
		{"OPENWAY_TIME_ZONE", "Mars/Olympus"},
		{"OPENWAY_TIME_ZONE", "Local"},
		{"OPENWAY_TOKEN_IDLE_DAYS", "-1"},
		{"OPENWAY_TOKEN_IDLE_DAYS", "ninety"},
		{"OPENWAY_TOKEN_IDLE_DAYS", "99999999999999999999"},
		{"OPENWAY_TOKEN_IDLE_DAYS", "36526"},
		{"OPENWAY_RETENTION_DAYS", "1.5"},
		{"OPENWAY_RETENTION_DAYS", "36526"},
		{"OPENWAY_LISTEN", "8001"},
		{"OPENWAY_LISTEN", ":http-alt"},
		{"OPENWAY_LISTEN", ":70000"},
		{"OPENWAY_LISTEN", "http://0.0.0.0:8001"},
		{"OPENWAY_LOG_LEVEL", "loud"},
		{"OPENWAY_LOG_FORMAT", "xml"},
		{"OPENWAY_DATABASE", "mysql://db/openway"},
		{"OPENWAY_DATABASE", "postgres://user:pass%word@db/openway"},
		{"OPENWAY_DATABASE", "postgres://user:pass/word@db:0/openway"},
		{"OPENWAY_DATABASE", "file:openway.db"},
		{"OPENWAY_DATABASE", ":memory:"},
		{"OPENWAY_DATABASE", "host=db dbname=openway"},
		{"OPENWAY_DATABASE", dir},
	} {
		t.Run(tt.name+"="+tt.value, func(t *testing.T) {
			t.Setenv(tt.name, tt.value)
			_, _, err := checkAll()
			if err == nil {
				t.Fatalf("%s=%s is accepted", tt.name, tt.value)
			}
			text := oneLine(message(err))
			if !strings.HasPrefix(text, tt.name+": ") || strings.Contains(text, "\n") {
				t.Errorf("%s=%s: the message is %q; want one line that begins with the setting's name", tt.name, tt.value, text)
			}
			if strings.Contains(text, "pass") && strings.Contains(tt.value, "pass%") && !strings.Contains(text, "postgres://user:password@") {
				t.Errorf("%s: the message shows the password: %q", tt.name, text)
			}
		})
	}
}

func TestGoodSettings(t *testing.T) {
	t.Setenv("ACCESS_VERIFY_RATE", " 5/s ")
	t.Setenv("OPENWAY_USER_RATE", "off")
	t.Setenv("ALLOWED_HOSTS", " example.org, .example.com ,[::1],192.0.2.1:8001")
	t.Setenv("CORS_ALLOWED_ORIGINS", "https://App.example.org/, http://localhost:3000")
	t.Setenv("OPENWAY_TRUSTED_PROXIES", "10.1.2.3/8, ::1, ::ffff:192.0.2.0/120")
	t.Setenv("OPENWAY_LISTEN", "[::1]:08001")
	t.Setenv("OPENWAY_TIME_ZONE", "Europe/Moscow")
	t.Setenv("OPENWAY_LOG_LEVEL", "WARNING")
	t.Setenv("OPENWAY_LANGUAGE", "RU")
	t.Setenv("OPENWAY_RETENTION_DAYS", "36525") // as many as the desk takes
	t.Setenv("DJANGO_ENV", "production")
	s, p, err := checkAll("--log-format=text")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.verifyRate.String() + " " + p.userRate.String() + " " + p.anonRate.String() + " " + p.loginRate.String(); got != "5/second off 100/day 10/minute" {
		t.Errorf("rates are %s", got)
	}
	if got := strings.Join(p.origins, " "); got != "https://app.example.org http://localhost:3000" {
		t.Errorf("origins are %s", got)
	}
	var proxies []string
	for _, x := range p.proxies {
		proxies = append(proxies, x.String())
	}
	if got := strings.Join(proxies, " "); got != "10.0.0.0/8 ::1/128 192.0.2.0/24" {
		t.Errorf("proxies are %s", got)
	}
	if p.listen != "[::1]:8001" || p.language != "ru" || len(p.hosts) != 4 {
		t.Errorf("listen %q, language %q, hosts %q", p.listen, p.language, p.hosts)
	}
	if !s.production() {
		t.Error("DJANGO_ENV=production is not production")
	}
	if f, _ := s.format(nil); f != server.TextLog {
		t.Errorf("format is %s", f)
	}
}

func TestDatabaseOfTheSeed(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want string // "" = an error that begins with bad
		bad  string
	}{
		{"nothing", nil, "data/openway.db", ""},
		{"all", map[string]string{"DB_HOST": "db", "DB_PORT": "5433", "POSTGRES_DB": "nfc_access", "POSTGRES_USER": "nfc", "POSTGRES_PASSWORD": "p@ss/w:rd#%"}, "postgres://nfc:p%40ss%2Fw%3Ard%23%25@db:5433/nfc_access", ""},
		{"no port or password", map[string]string{"DB_HOST": "db", "POSTGRES_DB": "d", "POSTGRES_USER": "u"}, "postgres://u@db:5432/d", ""},
		{"IPv6", map[string]string{"DB_HOST": "::1", "POSTGRES_DB": "d", "POSTGRES_USER": "u"}, "postgres://u@[::1]:5432/d", ""},
		{"socket", map[string]string{"DB_HOST": "/run/postgresql", "POSTGRES_DB": "d", "POSTGRES_USER": "u"}, "postgres://u@/d?host=%2Frun%2Fpostgresql&port=5432", ""},
		{"OPENWAY_DATABASE wins", map[string]string{"DB_HOST": "db", "OPENWAY_DATABASE": "x.db"}, "x.db", ""},
		{"no database", map[string]string{"DB_HOST": "db", "POSTGRES_USER": "u"}, "", "POSTGRES_DB: "},
		{"no user", map[string]string{"DB_HOST": "db", "POSTGRES_DB": "d"}, "", "POSTGRES_USER: "},
		{"bad port", map[string]string{"DB_HOST": "db", "DB_PORT": "x", "POSTGRES_DB": "d", "POSTGRES_USER": "u"}, "", "DB_PORT: "},
		{"port 0", map[string]string{"DB_HOST": "db", "DB_PORT": "0", "POSTGRES_DB": "d", "POSTGRES_USER": "u"}, "", "DB_PORT: "},
		{"bad host", map[string]string{"DB_HOST": "http://db", "POSTGRES_DB": "d", "POSTGRES_USER": "u"}, "", "DB_HOST: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			s, _, err := checkAll()
			if tt.bad != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.bad) {
					t.Fatalf("%v: error is %v, want %s…", tt.env, err, tt.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, _, _ := s.database(); got != tt.want {
				t.Errorf("%v: database is %s, want %s", tt.env, got, tt.want)
			}
		})
	}
}

func TestEnvFile(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{`A=b`, "b"},
		{` export A = b c `, "b c"},
		{`A=b # comment`, "b"},
		{`A=b#c`, "b#c"},
		{`A="b # c"  # comment`, "b # c"},
		{`A='b\n"c'`, `b\n"c`},
		{`A="a\n\t\"\\\$\x"`, "a\n\t\"\\$\\x"},
		{`A=`, ""},
		{`A=#x`, ""},
		{"A=b\r", "b"},
		{"\ufeffA=b", "b"},
		{"A=b\nA=c", "c"},
		{"# x\n\nA=b", "b"},
	} {
		vars, err := parseEnvFile("f", tt.line)
		if err != nil || len(vars) != 1 || vars[0].name != "A" || vars[0].value != tt.want {
			t.Errorf("%q: got %q, %v, want A=%q", tt.line, vars, err, tt.want)
		}
	}
	for _, line := range []string{"A", "1A=b", "A B=c", `A="b`, `A='b`, `A="b" c`, "=b", "A=b\x00"} {
		if vars, err := parseEnvFile("f", line); err == nil || !strings.HasPrefix(err.Error(), "f:1: ") {
			t.Errorf("%q: got %q, %v, want an error that begins with f:1:", line, vars, err)
		}
	}
}
