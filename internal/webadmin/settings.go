package webadmin

import (
	"net/http"
	"strconv"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// settingsPage changes what holds for the whole site.
type settingsPage struct {
	frame
	Name, Zone, Release, Retention field
	Version                        int64
	Deletes                        string // what saving deletes; saving again is the consent
	Consent                        string // the days that were consented to
	Problems                       []string
	Conflict                       *conflict
}

func (p *settingsPage) fields() []*field { return []*field{&p.Name, &p.Zone, &p.Release, &p.Retention} }

func (v *visit) newSettings(s registry.Site) *settingsPage {
	return &settingsPage{
		frame: v.frame("settings", v.t("nav.settings")), Version: s.Version,
		Name:      field{Name: "name", Label: v.t("settings.name"), Value: s.Name, Hint: v.t("settings.name.hint"), Max: 128},
		Zone:      field{Name: "zone", Label: v.t("settings.zone"), Value: s.Zone, Hint: v.t("settings.zone.hint", v.minute(v.now)), Required: true},
		Release:   field{Name: "default_release_ms", Label: v.t("settings.release"), Value: strconv.Itoa(s.DefaultReleaseMS), Hint: v.t("settings.release.hint"), Unit: v.t("time.ms"), Type: "number", Required: true},
		Retention: field{Name: "retention_days", Label: v.t("settings.retention"), Value: strconv.Itoa(s.RetentionDays), Hint: v.t("settings.retention.hint"), Unit: v.t("time.days"), Type: "number", Required: true},
	}
}

func (a *Admin) settingsPage(w http.ResponseWriter, r *http.Request) error {
	s, err := a.desk.Site(r.Context())
	if err != nil {
		return err
	}
	return a.render(w, "settings", visitOf(r).newSettings(s))
}

// read takes what was sent into the form and returns the settings that it describes; what is no number is -1, which registry refuses.
func (p *settingsPage) read(r *http.Request, now registry.Site) registry.Site {
	for _, f := range p.fields() {
		f.Value = sent(r, f.Name)
	}
	now.Name, now.Zone, now.Version = p.Name.Value, p.Zone.Value, p.Version
	for f, value := range map[*field]*int{&p.Release: &now.DefaultReleaseMS, &p.Retention: &now.RetentionDays} {
		var err error
		if *value, err = strconv.Atoi(f.Value); err != nil {
			*value = -1
		}
	}
	return now
}

func (a *Admin) updateSettings(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	if err := readForm(r); err != nil {
		return err
	}
	seen, err := sentVersion(r)
	if err != nil {
		return err
	}
	now, err := a.desk.Site(ctx)
	if err != nil {
		return err
	}
	p := v.newSettings(now)
	p.Version = seen
	s := p.read(r, now)
	if s.RetentionDays != now.RetentionDays && sent(r, "consent") != p.Retention.Value {
		if p.Deletes, err = a.deletes(r, s.RetentionDays); err == nil && p.Deletes != "" {
			p.Consent, p.Status = p.Retention.Value, http.StatusUnprocessableEntity
			return a.render(w, "settings", p)
		}
	}
	if err == nil {
		_, err = a.desk.UpdateSite(ctx, v.actor(), s)
	}
	if err == nil {
		return v.done(w, r, "/admin/settings/", "flash.settings_saved")
	}
	if overtaken(err) {
		if p.Conflict, err = a.whatChanged(ctx, v, access.ObjectSite, now.ID, seen, p.fields()...); err != nil {
			return err
		}
		p.Version, p.Status = now.Version, http.StatusConflict
		return a.render(w, "settings", p)
	}
	var ok bool
	if p.Problems, ok = v.faults(err, p.fields()...); !ok {
		return err
	}
	for _, f := range []*field{&p.Release, &p.Retention} {
		if f.Value == "" {
			f.Error = v.t("fault.blank")
		}
	}
	p.Status = http.StatusUnprocessableEntity
	return a.render(w, "settings", p)
}

// deletes says which events go when they are kept so many days; "" = none.
func (a *Admin) deletes(r *http.Request, days int) (string, error) {
	v := visitOf(r)
	if days <= 0 || days > registry.MaxDays {
		return "", nil
	}
	h, err := a.desk.Health(r.Context())
	if err != nil {
		return "", err
	}
	from := v.now.AddDate(0, 0, -days)
	if h.OldestEvent.IsZero() || !h.OldestEvent.Before(from) {
		return "", nil
	}
	date := func(t time.Time) string { return day(v.lang, t.In(v.zone)) }
	return v.t("settings.deletes", date(from), date(h.OldestEvent)), nil
}
