package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/table"
)

// EventsCmd holds the commands about the log of decisions.
type EventsCmd struct {
	List   EventsListCmd   `cmd:"" help:"List decisions, newest first."`
	Export EventsExportCmd `cmd:"" help:"Write all decisions that match, newest first, for spreadsheets or programs."`
	Purge  EventsPurgeCmd  `cmd:"" help:"Delete old events, for good."`
}

// Help is the example of --help.
func (EventsCmd) Help() string {
	return "Example:\n\n    openway events list --from 24h\n    openway events purge --days 365"
}

// eventFilters say which events are meant.
type eventFilters struct {
	Gate      string `placeholder:"CODE" help:"Only at this gate, which may be deleted; #ID names it by its id."`
	User      string `placeholder:"USER" help:"Only of this user, who may be deleted; #ID names them by the id."`
	Group     string `placeholder:"GROUP" help:"Only of users who are members of this group now."`
	Device    int64  `placeholder:"ID" help:"Only of this device."`
	Decision  string `placeholder:"ALLOW|DENY" help:"Only these."`
	Reason    string `placeholder:"REASON" help:"Only with this reason, such as NO_PERMISSION."`
	Kind      string `placeholder:"KIND" help:"decision or system."`
	From      string `placeholder:"WHEN" help:"From this instant on, such as 2026-11-23, \"2026-11-23 17:30\" in the site's zone, or 2h (ago)."`
	To        string `placeholder:"WHEN" help:"Before this instant."`
	RequestID string `name:"request-id" placeholder:"ID" help:"Only of this request."`
}

// EventsListCmd lists events.
type EventsListCmd struct {
	eventFilters
	Before int64 `placeholder:"ID" help:"Only with a smaller id: the next page."`
	Limit  int   `default:"50" help:"At most so many."`
	JSON   bool  `name:"json" help:"One JSON object a line: id, at, kind, gate, user, device, decision, reason, count, address, request_id, fingerprint."`
}

// Help is the example of --help.
func (EventsListCmd) Help() string {
	return "Example:\n\n    openway events list --user anna --decision DENY --from 24h\n    openway events list --json --limit 1000"
}

// eventJSON is an event as scripts see it.
type eventJSON struct {
	ID        int64   `json:"id"`
	At        *string `json:"at"`
	Kind      string  `json:"kind"`
	Gate      *string `json:"gate"`   // the code; what was presented when there is no such gate
	User      *string `json:"user"`   // the user name
	Device    *int64  `json:"device"` // the id
	Decision  string  `json:"decision"`
	Reason    string  `json:"reason"`
	Count     int     `json:"count"`
	Address   string  `json:"address"`
	RequestID string  `json:"request_id"`

	Fingerprint string `json:"fingerprint"` // the same for the same token; "" = none was presented
}

func (c eventFilters) filter(ctx context.Context, a *app, in *installation) (f access.EventFilter, err error) {
	f = access.EventFilter{
		DeviceID: c.Device, RequestID: c.RequestID, Kind: access.EventKind(strings.ToLower(c.Kind)),
		Decision: access.Outcome(strings.ToUpper(c.Decision)), Reason: access.Reason(strings.ToUpper(c.Reason)),
	}
	switch f.Decision {
	case "", access.Allow, access.Deny:
	default:
		return f, usagef("--decision: %q is not ALLOW or DENY", c.Decision)
	}
	if c.Reason != "" && !f.Reason.Known() {
		return f, usagef("--reason: %q is not a reason such as NO_PERMISSION or TOKEN_INVALID", c.Reason)
	}
	switch f.Kind {
	case "", access.DecisionEvent, access.SystemEvent:
	default:
		return f, usagef("--kind: %q is not decision or system", c.Kind)
	}
	if f.From, err = in.since("from", c.From, a.now()); err != nil {
		return f, err
	}
	if f.To, err = in.since("to", c.To, a.now()); err != nil {
		return f, err
	}
	if c.Gate != "" {
		if f.GateID, err = in.gateEver(ctx, c.Gate); err != nil {
			return f, err
		}
	}
	if c.User != "" {
		if f.UserID, err = in.userEver(ctx, c.User); err != nil {
			return f, err
		}
	}
	if c.Group != "" {
		g, err := in.groupNamed(ctx, c.Group)
		if err != nil {
			return f, err
		}
		f.GroupID = g.ID
	}
	return f, nil
}

// Run lists them.
func (c EventsListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		if c.Limit < 1 {
			return usagef("--limit: %d is not 1 or more", c.Limit)
		}
		f, err := c.filter(ctx, a, in)
		if err != nil {
			return err
		}
		f.Before = c.Before
		n := in.names()
		p := a.newPrinter(c.JSON, "ID", "AT", "GATE", "USER", "DEVICE", "DECISION", "REASON", "COUNT", "ADDRESS", "REQUEST")
		for left := c.Limit; left > 0; {
			f.Limit = min(left, pageLength)
			events, err := in.store.Events(ctx, f)
			if err != nil {
				return err
			}
			for _, e := range events {
				gate, err := n.gate(ctx, e.GateID)
				if err != nil {
					return err
				}
				if e.GateID == 0 {
					gate = e.PresentedGate
				}
				user, err := n.user(ctx, e.UserID)
				if err != nil {
					return err
				}
				p.row(eventJSON{
					ID: e.ID, At: stamp(e.At), Kind: string(e.Kind), Gate: orNull(gate), User: orNull(user), Device: orNull(e.DeviceID),
					Decision: string(e.Decision), Reason: string(e.Reason), Count: e.Count, Address: e.Address, RequestID: e.RequestID, Fingerprint: e.Fingerprint,
				}, e.ID, in.shownAt(e.At), gate, user, e.DeviceID, string(e.Decision), string(e.Reason), int64(e.Count), e.Address, e.RequestID)
				f.Before = e.ID
			}
			left -= len(events)
			if len(events) < f.Limit {
				break
			}
		}
		return p.end()
	})
}

// EventsExportCmd writes events to the standard output.
type EventsExportCmd struct {
	eventFilters
	Format string `enum:"csv,ndjson" default:"csv" help:"csv: cells that a spreadsheet might take for formulas are neutralised; ndjson: one JSON object a line."`
}

// Help is the example of --help.
func (EventsExportCmd) Help() string {
	return "It leaves a line in the audit.\n\nExample:\n\n    openway events export --from 720h > events.csv\n    openway events export --decision DENY --format ndjson | jq .reason"
}

// Run writes them.
func (c EventsExportCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		f, err := c.filter(ctx, a, in)
		if err != nil {
			return err
		}
		_, err = in.desk.WriteEvents(ctx, in.actor, f, a.out, table.Format(c.Format))
		return err
	})
}

// EventsPurgeCmd deletes old events.
type EventsPurgeCmd struct {
	Days int  `required:"" placeholder:"D" help:"Delete events older than so many days; 0 = all until now."`
	Yes  bool `short:"y" help:"Do not ask."`
}

// Help is the example of --help.
func (EventsPurgeCmd) Help() string { return "Example:\n\n    openway events purge --days 365" }

// Run deletes them.
func (c EventsPurgeCmd) Run(a *app) error {
	if c.Days < 0 || c.Days > registry.MaxDays {
		return usagef("--days: %d is not a number of days (0..%d)", c.Days, registry.MaxDays)
	}
	return a.with(func(ctx context.Context, in *installation) error {
		if err := a.confirm(c.Yes, "purge", fmt.Sprintf("delete all events older than %d days, for good", c.Days)); err != nil {
			return err
		}
		var progress func(int)
		if isTerminal(a.err) {
			progress = func(n int) { fmt.Fprintf(a.err, "\r%d deleted", n) }
		}
		before := eventlog.Cutoff(a.now(), c.Days)
		n, err := eventlog.Purge(ctx, in.store, before, eventlog.PaceFor(in.store.Engine()), progress)
		if progress != nil && n > 0 {
			fmt.Fprint(a.err, "\r\x1b[K")
		}
		if n > 0 {
			if noteErr := in.desk.NotePurge(context.WithoutCancel(ctx), in.actor, before, n); noteErr != nil {
				a.printf("Deleted %d events older than %d days\n", n, c.Days)
				return noteErr
			}
		}
		if errors.Is(err, context.Canceled) {
			err = errInterrupted
		}
		if err != nil {
			return fmt.Errorf("broken off after %d events were deleted: %w", n, err)
		}
		a.printf("Deleted %d events older than %d days\n", n, c.Days)
		return nil
	})
}
