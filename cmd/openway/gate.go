package main

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// GateCmd holds the commands about gates.
type GateCmd struct {
	Create GateCreateCmd `cmd:"" help:"Enter a gate."`
	List   GateListCmd   `cmd:"" help:"List gates."`
	Show   GateShowCmd   `cmd:"" help:"Show a gate and who may pass."`
	Change GateChangeCmd `cmd:"" help:"Change code, name, location or release time."`
	Delete GateDeleteCmd `cmd:"" help:"Remove a gate and its permissions; events stay."`
}

// Help is the example of --help.
func (GateCmd) Help() string {
	return "Example:\n\n    openway gate create front-in --name \"Front door\"\n    openway gate list"
}

// GateCreateCmd enters a gate.
type GateCreateCmd struct {
	Code      string `arg:"" help:"What the controller says as gate_id; 1..64 characters, case matters."`
	Name      string `placeholder:"NAME" help:"What people call it."`
	Location  string `placeholder:"TEXT" help:"Where it is."`
	ReleaseMS int    `name:"release-ms" placeholder:"MS" help:"How long the lock opens, milliseconds; the site's default if unset."`
	JSON      bool   `name:"json" help:"Print the gate as a JSON object."`
}

// Help is the example of --help.
func (GateCreateCmd) Help() string {
	return "Example:\n\n    openway gate create front-in --name \"Front door\" --release-ms 1500"
}

// Run enters it.
func (c GateCreateCmd) Run(a *app) error {
	return a.withNew(func(ctx context.Context, in *installation) error {
		g, err := in.desk.CreateGate(ctx, in.actor, access.Gate{Code: c.Code, Name: c.Name, Location: c.Location, ReleaseMS: c.ReleaseMS})
		if err != nil {
			return err
		}
		if c.JSON {
			return a.card(true, asGate(g))
		}
		a.printf("Created gate %s (id %d)\n", g.Code, g.ID)
		return nil
	})
}

type gateJSON struct {
	ID        int64   `json:"id"`
	Code      string  `json:"code"`
	Name      string  `json:"name"`
	Location  string  `json:"location"`
	ReleaseMS *int    `json:"release_ms"` // null = the site's default
	CreatedAt *string `json:"created_at"`
}

func asGate(g access.Gate) gateJSON {
	return gateJSON{g.ID, g.Code, g.Name, g.Location, orNull(g.ReleaseMS), stamp(g.CreatedAt)}
}

func releaseShown(ms int) string {
	if ms == 0 {
		return "default"
	}
	return fmt.Sprintf("%d ms", ms)
}

// GateListCmd lists gates.
type GateListCmd struct {
	Search string `placeholder:"WORDS" help:"Only those with these words in code, name or location."`
	Limit  int    `placeholder:"N" help:"At most so many; all if unset."`
	JSON   bool   `name:"json" help:"One JSON object a line."`
}

// Help is the example of --help.
func (GateListCmd) Help() string { return "Example:\n\n    openway gate list --json" }

// Run lists them.
func (c GateListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		p := a.newPrinter(c.JSON, "ID", "CODE", "NAME", "LOCATION", "RELEASE")
		err := all(c.Limit, func(after int64, limit int) ([]access.Gate, error) {
			return in.desk.Gates(ctx, registry.GateFilter{After: after, Search: c.Search, Limit: limit})
		}, func(g access.Gate) int64 { return g.ID }, func(g access.Gate) error {
			p.row(asGate(g), g.ID, g.Code, g.Name, g.Location, releaseShown(g.ReleaseMS))
			return p.err
		})
		if err != nil {
			return err
		}
		return p.end()
	})
}

// GateShowCmd shows a gate.
type GateShowCmd struct {
	Code string `arg:"" help:"The gate's code."`
	JSON bool   `name:"json" help:"As a JSON object."`
}

// Help is the example of --help.
func (GateShowCmd) Help() string { return "Example:\n\n    openway gate show front-in" }

// Run shows it.
func (c GateShowCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		g, err := in.gateNamed(ctx, c.Code)
		if err != nil {
			return err
		}
		n := in.names()
		permissions := []permissionJSON{}
		shown := []string{}
		err = all(0, func(after int64, limit int) ([]access.Permission, error) {
			return in.desk.Permissions(ctx, registry.PermissionFilter{After: after, GateID: g.ID, Limit: limit})
		}, func(p access.Permission) int64 { return p.ID }, func(p access.Permission) error {
			j, err := n.permission(ctx, p)
			permissions = append(permissions, j)
			shown = append(shown, j.subject()+in.mark(p, a.now()))
			return err
		})
		if err != nil {
			return err
		}
		full := struct {
			gateJSON
			Permissions []permissionJSON `json:"permissions"`
		}{asGate(g), permissions}
		return a.card(c.JSON, full, "id", g.ID, "code", g.Code, "name", g.Name, "location", g.Location, "release", releaseShown(g.ReleaseMS),
			"permissions", shown, "created", in.shownAt(g.CreatedAt))
	})
}

// GateChangeCmd changes a gate.
type GateChangeCmd struct {
	Code      string  `arg:"" help:"The gate's code."`
	NewCode   *string `placeholder:"CODE" help:"New code; the controller must say this one from then on."`
	Name      *string `placeholder:"NAME" help:"New name."`
	Location  *string `placeholder:"TEXT" help:"New location."`
	ReleaseMS *int    `name:"release-ms" placeholder:"MS" help:"New release time, milliseconds; 0 = the site's default."`
}

// Help is the example of --help.
func (GateChangeCmd) Help() string {
	return "Example:\n\n    openway gate change front-in --release-ms 2000"
}

// Run changes it.
func (c GateChangeCmd) Run(a *app) error {
	if c == (GateChangeCmd{Code: c.Code}) {
		return nothingToChange("gate")
	}
	return a.with(func(ctx context.Context, in *installation) error {
		g, err := in.gateNamed(ctx, c.Code)
		if err != nil {
			return err
		}
		if c.NewCode != nil {
			g.Code = *c.NewCode
		}
		if c.Name != nil {
			g.Name = *c.Name
		}
		if c.Location != nil {
			g.Location = *c.Location
		}
		if c.ReleaseMS != nil {
			g.ReleaseMS = *c.ReleaseMS
		}
		if g, err = in.desk.UpdateGate(ctx, in.actor, g); err != nil {
			return err
		}
		a.printf("Changed gate %s\n", g.Code)
		return nil
	})
}

// GateDeleteCmd removes a gate.
type GateDeleteCmd struct {
	Code string `arg:"" help:"The gate's code."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Help is the example of --help.
func (GateDeleteCmd) Help() string { return "Example:\n\n    openway gate delete front-in" }

// Run removes it.
func (c GateDeleteCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		g, err := in.gateNamed(ctx, c.Code)
		if err != nil {
			return err
		}
		if err := a.confirm(c.Yes, g.Code, "delete gate "+g.Code+" and its permissions: nobody will pass there"); err != nil {
			return err
		}
		if err := in.desk.DeleteGate(ctx, in.actor, g.ID, g.Version); err != nil {
			return err
		}
		a.printf("Deleted gate %s\n", g.Code)
		return nil
	})
}
