package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/table"
)

// AuditCmd holds the commands about the log of changes.
type AuditCmd struct {
	List   AuditListCmd   `cmd:"" help:"List administrative changes, newest first."`
	Export AuditExportCmd `cmd:"" help:"Write all administrative changes, newest first, for spreadsheets or programs."`
}

// Help is the example of --help.
func (AuditCmd) Help() string { return "Example:\n\n    openway audit list" }

// AuditListCmd lists changes.
type AuditListCmd struct {
	Limit int  `default:"50" help:"At most so many."`
	JSON  bool `name:"json" help:"One JSON object a line."`
}

// Help is the example of --help.
func (AuditListCmd) Help() string { return "Example:\n\n    openway audit list --limit 20" }

type changeJSON struct {
	ID        int64         `json:"id"`
	At        *string       `json:"at"`
	Version   int64         `json:"policy_version"`
	Actor     string        `json:"actor"`
	ActorKind string        `json:"actor_kind"`
	ActorUser *int64        `json:"actor_user_id"` // who signed in; null for the command line and the system
	Address   string        `json:"address"`
	RequestID string        `json:"request_id"`
	Object    string        `json:"object"`
	ObjectID  int64         `json:"object_id"`
	Action    string        `json:"action"`
	Before    access.Fields `json:"before"`
	After     access.Fields `json:"after"`
}

// Run lists them.
func (c AuditListCmd) Run(a *app) error {
	if c.Limit < 1 {
		return usagef("--limit: %d is not 1 or more", c.Limit)
	}
	return a.with(func(ctx context.Context, in *installation) error {
		p := a.newPrinter(c.JSON, "ID", "AT", "WHO", "ADDRESS", "WHAT", "OBJECT", "DETAIL")
		f := registry.ChangeFilter{}
		for left := c.Limit; left > 0; {
			f.Limit = min(left, pageLength)
			changes, err := in.desk.Changes(ctx, f)
			if err != nil {
				return err
			}
			for _, x := range changes {
				p.row(changeJSON{
					x.ID, stamp(x.At), x.Mark.Version, x.Actor.Label, x.Actor.Kind, orNull(x.Actor.UserID), x.Actor.Address, x.Actor.RequestID,
					x.Object, x.ObjectID, x.Action, x.Before, x.After,
				}, x.ID, in.shownAt(x.At), x.Actor.Label, x.Actor.Address, x.Action, x.Object+" "+cell(x.ObjectID), fieldsShown(x.Before, x.After))
				f.Before = x.ID
			}
			left -= len(changes)
			if len(changes) < f.Limit {
				break
			}
		}
		return p.end()
	})
}

// AuditExportCmd writes changes to the standard output.
type AuditExportCmd struct {
	From   string `placeholder:"WHEN" help:"From this instant on, such as 2026-11-23, \"2026-11-23 17:30\" in the site's zone, or 2h (ago)."`
	To     string `placeholder:"WHEN" help:"Before this instant."`
	Format string `enum:"csv,ndjson" default:"csv" help:"csv: cells that a spreadsheet might take for formulas are neutralised; ndjson: one JSON object a line."`
}

// Help is the example of --help.
func (AuditExportCmd) Help() string {
	return "It leaves a line in the audit.\n\nExample:\n\n    openway audit export --from 2160h > audit.csv"
}

// Run writes them.
func (c AuditExportCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) (err error) {
		var f registry.ChangeFilter
		if f.From, err = in.since("from", c.From, a.now()); err != nil {
			return err
		}
		if f.To, err = in.since("to", c.To, a.now()); err != nil {
			return err
		}
		_, err = in.desk.WriteChanges(ctx, in.actor, f, a.out, table.Format(c.Format))
		return err
	})
}

// fieldsShown is what a change changed: "name: old -> new, …".
func fieldsShown(before, after access.Fields) string {
	names := slices.Sorted(maps.Keys(after))
	for name := range before {
		if _, both := after[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	parts := make([]string, 0, len(names))
	for _, name := range names {
		was, had := before[name]
		is, has := after[name]
		switch {
		case had && has:
			parts = append(parts, name+": "+was+" -> "+is)
		case has:
			parts = append(parts, name+": "+is)
		default:
			parts = append(parts, name+": "+was+" -> (none)")
		}
	}
	return strings.Join(parts, ", ")
}
