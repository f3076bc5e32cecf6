package httpapi

import (
	"errors"
	"net/http"

	"github.com/openway-access/openway/api"
	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

const (
	fieldRotate    = "rotate"
	fieldAndroidID = "android_device_id"
	fieldDeviceID  = "device_id"
)

// registerDevice gives the caller's phone a device and its token.
func (h *Handler) registerDevice(w http.ResponseWriter, r *http.Request) error {
	var b body
	if err := h.decode(r, []string{fieldRotate, fieldAndroidID}, &b); err != nil {
		return err
	}
	if !b.root.falsy() {
		if err := mustBeObject(&b); err != nil {
			return err
		}
	}
	in := input{body: &b}
	ask := registry.RegisterInput{Rotate: in.boolean(fieldRotate, true)}
	android, given := in.text(fieldAndroidID, textRule{optional: true, nullable: true, blank: true, longest: access.MaxAndroidDeviceID})
	if given {
		ask.AndroidDeviceID = &android
	}
	if len(in.bad) > 0 {
		return in.bad
	}
	d, err := h.registry.RegisterDevice(r.Context(), actor(r), callerOf(r), ask)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.RegisterDeviceResponse{
		DeviceID: d.ID, Token: d.Token, AndroidDeviceID: d.AndroidDeviceID, QRPayload: d.Token,
	})
}

// listDevices lists the caller's phones.
func (h *Handler) listDevices(w http.ResponseWriter, r *http.Request) error {
	devices, err := h.registry.DevicesOf(r.Context(), callerOf(r).User.ID)
	if err != nil {
		return err
	}
	out := make([]api.Device, len(devices))
	for i, d := range devices {
		out[i] = api.Device{ID: d.ID, AndroidDeviceID: d.AndroidDeviceID, IsActive: d.Active, TokenPreview: d.TokenPreview}
	}
	return writeJSON(w, http.StatusOK, out)
}

// revokeDevice makes one of the caller's phones inactive.
func (h *Handler) revokeDevice(w http.ResponseWriter, r *http.Request) error {
	var b body
	if err := h.decode(r, []string{fieldDeviceID, fieldAndroidID}, &b); err != nil {
		return err
	}
	if err := mustBeObject(&b); err != nil {
		return err
	}
	in := input{body: &b}
	id, _ := in.integer(fieldDeviceID)
	android, _ := in.text(fieldAndroidID, textRule{optional: true, blank: true})
	switch {
	case len(in.bad) > 0:
		return in.bad
	case id == 0 && android == "":
		return refusedDocument{phrase: sayNeither}
	case id < 0:
		return refuse(http.StatusNotFound, sayNoDevice)
	}
	d, err := h.registry.RevokeDevice(r.Context(), actor(r), callerOf(r).User.ID, id, android)
	if errors.Is(err, access.ErrNotFound) {
		return refuse(http.StatusNotFound, sayNoDevice)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.RevokeDeviceResponse{DeviceID: d.ID, IsActive: d.Active})
}
