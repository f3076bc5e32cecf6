package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// tool is pg_dump or psql, as it is to be run.
type tool struct {
	args  []string // the command, with how to reach the database
	env   []string
	major int
}

// libpqNames are what a URL may say to pg_dump and psql; pgx knows more, and sends the rest to the server.
var libpqNames = []string{
	"host", "hostaddr", "port", "dbname", "user", "connect_timeout", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcompression", "sslsni",
	"target_session_attrs", "application_name", "options", "channel_binding", "gssencmode", "krbsrvname", "passfile", "service", "keepalives", "keepalives_idle",
}

// findTool finds pg_dump or psql of at least the server's version: instead, when it is given, else the one on PATH, else where Debian
// keeps those of several versions.
func findTool(ctx context.Context, name, instead, database string, server int) (tool, error) {
	cfg, err := pgconn.ParseConfig(database)
	if err != nil {
		return tool{}, errors.New("the URL of the database cannot be read") // pgconn's own words may hold the password
	}
	var t tool
	if instead != "" {
		// It may run where the server is, in a container: the address is another one there. So that goes by the environment, which no container sees.
		host, port := addresses(cfg)
		for _, v := range [][2]string{{"PGHOST", host}, {"PGPORT", port}} {
			if _, set := os.LookupEnv(v[0]); !set {
				t.env = append(t.env, v[0]+"="+v[1])
			}
		}
		t.args = append(strings.Fields(instead), "--username="+cfg.User, "--dbname="+cfg.Database)
		if t.major, err = versionOf(ctx, strings.Fields(instead)); err != nil {
			return tool{}, err
		}
		if t.major < server {
			return tool{}, tooOld(name, t.major, server)
		}
	} else {
		var candidates []string
		if path, err := exec.LookPath(name); err == nil {
			candidates = append(candidates, path)
		}
		more, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is good
		slices.SortFunc(more, func(a, b string) int { return majorIn(b) - majorIn(a) })
		candidates = append(candidates, more...)
		if len(candidates) == 0 {
			return tool{}, fmt.Errorf("there is no %s on this machine: install the client of PostgreSQL %d (Debian: apt-get install postgresql-client-%d), or say what to run in its place: %s", name, server, server, setting(name))
		}
		best := 0
		for _, path := range candidates {
			major, err := versionOf(ctx, []string{path})
			if err != nil {
				return tool{}, err
			}
			if best = max(best, major); major >= server {
				t.args, t.major = []string{path, "--dbname=" + libpqURL(database)}, major
				break
			}
		}
		if t.args == nil {
			return tool{}, tooOld(name, best, server)
		}
	}
	t.args = append(t.args, "--no-password")
	t.env = append(os.Environ(), t.env...)
	if cfg.Password != "" {
		t.env = append(t.env, "PGPASSWORD="+cfg.Password)
	}
	return t, nil
}

// addresses are the hosts and ports of a database, with commas, as libpq takes them.
func addresses(cfg *pgconn.Config) (hosts, ports string) {
	h, p := []string{cfg.Host}, []string{strconv.Itoa(int(cfg.Port))}
	for _, f := range cfg.Fallbacks {
		if port := strconv.Itoa(int(f.Port)); f.Host != h[len(h)-1] || port != p[len(p)-1] { // each stands there with TLS and without
			h, p = append(h, f.Host), append(p, port)
		}
	}
	return strings.Join(h, ","), strings.Join(p, ",")
}

func majorIn(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 for what is no version
	return n
}

// setting names the setting that says what to run in a tool's place.
func setting(name string) string { return "OPENWAY_" + strings.ToUpper(name) }

func tooOld(name string, have, server int) error {
	return fmt.Errorf("%s is of version %d, the server is PostgreSQL %d: it must be at least as new; install the client of PostgreSQL %d (Debian: apt-get install postgresql-client-%d), or say what to run in its place: %s",
		name, have, server, server, server, setting(name))
}

// versionOf asks a tool for its major version: "pg_dump (PostgreSQL) 15.18 (Debian …)".
func versionOf(ctx context.Context, command []string) (int, error) {
	var out, complaint bytes.Buffer
	c := exec.CommandContext(ctx, command[0], append(slices.Clone(command[1:]), "--version")...) // #nosec G204 -- the operator names the tool
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil {
		return 0, fmt.Errorf("run %s --version: %w%s", strings.Join(command, " "), err, after(&complaint))
	}
	_, version, _ := strings.Cut(out.String(), "(PostgreSQL) ")
	digits := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if major, err := strconv.Atoi(version[:max(digits, 0)]); err == nil {
		return major, nil
	}
	return 0, fmt.Errorf("%s --version says no version of PostgreSQL: %q", strings.Join(command, " "), strings.TrimSpace(out.String()))
}

// libpqURL is a database's URL for pg_dump and psql: without its password, which everybody on the machine could read in the list of
// processes, and without what pgx alone understands. Settings of the server's go into options.
func libpqURL(database string) string {
	u, err := url.Parse(database)
	if err != nil { // pgconn has read it before
		return database
	}
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	q, options := url.Values{}, []string{}
	for name, values := range u.Query() {
		switch {
		case slices.Contains(libpqNames, name):
			q[name] = values
		case name == "search_path":
			options = append(options, "-c search_path="+values[0])
		}
	}
	if len(options) > 0 {
		q.Set("options", strings.TrimSpace(q.Get("options")+" "+strings.Join(options, " ")))
	}
	// libpq takes a plus sign for itself, not for a space.
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
}

// command prepares to run the tool. It is killed when ctx ends.
func (t tool) command(ctx context.Context, more ...string) (c *exec.Cmd, complaint *bytes.Buffer) {
	c = exec.CommandContext(ctx, t.args[0], append(slices.Clone(t.args[1:]), more...)...) // #nosec G204 -- the operator names the tool
	complaint = &bytes.Buffer{}
	c.Env, c.Stderr, c.WaitDelay = t.env, complaint, 5*time.Second
	return c, complaint
}

// after is what a tool complained of, to stand behind the error; its first lines are the cause of the others.
func after(complaint *bytes.Buffer) string {
	text := strings.TrimSpace(complaint.String())
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	return ": " + strings.Join(lines[:min(len(lines), 3)], "; ")
}
