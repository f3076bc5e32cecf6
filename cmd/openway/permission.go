package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
)

// PermissionCmd holds the commands about permissions.
type PermissionCmd struct {
	Grant   PermissionGrantCmd   `cmd:"" help:"Let a user or a group through a gate."`
	Suspend PermissionSuspendCmd `cmd:"" help:"Keep a permission but let it grant nothing."`
	Revoke  PermissionRevokeCmd  `cmd:"" help:"Remove all permissions of a user or a group at a gate."`
	List    PermissionListCmd    `cmd:"" help:"List permissions."`
}

// Help is the example of --help.
func (PermissionCmd) Help() string {
	return "Example:\n\n    openway permission grant front-in --group staff"
}

// subjectFlags name whom a permission is about.
type subjectFlags struct {
	User  string `placeholder:"USER" help:"The user."`
	Group string `placeholder:"GROUP" help:"The group, instead of a user."`
}

func (s subjectFlags) check() error {
	if (s.User == "") == (s.Group == "") {
		return usagef("give --user or --group, one of the two")
	}
	return nil
}

// find looks up the gate and the subject.
func (s subjectFlags) find(ctx context.Context, in *installation, code string) (p access.Permission, err error) {
	g, err := in.gateNamed(ctx, code)
	if err != nil {
		return p, err
	}
	p.GateID = g.ID
	if s.User != "" {
		u, err := in.userNamed(ctx, s.User)
		p.UserID = u.ID
		return p, err
	}
	group, err := in.groupNamed(ctx, s.Group)
	p.GroupID = group.ID
	return p, err
}

func (s subjectFlags) shown() string {
	if s.User != "" {
		return "user " + s.User
	}
	return "group " + s.Group
}

// periodFlags name when a permission holds.
type periodFlags struct {
	From  string `placeholder:"WHEN" help:"Holds from this instant on, such as 2026-11-23 (that day's start) or \"2026-11-23 17:30\" in the site's zone."`
	Until string `placeholder:"WHEN" help:"Holds until just before this instant: 2027-01-01 is to the end of 2026."`
}

func (f periodFlags) fill(in *installation, p *access.Permission) (err error) {
	if p.ValidFrom, err = in.instant("from", f.From); err != nil {
		return err
	}
	p.ValidUntil, err = in.instant("until", f.Until)
	return err
}

// PermissionGrantCmd grants.
type PermissionGrantCmd struct {
	Gate string `arg:"" help:"The gate's code."`
	subjectFlags
	periodFlags
}

// Help is the example of --help.
func (PermissionGrantCmd) Help() string {
	return "Example:\n\n    openway permission grant front-in --group staff\n    openway permission grant front-in --user anna --until 2026-12-31"
}

// Run grants it.
func (c PermissionGrantCmd) Run(a *app) error {
	return changePermission(a, c.Gate, c.subjectFlags, c.periodFlags, (*registry.Registry).GrantPermission, (*installation).granted, "")
}

// PermissionSuspendCmd suspends.
type PermissionSuspendCmd struct {
	Gate string `arg:"" help:"The gate's code."`
	subjectFlags
	periodFlags
}

// Help is the example of --help.
func (PermissionSuspendCmd) Help() string {
	return "The one with exactly this period; without --from and --until the one that always holds.\n\nExample:\n\n    openway permission suspend front-in --user anna"
}

// Run suspends it.
func (c PermissionSuspendCmd) Run(a *app) error {
	return changePermission(a, c.Gate, c.subjectFlags, c.periodFlags, (*registry.Registry).SuspendPermission, (*installation).suspended,
		"there is no such permission of %s at gate %s")
}

func changePermission(a *app, gate string, s subjectFlags, f periodFlags,
	change func(*registry.Registry, context.Context, access.Actor, access.Permission) (access.Permission, error), tell func(in *installation, subject, gate string, p access.Permission, state registry.GrantState, active bool) string, missing string,
) error {
	if err := s.check(); err != nil {
		return err
	}
	return a.with(func(ctx context.Context, in *installation) error {
		p, err := s.find(ctx, in, gate)
		if err != nil {
			return err
		}
		if err := f.fill(in, &p); err != nil {
			return err
		}
		if p, err = change(in.desk, ctx, in.actor, p); errors.Is(err, access.ErrNotFound) && missing != "" {
			return fmt.Errorf(missing, s.shown(), gate)
		}
		if err != nil {
			return err
		}
		active, others, err := in.atGate(ctx, p, a.now())
		a.printf("%s\n", tell(in, s.shown(), gate, p, registry.StateAt(p, a.now()), active || err != nil)) // it is so, whatever could not be read then
		if err != nil {
			return err
		}
		if active && len(others) > 0 && (!p.Allow || in.period(p) != "") {
			a.printf("What lets %s pass there besides: %s\n", s.shown(), strings.Join(others, ", "))
		}
		return nil
	})
}

func (in *installation) granted(subject, gate string, p access.Permission, state registry.GrantState, active bool) string {
	switch {
	case state == registry.GrantOver:
		return fmt.Sprintf("The permission of %s at gate %s is over already: it held%s", subject, gate, in.period(p))
	case !active:
		return fmt.Sprintf("%s may pass gate %s%s, once activated again: openway user activate", subject, gate, in.period(p))
	}
	return fmt.Sprintf("%s may pass gate %s%s", subject, gate, in.period(p))
}

func (in *installation) suspended(subject, gate string, p access.Permission, _ registry.GrantState, _ bool) string {
	return fmt.Sprintf("Suspended the permission of %s at gate %s%s", subject, gate, in.period(p))
}

// period is when a permission holds: " from …", " until …", both, or "" for always.
func (in *installation) period(p access.Permission) string {
	text := ""
	if !p.ValidFrom.IsZero() {
		text = " from " + in.shownAt(p.ValidFrom)
	}
	if !p.ValidUntil.IsZero() {
		text += " until " + in.shownAt(p.ValidUntil)
	}
	return text
}

// atGate is what else lets the subject of p pass at its gate, now or later: a user by their groups as well. An inactive user passes nowhere.
func (in *installation) atGate(ctx context.Context, p access.Permission, now time.Time) (active bool, others []string, err error) {
	active = true
	var grants []registry.Grant
	if p.UserID != 0 {
		u, err := in.desk.UserAccess(ctx, p.UserID, p.GateID-1, 1)
		if err != nil {
			return false, nil, err
		}
		active = u.User.Active
		for _, g := range u.Gates {
			if g.Gate.ID == p.GateID {
				grants = g.Grants
			}
		}
	} else {
		list, err := in.desk.Permissions(ctx, registry.PermissionFilter{GateID: p.GateID, GroupID: p.GroupID, Limit: store.All})
		if err != nil {
			return false, nil, err
		}
		for _, x := range list {
			grants = append(grants, registry.Grant{Permission: x, State: registry.StateAt(x, now)})
		}
	}
	for _, g := range grants {
		if g.ID == p.ID || g.State != registry.GrantHolds && g.State != registry.GrantNotYet {
			continue
		}
		text := fmt.Sprintf("permission %d", g.ID)
		if g.Group.ID != 0 {
			text += " of group " + g.Group.Name
		}
		others = append(others, text+in.period(g.Permission))
	}
	return active, others, nil
}

// PermissionRevokeCmd removes.
type PermissionRevokeCmd struct {
	Gate string `arg:"" optional:"" help:"The gate's code."`
	subjectFlags
	ID int64 `name:"id" placeholder:"ID" help:"Only the permission with this id, instead of gate and subject."`
}

// Help is the example of --help.
func (PermissionRevokeCmd) Help() string {
	return "Example:\n\n    openway permission revoke front-in --user anna\n    openway permission revoke --id 12"
}

// Run removes it.
func (c PermissionRevokeCmd) Run(a *app) error {
	if c.ID != 0 {
		if c.Gate != "" || c.User != "" || c.Group != "" {
			return usagef("give --id, or a gate with --user or --group")
		}
		return a.with(func(ctx context.Context, in *installation) error {
			err := in.desk.RevokePermission(ctx, in.actor, c.ID)
			if errors.Is(err, access.ErrNotFound) {
				return fmt.Errorf("there is no permission %d", c.ID)
			}
			if err == nil {
				a.printf("Revoked permission %d\n", c.ID)
			}
			return err
		})
	}
	if c.Gate == "" {
		return usagef("name the gate, or give --id")
	}
	if err := c.check(); err != nil {
		return err
	}
	return a.with(func(ctx context.Context, in *installation) error {
		p, err := c.find(ctx, in, c.Gate)
		if err != nil {
			return err
		}
		n, err := in.desk.RevokePermissions(ctx, in.actor, p.GateID, p.UserID, p.GroupID)
		if errors.Is(err, access.ErrNotFound) {
			return fmt.Errorf("%s has no permission at gate %s", c.shown(), c.Gate)
		}
		if err != nil {
			return err
		}
		a.printf("Revoked %d permission(s) of %s at gate %s\n", n, c.shown(), c.Gate)
		return nil
	})
}

// PermissionListCmd lists.
type PermissionListCmd struct {
	Gate  string `placeholder:"CODE" help:"Only at this gate."`
	User  string `placeholder:"USER" help:"Only those that name this user."`
	Group string `placeholder:"GROUP" help:"Only those of this group."`
	Limit int    `placeholder:"N" help:"At most so many; all if unset."`
	JSON  bool   `name:"json" help:"One JSON object a line."`
}

// Help is the example of --help.
func (PermissionListCmd) Help() string {
	return "Example:\n\n    openway permission list --gate front-in"
}

type permissionJSON struct {
	ID         int64   `json:"id"`
	Gate       string  `json:"gate"`
	User       *string `json:"user"`
	Group      *string `json:"group"`
	Allow      bool    `json:"allow"`
	ValidFrom  *string `json:"valid_from"`
	ValidUntil *string `json:"valid_until"`
}

func (n *names) permission(ctx context.Context, p access.Permission) (j permissionJSON, err error) {
	j = permissionJSON{ID: p.ID, Allow: p.Allow, ValidFrom: stamp(p.ValidFrom), ValidUntil: stamp(p.ValidUntil)}
	if j.Gate, err = n.gate(ctx, p.GateID); err != nil {
		return j, err
	}
	user, err := n.user(ctx, p.UserID)
	if err != nil {
		return j, err
	}
	group, err := n.group(ctx, p.GroupID)
	j.User, j.Group = orNull(user), orNull(group)
	return j, err
}

func (j permissionJSON) subject() string {
	if j.User != nil {
		return "user " + *j.User
	}
	if j.Group != nil {
		return "group " + *j.Group
	}
	return ""
}

// mark is what a list says beside a permission that does not simply hold.
func (in *installation) mark(p access.Permission, now time.Time) string {
	switch registry.StateAt(p, now) {
	case registry.GrantSuspended:
		return " (suspended)"
	case registry.GrantOver:
		return " (ended)"
	case registry.GrantNotYet:
		return " (" + strings.TrimSpace(in.period(p)) + ")"
	}
	if p.ValidUntil.IsZero() {
		return ""
	}
	return " (until " + in.shownAt(p.ValidUntil) + ")"
}

// gatesOf are the codes of the gates that the chosen permissions name: shown, with a mark, a text for each permission, and open, once each,
// those where one of them holds now.
func (n *names) gatesOf(ctx context.Context, f registry.PermissionFilter, now time.Time) (shown, open []string, err error) {
	shown, open = []string{}, []string{}
	err = all(0, func(after int64, limit int) ([]access.Permission, error) {
		f.After, f.Limit = after, limit
		return n.in.desk.Permissions(ctx, f)
	}, func(p access.Permission) int64 { return p.ID }, func(p access.Permission) error {
		code, err := n.gate(ctx, p.GateID)
		shown = append(shown, code+n.in.mark(p, now))
		if registry.StateAt(p, now) == registry.GrantHolds && !slices.Contains(open, code) {
			open = append(open, code)
		}
		return err
	})
	return shown, open, err
}

// Run lists them.
func (c PermissionListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		f := registry.PermissionFilter{}
		if c.Gate != "" {
			g, err := in.gateNamed(ctx, c.Gate)
			if err != nil {
				return err
			}
			f.GateID = g.ID
		}
		if c.User != "" {
			u, err := in.userNamed(ctx, c.User)
			if err != nil {
				return err
			}
			f.UserID = u.ID
		}
		if c.Group != "" {
			g, err := in.groupNamed(ctx, c.Group)
			if err != nil {
				return err
			}
			f.GroupID = g.ID
		}
		n := in.names()
		p := a.newPrinter(c.JSON, "ID", "GATE", "SUBJECT", "ALLOW", "FROM", "UNTIL")
		err := all(c.Limit, func(after int64, limit int) ([]access.Permission, error) {
			f.After, f.Limit = after, limit
			return in.desk.Permissions(ctx, f)
		}, func(x access.Permission) int64 { return x.ID }, func(x access.Permission) error {
			j, err := n.permission(ctx, x)
			if err != nil {
				return err
			}
			p.row(j, j.ID, j.Gate, j.subject(), j.Allow, in.shownAt(x.ValidFrom), in.shownAt(x.ValidUntil))
			return p.err
		})
		if err != nil {
			return err
		}
		return p.end()
	})
}
