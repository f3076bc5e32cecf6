package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// What phones ask for themselves, by the rules of the API v1 contract, "Devices". What administrators do to devices stands in devices.go.

// RegisterInput is what a phone asks for.
type RegisterInput struct {
	Rotate          bool    // mint a new token even if the device has one
	AndroidDeviceID *string // nil keeps the stored one, "" clears it; at most 128 characters
}

// RegisteredDevice is the device that a phone was given.
type RegisteredDevice struct {
	ID              int64
	Token           string // 64 hex, or as an administrator set it
	AndroidDeviceID string
}

// RegisterDevice chooses or makes the caller's device and links the caller's token to it, so that reporting the phone lost ends the token too.
// ErrBadToken and ErrInactive when the caller was shut out meanwhile.
func (r *Registry) RegisterDevice(ctx context.Context, actor access.Actor, caller Caller, in RegisterInput) (RegisteredDevice, error) {
	return changing(ctx, r, actor, fmt.Sprintf("register a device of user %d", caller.User.ID), func(c *change) (RegisteredDevice, error) {
		return c.registerDevice(caller, in)
	})
}

// RevokeDevice makes one of the user's own devices inactive: by id, or (deviceID 0) by android id, the newest active one first, then the
// newest inactive one. It is idempotent. ErrNotFound when the user has no such device.
func (r *Registry) RevokeDevice(ctx context.Context, actor access.Actor, userID, deviceID int64, android string) (access.Device, error) {
	return changing(ctx, r, actor, fmt.Sprintf("revoke a device of user %d", userID), func(c *change) (access.Device, error) {
		own, err := c.DevicesOf(userID)
		if err != nil {
			return access.Device{}, err
		}
		asked := func(d access.Device) bool { return d.ID == deviceID }
		if deviceID == 0 {
			asked = func(d access.Device) bool { return android != "" && d.AndroidDeviceID == android }
		}
		d, ok := newest(own, func(d access.Device) bool { return d.Active && asked(d) })
		if !ok {
			d, ok = newest(own, asked)
		}
		if !ok {
			return access.Device{}, fmt.Errorf("device %d, android id %q: %w", deviceID, android, access.ErrNotFound)
		}
		return c.setDeviceActive(d, false, "device")
	})
}

func (c *change) registerDevice(caller Caller, in RegisterInput) (RegisteredDevice, error) {
	cred, err := c.stillIn(caller)
	if err != nil {
		return RegisteredDevice{}, err
	}
	own, err := c.DevicesOf(cred.UserID)
	if err != nil {
		return RegisteredDevice{}, err
	}
	d, found := choose(own, in)
	token := ""
	if !found {
		d = access.Device{UserID: cred.UserID, Name: phoneName, Active: true}
		if in.AndroidDeviceID != nil {
			d.AndroidDeviceID = *in.AndroidDeviceID
		}
		if d, token, err = c.createDevice(d, ""); err != nil {
			return RegisteredDevice{}, err
		}
	} else {
		is := d
		if in.AndroidDeviceID != nil {
			is.AndroidDeviceID = *in.AndroidDeviceID
		}
		if d, err = c.writeDevice(d, is); err != nil {
			return RegisteredDevice{}, err
		}
		if token, err = c.keepToken(&d, in.Rotate); err != nil {
			return RegisteredDevice{}, err
		}
	}
	linked := cred
	linked.DeviceID = d.ID
	if err := c.changeCredential(cred, linked); err != nil {
		return RegisteredDevice{}, err
	}
	return RegisteredDevice{ID: d.ID, Token: token, AndroidDeviceID: d.AndroidDeviceID}, nil
}

// stillIn sees whether the caller, who was recognised before the transaction, may still act.
func (c *change) stillIn(caller Caller) (access.Credential, error) {
	cred, err := c.Credential(caller.CredentialID)
	if errors.Is(err, access.ErrNotFound) || (err == nil && cred.UserID != caller.User.ID) {
		return access.Credential{}, access.ErrBadToken
	}
	if err != nil {
		return access.Credential{}, err
	}
	user, err := c.User(cred.UserID)
	if err != nil {
		return access.Credential{}, err
	}
	if !user.Active {
		return access.Credential{}, access.ErrInactive
	}
	return cred, nil
}

// choose finds the device that a phone means among its user's, newest first: the active one with this android id; without
// an id, or when the token is to be kept, the newest active one; else none, and a new one is made. (Keeping the token under a
// new id renames the device: the clients in the field rely on it.)
func choose(own []access.Device, in RegisterInput) (access.Device, bool) {
	android := ""
	if in.AndroidDeviceID != nil {
		android = *in.AndroidDeviceID
	}
	if android != "" {
		if d, ok := newest(own, func(d access.Device) bool { return d.Active && d.AndroidDeviceID == android }); ok {
			return d, true
		}
		if in.Rotate {
			return access.Device{}, false
		}
	}
	return newest(own, func(d access.Device) bool { return d.Active })
}

// newest returns the first device that fits; the list has the newest first.
func newest(list []access.Device, fits func(access.Device) bool) (access.Device, bool) {
	for _, d := range list {
		if fits(d) {
			return d, true
		}
	}
	return access.Device{}, false
}

// keepToken returns the token of a device: the one it has, or with rotate, or when it has none, a new one.
func (c *change) keepToken(d *access.Device, rotate bool) (string, error) {
	old, has, err := c.deviceToken(d.ID)
	if err != nil {
		return "", err
	}
	if rotate || !has {
		return c.setDeviceToken(d, "")
	}
	keys, err := c.sealingKeys() // says so where one is missing
	if err != nil {
		return "", err
	}
	token, err := keys.Open(old.ID, old.Sealed)
	if err != nil {
		return "", fmt.Errorf("open the token of device %d: %w", d.ID, err)
	}
	return token, nil
}
