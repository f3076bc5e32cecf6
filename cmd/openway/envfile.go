package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// defaultEnvFile is read when it is there and no other is named.
const defaultEnvFile = "/etc/openway/openway.env"

// environment brings the file of settings into the process's environment before flags are read.
type environment struct {
	file  string          // what was read; "" = none
	from  string          // the setting that names it, for messages
	given map[string]bool // the variables that are as the file says: the real environment says nothing else
	known map[string]bool // the variables that flags read
}

// load reads the file named by --env-file or OPENWAY_ENV_FILE, else the default one if there. What the real environment
// sets, even to nothing, is left alone.
func (e *environment) load(args []string) error {
	path, from := envFileOf(args)
	data, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) && from == usualEnvFile {
		return nil
	}
	if err != nil {
		return settingError(from, "%w", err)
	}
	vars, err := parseEnvFile(path, string(data))
	if err != nil {
		return settingError(from, "%w", err)
	}
	e.given = make(map[string]bool)
	for _, v := range vars {
		if real, set := os.LookupEnv(v.name); set {
			e.given[v.name] = real == v.value // systemd has read the same file
			continue
		}
		if err := os.Setenv(v.name, v.value); err != nil {
			return settingError(from, "%s: %s: %w", path, v.name, err)
		}
		e.given[v.name] = true
	}
	e.file, e.from = path, from
	return nil
}

// reread is what the file says of a variable now; "" = nothing. It reports false when the file has no say: none was read, or the real environment
// said something else.
func (e *environment) reread(name string) (value string, free bool, err error) {
	if _, set := os.LookupEnv(name); e.file == "" || set && !e.given[name] {
		return "", false, nil
	}
	data, err := readSmall(e.file)
	if err != nil {
		return "", false, settingError(e.from, "%w", err)
	}
	vars, err := parseEnvFile(e.file, string(data))
	if err != nil {
		return "", false, settingError(e.from, "%w", err)
	}
	for _, v := range vars {
		if v.name == name {
			return v.value, true, nil
		}
	}
	return "", true, nil
}

// usualEnvFile stands for a setting where none names the file.
const usualEnvFile = "the usual file of settings"

// envFileOf is the file of settings, and the setting that names it.
func envFileOf(args []string) (path, from string) {
	if v, given := flagOf(args, "--env-file"); given {
		return v, "--env-file"
	}
	if v := os.Getenv("OPENWAY_ENV_FILE"); v != "" {
		return v, "OPENWAY_ENV_FILE"
	}
	return defaultEnvFile, usualEnvFile
}

// flagOf is the value of a flag, as far as that can be told before the command line is read.
func flagOf(args []string, name string) (value string, given bool) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if v, ok := strings.CutPrefix(arg, name+"="); ok {
			return v, true
		}
		if arg == name && i+1 < len(args) {
			return args[i+1], true
		}
	}
	return "", false
}

type variable struct{ name, value string }

// parseEnvFile reads NAME=value lines, the last of a name winning: "#" begins a comment at the start of a line or after white space, "export " is
// skipped, values may stand in quotes ("…" knows \n \t \" \\ \$). Nothing is expanded.
func parseEnvFile(path, text string) ([]variable, error) {
	var vars []variable
	at := make(map[string]int)
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, "export "))
		name, value, found := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !found || !isVariableName(name) {
			return nil, fmt.Errorf("%s:%d: expected NAME=value", path, n) // the line itself may be a secret
		}
		value, err := unquote(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", path, n, name, err)
		}
		if i, again := at[name]; again {
			vars[i].value = value
			continue
		}
		at[name] = len(vars)
		vars = append(vars, variable{name, value})
	}
	return vars, nil
}

func isVariableName(s string) bool {
	for i, c := range s {
		switch {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', i > 0 && '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return s != ""
}

func unquote(v string) (string, error) {
	if strings.IndexByte(v, 0) >= 0 {
		return "", errors.New("a NUL character")
	}
	if v == "" || (v[0] != '"' && v[0] != '\'') {
		for i := range len(v) {
			if v[i] == '#' && (i == 0 || v[i-1] == ' ' || v[i-1] == '\t') {
				return strings.TrimSpace(v[:i]), nil
			}
		}
		return v, nil
	}
	quote := v[0]
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch c := v[i]; {
		case c == quote:
			if rest := strings.TrimSpace(v[i+1:]); rest != "" && rest[0] != '#' {
				return "", errors.New("text after the closing quote")
			}
			return b.String(), nil
		case c == '\\' && quote == '"' && i+1 < len(v):
			i++
			switch v[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case '"', '\\', '$', '`':
				b.WriteByte(v[i])
			default:
				b.WriteByte('\\')
				b.WriteByte(v[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("the closing quote is missing")
}

// forgetEmpty drops our variables that are set to nothing: compose files write NAME=${NAME:-}, which means "not set".
func (e *environment) forgetEmpty(m *kong.Application) {
	e.known = variables(m)
	for name := range e.known {
		if v, set := os.LookupEnv(name); set && strings.TrimSpace(v) == "" {
			_ = os.Unsetenv(name)
		}
	}
}

// variables are the names of all environment variables that flags read.
func variables(m *kong.Application) map[string]bool {
	names := make(map[string]bool)
	var walk func(n *kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			for _, name := range f.Envs {
				names[name] = true
			}
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(m.Node)
	return names
}
