package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/server"
)

// settings are what every command that touches the installation goes by. The zero value of a field means that it was not set. What is
// in them is read and checked by the methods below, so that every mistake is one line that names the setting.
//
// OPENWAY_SECRET_KEY, OPENWAY_SECRET_KEY_FALLBACKS, POSTGRES_PASSWORD and OPENWAY_PASSWORD are read from the environment alone: a
// command line can be seen by everybody on the machine.
type settings struct {
	EnvFile     string `group:"settings" placeholder:"FILE" help:"Read settings from this file of NAME=value lines; the real environment wins. Unset: /etc/openway/openway.env if it is there."`
	Environment string `name:"env" group:"settings" env:"OPENWAY_ENV,DJANGO_ENV" placeholder:"NAME" help:"production makes dangerous commands ask harder."`

	Database     string `group:"database" placeholder:"PATH|URL" help:"SQLite file or postgres:// URL; data/openway.db unless DB_HOST is set."`
	PostgresDB   string `name:"postgres-db" group:"database" env:"POSTGRES_DB,OPENWAY_POSTGRES_DB" placeholder:"NAME" help:"PostgreSQL database, with --db-host."`
	PostgresUser string `group:"database" env:"POSTGRES_USER,OPENWAY_POSTGRES_USER" placeholder:"NAME" help:"PostgreSQL user, with --db-host; the password is POSTGRES_PASSWORD."`
	DBHost       string `name:"db-host" group:"database" env:"DB_HOST,OPENWAY_DB_HOST" placeholder:"HOST" help:"PostgreSQL server, when --database is unset."`
	DBPort       string `name:"db-port" group:"database" env:"DB_PORT,OPENWAY_DB_PORT" placeholder:"PORT" help:"Its port; 5432."`

	SecretKeyFile          string `group:"database" placeholder:"FILE" help:"File with the secret key (OPENWAY_SECRET_KEY itself wins), 32 bytes at least. SQLite without a key: FILE.db.key is made."`
	SecretKeyFallbacksFile string `group:"database" placeholder:"FILE" help:"File with former secret keys, one a line, as OPENWAY_SECRET_KEY_FALLBACKS with commas."`

	TimeZone      string `group:"site" placeholder:"ZONE" help:"Zone of a new site, such as Europe/Berlin; UTC."`
	TokenIdleDays string `group:"site" placeholder:"DAYS" help:"API tokens end after so many days without use; 90, 0 = never."`
	RetentionDays string `group:"site" placeholder:"DAYS" help:"Events of a new site are kept so many days; 0 = for ever."`

	LogLevel  string `group:"log" placeholder:"LEVEL" help:"debug, info, warn or error; info."`
	LogFormat string `group:"log" placeholder:"FORMAT" help:"json or text; text on a terminal, else json."`
}

func flagGroups() []kong.Group {
	return []kong.Group{
		{Key: "settings", Title: "Settings:"},
		{Key: "database", Title: "Database and key:"},
		{Key: "site", Title: "Site:"},
		{Key: "log", Title: "Log:"},
		{Key: "limits", Title: "Limits (30/second, 10/minute, 100/day, off):"},
		{Key: "http", Title: "HTTP:"},
		{Key: "backup", Title: "Backups:"},
		{Key: "https", Title: "HTTPS without a proxy:"},
	}
}

const (
	defaultDatabase = "data/openway.db"
	defaultIdleDays = 90
)

// production reports whether dangerous commands should ask harder.
func (s *settings) production() bool {
	switch strings.ToLower(strings.TrimSpace(s.Environment)) {
	case "production", "prod":
		return true
	}
	return false
}

// databaseSetting names the setting that says where the database is.
func (s *settings) databaseSetting() string {
	if strings.TrimSpace(s.Database) == "" && s.DBHost != "" {
		return "DB_HOST"
	}
	return "OPENWAY_DATABASE"
}

// database is the SQLite path or postgres:// URL, and whether it is PostgreSQL. Errors never show the URL: it may hold a password.
func (s *settings) database() (dsn string, postgres bool, err error) {
	const name = "OPENWAY_DATABASE"
	d := strings.TrimSpace(s.Database)
	switch {
	case d == "" && s.DBHost != "":
		dsn, err = s.postgresURL()
		return dsn, true, err
	case d == "":
		return filepath.FromSlash(defaultDatabase), false, nil
	case strings.HasPrefix(d, "postgres://"), strings.HasPrefix(d, "postgresql://"):
		u, err := url.Parse(d)
		if err != nil {
			return "", true, settingError(name, "not a URL such as postgres://user:password@host:5432/name (characters such as @ : / ? # %% in a password are written %%40 and so on)")
		}
		if p := u.Port(); p != "" {
			if err := checkPort(name, p); err != nil {
				return "", true, err
			}
		}
		return d, true, nil
	case strings.Contains(d, "://"):
		scheme, _, _ := strings.Cut(d, "://")
		return "", false, settingError(name, "%q is not supported: give the path of an SQLite file or a postgres:// URL", scheme+"://")
	case strings.HasPrefix(d, "file:"), strings.HasPrefix(d, "sqlite:"), d == ":memory:":
		return "", false, settingError(name, "give the plain path of the SQLite file")
	case strings.Contains(d, "host=") || strings.Contains(d, "dbname="):
		return "", false, settingError(name, "write PostgreSQL's address as a URL: postgres://user:password@host:5432/name")
	case strings.ContainsRune(d, 0):
		return "", false, settingError(name, "not the path of a file")
	}
	if st, err := os.Stat(d); err == nil && st.IsDir() {
		return "", false, settingError(name, "%s is a directory; name a file in it, such as %s", d, filepath.Join(d, "openway.db"))
	}
	return d, false, nil
}

// postgresURL builds the address from the names that the original deployment uses.
func (s *settings) postgresURL() (string, error) {
	if s.PostgresDB == "" {
		return "", settingError("POSTGRES_DB", "must be set when DB_HOST is")
	}
	if s.PostgresUser == "" {
		return "", settingError("POSTGRES_USER", "must be set when DB_HOST is")
	}
	port := "5432"
	if s.DBPort != "" {
		port = strings.TrimSpace(s.DBPort)
		if err := checkPort("DB_PORT", port); err != nil {
			return "", err
		}
	}
	u := url.URL{Scheme: "postgres", User: url.User(s.PostgresUser), Path: "/" + s.PostgresDB}
	if pw := os.Getenv("POSTGRES_PASSWORD"); pw != "" {
		u.User = url.UserPassword(s.PostgresUser, pw)
	}
	host := strings.TrimSpace(s.DBHost)
	if strings.HasPrefix(host, "/") { // the directory of a Unix socket
		u.RawQuery = url.Values{"host": {host}, "port": {port}}.Encode()
		return u.String(), nil
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.ContainsAny(host, " /@?#[]") {
		return "", settingError("DB_HOST", "%q is not a host name", s.DBHost)
	}
	u.Host = net.JoinHostPort(host, port)
	return u.String(), nil
}

func checkPort(name, port string) error {
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return settingError(name, "%q is not a port (1..65535)", port)
	}
	return nil
}

// days reads a number of days, 0..registry.MaxDays.
func days(name, value string, unset int) (int, error) {
	v := strings.TrimSpace(value)
	if v == "" {
		return unset, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > registry.MaxDays {
		return 0, settingError(name, "%q is not a number of days (0..%d)", value, registry.MaxDays)
	}
	return n, nil
}

// site reads the settings of the site.
func (s *settings) site() (zone string, idleDays, retentionDays int, err error) {
	if idleDays, err = days("OPENWAY_TOKEN_IDLE_DAYS", s.TokenIdleDays, defaultIdleDays); err != nil {
		return "", 0, 0, err
	}
	if retentionDays, err = days("OPENWAY_RETENTION_DAYS", s.RetentionDays, 0); err != nil {
		return "", 0, 0, err
	}
	zone = strings.TrimSpace(s.TimeZone)
	if zone == "" {
		zone = "UTC"
	}
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		return "", 0, 0, settingError("OPENWAY_TIME_ZONE", "%q is not a time zone such as Europe/Berlin", s.TimeZone)
	}
	return zone, idleDays, retentionDays, nil
}

// level reads the log level.
func (s *settings) level() (slog.Level, error) {
	switch strings.ToLower(strings.TrimSpace(s.LogLevel)) {
	case "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error", "critical":
		return slog.LevelError, nil
	}
	return 0, settingError("OPENWAY_LOG_LEVEL", "%q is not debug, info, warn or error", s.LogLevel)
}

// format reads the log format for what is written to f: text for a person at a terminal.
func (s *settings) format(f any) (server.LogFormat, error) {
	switch strings.ToLower(strings.TrimSpace(s.LogFormat)) {
	case "json":
		return server.JSONLog, nil
	case "text":
		return server.TextLog, nil
	case "":
		if isTerminal(f) {
			return server.TextLog, nil
		}
		return server.JSONLog, nil
	}
	return "", settingError("OPENWAY_LOG_FORMAT", "%q is not json or text", s.LogFormat)
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// list reads a list with commas.
func list(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// commandLogger is the log of commands other than serve: what an operator should know, on standard error.
func (a *app) commandLogger() (*slog.Logger, error) {
	level := slog.LevelWarn
	if a.settings.LogLevel != "" {
		var err error
		if level, err = a.settings.level(); err != nil {
			return nil, err
		}
	}
	format := server.TextLog
	if a.settings.LogFormat != "" {
		var err error
		if format, err = a.settings.format(a.err); err != nil {
			return nil, err
		}
	}
	return slog.New(server.NewLogHandler(a.err, format, level)), nil
}

// printf writes to standard output, its texts as lists show them: without anything in them that could steer the terminal.
func (a *app) printf(format string, args ...any) {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = printable(s)
		}
	}
	a.print(fmt.Sprintf(format, args...))
}

// print writes to standard output. That it could not, perhaps a token that is shown once, is the command's error at its end.
func (a *app) print(text string) {
	_, err := io.WriteString(a.out, text)
	if err != nil && a.unprinted == nil {
		a.unprinted = fmt.Errorf("print: %w", err)
	}
}
