package webadmin

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"rsc.io/qr"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

type devicesPage struct {
	frame
	Search  string
	State   string // "active", "revoked", "" = all
	States  []option
	Devices []phoneRow
	Pager   pager
}

type phoneRow struct {
	Path, Name, Android string
	Owner, Username     string
	Active              bool
	Added               moment
}

// ownersFound is how many people a search for a phone's owner shows.
const ownersFound = 10

func (a *Admin) deviceList(w http.ResponseWriter, r *http.Request) error {
	v, ctx, q := visitOf(r), r.Context(), r.URL.Query()
	p := &devicesPage{frame: v.frame("devices", v.t("nav.devices")), Search: strings.TrimSpace(q.Get("q")), State: q.Get("state")}
	for _, s := range []string{"", "active", "revoked"} {
		to := url.Values{}
		if s != "" {
			to.Set("state", s)
		}
		if p.Search != "" {
			to.Set("q", p.Search)
		}
		text := v.t("devices.all")
		if s != "" {
			text = v.t("devices.only." + s)
		}
		p.States = append(p.States, option{Value: "/admin/devices/?" + to.Encode(), Text: text, Chosen: s == p.State})
	}
	f := registry.DeviceFilter{After: queryID(r, "after"), Search: p.Search, Active: p.State == "active", Inactive: p.State == "revoked", Limit: pageRows + 1}
	list, err := a.desk.Devices(ctx, f)
	if err != nil {
		return err
	}
	if more := len(list) > pageRows; len(list) > 0 {
		list = list[:min(pageRows, len(list))]
		p.Pager = pagerOf(r, "after", list[len(list)-1].ID, more)
	}
	var owners registry.ObjectIDs
	for _, d := range list {
		owners.Users = append(owners.Users, d.UserID)
	}
	named, err := a.desk.Objects(ctx, owners)
	if err != nil {
		return err
	}
	for _, d := range list {
		u := named.Users[d.UserID]
		p.Devices = append(p.Devices, phoneRow{
			Path: devicePath(d.ID), Name: v.deviceName(d), Android: d.AndroidDeviceID, Owner: namedUser(u), Username: u.Username, Active: d.Active, Added: v.moment(d.CreatedAt),
		})
	}
	return a.render(w, "devices", p)
}

// devicePage is one phone.
type devicePage struct {
	frame
	Device   access.Device
	Owner    string
	Username string
	Added    moment
	Events   []eventRow
}

// phoneOf is the device that the path names, with its owner.
func (a *Admin) phoneOf(r *http.Request) (d access.Device, u access.User, err error) {
	id, err := pathID(r, "device")
	if err != nil {
		return d, u, err
	}
	if d, err = a.desk.Device(r.Context(), id); err != nil {
		return d, u, err
	}
	u, err = a.desk.User(r.Context(), d.UserID)
	return d, u, err
}

func (a *Admin) devicePage(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	d, u, err := a.phoneOf(r)
	if err != nil {
		return err
	}
	p := &devicePage{frame: v.frame("devices", v.deviceName(d)), Device: d, Owner: fullName(u), Username: u.Username, Added: v.moment(d.CreatedAt)}
	found, err := a.desk.EventPage(ctx, access.EventFilter{DeviceID: d.ID, Limit: recentEvents})
	if err != nil {
		return err
	}
	named, err := a.desk.ObjectsOfEvents(ctx, found.Events)
	if err != nil {
		return err
	}
	p.Events = v.eventRows(found.Events, named)
	return a.render(w, "device", p)
}

// ownerPage chooses whose a phone is: of a new one, or another one's.
type ownerPage struct {
	frame
	Device access.Device // the zero Device when one is entered
	Lead   string
	Search string
	Found  []ownerRow
	Others bool // there are more than are shown
	Back   string
}

type ownerRow struct {
	ID             int64
	Name, Username string
	Inactive       bool
}

func (a *Admin) chooseOwner(w http.ResponseWriter, r *http.Request, p *ownerPage) error {
	p.Search = strings.TrimSpace(r.URL.Query().Get("who"))
	if p.Search != "" {
		found, err := a.desk.FindUsers(r.Context(), registry.UserSearch{Search: registry.Search{Query: p.Search, Limit: ownersFound}})
		if err != nil {
			return err
		}
		for _, u := range found.List {
			if u.ID != p.Device.UserID {
				p.Found = append(p.Found, ownerRow{u.ID, fullName(u), u.Username, !u.Active})
			}
		}
		p.Others = found.Next != ""
	}
	return a.render(w, "device_owner", p)
}

// deviceForm enters a phone or changes it.
type deviceForm struct {
	frame
	Device   access.Device // as it stands; without ID when one is entered
	Owner    access.User
	Name     field
	Android  field
	Version  int64
	Problems []string
	Conflict *conflict
	Back     string
}

func (p *deviceForm) fields() []*field { return []*field{&p.Name, &p.Android} }

func (v *visit) newDeviceForm(d access.Device, owner access.User) *deviceForm {
	p := &deviceForm{
		frame: v.frame("devices", v.t("devices.new_for", fullName(owner))), Device: d, Owner: owner, Version: d.Version, Back: "/admin/devices/",
		Name:    field{Name: "name", Label: v.t("devices.name"), Value: d.Name, Hint: v.t("devices.name.hint"), Max: 100, Focus: true},
		Android: field{Name: "android_device_id", Label: v.t("devices.android"), Value: d.AndroidDeviceID, Hint: v.t("devices.android.hint"), Max: access.MaxAndroidDeviceID},
	}
	if d.ID != 0 {
		p.Title, p.Back = v.t("devices.edit", v.deviceName(d)), devicePath(d.ID)
	}
	return p
}

func (p *deviceForm) read(r *http.Request) access.Device {
	for _, f := range p.fields() {
		f.Value = sent(r, f.Name)
	}
	d := p.Device
	d.Name, d.AndroidDeviceID, d.Version = p.Name.Value, p.Android.Value, p.Version
	return d
}

func (a *Admin) newDevice(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	id := queryID(r, "user")
	if id == 0 {
		return a.chooseOwner(w, r, &ownerPage{frame: v.frame("devices", v.t("devices.new")), Lead: v.t("devices.new.lead"), Back: "/admin/devices/"})
	}
	u, err := a.desk.User(r.Context(), id)
	if err != nil {
		return err
	}
	return a.render(w, "device_form", v.newDeviceForm(access.Device{UserID: u.ID}, u))
}

// createDevice enters a phone. Its token is made and shown by the next page, which can be asked again: whoever reloads an answer must not enter a second phone.
func (a *Admin) createDevice(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	u, err := a.desk.User(r.Context(), queryID(r, "user"))
	if err != nil {
		return err
	}
	p := v.newDeviceForm(access.Device{UserID: u.ID, Active: true}, u)
	d, err := a.desk.EnterDevice(r.Context(), v.actor(), p.read(r))
	if err == nil {
		return v.done(w, r, devicePath(d.ID)+"token/", "flash.device_created", v.deviceName(d), fullName(u))
	}
	if bad := (access.Invalid{}); errors.As(err, &bad) && slices.ContainsFunc(bad, func(e access.FieldError) bool { return e.Code == access.CodeTaken }) {
		p.Android.Error = v.t("devices.android.taken", fullName(u))
	}
	return a.deviceFaults(w, v, p, err)
}

// deviceFaults shows the form again with what is wrong.
func (a *Admin) deviceFaults(w http.ResponseWriter, v *visit, p *deviceForm, err error) error {
	var ok bool
	if p.Problems, ok = v.faults(err, p.fields()...); !ok {
		return err
	}
	p.Status = http.StatusUnprocessableEntity
	return a.render(w, "device_form", p)
}

func (a *Admin) editDevice(w http.ResponseWriter, r *http.Request) error {
	d, u, err := a.phoneOf(r)
	if err != nil {
		return err
	}
	return a.render(w, "device_form", visitOf(r).newDeviceForm(d, u))
}

func (a *Admin) updateDevice(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	now, u, err := a.phoneOf(r)
	if err != nil {
		return err
	}
	p := v.newDeviceForm(now, u)
	p.Version = seen
	d, err := a.desk.UpdateDevice(r.Context(), v.actor(), p.read(r))
	if err == nil {
		return v.done(w, r, devicePath(d.ID), "flash.saved", v.deviceName(d))
	}
	if overtaken(err) {
		if p.Conflict, err = a.whatChanged(r.Context(), v, access.ObjectDevice, now.ID, seen, p.fields()...); err != nil {
			return err
		}
		p.Version, p.Status = now.Version, http.StatusConflict
		return a.render(w, "device_form", p)
	}
	return a.deviceFaults(w, v, p, err)
}

func (a *Admin) chooseDeviceOwner(w http.ResponseWriter, r *http.Request) error {
	d, u, err := a.phoneOf(r)
	if err != nil {
		return err
	}
	v := visitOf(r)
	return a.chooseOwner(w, r, &ownerPage{
		frame: v.frame("devices", v.t("devices.bind.title", v.deviceName(d))), Device: d, Lead: v.t("devices.bind.lead", fullName(u)), Back: devicePath(d.ID),
	})
}

// bindDevice gives a phone to somebody else.
func (a *Admin) bindDevice(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	d, _, err := a.phoneOf(r)
	if err != nil {
		return err
	}
	to, err := strconv.ParseInt(sent(r, "user"), 10, 64)
	if err != nil {
		return errBadForm
	}
	u, err := a.desk.User(ctx, to)
	if err != nil {
		return err
	}
	if d.Version != seen {
		return v.sorry(w, r, devicePath(d.ID), "flash.device_overtaken", v.deviceName(d))
	}
	if _, err := a.desk.BindDevice(ctx, v.actor(), d.ID, to); err != nil {
		return err
	}
	return v.done(w, r, devicePath(d.ID), "flash.device_bound", v.deviceName(d), fullName(u))
}

func (a *Admin) revokeDevice(w http.ResponseWriter, r *http.Request) error {
	return a.activateDevice(w, r, false, "flash.device_revoked")
}

func (a *Admin) reactivateDevice(w http.ResponseWriter, r *http.Request) error {
	return a.activateDevice(w, r, true, "flash.device_reactivated")
}

func (a *Admin) activateDevice(w http.ResponseWriter, r *http.Request, active bool, told string) error {
	v := visitOf(r)
	id, err := pathID(r, "device")
	if err != nil {
		return err
	}
	d, err := a.desk.SetDeviceActive(r.Context(), v.actor(), id, active)
	if err != nil {
		return err
	}
	return v.done(w, r, devicePath(d.ID), told, v.deviceName(d))
}

// deviceAct is something done to a phone that has to be told before.
type deviceAct struct {
	frame
	Lead   string
	Lines  []string
	Verb   string
	Icon   string
	Danger bool
	Loose  *field // a tick; nil = there is nothing to choose
	Seen   string // of the phone and its token
	Back   string
}

// deviceSeen says which phone and which token a page was made from.
func deviceSeen(d access.Device) string {
	return strconv.FormatInt(d.Version, 10) + " " + d.TokenPreview
}

// sentSeen reports whether a form was made from what a phone is now.
func sentSeen(r *http.Request, d access.Device) bool { return r.PostForm.Get("seen") == deviceSeen(d) }

func (a *Admin) askAbout(w http.ResponseWriter, v *visit, d access.Device, p *deviceAct, status int) error {
	p.Seen, p.Back, p.Status = deviceSeen(d), devicePath(d.ID), status
	if status == http.StatusConflict {
		p.Lines = append([]string{v.t("confirm.changed")}, p.Lines...)
	}
	return a.render(w, "device_act", p)
}

// askDevice makes a handler that asks before something is done to a phone.
func (a *Admin) askDevice(about func(r *http.Request, d access.Device, u access.User) (*deviceAct, error)) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		d, u, err := a.phoneOf(r)
		if err != nil {
			return err
		}
		p, err := about(r, d, u)
		if err != nil {
			return err
		}
		return a.askAbout(w, visitOf(r), d, p, http.StatusOK)
	}
}

// doDevice makes a handler that does it, unless the phone has become another one since it was asked.
func (a *Admin) doDevice(about func(r *http.Request, d access.Device, u access.User) (*deviceAct, error), do func(w http.ResponseWriter, r *http.Request, d access.Device, u access.User) error) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := readForm(r); err != nil {
			return err
		}
		d, u, err := a.phoneOf(r)
		if err != nil {
			return err
		}
		if sentSeen(r, d) {
			return do(w, r, d, u)
		}
		p, err := about(r, d, u)
		if err != nil {
			return err
		}
		return a.askAbout(w, visitOf(r), d, p, http.StatusConflict)
	}
}

func (a *Admin) aboutToken(r *http.Request, d access.Device, u access.User) (*deviceAct, error) {
	v := visitOf(r)
	p := &deviceAct{
		frame: v.frame("devices", v.t("devices.token.title", v.deviceName(d))), Lead: v.t("devices.token.lead", fullName(u)), Lines: []string{v.t("devices.token.once")},
		Verb: v.t("devices.token.verb"), Icon: "lock",
	}
	if d.TokenPreview != "" {
		p.Lines = append(p.Lines, v.t("devices.token.ends", d.TokenPreview))
	}
	if !d.Active {
		p.Lines = append(p.Lines, v.t("devices.token.revoked"))
	}
	return p, nil
}

// tokenPage shows a token, this once: it stands in the answer to a form, which no history holds and no page leads to.
type tokenPage struct {
	frame
	Name, Owner string
	Token       string
	QR          template.HTML
	Back        string
}

func (a *Admin) setDeviceToken(w http.ResponseWriter, r *http.Request, d access.Device, u access.User) error {
	v := visitOf(r)
	d, token, err := a.desk.SetDeviceToken(r.Context(), v.actor(), d.ID, "")
	if err != nil {
		return err
	}
	p := &tokenPage{frame: v.frame("devices", v.t("devices.token.new")), Name: v.deviceName(d), Owner: fullName(u), Token: token, Back: devicePath(d.ID)}
	if p.QR, err = drawQR(token); err != nil {
		return err
	}
	return a.render(w, "device_token", p)
}

// drawQR is a text as a QR code: black on white in either theme, as cameras want it.
func drawQR(text string) (template.HTML, error) {
	const quiet = 4 // modules around it
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return "", fmt.Errorf("draw a QR code: %w", err)
	}
	size := code.Size + 2*quiet
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="qr" viewBox="0 0 %d %d" shape-rendering="crispEdges" aria-hidden="true" focusable="false"><rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="`, size, size, size, size)
	for y := range code.Size {
		for x := range code.Size {
			if code.Black(x, y) {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String()), nil // #nosec G203 -- numbers
}

func (a *Admin) aboutLost(r *http.Request, d access.Device, u access.User) (*deviceAct, error) {
	v := visitOf(r)
	tokens, err := a.desk.Tokens(r.Context(), registry.TokenFilter{DeviceID: d.ID, Kind: access.UserToken, Limit: 1000})
	if err != nil {
		return nil, err
	}
	loose, err := a.desk.Tokens(r.Context(), registry.LooseTokens(u.ID))
	if err != nil {
		return nil, err
	}
	p := &deviceAct{
		frame: v.frame("devices", v.t("devices.lost.title", v.deviceName(d))), Lead: v.t("devices.lost.lead", fullName(u)), Verb: v.t("devices.lost.verb"), Icon: "bar", Danger: true,
		Lines: []string{v.t("devices.lost.revoked")},
	}
	if len(tokens) > 0 {
		p.Lines = append(p.Lines, v.n("devices.lost.tokens", len(tokens)))
	}
	p.Lines = append(p.Lines, v.t("devices.lost.stays", fullName(u)))
	if len(loose) > 0 {
		p.Loose = &field{Name: "loose", Label: v.n("devices.lost.loose", len(loose), fullName(u)), Hint: v.t("devices.lost.loose.hint"), Value: ticked}
	}
	return p, nil
}

func (a *Admin) loseDevice(w http.ResponseWriter, r *http.Request, d access.Device, u access.User) error {
	v := visitOf(r)
	lost, err := a.desk.LostDevice(r.Context(), v.actor(), d.ID, sent(r, "loose") == ticked)
	if err != nil {
		return err
	}
	args := []string{v.deviceName(d), number(v.lang, lost.Ended)}
	if lost.Loose > 0 {
		return v.done(w, r, devicePath(d.ID), "flash.device_lost_loose", append(args, fullName(u), number(v.lang, lost.Loose))...)
	}
	return v.done(w, r, devicePath(d.ID), "flash.device_lost", args...)
}

func (a *Admin) aboutDelete(r *http.Request, d access.Device, u access.User) (*deviceAct, error) {
	v := visitOf(r)
	return &deviceAct{
		frame: v.frame("devices", v.t("devices.delete.title", v.deviceName(d))), Lead: v.t("devices.delete.lead", fullName(u)), Verb: v.t("devices.delete.verb"), Icon: "trash", Danger: true,
		Lines: []string{v.t("devices.delete.token"), v.t("devices.delete.events"), v.t("devices.delete.rather")},
	}, nil
}

func (a *Admin) deleteDevice(w http.ResponseWriter, r *http.Request, d access.Device, _ access.User) error {
	v := visitOf(r)
	if err := a.desk.DeleteDevice(r.Context(), v.actor(), d.ID); err != nil {
		return err
	}
	return v.done(w, r, "/admin/devices/", "flash.device_deleted", v.deviceName(d))
}
