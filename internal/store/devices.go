package store

import (
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// DeviceFilter selects devices; zero fields do not matter. It pages by id: give the last id seen as After.
type DeviceFilter struct {
	After           int64
	Search          string // words in name, android id or the names of the owner, in any case
	UserID          int64
	AndroidDeviceID string // exactly this one
	Active          bool   // only active ones
	Inactive        bool   // only inactive ones
	Limit           int    // 1..1000; 0 = 50; All
}

// deviceFrom joins the living token of a device; it has one at most.
const (
	deviceColumns = `d.id, d.user_id, d.name, d.android_device_id, d.is_active, c.preview, d.version, d.created_at`
	deviceFrom    = ` FROM device d LEFT JOIN credential c ON c.device_id = d.id AND c.kind = 'device_token' AND c.deleted_at IS NULL `
)

// scanDevice reads deviceColumns, and more that follow.
func scanDevice(row scanner, more ...any) (d access.Device, err error) {
	err = row.Scan(append([]any{&d.ID, &d.UserID, &d.Name, &d.AndroidDeviceID, &d.Active, asText(&d.TokenPreview), &d.Version, asTime(&d.CreatedAt)}, more...)...)
	return d, err
}

// Device returns a living device.
func (tx *Tx) Device(id int64) (access.Device, error) {
	d, err := scanDevice(tx.queryRow(`SELECT `+deviceColumns+deviceFrom+`WHERE d.id = $1 AND d.deleted_at IS NULL`, id))
	if err != nil {
		return access.Device{}, fmt.Errorf("device %d: %w", id, err)
	}
	return d, nil
}

// DevicesOf lists all living devices of a user, newest first (created, then id).
func (tx *Tx) DevicesOf(userID int64) (list []access.Device, err error) {
	query := `SELECT ` + deviceColumns + deviceFrom + `WHERE d.user_id = $1 AND d.deleted_at IS NULL ORDER BY d.created_at DESC, d.id DESC`
	err = tx.each(query, []any{userID}, func(row scanner) error {
		d, err := scanDevice(row)
		list = append(list, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the devices of user %d: %w", userID, err)
	}
	return list, nil
}

// Devices lists living devices in order of their ids.
func (tx *Tx) Devices(f DeviceFilter) ([]access.Device, error) {
	where, more := `d.deleted_at IS NULL AND d.id > $1`, []any(nil)
	if f.UserID != 0 {
		more = append(more, f.UserID)
		where += fmt.Sprintf(` AND d.user_id = $%d`, 2+len(more))
	}
	if f.AndroidDeviceID != "" {
		more = append(more, f.AndroidDeviceID)
		where += fmt.Sprintf(` AND d.android_device_id = $%d`, 2+len(more))
	}
	if f.Active {
		where += ` AND d.is_active`
	}
	if f.Inactive {
		where += ` AND NOT d.is_active`
	}
	type owned struct {
		access.Device
		owner [3]string // user name, first and last name
	}
	next := func(after int64, n int) (list []owned, err error) {
		query := `SELECT ` + deviceColumns + `, u.username, u.first_name, u.last_name` + deviceFrom + `JOIN users u ON u.id = d.user_id WHERE ` + where + ` ORDER BY d.id LIMIT $2`
		err = tx.each(query, append([]any{after, n}, more...), func(row scanner) (err error) {
			var d owned
			d.Device, err = scanDevice(row, &d.owner[0], &d.owner[1], &d.owner[2])
			list = append(list, d)
			return err
		})
		return list, err
	}
	found, err := page(f.After, f.Limit, f.Search, next, func(d *owned) (int64, []string) {
		return d.ID, append(d.owner[:], d.Name, d.AndroidDeviceID)
	})
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	var list []access.Device
	for _, d := range found {
		list = append(list, d.Device)
	}
	return list, nil
}

// InsertDevice writes a new device and sets ID, Version and CreatedAt. Its token is a credential of its own.
func (tx *Tx) InsertDevice(d *access.Device) error {
	err := tx.queryRow(`INSERT INTO device (user_id, name, android_device_id, is_active, version, created_at) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
		d.UserID, d.Name, d.AndroidDeviceID, d.Active, tx.Mark.Version, micros(tx.Now)).Scan(&d.ID)
	if err != nil {
		return fmt.Errorf("insert a device of user %d: %w", d.UserID, err)
	}
	d.Version, d.CreatedAt = tx.Mark.Version, tx.Now
	return nil
}

// UpdateDevice writes owner, texts and activity if d.Version (0 = any) is still its version, and sets the new one; access.ErrConflict if not.
func (tx *Tx) UpdateDevice(d *access.Device) error {
	n, err := tx.exec(`UPDATE device SET user_id = $1, name = $2, android_device_id = $3, is_active = $4, version = $5
		WHERE id = $6 AND deleted_at IS NULL AND (version = $7 OR $7 = 0)`,
		d.UserID, d.Name, d.AndroidDeviceID, d.Active, tx.Mark.Version, d.ID, d.Version)
	if err := tx.settle(n, err, "device", d.ID); err != nil {
		return err
	}
	d.Version = tx.Mark.Version
	return nil
}

// DeleteDevice tombstones a device. Its token is the caller's to end.
func (tx *Tx) DeleteDevice(id int64) error { return tx.bury("device", id) }
