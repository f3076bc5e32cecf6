package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/importer"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/sitefile"
	"github.com/openway-access/openway/internal/store"
)

// ImportCmd moves a site in from another system.
type ImportCmd struct {
	Django ImportDjangoCmd `cmd:"" help:"Move in from the Django access service: people, phones, gates, rights, the log."`
}

// Help is the example of --help.
func (ImportCmd) Help() string {
	return "Example:\n\n    openway import django --from-dump nfc_access_2026-11-23.sql.gz --dry-run"
}

// ImportDjangoCmd moves in from the Django service that this one replaces.
type ImportDjangoCmd struct {
	From     string `env:"OPENWAY_DJANGO_DATABASE" placeholder:"URL" help:"The live database, postgres://user:password@host:5432/name; it is only read. OPENWAY_DJANGO_DATABASE keeps the password off the command line."`
	FromDump string `placeholder:"FILE" help:"A backup file instead: plain pg_dump, *.sql or *.sql.gz. No PostgreSQL is needed then."`
	Schema   string `placeholder:"NAME" help:"The PostgreSQL schema of Django's tables, when several have them."`

	DryRun  bool `help:"Read everything and report; write nothing at all."`
	Replace bool `env:"-" help:"Wipe what an earlier import brought, and the events since, and import anew; refused when people, gates or rights were made here since."`
	Force   bool `env:"-" help:"With --replace: wipe that too."`
	Yes     bool `short:"y" env:"-" help:"With --force: do not ask."`

	SkipEvents        bool   `help:"Leave the log of decisions out."`
	EventsSince       string `placeholder:"DATE" help:"Leave out events from before this date, such as 2026-01-01 (in the zone of --time-zone)."`
	ExpireTokensAfter string `placeholder:"90d" help:"End the users' tokens so long after the import; without it they hold until revoked, or the password changes."`
	JSON              bool   `name:"json" help:"Print the report as a JSON object."`
}

// Help is the manual in short, and the example of --help.
func (ImportDjangoCmd) Help() string {
	return "Users keep their passwords, phones their tokens, gates their rights, the log its history, and everything its id. It is done whole or not at all, and only " +
		"after the old rule and the new one were held against each other for the tokens and gates of the site. What is not one to one stands in the report.\n\n" +
		"An SQLite database is built as a new file that takes the old one's place, so no server may run on it; on PostgreSQL a running server sees the result at once. " +
		"The whole way is told in docs/moving-in.md.\n\n" +
		"Example:\n\n    openway import django --from-dump nfc_access_2026-11-23.sql.gz --dry-run\n    openway import django --from-dump nfc_access_2026-11-23.sql.gz\n" +
		"    openway import django --from postgres://nfc:secret@db/nfc_access --replace"
}

// Run imports.
func (c ImportDjangoCmd) Run(a *app) (err error) {
	o, err := c.options(a)
	if err != nil {
		return err
	}
	if c.Force && !c.DryRun {
		if err := a.confirm(c.Yes, "import", "wipe the site, also what was made or changed here, and import anew"); err != nil {
			return err
		}
	}
	bar := a.newProgressBar()
	o.Progress = bar.show
	im, err := importer.Read(a.ctx, o)
	if err != nil {
		bar.clear()
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	kept := ""
	if c.DryRun {
		err = c.rehearse(a, im)
	} else {
		kept, err = a.moveIn(im)
	}
	bar.clear()
	var conflicts importer.ErrConflicts
	var unequal importer.ErrUnequal
	if err != nil && !errors.As(err, &conflicts) && !errors.As(err, &unequal) {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		return errors.Join(err, e.Encode(im.Report))
	}
	a.printImport(&im.Report)
	if kept != "" {
		a.printf("The database as it was stands in %s.\n", kept)
	}
	return err
}

func (c ImportDjangoCmd) options(a *app) (o importer.Options, err error) {
	o = importer.Options{
		From: strings.TrimSpace(c.From), Dump: c.FromDump, Schema: c.Schema, Replace: c.Replace, Force: c.Force, SkipEvents: c.SkipEvents, Now: a.now,
	}
	if o.Dump != "" { // the flag wins over the environment
		o.From = ""
	}
	switch {
	case o.Dump == "" && o.From == "":
		return o, usagef("name the source: --from-dump FILE or --from postgres://…; see openway import django --help")
	case o.Dump == "" && !strings.HasPrefix(o.From, "postgres://") && !strings.HasPrefix(o.From, "postgresql://"):
		return o, usagef("--from: a URL such as postgres://user:password@host:5432/name is wanted; a file is named with --from-dump")
	case c.Force && !c.Replace:
		return o, usagef("--force goes with --replace")
	case c.SkipEvents && c.EventsSince != "":
		return o, usagef("--skip-events and --events-since do not go together")
	}
	if c.EventsSince != "" {
		zone, _, _, err := a.settings.site()
		if err != nil {
			return o, err
		}
		at, err := time.LoadLocation(zone)
		if err != nil {
			return o, err
		}
		w, err := sitefile.ParseWhen(strings.TrimSpace(c.EventsSince))
		if err != nil {
			return o, usagef("--events-since: %q %w", c.EventsSince, err)
		}
		if o.EventsSince, err = w.In(at); err != nil {
			return o, usagef("--events-since: %w", err)
		}
	}
	if c.ExpireTokensAfter != "" {
		if o.ExpireTokensAfter, err = span(c.ExpireTokensAfter); err != nil {
			return o, usagef("--expire-tokens-after: %w", err)
		}
	}
	return o, nil
}

// span reads 90d, or a duration such as 36h.
func span(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= registry.MaxDays {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return d, nil
	}
	return 0, fmt.Errorf("%q is neither a number of days such as 90d nor a time such as 36h", s)
}

// rehearse looks at the database there is, if there is one, and writes nothing.
func (c ImportDjangoCmd) rehearse(a *app, im *importer.Import) error {
	dsn, postgres, err := a.settings.database()
	if err != nil {
		return err
	}
	var h store.Holdings
	if postgres || hasDatabase(dsn) {
		log, err := a.commandLogger()
		if err != nil {
			return err
		}
		st, _, err := openStore(a.ctx, a.settings, log)
		if err != nil {
			return err
		}
		h, err = st.HoldingsNow(a.ctx)
		if err := errors.Join(err, st.Close()); err != nil {
			return err
		}
	}
	return im.Rehearse(a.ctx, h)
}

func hasDatabase(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// moveIn writes the site into the installation that the settings name. It returns where the SQLite file went that was replaced.
func (a *app) moveIn(im *importer.Import) (kept string, err error) {
	dsn, postgres, err := a.settings.database()
	if err != nil {
		return "", err
	}
	if postgres {
		return "", a.withNew(func(ctx context.Context, in *installation) error {
			return im.Into(ctx, in.store, in.keys, in.actor)
		})
	}
	log, err := a.commandLogger()
	if err != nil {
		return "", err
	}
	zone, idleDays, retention, err := a.settings.site()
	if err != nil {
		return "", err
	}
	src, err := a.settings.secrets(log)
	if err != nil {
		return "", err
	}
	r, err := store.BeginRebuild(a.ctx, dsn)
	if err != nil {
		return "", err
	}
	in := &installation{idleDays: idleDays, actor: commandActor()}
	build := func() (err error) {
		// First as any database is opened, for its schema and its key; then to be filled.
		if in.store, err = store.Open(a.ctx, store.Options{Database: r.New, Logger: log, Zone: zone, RetentionDays: retention}); err != nil {
			return err
		}
		if err := errors.Join(in.prepare(a.ctx, dsn, src, openOptions{log: log}), in.close()); err != nil {
			return err
		}
		st, err := store.Open(a.ctx, store.Options{Database: r.New, Logger: log, Building: true})
		if err != nil {
			return err
		}
		err = im.Into(a.ctx, st, in.keys, in.actor)
		if err == nil {
			err = st.IndexEvents(a.ctx)
		}
		return errors.Join(err, st.Close())
	}
	if err := build(); err != nil {
		im.Report.Imported = false
		return "", errors.Join(err, r.Abandon())
	}
	if len(im.Report.Wiped) > 0 {
		kept = unused(dsn + ".before-import-" + a.now().UTC().Format("20060102T150405Z"))
	}
	if err := r.Swap(a.ctx, kept); err != nil {
		im.Report.Imported = false
		return "", err
	}
	return kept, nil
}

// unused is path, or path with a number when there is such a file.
func unused(path string) string {
	name := path
	for n := 2; ; n++ {
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name
		}
		name = path + "-" + strconv.Itoa(n)
	}
}
