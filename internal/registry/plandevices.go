package registry

import (
	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/sitefile"
)

// phone is a device of the file with what it means.
type phone struct {
	sitefile.Device
	user *access.User
	row  *access.Device // the one it is in the database

	replaced bool // the listed token was its own until the phone or the desk got it another one
}

// devices plans all devices. A device is found by its fixed token, else by user, name and android id; of several alike
// each stands for one, in order.
func (p *planner) devices() {
	rows := map[int64]*access.Device{}
	for i := range p.now.inOrder.devices {
		rows[p.now.inOrder.devices[i].ID] = &p.now.inOrder.devices[i]
	}
	var phones []*phone
	for _, f := range p.file.Devices {
		ph := &phone{Device: f, user: named(p, f.Place, "user", "user", f.User, p.users, p.now.users)}
		phones = append(phones, ph)
		if f.Token == "" {
			continue
		}
		c, ok := p.now.token(p.keys, f.Token)
		if ok && c.Kind != access.DeviceToken {
			p.bad.Add(f.Place, "token", "is a token of user %s already", p.nameOf(c.UserID))
		}
		if !ok {
			c = p.now.ended[f.Token]
			ph.replaced = c.Kind == access.DeviceToken && c.StateReason == "rotated" && rows[c.DeviceID] != nil && !p.keptPhones[c.DeviceID]
		}
		if row := rows[c.DeviceID]; c.Kind == access.DeviceToken && row != nil && (ok || ph.replaced) {
			ph.row = row
			p.keptPhones[row.ID] = true
		}
	}
	alike := map[access.Device][]*access.Device{}
	for i := range p.now.inOrder.devices {
		if r := &p.now.inOrder.devices[i]; !p.keptPhones[r.ID] {
			key := access.Device{UserID: r.UserID, Name: r.Name, AndroidDeviceID: r.AndroidDeviceID}
			alike[key] = append(alike[key], r)
		}
	}
	for _, ph := range phones {
		if ph.user == nil {
			continue
		}
		key := access.Device{UserID: ph.user.ID, Name: ph.Name, AndroidDeviceID: ph.AndroidDeviceID}
		if list := alike[key]; ph.row == nil && len(list) > 0 && ph.user.ID != 0 {
			ph.row, alike[key] = list[0], list[1:]
			p.keptPhones[ph.row.ID] = true
		}
		p.device(ph)
	}
}

func (p *planner) device(ph *phone) {
	var d differing
	active, rebind, retoken := ph.Active, false, false
	if ph.row != nil {
		if !ph.Has("active") {
			active = ph.row.Active
		}
		if rebind = ph.row.UserID != ph.user.ID; rebind {
			d.text("user", p.nameOf(ph.row.UserID), ph.User)
		}
		d.text("name", ph.row.Name, ph.Name)
		d.text("android_device_id", ph.row.AndroidDeviceID, ph.AndroidDeviceID)
		d.yes("active", ph.row.Active, active)
		c, has := p.now.ofDevice[ph.row.ID]
		listed, found := p.now.token(p.keys, ph.Token)
		switch {
		case ph.Token == "" && !has:
			retoken = true
			d.secret("token", "minted")
		case ph.replaced && has:
			p.note("line %d: device %s has another token by now and keeps it", ph.At("token"), deviceName(ph.User, ph.Name, ph.AndroidDeviceID))
		case ph.Token != "" && (!has || !found || listed.ID != c.ID):
			retoken = true
			d.secret("token", "set")
		}
	}
	p.step(ph.Place, access.ObjectDevice, deviceName(ph.User, ph.Name, ph.AndroidDeviceID), ph.row == nil, d, func(c *change) error {
		if ph.row == nil {
			_, _, err := c.createDevice(access.Device{UserID: ph.user.ID, Name: ph.Name, AndroidDeviceID: ph.AndroidDeviceID, Active: active}, ph.Token)
			return err
		}
		return c.reshapeDevice(*ph.row, ph, active, rebind, retoken)
	})
}

// reshapeDevice makes a device that is there what the file declares.
func (c *change) reshapeDevice(d access.Device, ph *phone, active, rebind, retoken bool) (err error) {
	if rebind {
		if d, err = c.bindDevice(d.ID, ph.user.ID); err != nil {
			return err
		}
	}
	d.Name, d.AndroidDeviceID = ph.Name, ph.AndroidDeviceID
	if d, err = c.updateDevice(d); err != nil {
		return err
	}
	if d, err = c.setDeviceActive(d, active, "device"); err != nil {
		return err
	}
	if retoken {
		_, err = c.setDeviceToken(&d, ph.Token)
	}
	return err
}

// deviceName is how a plan speaks of a device: "alice: Phone (android-1)".
func deviceName(user, name, android string) string {
	s := user + ": "
	if name == "" {
		name = "(no name)"
	}
	s += name
	if android != "" {
		s += " (" + android + ")"
	}
	return s
}
