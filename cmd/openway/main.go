// Command openway is OpenWay Access: the server that door controllers ask, and every command of its administration.
//
// It may import every package of the module and does nothing of its own but reading settings, wiring the parts and printing
// what the desk says. Exit status: 0 done, 1 it failed, 2 the command line was wrong. An error is one line on standard error that begins with
// "openway: ", or, where serve writes its log as JSON, a line of the log.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	_ "time/tzdata" // a minimal container has no zone files

	"github.com/alecthomas/kong"

	"github.com/openway-access/openway/internal/server"
)

// cli is every command and every setting: a flag, an environment variable and a default in one place.
type cli struct {
	settings
	ShowVersion kong.VersionFlag `name:"version" env:"-" help:"Print the version, as the command of this name does."`

	Serve           ServeCmd           `cmd:"" help:"Run the server."`
	Demo            DemoCmd            `cmd:"" help:"Run a throw-away site to look around."`
	Apply           ApplyCmd           `cmd:"" help:"Make the site what a file declares."`
	Export          ExportCmd          `cmd:"" help:"Write the site as a file that apply takes."`
	Import          ImportCmd          `cmd:"" help:"Move in from another system: import django."`
	Migrate         MigrateCmd         `cmd:"" help:"Bring the database's schema up to date."`
	User            UserCmd            `cmd:"" help:"People: create, list, show, set-password, activate, deactivate, delete, erase."`
	Createsuperuser CreateSuperuserCmd `cmd:"" help:"Make an administrator; asks for what was not given."`
	Group           GroupCmd           `cmd:"" help:"Groups of people."`
	Gate            GateCmd            `cmd:"" help:"Gates: places where decisions are taken."`
	Permission      PermissionCmd      `cmd:"" help:"Who may pass which gate."`
	Device          DeviceCmd          `cmd:"" help:"Registered phones and their tokens."`
	Token           TokenCmd           `cmd:"" help:"API tokens of users."`
	Events          EventsCmd          `cmd:"" help:"The log of decisions."`
	Audit           AuditCmd           `cmd:"" help:"The log of administrative changes."`
	Backup          BackupCmd          `cmd:"" help:"Take or verify a backup."`
	Restore         RestoreCmd         `cmd:"" help:"Replace the database by a backup; without a file: list the backups."`
	Rekey           RekeyCmd           `cmd:"" help:"Seal every token anew under the newest secret key."`
	Check           CheckCmd           `cmd:"" help:"Look the installation over; --deploy before doors depend on it."`
	Healthcheck     HealthcheckCmd     `cmd:"" help:"Ask the server on this machine how it is, for containers."`
	Version         VersionCmd         `cmd:"" help:"Print the version."`
}

// app is what commands run in.
type app struct {
	ctx      context.Context
	in       io.Reader
	out, err io.Writer
	now      func() time.Time
	settings *settings
	args     []string
	environ  []string // as it was given, before a file added to it
	env      environment
	hangup   atomic.Pointer[func()] // what SIGHUP does; nil = end

	unprinted error // the first of what printf could not print; nil = none
}

func main() {
	// A log collector or a pager that goes away must not take the process with it, nor a file that may not grow further: writing says so.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings given. It returns the exit status.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{args: args, environ: os.Environ(), in: in, out: out, err: errOut, now: time.Now}
	ctx, stop := a.untilSignal(context.Background())
	defer stop()
	a.ctx = ctx
	err := a.run(args)
	if err == nil || readerGone(err, out) {
		return 0
	}
	a.complain(oneLine(message(err)))
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// readerGone reports whether err says nothing but that whoever read the output has had enough of it, which is no error.
func readerGone(err error, out io.Writer) bool {
	switch e := err.(type) { //nolint:errorlint // it is taken apart here
	case *fs.PathError:
		f, ok := out.(*os.File)
		return ok && e.Path == f.Name() && errors.Is(e, syscall.EPIPE)
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !readerGone(err, out) })
	case interface{ Unwrap() error }:
		return readerGone(e.Unwrap(), out)
	}
	return false
}

func (a *app) run(args []string) error {
	var c cli
	parser, err := newKong(&c, a.out, a.err)
	if err != nil {
		return fmt.Errorf("set up the command line: %w", err)
	}
	if err := a.env.load(args); err != nil && !needsNoSettings(args) {
		return err
	}
	a.env.forgetEmpty(parser.Model)
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		return asUsage(err)
	}
	a.settings = &c.settings
	return errors.Join(k.Run(a), a.unprinted)
}

// complain writes the last word of a command to standard error: one line, which is a line of the log where a server writes its log as JSON, for
// whoever reads the two together.
func (a *app) complain(what string) {
	if serves(a.args) {
		s := settings{LogFormat: os.Getenv("OPENWAY_LOG_FORMAT")}
		if f, given := flagOf(a.args, "--log-format"); given {
			s.LogFormat = f
		}
		if format, err := s.format(a.out); err != nil || format == server.JSONLog {
			slog.New(server.NewLogHandler(a.err, server.JSONLog, slog.LevelError)).Error(what)
			return
		}
	}
	fmt.Fprintln(a.err, "openway: "+what)
}

// serves tells the command lines that run a server, as far as that can be told of one that could not be read.
func serves(args []string) bool {
	return len(args) > 0 && (args[0] == "serve" || strings.HasPrefix(args[0], "-") && slices.Contains(args, "serve"))
}

// newKong reads the command line into c. Help goes to out.
func newKong(c *cli, out, errOut io.Writer) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("openway"),
		kong.Description("OpenWay Access: who may pass which gate, and the record of it.\n\n"+
			"Every flag is an environment variable as well, as its help says. Secrets are given by OPENWAY_SECRET_KEY, POSTGRES_PASSWORD and OPENWAY_PASSWORD alone.\n\n"+
			"Example:\n\n    openway createsuperuser\n    openway serve"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, Tree: false, WrapUpperBound: 110, FlagsLast: true}),
		kong.Help(func(options kong.HelpOptions, k *kong.Context) error {
			if k.Selected() != nil && k.Selected().Name == "demo" { // which has a database of its own
				for _, f := range k.Model.Flags {
					f.Hidden = f.Hidden || f.Group != nil && (f.Group.Key == "database" || f.Group.Key == "site")
				}
			}
			return kong.DefaultHelpPrinter(options, k)
		}),
		kong.DefaultEnvars("OPENWAY"),
		kong.Writers(out, errOut),
		kong.ExplicitGroups(flagGroups()),
		kong.Vars{"version": thisRelease().String()},
	)
}

// needsNoSettings: what works even when the environment file cannot be read.
func needsNoSettings(args []string) bool {
	for _, arg := range args {
		switch arg {
		case "--help", "-h", "--version", "version":
			return true
		case "--":
			return false
		}
	}
	return len(args) == 0
}

// oneAct is how soon after the first signal another one is taken for the same act: timeout(1) and some shells signal a process and then its
// group, which reaches it twice.
const oneAct = time.Second

// untilSignal ends its context at the first SIGTERM or SIGINT, or SIGHUP unless onHangup says what that does; a second one ends the
// process at once.
func (a *app) untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) { // nohup means it
		signal.Notify(hangups, syscall.SIGHUP)
	}
	stop := make(chan struct{})
	go a.onHangups(isTerminal(a.out) || isTerminal(a.in), hangups, signals, stop)
	go onSignals(signals, stop, cancel, func(s os.Signal) {
		a.complain("ended at once by a second signal")
		code := 1
		if n, ok := s.(syscall.Signal); ok {
			code = 128 + int(n)
		}
		os.Exit(code)
	})
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(hangups)
		close(stop)
		cancel()
	}
}

// onSignals calls first at the first signal and second at one that comes oneAct or more after it, and returns then or when stop closes.
func onSignals(signals <-chan os.Signal, stop <-chan struct{}, first func(), second func(os.Signal)) {
	select {
	case <-signals:
	case <-stop:
		return
	}
	began := time.Now()
	first()
	for {
		select {
		case s := <-signals:
			if time.Since(began) >= oneAct {
				second(s)
				return
			}
		case <-stop:
			return
		}
	}
}

// oneLine keeps an error to its one line, without anything in it that could steer the terminal.
func oneLine(s string) string {
	var b strings.Builder
	for _, line := range strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		switch {
		case b.Len() == 0:
		case strings.HasSuffix(b.String(), ":"): // pgx lists its attempts below such a line
			b.WriteByte(' ')
		default:
			b.WriteString("; ")
		}
		b.WriteString(line)
	}
	return printable(strings.ReplaceAll(b.String(), "\t", " "))
}
