package main

import (
	"errors"
	"time"

	"github.com/openway-access/openway/internal/store"
)

// MigrateCmd brings the schema up to date.
type MigrateCmd struct {
	Status bool `help:"Only say what was applied and what is pending; exit status 1 if anything is."`
	JSON   bool `name:"json" help:"With --status: one JSON object a line."`
}

// Help is the example of --help.
func (MigrateCmd) Help() string {
	return "serve does this by itself, unless it is told --no-migrate. An SQLite database is copied before.\n\nExample:\n\n    openway migrate --status\n    openway migrate"
}

type migrationJSON struct {
	Version   int64   `json:"version"`
	Name      string  `json:"name"`
	AppliedAt *string `json:"applied_at"` // null = pending
}

// Run migrates.
func (c MigrateCmd) Run(a *app) (err error) {
	log, err := a.commandLogger()
	if err != nil {
		return err
	}
	if c.Status {
		if err := a.settings.mustExist(); err != nil {
			return err
		}
	}
	st, _, err := openStore(a.ctx, a.settings, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if c.Status {
		return c.status(a, st)
	}
	applied, err := st.Migrate(a.ctx)
	for _, name := range applied {
		a.printf("Applied %s\n", name)
	}
	if err == nil && len(applied) == 0 {
		a.printf("The schema is up to date\n")
	}
	return err
}

func (c MigrateCmd) status(a *app, st *store.Store) error {
	steps, err := st.MigrationStatus(a.ctx)
	if err != nil {
		return err
	}
	p := a.newPrinter(c.JSON, "MIGRATION", "APPLIED")
	pending := 0
	for _, m := range steps {
		applied := "pending"
		if m.AppliedAt.IsZero() {
			pending++
		} else {
			applied = m.AppliedAt.UTC().Format(time.RFC3339)
		}
		p.row(migrationJSON{m.Version, m.Name, stamp(m.AppliedAt)}, m.Name, applied)
	}
	if err := p.end(); err != nil {
		return err
	}
	if pending > 0 {
		return errPending
	}
	return nil
}

var errPending = errors.New("migrations are pending: run openway migrate")
