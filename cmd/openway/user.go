package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// UserCmd holds the commands about people.
type UserCmd struct {
	Create      UserCreateCmd      `cmd:"" help:"Enter a user."`
	List        UserListCmd        `cmd:"" help:"List users."`
	Show        UserShowCmd        `cmd:"" help:"Show one user with groups, permissions and devices."`
	Change      UserChangeCmd      `cmd:"" help:"Change name, e-mail, language or role."`
	SetPassword UserSetPasswordCmd `cmd:"" help:"Replace a password; ends the user's tokens and sessions."`
	Activate    UserActivateCmd    `cmd:"" help:"Let a user in again."`
	Deactivate  UserDeactivateCmd  `cmd:"" help:"Keep a user out at once; nothing is deleted."`
	Delete      UserDeleteCmd      `cmd:"" help:"Remove a user with tokens, devices and permissions; events stay."`
	Erase       UserEraseCmd       `cmd:"" help:"Remove a user and blank all personal text about that person."`
}

// Help is the example of --help.
func (UserCmd) Help() string {
	return "Example:\n\n    openway user create anna --group staff\n    openway user list"
}

// UserCreateCmd enters a user.
type UserCreateCmd struct {
	Username   string   `arg:"" help:"1..150 characters."`
	Email      string   `placeholder:"ADDRESS" help:"E-mail address."`
	FirstName  string   `placeholder:"NAME" help:"First name."`
	LastName   string   `placeholder:"NAME" help:"Last name."`
	Language   string   `name:"user-language" placeholder:"en|ru" help:"Language of pages and messages; the browser's if unset."`
	Group      []string `sep:"none" placeholder:"GROUP" help:"Make the user a member; may be repeated."`
	Role       string   `placeholder:"ROLE" help:"viewer, manager or owner."`
	Staff      bool     `help:"Counts as manager."`
	Superuser  bool     `help:"Counts as owner."`
	Inactive   bool     `help:"Not let in yet."`
	NoPassword bool     `help:"Nobody can sign in as this user; asks for none."`
	passwordFlags
	JSON bool `name:"json" help:"Print the user as a JSON object."`
}

// Help is the example of --help.
func (UserCreateCmd) Help() string {
	return "The password comes from --password-file, --password-stdin or OPENWAY_PASSWORD, else it is asked for at a terminal. Without any the user has none, and passes gates all the same.\n\n" +
		"Example:\n\n    openway user create anna --email anna@example.org --group staff\n    echo \"$PW\" | openway user create ben --password-stdin"
}

// Run enters the user.
func (c UserCreateCmd) Run(a *app) error {
	role, err := roleNamed(c.Role)
	if err != nil {
		return err
	}
	if c.Role != "" {
		if err := rolesAgree(role, c.Staff, c.Superuser); err != nil {
			return err
		}
	}
	password, given, err := c.given(a)
	if err != nil {
		return err
	}
	if given && c.NoPassword {
		return usagef("--no-password goes with no password")
	}
	return a.withNew(func(ctx context.Context, in *installation) error {
		var groupIDs []int64
		for _, name := range c.Group {
			g, err := in.groupNamed(ctx, name)
			if err != nil {
				return err
			}
			groupIDs = append(groupIDs, g.ID)
		}
		if !given && !c.NoPassword && a.interactive() {
			fmt.Fprintln(a.err, "Leave the password empty if nobody is to sign in as this user.")
			if password, err = a.newPassword(); err != nil {
				return err
			}
		}
		u := access.User{
			Username: c.Username, Email: c.Email, FirstName: c.FirstName, LastName: c.LastName, Language: c.Language,
			Active: !c.Inactive, Staff: c.Staff, Superuser: c.Superuser,
		}
		if role != access.None {
			u.Roles = []access.RoleGrant{{Role: role}}
		}
		u, err := in.desk.CreateUser(ctx, in.actor, u, registry.Password{Plain: password}, groupIDs...)
		if err != nil {
			return err
		}
		if c.JSON {
			return in.showUser(ctx, a, u, true)
		}
		a.printf("Created user %s (id %d)\n", u.Username, u.ID)
		return nil
	})
}

func roleNamed(s string) (access.Role, error) {
	r := access.Role(s)
	if r != access.None && !r.Known() {
		return r, usagef("--role: %q is not viewer, manager or owner", s)
	}
	return r, nil
}

// rolesAgree refuses a role beside flags that count as a higher one: the higher would hold.
func rolesAgree(role access.Role, staff, superuser bool) error {
	counts := access.User{Staff: staff, Superuser: superuser}.Role()
	if role.Includes(counts) {
		return nil
	}
	flag := "--staff"
	if superuser {
		flag = "--superuser"
	}
	return usagef("--role %s and %s contradict each other: %[2]s counts as %s; give one of the two", roleShown(role), flag, counts)
}

func roleShown(r access.Role) string {
	if r == access.None {
		return "none"
	}
	return string(r)
}

// UserListCmd lists users.
type UserListCmd struct {
	Search   string `placeholder:"WORDS" help:"Only those with these words in user name, name or e-mail."`
	Group    string `placeholder:"GROUP" help:"Only members of this group."`
	Active   bool   `xor:"active" help:"Only active ones."`
	Inactive bool   `xor:"active" help:"Only inactive ones."`
	Limit    int    `placeholder:"N" help:"At most so many; all if unset."`
	JSON     bool   `name:"json" help:"One JSON object a line."`
}

// Help is the example of --help.
func (UserListCmd) Help() string {
	return "Example:\n\n    openway user list --group staff\n    openway user list --json"
}

// Run lists them.
func (c UserListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		f := registry.UserFilter{Search: c.Search, Active: c.Active, Inactive: c.Inactive}
		if c.Group != "" {
			g, err := in.groupNamed(ctx, c.Group)
			if err != nil {
				return err
			}
			f.GroupID = g.ID
		}
		p := a.newPrinter(c.JSON, "ID", "USER", "NAME", "E-MAIL", "ACTIVE", "ROLE")
		err := all(c.Limit, func(after int64, limit int) ([]access.User, error) {
			f.After, f.Limit = after, limit
			return in.desk.Users(ctx, f)
		}, func(u access.User) int64 { return u.ID }, func(u access.User) error {
			p.row(asUser(u), u.ID, u.Username, strings.TrimSpace(u.FirstName+" "+u.LastName), u.Email, u.Active, string(u.Role()))
			return p.err
		})
		if err != nil {
			return err
		}
		return p.end()
	})
}

// userJSON is a user as scripts see it.
type userJSON struct {
	ID        int64   `json:"id"`
	Username  string  `json:"username"`
	FirstName string  `json:"first_name"`
	LastName  string  `json:"last_name"`
	Email     string  `json:"email"`
	Language  string  `json:"language"`
	Active    bool    `json:"active"`
	Staff     bool    `json:"staff"`
	Superuser bool    `json:"superuser"`
	Role      string  `json:"role"`
	CreatedAt *string `json:"created_at"`
	LastLogin *string `json:"last_login_at"`
}

func asUser(u access.User) userJSON {
	return userJSON{
		ID: u.ID, Username: u.Username, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email, Language: u.Language,
		Active: u.Active, Staff: u.Staff, Superuser: u.Superuser, Role: string(u.Role()), CreatedAt: stamp(u.CreatedAt), LastLogin: stamp(u.LastLoginAt),
	}
}

// UserShowCmd shows one user.
type UserShowCmd struct {
	Username string `arg:"" help:"The user's name."`
	JSON     bool   `name:"json" help:"As a JSON object."`
}

// Help is the example of --help.
func (UserShowCmd) Help() string { return "Example:\n\n    openway user show anna" }

// Run shows it.
func (c UserShowCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		u, err := in.userNamed(ctx, c.Username)
		if err != nil {
			return err
		}
		return in.showUser(ctx, a, u, c.JSON)
	})
}

func (in *installation) showUser(ctx context.Context, a *app, u access.User, asJSON bool) error {
	groups, err := in.desk.GroupsOf(ctx, u.ID)
	if err != nil {
		return err
	}
	groupNames := []string{}
	for _, g := range groups {
		groupNames = append(groupNames, g.Name)
	}
	gates, open, err := in.names().gatesOf(ctx, registry.PermissionFilter{UserID: u.ID}, a.now())
	if err != nil {
		return err
	}
	devices, err := in.desk.DevicesOf(ctx, u.ID)
	if err != nil {
		return err
	}
	deviceIDs := []int64{}
	for _, d := range devices {
		deviceIDs = append(deviceIDs, d.ID)
	}
	full := struct {
		userJSON
		Groups  []string `json:"groups"`
		Gates   []string `json:"gates"` // where their own permissions hold now
		Devices []int64  `json:"devices"`
	}{asUser(u), groupNames, open, deviceIDs}
	return a.card(asJSON, full,
		"id", u.ID, "user", u.Username, "name", strings.TrimSpace(u.FirstName+" "+u.LastName), "e-mail", u.Email, "language", u.Language, "active", u.Active,
		"role", string(u.Role()), "groups", groupNames, "own permissions", gates, "devices", fmt.Sprint(deviceIDs),
		"created", in.shownAt(u.CreatedAt), "last login", in.shownAt(u.LastLoginAt))
}

// UserChangeCmd changes a user's text fields and role.
type UserChangeCmd struct {
	Username  string  `arg:"" help:"The user's name."`
	Rename    *string `placeholder:"NAME" help:"New user name."`
	Email     *string `placeholder:"ADDRESS" help:"New e-mail address; '' for none."`
	FirstName *string `placeholder:"NAME" help:"New first name."`
	LastName  *string `placeholder:"NAME" help:"New last name."`
	Language  *string `name:"user-language" placeholder:"en|ru" help:"New language; '' for the browser's."`
	Role      *string `placeholder:"ROLE" help:"viewer, manager, owner or none; whoever counted as more no longer does."`
	Staff     *bool   `negatable:"" help:"Counts as manager, or no longer."`
	Superuser *bool   `negatable:"" help:"Counts as owner, or no longer."`
}

// Help is the example of --help.
func (UserChangeCmd) Help() string {
	return "Example:\n\n    openway user change anna --last-name Meier --role manager\n    openway user change anna --no-superuser"
}

// Run changes it.
func (c UserChangeCmd) Run(a *app) error {
	if c == (UserChangeCmd{Username: c.Username}) {
		return nothingToChange("user")
	}
	role := access.None
	if c.Role != nil {
		name := *c.Role
		if name == "none" {
			name = ""
		}
		var err error
		if role, err = roleNamed(name); err != nil {
			return err
		}
		if err := rolesAgree(role, c.Staff != nil && *c.Staff, c.Superuser != nil && *c.Superuser); err != nil {
			return err
		}
	}
	return a.with(func(ctx context.Context, in *installation) error {
		u, err := in.userNamed(ctx, c.Username)
		if err != nil {
			return err
		}
		for _, f := range []struct {
			to   *string
			from *string
		}{{&u.Username, c.Rename}, {&u.Email, c.Email}, {&u.FirstName, c.FirstName}, {&u.LastName, c.LastName}, {&u.Language, c.Language}} {
			if f.from != nil {
				*f.to = *f.from
			}
		}
		if c.Staff != nil {
			u.Staff = *c.Staff
		}
		if c.Superuser != nil {
			u.Superuser = *c.Superuser
		}
		var roles []access.RoleGrant
		if c.Role != nil {
			u.Staff = u.Staff && role.Includes(access.Manager)
			u.Superuser = u.Superuser && role.Includes(access.Owner)
			roles = append(roles, access.RoleGrant{Role: role})
			for _, g := range u.Roles {
				if g.SiteID != 0 {
					roles = append(roles, access.RoleGrant{SiteID: g.SiteID})
				}
			}
		}
		u, err = in.desk.UpdateUser(ctx, in.actor, u, roles...)
		if err != nil {
			return err
		}
		if c.Role != nil || c.Staff != nil || c.Superuser != nil {
			a.printf("Changed user %s (role: %s)\n", u.Username, roleShown(u.Role()))
			return nil
		}
		a.printf("Changed user %s\n", u.Username)
		return nil
	})
}

// UserSetPasswordCmd replaces a password.
type UserSetPasswordCmd struct {
	Username string `arg:"" help:"The user's name."`
	passwordFlags
}

// Help is the example of --help.
func (UserSetPasswordCmd) Help() string {
	return "The password comes from --password-file, --password-stdin or OPENWAY_PASSWORD, else it is asked for at a terminal.\n\nExample:\n\n    openway user set-password anna"
}

// Run replaces it.
func (c UserSetPasswordCmd) Run(a *app) error {
	password, given, err := c.given(a)
	if err != nil {
		return err
	}
	if !given && !a.interactive() {
		return usagef("give the password by --password-file, --password-stdin or OPENWAY_PASSWORD")
	}
	return a.with(func(ctx context.Context, in *installation) error {
		u, err := in.userNamed(ctx, c.Username)
		if err != nil {
			return err
		}
		for !given {
			if password, err = a.newPassword(); err != nil {
				return err
			}
			if password != "" {
				break
			}
			fmt.Fprintln(a.err, "Error: Blank passwords aren't allowed.")
		}
		if err := in.desk.SetPassword(ctx, in.actor, u.ID, registry.Password{Plain: password}); err != nil {
			return err
		}
		a.printf("Changed the password of %s; all tokens and sessions of this user have ended\n", u.Username)
		return nil
	})
}

// UserActivateCmd lets a user in again.
type UserActivateCmd struct {
	Username string `arg:"" help:"The user's name."`
}

// Help is the example of --help.
func (UserActivateCmd) Help() string { return "Example:\n\n    openway user activate anna" }

// Run does it.
func (c UserActivateCmd) Run(a *app) error { return a.setUserActive(c.Username, true, "Activated") }

// UserDeactivateCmd keeps a user out.
type UserDeactivateCmd struct {
	Username string `arg:"" help:"The user's name."`
}

// Help is the example of --help.
func (UserDeactivateCmd) Help() string { return "Example:\n\n    openway user deactivate anna" }

// Run does it.
func (c UserDeactivateCmd) Run(a *app) error {
	return a.setUserActive(c.Username, false, "Deactivated")
}

func (a *app) setUserActive(name string, active bool, done string) error {
	return a.with(func(ctx context.Context, in *installation) error {
		u, err := in.userNamed(ctx, name)
		if err != nil {
			return err
		}
		if _, err := in.desk.SetUserActive(ctx, in.actor, u.ID, active); err != nil {
			return err
		}
		a.printf("%s user %s\n", done, u.Username)
		return nil
	})
}

// UserDeleteCmd removes a user.
type UserDeleteCmd struct {
	Username string `arg:"" help:"The user's name."`
	Yes      bool   `short:"y" help:"Do not ask."`
}

// Help is the example of --help.
func (UserDeleteCmd) Help() string { return "Example:\n\n    openway user delete anna" }

// Run removes it.
func (c UserDeleteCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		u, err := in.userNamed(ctx, c.Username)
		if err != nil {
			return err
		}
		if err := a.confirm(c.Yes, u.Username, "delete user "+u.Username+" with tokens, devices and permissions"); err != nil {
			return err
		}
		if err := in.desk.DeleteUser(ctx, in.actor, u.ID, u.Version); err != nil {
			return err
		}
		a.printf("Deleted user %s\n", u.Username)
		return nil
	})
}

// UserEraseCmd blanks a user.
type UserEraseCmd struct {
	Username string `arg:"" optional:"" help:"The user's name."`
	ID       int64  `name:"id" placeholder:"ID" help:"The id instead, for a user who was deleted before."`
	Yes      bool   `short:"y" help:"Do not ask."`
}

// Help is the example of --help.
func (UserEraseCmd) Help() string {
	return "Events keep bare ids: who they were about can no longer be told.\n\nExample:\n\n    openway user erase anna"
}

// Run blanks it.
func (c UserEraseCmd) Run(a *app) error {
	if (c.Username == "") == (c.ID == 0) {
		return usagef("name the user, or give --id")
	}
	return a.with(func(ctx context.Context, in *installation) error {
		id, name := c.ID, fmt.Sprint(c.ID)
		if c.Username != "" {
			u, err := in.userNamed(ctx, c.Username)
			if err != nil {
				return err
			}
			id, name = u.ID, u.Username
		}
		if err := a.confirm(c.Yes, name, "delete user "+name+" and blank all personal text about that person, for good"); err != nil {
			return err
		}
		err := in.desk.EraseUser(ctx, in.actor, id)
		if errors.Is(err, access.ErrNotFound) {
			return fmt.Errorf("there is no user with the id %d", id)
		}
		if err != nil {
			return err
		}
		a.printf("Erased user %s (id %d)\n", name, id)
		return nil
	})
}
