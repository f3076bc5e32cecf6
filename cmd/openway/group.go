package main

import (
	"context"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// GroupCmd holds the commands about groups.
type GroupCmd struct {
	Create GroupCreateCmd `cmd:"" help:"Make a group."`
	List   GroupListCmd   `cmd:"" help:"List groups."`
	Show   GroupShowCmd   `cmd:"" help:"Show a group with its members and gates."`
	Rename GroupRenameCmd `cmd:"" help:"Give a group another name."`
	Add    GroupAddCmd    `cmd:"" help:"Put users into a group."`
	Remove GroupRemoveCmd `cmd:"" help:"Take users out of a group."`
	Delete GroupDeleteCmd `cmd:"" help:"Remove a group and its permissions; its members stay."`
}

// Help is the example of --help.
func (GroupCmd) Help() string {
	return "Example:\n\n    openway group create staff\n    openway group add staff anna"
}

// GroupCreateCmd makes a group.
type GroupCreateCmd struct {
	Name string `arg:"" help:"1..150 characters."`
}

// Help is the example of --help.
func (GroupCreateCmd) Help() string { return "Example:\n\n    openway group create staff" }

// Run makes it.
func (c GroupCreateCmd) Run(a *app) error {
	return a.withNew(func(ctx context.Context, in *installation) error {
		g, err := in.desk.CreateGroup(ctx, in.actor, access.Group{Name: c.Name})
		if err != nil {
			return err
		}
		a.printf("Created group %s (id %d)\n", g.Name, g.ID)
		return nil
	})
}

// GroupListCmd lists groups.
type GroupListCmd struct {
	Search string `placeholder:"WORDS" help:"Only those with these words in the name."`
	User   string `placeholder:"USER" help:"Only groups of this user."`
	Limit  int    `placeholder:"N" help:"At most so many; all if unset."`
	JSON   bool   `name:"json" help:"One JSON object a line."`
}

// Help is the example of --help.
func (GroupListCmd) Help() string { return "Example:\n\n    openway group list --user anna" }

type groupJSON struct {
	ID        int64   `json:"id"`
	Name      string  `json:"name"`
	CreatedAt *string `json:"created_at"`
}

func asGroup(g access.Group) groupJSON { return groupJSON{g.ID, g.Name, stamp(g.CreatedAt)} }

// Run lists them.
func (c GroupListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		f := registry.GroupFilter{Search: c.Search}
		if c.User != "" {
			u, err := in.userNamed(ctx, c.User)
			if err != nil {
				return err
			}
			f.UserID = u.ID
		}
		p := a.newPrinter(c.JSON, "ID", "GROUP", "CREATED")
		err := all(c.Limit, func(after int64, limit int) ([]access.Group, error) {
			f.After, f.Limit = after, limit
			return in.desk.Groups(ctx, f)
		}, func(g access.Group) int64 { return g.ID }, func(g access.Group) error {
			p.row(asGroup(g), g.ID, g.Name, in.shownAt(g.CreatedAt))
			return p.err
		})
		if err != nil {
			return err
		}
		return p.end()
	})
}

// GroupShowCmd shows a group.
type GroupShowCmd struct {
	Name string `arg:"" help:"The group's name."`
	JSON bool   `name:"json" help:"As a JSON object."`
}

// Help is the example of --help.
func (GroupShowCmd) Help() string { return "Example:\n\n    openway group show staff" }

// Run shows it.
func (c GroupShowCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		g, err := in.groupNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		members := []string{}
		err = all(0, func(after int64, limit int) ([]access.User, error) {
			return in.desk.Users(ctx, registry.UserFilter{After: after, GroupID: g.ID, Limit: limit})
		}, func(u access.User) int64 { return u.ID }, func(u access.User) error {
			members = append(members, u.Username)
			return nil
		})
		if err != nil {
			return err
		}
		gates, open, err := in.names().gatesOf(ctx, registry.PermissionFilter{GroupID: g.ID}, a.now())
		if err != nil {
			return err
		}
		full := struct {
			groupJSON
			Members []string `json:"members"`
			Gates   []string `json:"gates"` // where its permissions hold now
		}{asGroup(g), members, open}
		return a.card(c.JSON, full, "id", g.ID, "group", g.Name, "members", members, "permissions", gates, "created", in.shownAt(g.CreatedAt))
	})
}

// GroupRenameCmd renames a group.
type GroupRenameCmd struct {
	Name string `arg:"" help:"The group's name."`
	To   string `arg:"" help:"Its new name."`
}

// Help is the example of --help.
func (GroupRenameCmd) Help() string { return "Example:\n\n    openway group rename staff employees" }

// Run renames it.
func (c GroupRenameCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		g, err := in.groupNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		g.Name = c.To
		if g, err = in.desk.UpdateGroup(ctx, in.actor, g); err != nil {
			return err
		}
		a.printf("Renamed group %s to %s\n", c.Name, g.Name)
		return nil
	})
}

// GroupAddCmd puts users into a group.
type GroupAddCmd struct {
	Name  string   `arg:"" help:"The group's name."`
	Users []string `arg:"" name:"user" help:"Names of users."`
}

// Help is the example of --help.
func (GroupAddCmd) Help() string { return "Example:\n\n    openway group add staff anna ben" }

// Run does it.
func (c GroupAddCmd) Run(a *app) error {
	return a.members(c.Name, c.Users, (*registry.Registry).AddMember, "%s is a member of %s\n")
}

// GroupRemoveCmd takes users out of a group.
type GroupRemoveCmd struct {
	Name  string   `arg:"" help:"The group's name."`
	Users []string `arg:"" name:"user" help:"Names of users."`
}

// Help is the example of --help.
func (GroupRemoveCmd) Help() string { return "Example:\n\n    openway group remove staff ben" }

// Run does it.
func (c GroupRemoveCmd) Run(a *app) error {
	return a.members(c.Name, c.Users, (*registry.Registry).RemoveMember, "%s is not a member of %s\n")
}

// members looks all names up before it changes anything.
func (a *app) members(group string, names []string, change func(*registry.Registry, context.Context, access.Actor, int64, int64) error, done string) error {
	return a.with(func(ctx context.Context, in *installation) error {
		g, err := in.groupNamed(ctx, group)
		if err != nil {
			return err
		}
		var users []access.User
		for _, name := range names {
			u, err := in.userNamed(ctx, name)
			if err != nil {
				return err
			}
			users = append(users, u)
		}
		for _, u := range users {
			if err := change(in.desk, ctx, in.actor, g.ID, u.ID); err != nil {
				return err
			}
			a.printf(done, u.Username, g.Name)
		}
		return nil
	})
}

// GroupDeleteCmd removes a group.
type GroupDeleteCmd struct {
	Name string `arg:"" help:"The group's name."`
	Yes  bool   `short:"y" help:"Do not ask."`
}

// Help is the example of --help.
func (GroupDeleteCmd) Help() string { return "Example:\n\n    openway group delete staff" }

// Run removes it.
func (c GroupDeleteCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		g, err := in.groupNamed(ctx, c.Name)
		if err != nil {
			return err
		}
		if err := a.confirm(c.Yes, g.Name, "delete group "+g.Name+" and what it permits"); err != nil {
			return err
		}
		if err := in.desk.DeleteGroup(ctx, in.actor, g.ID, g.Version); err != nil {
			return err
		}
		a.printf("Deleted group %s\n", g.Name)
		return nil
	})
}
