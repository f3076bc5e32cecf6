package webadmin

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/table"
)

// auditPage is who changed what: newest first, filtered as the URL says.
type auditPage struct {
	frame
	Filter  auditFilter
	Set     bool // some filter is
	Objects []option
	Actions []option
	Changes []auditRow
	Pager   pager
	CSV     string
	NDJSON  string
}

// auditFilter is the filter as it was entered.
type auditFilter struct {
	Actor, Object, ID, Action, From, To string
	Problems                            []string
}

// auditRow is one line of the audit in words.
type auditRow struct {
	At     moment
	Who    string
	From   string // the address
	What   string
	Path   string // of what was changed, while it is there
	Fields []auditField
}

// auditField is one field of a change. Known says which sides there are: what is made has no before.
type auditField struct {
	Label         string
	Before, After string
	HadBefore     bool
	HasAfter      bool
}

func (a *Admin) auditList(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	p := &auditPage{frame: v.frame("audit", v.t("nav.audit"))}
	f, err := a.readAuditFilter(r, &p.Filter)
	if err != nil {
		return err
	}
	in := p.Filter
	p.Set = in.Actor+in.Object+in.ID+in.Action+in.From+in.To != ""
	for _, o := range access.Objects() {
		p.Objects = append(p.Objects, option{o, v.t("object." + o), o == in.Object})
	}
	for _, x := range access.Actions() {
		p.Actions = append(p.Actions, option{x, v.t("action." + x), x == in.Action})
	}
	q := r.URL.Query()
	q.Del("before")
	q.Set("format", string(table.CSV))
	p.CSV = "/admin/audit/export/?" + q.Encode()
	q.Set("format", string(table.NDJSON))
	p.NDJSON = "/admin/audit/export/?" + q.Encode()
	if len(in.Problems) > 0 {
		p.Status = http.StatusUnprocessableEntity
		return a.render(w, "audit", p)
	}
	f.Before, f.Limit = queryID(r, "before"), pageRows+1
	changes, err := a.desk.Changes(ctx, f)
	if err != nil {
		return err
	}
	more := len(changes) > pageRows
	changes = changes[:min(pageRows, len(changes))]
	named, err := a.desk.ObjectsOfChanges(ctx, changes)
	if err != nil {
		return err
	}
	for _, c := range changes {
		p.Changes = append(p.Changes, v.auditRow(c, named))
	}
	if len(changes) > 0 {
		p.Pager = pagerOf(r, "before", changes[len(changes)-1].ID, more)
	}
	return a.render(w, "audit", p)
}

// readAuditFilter reads the filter of the URL. What cannot be read or found stands in Problems.
func (a *Admin) readAuditFilter(r *http.Request, in *auditFilter) (f registry.ChangeFilter, err error) {
	v, q := visitOf(r), r.URL.Query()
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	*in = auditFilter{Actor: get("actor"), Object: get("object"), ID: get("id"), Action: get("action"), From: get("from"), To: get("to")}
	wrong := func(key, value string) { in.Problems = append(in.Problems, v.t(key, value)) }
	f = registry.ChangeFilter{Object: in.Object, Action: in.Action}
	if in.Actor != "" {
		u, err := a.desk.UserByName(r.Context(), in.Actor)
		if errors.Is(err, access.ErrNotFound) {
			wrong("events.filter.no_user", in.Actor)
		} else if err != nil {
			return f, err
		}
		f.ActorUserID = u.ID
	}
	if in.Object != "" && !slices.Contains(access.Objects(), in.Object) {
		wrong("audit.filter.object", in.Object)
	}
	if in.Action != "" && !slices.Contains(access.Actions(), in.Action) {
		wrong("audit.filter.action", in.Action)
	}
	if in.ID != "" {
		if f.ObjectID, err = strconv.ParseInt(in.ID, 10, 64); err != nil || f.ObjectID <= 0 {
			wrong("audit.filter.id", in.ID)
		} else if in.Object == "" {
			wrong("audit.filter.id_of_what", in.ID)
		}
	}
	var ok bool
	if f.From, ok = v.instant(in.From, false); !ok {
		wrong("events.filter.time", in.From)
	}
	if f.To, ok = v.instant(in.To, true); !ok {
		wrong("events.filter.time", in.To)
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		wrong("events.filter.order", in.To)
	}
	return f, nil
}

// auditRow puts a line of the audit into words. Names are those of today.
func (v *visit) auditRow(c access.Change, named registry.Objects) auditRow {
	row := auditRow{At: v.moment(c.At), Who: c.Actor.Label, From: c.Actor.Address, What: v.change(c, named), Path: pathOfChange(c, named)}
	if u, ok := named.Users[c.Actor.UserID]; ok && u.Username != "" {
		row.Who = namedUser(u)
	}
	switch {
	case row.Who != "":
	case c.Actor.UserID != 0:
		row.Who = v.t("audit.nobody")
	default: // a sign-in was refused
		row.Who = v.t("audit.unknown")
	}
	names := make([]string, 0, len(c.Before)+len(c.After))
	for name := range both(c.Before, c.After) {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f := auditField{Label: v.fieldLabel(name)}
		var before, after string
		before, f.HadBefore = c.Before[name]
		after, f.HasAfter = c.After[name]
		switch { // of a change, what is on one side only was empty on the other, or (of what was revoked) stayed as it was
		case inTitle(c, name):
			continue
		case c.Action == access.ActionChange && !(f.HadBefore && f.HasAfter):
			f.HadBefore, f.HasAfter = true, true
		case f.HadBefore && !f.HasAfter && len(c.After) > 0:
			after, f.HadBefore, f.HasAfter = before, false, true
		}
		f.Before, f.After = v.auditValue(name, before, named), v.auditValue(name, after, named)
		row.Fields = append(row.Fields, f)
	}
	return row
}

// fieldLabel is what a field of the audit is called; what a restore brought back is called by what had become of it.
func (v *visit) fieldLabel(name string) string {
	if ended, back := strings.CutPrefix(name, "brought back: "); back {
		return v.t("field.brought_back", v.fieldLabel(ended))
	}
	return v.word("field.", name)
}

// inTitle reports whether a field stands in the title of its line already.
func inTitle(c access.Change, name string) bool {
	return c.Object == access.ObjectPermission && (name == "gate_id" || name == "group_id" || name == "user_id")
}

// auditValue is a value of the audit as people read it.
func (v *visit) auditValue(name, value string, named registry.Objects) string {
	if value == "" {
		return "—"
	}
	id, _ := strconv.ParseInt(value, 10, 64)
	switch name {
	case "user_id":
		if u, ok := named.Users[id]; ok {
			return namedUser(u)
		}
	case "gate_id":
		if g, ok := named.Gates[id]; ok {
			return namedGate(g)
		}
	case "group_id":
		if g, ok := named.Groups[id]; ok {
			return g.Name
		}
	case "device_id":
		if d, ok := named.Devices[id]; ok && d.Name != "" {
			return d.Name
		}
	case "role":
		return v.word("role.", value)
	case "language":
		if text := languageName(value); text != "" {
			return text
		}
	case "kind":
		return v.word("credential.", value)
	case "state":
		return v.word("state.", value)
	case "state_reason":
		return v.word("ended.", value)
	case "release_ms", "default_release_ms":
		if id > 0 {
			return v.release(int(id))
		}
	case "retention_days":
		if value == "0" {
			return v.t("settings.for_ever")
		}
	case "size":
		if id > 0 {
			return v.size(id)
		}
	case "valid_from", "valid_until", "before", "taken_at":
		if t, err := time.Parse(time.RFC3339, value); err == nil {
			return v.minute(t)
		}
	}
	switch {
	case value == "true", value == "yes":
		return v.t("value.yes")
	case value == "false":
		return v.t("value.no")
	}
	return value
}

// word is the text of a word that the code knows, else the word.
func (v *visit) word(prefix, word string) string {
	if text, ok := catalogue()[prefix+word]; ok {
		return text.in(v.lang)
	}
	return word
}

// pathOfChange is where the object of a line is looked at; "" when it is gone or has no page.
func pathOfChange(c access.Change, named registry.Objects) string {
	switch c.Object {
	case access.ObjectUser, access.ObjectMember, access.ObjectRole:
		if u, ok := named.Users[c.ObjectID]; ok && u.DeletedAt.IsZero() {
			return userPath(c.ObjectID)
		}
	case access.ObjectGate:
		if g, ok := named.Gates[c.ObjectID]; ok && g.DeletedAt.IsZero() {
			return gatePath(c.ObjectID)
		}
	case access.ObjectGroup:
		if g, ok := named.Groups[c.ObjectID]; ok && g.DeletedAt.IsZero() {
			return groupPath(c.ObjectID)
		}
	case access.ObjectDevice:
		if d, ok := named.Devices[c.ObjectID]; ok && d.DeletedAt.IsZero() {
			return devicePath(c.ObjectID)
		}
	}
	return ""
}

// exportAudit sends the filtered audit as a file, as it is read.
func (a *Admin) exportAudit(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	var in auditFilter
	f, err := a.readAuditFilter(r, &in)
	if err != nil {
		return err
	}
	format := table.Format(r.URL.Query().Get("format"))
	if len(in.Problems) > 0 || format != table.CSV && format != table.NDJSON {
		return fmt.Errorf("%w: the filter of an export", errBadForm)
	}
	return a.sendFile(w, "audit", format, func() error {
		_, err := a.desk.WriteChanges(r.Context(), v.actor(), f, w, format)
		return err
	})
}
