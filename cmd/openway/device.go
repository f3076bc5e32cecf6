package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// DeviceCmd holds the commands about phones.
type DeviceCmd struct {
	List     DeviceListCmd     `cmd:"" help:"List devices."`
	Show     DeviceShowCmd     `cmd:"" help:"Show one device."`
	Create   DeviceCreateCmd   `cmd:"" help:"Enter a device for a user and print its token."`
	Bind     DeviceBindCmd     `cmd:"" help:"Give a device to another user."`
	SetToken DeviceSetTokenCmd `cmd:"" help:"Replace a device's token."`
	Revoke   DeviceRevokeCmd   `cmd:"" help:"Take a device out of service: its token answers DEVICE_INACTIVE."`
	Activate DeviceActivateCmd `cmd:"" help:"Take a revoked device back into service."`
	Lost     DeviceLostCmd     `cmd:"" help:"A phone is lost: revoke it and end the API tokens that came from it, with --loose those of no device too."`
	Delete   DeviceDeleteCmd   `cmd:"" help:"Remove a device and its token."`
}

// Help is the example of --help.
func (DeviceCmd) Help() string {
	return "Example:\n\n    openway device list --user anna\n    openway device lost 7"
}

type deviceJSON struct {
	ID              int64   `json:"id"`
	User            string  `json:"user"`
	Name            string  `json:"name"`
	AndroidDeviceID string  `json:"android_device_id"`
	Active          bool    `json:"is_active"`
	TokenPreview    string  `json:"token_preview"`
	CreatedAt       *string `json:"created_at"`
}

func (n *names) device(ctx context.Context, d access.Device) (deviceJSON, error) {
	user, err := n.user(ctx, d.UserID)
	return deviceJSON{d.ID, user, d.Name, d.AndroidDeviceID, d.Active, d.TokenPreview, stamp(d.CreatedAt)}, err
}

// DeviceListCmd lists devices.
type DeviceListCmd struct {
	User      string `placeholder:"USER" help:"Only those of this user."`
	Search    string `placeholder:"WORDS" help:"Only those with these words in name, Android id or the names of their owner."`
	AndroidID string `placeholder:"ID" help:"Only those with exactly this Android id."`
	Active    bool   `xor:"active" help:"Only active ones."`
	Inactive  bool   `xor:"active" help:"Only revoked ones."`
	Limit     int    `placeholder:"N" help:"At most so many; all if unset."`
	JSON      bool   `name:"json" help:"One JSON object a line."`
}

// Help is the example of --help.
func (DeviceListCmd) Help() string { return "Example:\n\n    openway device list --user anna" }

// Run lists them.
func (c DeviceListCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		f := registry.DeviceFilter{Search: c.Search, AndroidDeviceID: c.AndroidID, Active: c.Active, Inactive: c.Inactive}
		if c.User != "" {
			u, err := in.userNamed(ctx, c.User)
			if err != nil {
				return err
			}
			f.UserID = u.ID
		}
		n := in.names()
		p := a.newPrinter(c.JSON, "ID", "USER", "NAME", "ANDROID ID", "ACTIVE", "TOKEN", "CREATED")
		err := all(c.Limit, func(after int64, limit int) ([]access.Device, error) {
			f.After, f.Limit = after, limit
			return in.desk.Devices(ctx, f)
		}, func(d access.Device) int64 { return d.ID }, func(d access.Device) error {
			j, err := n.device(ctx, d)
			if err != nil {
				return err
			}
			p.row(j, d.ID, j.User, d.Name, d.AndroidDeviceID, d.Active, d.TokenPreview, in.shownAt(d.CreatedAt))
			return p.err
		})
		if err != nil {
			return err
		}
		return p.end()
	})
}

// DeviceShowCmd shows a device.
type DeviceShowCmd struct {
	ID   int64 `arg:"" help:"The device's id."`
	JSON bool  `name:"json" help:"As a JSON object."`
}

// Help is the example of --help.
func (DeviceShowCmd) Help() string { return "Example:\n\n    openway device show 7" }

// Run shows it.
func (c DeviceShowCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		d, err := in.deviceNumbered(ctx, c.ID)
		if err != nil {
			return err
		}
		j, err := in.names().device(ctx, d)
		if err != nil {
			return err
		}
		return a.card(c.JSON, j, "id", d.ID, "user", j.User, "name", d.Name, "android id", d.AndroidDeviceID, "active", d.Active,
			"token", d.TokenPreview, "created", in.shownAt(d.CreatedAt))
	})
}

// tokenFlags are the ways to give a device token that keep it off the command line.
type tokenFlags struct {
	TokenFile  string `placeholder:"FILE" help:"Read the token (8..128 characters) from this file; unset, a new one is made."`
	TokenStdin bool   `help:"Read the token from the first line of standard input."`
}

func (f tokenFlags) given(a *app) (string, error) {
	switch {
	case f.TokenStdin:
		line, err := a.firstLine("--token-stdin")
		if err != nil {
			return "", err
		}
		if line = strings.TrimSpace(line); line == "" {
			return "", usagef("--token-stdin: the first line of standard input is blank")
		}
		return line, nil
	case f.TokenFile != "":
		data, err := readSmall(f.TokenFile)
		if err != nil {
			return "", settingError("--token-file", "%w", err)
		}
		token := strings.TrimSpace(string(data))
		if token == "" {
			return "", usagef("--token-file: %s is empty", f.TokenFile)
		}
		return token, nil
	}
	return "", nil
}

// tellToken prints a token that was made: it cannot be had again. One that was given is known already.
func (a *app) tellToken(given, token string) {
	if given == "" {
		a.printf("Token: %s\n", token)
	}
}

// DeviceCreateCmd enters a device.
type DeviceCreateCmd struct {
	User      string `arg:"" help:"The user's name."`
	Name      string `default:"Mobile device" help:"What people call it."`
	AndroidID string `placeholder:"ID" help:"Its Android id."`
	tokenFlags
}

// Help is the example of --help.
func (DeviceCreateCmd) Help() string {
	return "Example:\n\n    openway device create anna --name \"Anna's phone\""
}

// Run enters it.
func (c DeviceCreateCmd) Run(a *app) error {
	given, err := c.given(a)
	if err != nil {
		return err
	}
	return a.with(func(ctx context.Context, in *installation) error {
		u, err := in.userNamed(ctx, c.User)
		if err != nil {
			return err
		}
		d, token, err := in.desk.CreateDevice(ctx, in.actor, access.Device{UserID: u.ID, Name: c.Name, AndroidDeviceID: c.AndroidID, Active: true}, given)
		if err != nil {
			return err
		}
		a.printf("Created device %d of user %s\n", d.ID, u.Username)
		a.tellToken(given, token)
		return nil
	})
}

// DeviceBindCmd gives a device to another user.
type DeviceBindCmd struct {
	ID   int64  `arg:"" help:"The device's id."`
	User string `arg:"" help:"The user's name."`
}

// Help is the example of --help.
func (DeviceBindCmd) Help() string { return "Example:\n\n    openway device bind 7 ben" }

// Run does it.
func (c DeviceBindCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		d, err := in.deviceNumbered(ctx, c.ID)
		if err != nil {
			return err
		}
		u, err := in.userNamed(ctx, c.User)
		if err != nil {
			return err
		}
		if _, err := in.desk.BindDevice(ctx, in.actor, d.ID, u.ID); err != nil {
			return err
		}
		a.printf("Device %d belongs to user %s\n", d.ID, u.Username)
		return nil
	})
}

// DeviceSetTokenCmd replaces a token.
type DeviceSetTokenCmd struct {
	ID int64 `arg:"" help:"The device's id."`
	tokenFlags
}

// Help is the example of --help.
func (DeviceSetTokenCmd) Help() string {
	return "The former token ends at once. Without --token-file and --token-stdin a new one is made and printed.\n\nExample:\n\n    openway device set-token 7"
}

// Run replaces it.
func (c DeviceSetTokenCmd) Run(a *app) error {
	given, err := c.given(a)
	if err != nil {
		return err
	}
	return a.with(func(ctx context.Context, in *installation) error {
		if _, err := in.deviceNumbered(ctx, c.ID); err != nil {
			return err
		}
		d, token, err := in.desk.SetDeviceToken(ctx, in.actor, c.ID, given)
		if err != nil {
			return err
		}
		a.printf("Changed the token of device %d\n", d.ID)
		a.tellToken(given, token)
		return nil
	})
}

// DeviceRevokeCmd revokes.
type DeviceRevokeCmd struct {
	ID int64 `arg:"" help:"The device's id."`
}

// Help is the example of --help.
func (DeviceRevokeCmd) Help() string { return "Example:\n\n    openway device revoke 7" }

// Run revokes it.
func (c DeviceRevokeCmd) Run(a *app) error { return a.setDeviceActive(c.ID, false, "Revoked") }

// DeviceActivateCmd reactivates.
type DeviceActivateCmd struct {
	ID int64 `arg:"" help:"The device's id."`
}

// Help is the example of --help.
func (DeviceActivateCmd) Help() string { return "Example:\n\n    openway device activate 7" }

// Run reactivates it.
func (c DeviceActivateCmd) Run(a *app) error { return a.setDeviceActive(c.ID, true, "Activated") }

func (a *app) setDeviceActive(id int64, active bool, done string) error {
	return a.with(func(ctx context.Context, in *installation) error {
		if _, err := in.deviceNumbered(ctx, id); err != nil {
			return err
		}
		if _, err := in.desk.SetDeviceActive(ctx, in.actor, id, active); err != nil {
			return err
		}
		a.printf("%s device %d\n", done, id)
		return nil
	})
}

// DeviceLostCmd is the one act for a lost phone.
type DeviceLostCmd struct {
	ID    int64 `arg:"" help:"The device's id."`
	Loose bool  `help:"End also the API tokens of its user that belong to no device."`
}

// Help is the example of --help.
func (DeviceLostCmd) Help() string {
	return "A phone may know API tokens of its user besides the one that it registered with. Those that belong to no device go on, unless --loose ends them too.\n\n" +
		"Example:\n\n    openway device lost 7 --loose"
}

// Run does it.
func (c DeviceLostCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		if _, err := in.deviceNumbered(ctx, c.ID); err != nil {
			return err
		}
		lost, err := in.desk.LostDevice(ctx, in.actor, c.ID, c.Loose)
		if err != nil {
			return err
		}
		a.printf("Revoked device %d and ended %d token(s)\n", c.ID, lost.Ended)
		if lost.Loose == 0 {
			return nil
		}
		user, err := in.names().user(ctx, lost.Device.UserID)
		if err != nil {
			return err
		}
		a.printf("%d token(s) of user %s belong to no device and still open gates: to end them, openway device lost %d --loose\n", lost.Loose, user, c.ID)
		return nil
	})
}

// DeviceDeleteCmd removes a device.
type DeviceDeleteCmd struct {
	ID  int64 `arg:"" help:"The device's id."`
	Yes bool  `short:"y" help:"Do not ask."`
}

// Help is the example of --help.
func (DeviceDeleteCmd) Help() string { return "Example:\n\n    openway device delete 7" }

// Run removes it.
func (c DeviceDeleteCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		d, err := in.deviceNumbered(ctx, c.ID)
		if err != nil {
			return err
		}
		if err := a.confirm(c.Yes, fmt.Sprint(d.ID), fmt.Sprintf("delete device %d and its token", d.ID)); err != nil {
			return err
		}
		if err := in.desk.DeleteDevice(ctx, in.actor, d.ID); err != nil {
			return err
		}
		a.printf("Deleted device %d\n", d.ID)
		return nil
	})
}
