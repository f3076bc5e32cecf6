package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/registry"
)

// CreateSuperuserCmd makes an administrator, in the way of the original's command of this name.
type CreateSuperuserCmd struct {
	Username string  `placeholder:"NAME" help:"User name; asked for if unset."`
	Email    *string `placeholder:"ADDRESS" help:"E-mail address; asked for if unset."`
	NoInput  bool    `aliases:"noinput" help:"Ask nothing, even at a terminal."`
	passwordFlags
}

// Help is the example of --help.
func (CreateSuperuserCmd) Help() string {
	return "Asks at a terminal for what is not given. Elsewhere --username and a password are needed (--password-file, --password-stdin or OPENWAY_PASSWORD).\n\n" +
		"Example:\n\n    openway createsuperuser\n    OPENWAY_PASSWORD=... openway createsuperuser --username admin --email admin@example.org"
}

// Run makes the administrator.
func (c CreateSuperuserCmd) Run(a *app) error {
	password, given, err := c.given(a)
	if err != nil {
		return err
	}
	asks := a.interactive() && !c.NoInput && !c.PasswordStdin
	if !asks {
		if c.Username == "" {
			return usagef("--username is needed where nobody can be asked")
		}
		if !given {
			return usagef("a password is needed where nobody can be asked: --password-file, --password-stdin or OPENWAY_PASSWORD")
		}
	}
	return a.withNew(func(ctx context.Context, in *installation) error {
		u := access.User{Username: c.Username, Active: true, Staff: true, Superuser: true}
		if c.Email != nil {
			u.Email = *c.Email
		}
		p := registry.Password{Plain: password}
		if asks {
			if err := in.askSuperuser(ctx, a, &u, &p, c.Email == nil, given); err != nil {
				return err
			}
		}
		u, err := in.desk.CreateUser(ctx, in.actor, u, p)
		if err != nil {
			return err
		}
		a.printf("Superuser %s created successfully.\n", u.Username)
		return nil
	})
}

// askSuperuser asks for what is missing until it is right.
func (in *installation) askSuperuser(ctx context.Context, a *app, u *access.User, p *registry.Password, askEmail, havePassword bool) error {
	if u.Username != "" { // before a password is asked for in vain
		if err := in.freeUsername(ctx, u.Username); err != nil {
			return err
		}
	}
	for asked := u.Username == ""; asked; {
		name, err := in.askUsername(ctx, a)
		if err != nil {
			return err
		}
		u.Username, asked = name, name == ""
	}
	for askEmail {
		email, err := a.ask("Email address: ")
		if err != nil {
			return err
		}
		u.Email = email
		if bad := only(u.Validate(), "email"); bad != nil {
			fmt.Fprintln(a.err, "Error: "+bad.Error())
			continue
		}
		askEmail = false
	}
	for !havePassword {
		password, err := a.newPassword()
		if err != nil {
			return err
		}
		if password == "" {
			fmt.Fprintln(a.err, "Error: Blank passwords aren't allowed.")
			continue
		}
		p.Plain = password
		bad := credential.CheckPassword(password, credential.About{Username: u.Username, Email: u.Email})
		if len(bad) == 0 {
			return nil
		}
		for _, f := range bad {
			fmt.Fprintln(a.err, "Error: "+f.Error())
		}
		answer, err := a.ask("Bypass password validation and create user anyway? [y/N]: ")
		if err != nil {
			return err
		}
		if strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes") {
			p.SkipRules = true
			return nil
		}
	}
	return nil
}

// askUsername asks once; "" means that the answer would not do, and why was said.
func (in *installation) askUsername(ctx context.Context, a *app) (string, error) {
	question, preset := "Username: ", ""
	if me, err := user.Current(); err == nil {
		if _, err := in.desk.UserByName(ctx, me.Username); errors.Is(err, access.ErrNotFound) {
			preset = me.Username
			question = fmt.Sprintf("Username (leave blank to use '%s'): ", preset)
		}
	}
	name, err := a.ask(question)
	if err != nil {
		return "", err
	}
	if name == "" {
		name = preset
	}
	if name == "" {
		fmt.Fprintln(a.err, "Error: This field cannot be blank.")
		return "", nil
	}
	var bad access.Invalid
	switch err := in.freeUsername(ctx, name); {
	case errors.As(err, &bad):
		fmt.Fprintln(a.err, "Error: "+bad.Error())
		return "", nil
	case errors.Is(err, errNameTaken):
		fmt.Fprintln(a.err, "Error: That username is already taken.")
		return "", nil
	case err != nil:
		return "", err
	}
	return name, nil
}

var errNameTaken = errors.New("that username is already taken")

// freeUsername reports a user name that a new user cannot have.
func (in *installation) freeUsername(ctx context.Context, name string) error {
	if bad := only(access.User{Username: name}.Validate(), "username"); bad != nil {
		return bad
	}
	_, err := in.desk.UserByName(ctx, name)
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w", name, errNameTaken)
	case errors.Is(err, access.ErrNotFound):
		return nil
	}
	return err
}

// only keeps what err says about one field.
func only(err error, field string) error {
	var all, some access.Invalid
	if !errors.As(err, &all) {
		return err
	}
	for _, f := range all {
		if f.Field == field {
			some = append(some, f)
		}
	}
	return some.OrNil()
}
