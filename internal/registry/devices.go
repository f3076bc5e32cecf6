package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// DeviceFilter selects devices.
type DeviceFilter = store.DeviceFilter

// phoneName is what a device is called that a phone registered itself (API v1).
const phoneName = "Mobile device"

func deviceFields(d access.Device) access.Fields {
	return filled(access.Fields{
		"user_id": idText(d.UserID), "name": d.Name, "android_device_id": d.AndroidDeviceID, "active": yes(d.Active),
	})
}

// Devices lists devices by id.
func (r *Registry) Devices(ctx context.Context, f DeviceFilter) ([]access.Device, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]access.Device, error) { return tx.Devices(f) })
}

// Device returns one device.
func (r *Registry) Device(ctx context.Context, id int64) (access.Device, error) {
	return reading(ctx, r, func(tx *store.Tx) (access.Device, error) { return tx.Device(id) })
}

// DevicesOf lists all devices of a user, newest first (created, then id).
func (r *Registry) DevicesOf(ctx context.Context, userID int64) ([]access.Device, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]access.Device, error) { return tx.DevicesOf(userID) })
}

// deviceAndToken is a device with the token that was set, if any.
type deviceAndToken struct {
	device access.Device
	token  string
}

// CreateDevice enters a device at the desk. A token of "" mints one; a given one has 8..128 characters and is no other credential's. The
// token that is returned is told here for the last time.
func (r *Registry) CreateDevice(ctx context.Context, actor access.Actor, d access.Device, token string) (access.Device, string, error) {
	made, err := changing(ctx, r, actor, fmt.Sprintf("create a device of user %d", d.UserID), func(c *change) (deviceAndToken, error) {
		d, token, err := c.createDevice(d, token)
		return deviceAndToken{d, token}, err
	})
	return made.device, made.token, err
}

// EnterDevice enters a device without a token, which SetDeviceToken gives it when the phone is at hand. A user's active devices have different Android ids
// (access.Invalid): a form that is sent twice enters one phone. (What phones register themselves follows the contract: phones.go.)
func (r *Registry) EnterDevice(ctx context.Context, actor access.Actor, d access.Device) (access.Device, error) {
	return changing(ctx, r, actor, fmt.Sprintf("enter a device of user %d", d.UserID), func(c *change) (access.Device, error) {
		if d.AndroidDeviceID != "" {
			same, err := c.Devices(store.DeviceFilter{UserID: d.UserID, AndroidDeviceID: d.AndroidDeviceID, Active: true, Limit: 1})
			if err != nil {
				return access.Device{}, err
			}
			if len(same) > 0 {
				return access.Device{}, access.Invalid{{Field: "android_device_id", Code: access.CodeTaken}}
			}
		}
		err := c.enterDevice(&d)
		return d, err
	})
}

// UpdateDevice changes name and android id of device d.ID. d.Version is the version seen, 0 = any.
func (r *Registry) UpdateDevice(ctx context.Context, actor access.Actor, d access.Device) (access.Device, error) {
	return changing(ctx, r, actor, fmt.Sprintf("change device %d", d.ID), func(c *change) (access.Device, error) { return c.updateDevice(d) })
}

// BindDevice gives a device and its token to another user. User tokens that came from it stay with their user.
func (r *Registry) BindDevice(ctx context.Context, actor access.Actor, id, userID int64) (access.Device, error) {
	return changing(ctx, r, actor, fmt.Sprintf("bind device %d", id), func(c *change) (access.Device, error) { return c.bindDevice(id, userID) })
}

// SetDeviceToken replaces a device's token; "" mints one. It returns the token that is now in force.
func (r *Registry) SetDeviceToken(ctx context.Context, actor access.Actor, id int64, token string) (access.Device, string, error) {
	made, err := changing(ctx, r, actor, fmt.Sprintf("set the token of device %d", id), func(c *change) (deviceAndToken, error) {
		d, err := c.Device(id)
		if err != nil {
			return deviceAndToken{}, err
		}
		token, err := c.setDeviceToken(&d, token)
		return deviceAndToken{d, token}, err
	})
	return made.device, made.token, err
}

// SetDeviceActive revokes a device (its token answers DEVICE_INACTIVE) or takes it back into service. Idempotent.
func (r *Registry) SetDeviceActive(ctx context.Context, actor access.Actor, id int64, active bool) (access.Device, error) {
	return changing(ctx, r, actor, fmt.Sprintf("set device %d active: %t", id, active), func(c *change) (access.Device, error) {
		d, err := c.Device(id)
		if err != nil {
			return access.Device{}, err
		}
		return c.setDeviceActive(d, active, "admin")
	})
}

// Loss is what was done about a lost phone.
type Loss struct {
	Device access.Device
	Ended  int // user tokens
	Loose  int // user tokens of its owner that belong to no device and go on: the phone may know one of them
}

// LostDevice revokes a device and ends the user tokens that came from it, in one act, and with loose its owner's tokens that belong to no device as well:
// a phone is known by the token that it registered with, not by those with which it signed in besides.
func (r *Registry) LostDevice(ctx context.Context, actor access.Actor, id int64, loose bool) (Loss, error) {
	return changing(ctx, r, actor, fmt.Sprintf("report device %d lost", id), func(c *change) (lost Loss, err error) {
		if lost.Device, err = c.Device(id); err != nil {
			return Loss{}, err
		}
		if lost.Device, err = c.setDeviceActive(lost.Device, false, "lost"); err != nil {
			return Loss{}, err
		}
		if lost.Ended, err = c.endCredentials(store.CredentialFilter{DeviceID: id, Kind: access.UserToken}, "lost"); err != nil {
			return Loss{}, err
		}
		others := LooseTokens(lost.Device.UserID)
		if loose {
			n, err := c.endCredentials(others, "lost")
			lost.Ended += n
			return lost, err
		}
		left, err := c.Credentials(others)
		lost.Loose = len(left)
		return lost, err
	})
}

// LooseTokens selects the user tokens of a user that belong to no device: of sign-ins that registered none, or one that is deleted since.
func LooseTokens(userID int64) TokenFilter {
	return TokenFilter{UserID: userID, Kind: access.UserToken, Loose: true, Limit: store.All}
}

// DeleteDevice removes a device and ends its token (TOKEN_INVALID).
func (r *Registry) DeleteDevice(ctx context.Context, actor access.Actor, id int64) error {
	return r.change(ctx, actor, func(c *change) error {
		d, err := c.Device(id)
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		return c.deleteDevice(d)
	})
}

// enterDevice makes a device without a token.
func (c *change) enterDevice(d *access.Device) error {
	if err := d.Validate(); err != nil {
		return err
	}
	if _, err := c.User(d.UserID); err != nil {
		return refers(err, "user")
	}
	if err := c.InsertDevice(d); err != nil {
		return err
	}
	return c.Record(access.ObjectDevice, d.ID, access.ActionCreate, nil, deviceFields(*d))
}

// createDevice returns the device and its token.
func (c *change) createDevice(d access.Device, token string) (access.Device, string, error) {
	if err := c.enterDevice(&d); err != nil {
		return access.Device{}, "", err
	}
	token, err := c.setDeviceToken(&d, token)
	return d, token, err
}

// updateDevice changes the texts.
func (c *change) updateDevice(d access.Device) (access.Device, error) {
	old, err := c.Device(d.ID)
	if err != nil {
		return access.Device{}, err
	}
	if err := fresh(fmt.Sprintf("device %d", d.ID), d.Version, old.Version); err != nil {
		return access.Device{}, err
	}
	is := old
	is.Name, is.AndroidDeviceID = d.Name, d.AndroidDeviceID
	return c.writeDevice(old, is)
}

// writeDevice writes a device as it is to be now, and records what that changes.
func (c *change) writeDevice(was, is access.Device) (access.Device, error) {
	if is == was {
		return was, nil
	}
	if err := unlessKept(is.Validate(), deviceFields(was), deviceFields(is)); err != nil {
		return access.Device{}, err
	}
	if err := c.UpdateDevice(&is); err != nil {
		return access.Device{}, err
	}
	return is, c.recordChange(access.ObjectDevice, is.ID, deviceFields(was), deviceFields(is))
}

func (c *change) bindDevice(id, userID int64) (access.Device, error) {
	old, err := c.Device(id)
	if err != nil {
		return access.Device{}, err
	}
	if _, err := c.User(userID); err != nil {
		return access.Device{}, refers(err, "user")
	}
	is := old
	is.UserID = userID
	d, err := c.writeDevice(old, is)
	if err != nil {
		return access.Device{}, err
	}
	token, has, err := c.deviceToken(id)
	if err != nil || !has {
		return d, err
	}
	moved := token
	moved.UserID = userID
	return d, c.changeCredential(token, moved)
}

// setDeviceActive makes a device and its token active or inactive; reason is the word that the token keeps.
func (c *change) setDeviceActive(d access.Device, active bool, reason string) (access.Device, error) {
	is := d
	is.Active = active
	d, err := c.writeDevice(d, is)
	if err != nil {
		return access.Device{}, err
	}
	token, has, err := c.deviceToken(d.ID)
	if err != nil || !has || (token.State == access.CredentialActive) == active {
		return d, err
	}
	changed := token
	changed.State, changed.StateReason = access.CredentialActive, ""
	if !active {
		changed.State, changed.StateReason = access.CredentialInactive, reason
	}
	return d, c.changeCredential(token, changed)
}

func (c *change) deleteDevice(d access.Device) error {
	if _, err := c.endCredentials(store.CredentialFilter{DeviceID: d.ID, Kind: access.DeviceToken}, "deleted"); err != nil {
		return err
	}
	if err := c.DeleteDevice(d.ID); err != nil {
		return err
	}
	return c.Record(access.ObjectDevice, d.ID, access.ActionDelete, deviceFields(d), nil)
}

// deviceToken returns the living token of a device.
func (c *change) deviceToken(deviceID int64) (token access.Credential, has bool, err error) {
	list, err := c.Credentials(store.CredentialFilter{DeviceID: deviceID, Kind: access.DeviceToken, Limit: 1})
	if err != nil || len(list) == 0 {
		return access.Credential{}, false, err
	}
	return list[0], true, nil
}

// setDeviceToken gives a device a token in the place of the one it has, and returns it; "" mints one. The token that it has already stays.
// An inactive device's token is inactive.
func (c *change) setDeviceToken(d *access.Device, token string) (string, error) {
	minted := token == ""
	if minted {
		token = credential.MintDeviceToken()
	} else if err := validToken(token); err != nil {
		return "", err
	}
	old, has, err := c.deviceToken(d.ID)
	if err != nil {
		return "", err
	}
	if has {
		if same, err := c.presented(token); err == nil && same.ID == old.ID {
			return token, nil
		} else if err != nil && !errors.Is(err, access.ErrNotFound) {
			return "", err
		}
		if err := c.endCredential(old, "rotated"); err != nil {
			return "", err
		}
	}
	cred := access.Credential{UserID: d.UserID, DeviceID: d.ID, Kind: access.DeviceToken, State: access.CredentialActive}
	if !d.Active {
		cred.State, cred.StateReason = access.CredentialInactive, "device"
	}
	if err := c.addCredential(&cred, token, minted, access.ActionCreate); err != nil {
		return "", err
	}
	d.TokenPreview = cred.Preview
	return token, nil
}
