package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// TokenCmd holds the commands about API tokens.
type TokenCmd struct {
	List   TokenListCmd   `cmd:"" help:"List the API tokens of users; never the tokens themselves."`
	Revoke TokenRevokeCmd `cmd:"" help:"End a token, or all of a user, at once."`
}

// Help is the example of --help.
func (TokenCmd) Help() string {
	return "Example:\n\n    openway token list --user anna\n    openway token revoke 12"
}

// TokenListCmd lists tokens.
type TokenListCmd struct {
	User  string `placeholder:"USER" help:"Only those of this user."`
	Limit int    `placeholder:"N" help:"At most so many; all if unset."`
	JSON  bool   `name:"json" help:"One JSON object a line."`
}

// Help is the example of --help.
func (TokenListCmd) Help() string { return "Example:\n\n    openway token list --user anna" }

type tokenJSON struct {
	ID        int64   `json:"id"`
	User      string  `json:"user"`
	Preview   string  `json:"preview"`
	Label     string  `json:"label"`
	State     string  `json:"state"`
	Device    *int64  `json:"device"`
	CreatedAt *string `json:"created_at"`
	LastUsed  *string `json:"last_used"` // a day
}

func dayShown(day int) string {
	if day == 0 {
		return ""
	}
	return time.Unix(int64(day)*24*60*60, 0).UTC().Format(time.DateOnly)
}

// Run lists them.
func (c TokenListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		f := registry.TokenFilter{Kind: access.UserToken}
		if c.User != "" {
			u, err := in.userNamed(ctx, c.User)
			if err != nil {
				return err
			}
			f.UserID = u.ID
		}
		n := in.names()
		p := a.newPrinter(c.JSON, "ID", "USER", "TOKEN", "LABEL", "DEVICE", "CREATED", "LAST USED")
		err := all(c.Limit, func(after int64, limit int) ([]access.Credential, error) {
			f.After, f.Limit = after, limit
			return in.desk.Tokens(ctx, f)
		}, func(t access.Credential) int64 { return t.ID }, func(t access.Credential) error {
			user, err := n.user(ctx, t.UserID)
			if err != nil {
				return err
			}
			used := dayShown(t.LastUsedDay)
			p.row(tokenJSON{t.ID, user, t.Preview, t.Label, string(t.State), orNull(t.DeviceID), stamp(t.CreatedAt), orNull(used)},
				t.ID, user, t.Preview, t.Label, t.DeviceID, in.shownAt(t.CreatedAt), used)
			return p.err
		})
		if err != nil {
			return err
		}
		return p.end()
	})
}

// TokenRevokeCmd ends tokens.
type TokenRevokeCmd struct {
	ID   int64  `arg:"" optional:"" help:"The token's id, as token list shows it."`
	User string `placeholder:"USER" help:"All tokens of this user instead."`
}

// Help is the example of --help.
func (TokenRevokeCmd) Help() string {
	return "Example:\n\n    openway token revoke 12\n    openway token revoke --user anna"
}

// Run ends them.
func (c TokenRevokeCmd) Run(a *app) error {
	if (c.ID == 0) == (c.User == "") {
		return usagef("give the token's id or --user, one of the two")
	}
	return a.with(func(ctx context.Context, in *installation) error {
		if c.User != "" {
			u, err := in.userNamed(ctx, c.User)
			if err != nil {
				return err
			}
			n, err := in.desk.RevokeTokens(ctx, in.actor, u.ID)
			if err != nil {
				return err
			}
			a.printf("Revoked %d token(s) of user %s\n", n, u.Username)
			return nil
		}
		err := in.desk.RevokeToken(ctx, in.actor, c.ID)
		if errors.Is(err, access.ErrNotFound) {
			return fmt.Errorf("there is no token %d", c.ID)
		}
		if err != nil {
			return err
		}
		a.printf("Revoked token %d\n", c.ID)
		return nil
	})
}
