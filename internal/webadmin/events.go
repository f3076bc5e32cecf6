package webadmin

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/table"
)

// eventsPage is the log: newest first, filtered as the URL says.
type eventsPage struct {
	frame
	Filter  eventFilter
	Chips   []chip
	Reasons []option
	Events  []eventRow
	Pager   pager
	Looked  bool // the page ended at the bound of what one page looks at, not at the end of the log
	CSV     string
	NDJSON  string
}

// eventFilter is the filter as it was entered: names, or ids where links lead to what may be gone.
type eventFilter struct {
	Gate, User, Group, Device, Decision, Reason, From, To, Request string
	GateID, UserID, GroupID                                        string
	GateWas, UserWas, GroupWas                                     string // what the ids are called
	Problems                                                       []string
}

// chip is a filter that is set; following it takes it away.
type chip struct {
	Text, Without string
}

// option is one of a <select>.
type option struct {
	Value, Text string
	Chosen      bool
}

// shownReasons are those that a filter offers.
func shownReasons() []access.Reason {
	return []access.Reason{access.OK, access.NoPermission, access.TokenInvalid, access.DeviceInactive, access.UnknownGate, access.InvalidRequest, access.RateLimit}
}

// eventRow is one event in a list.
type eventRow struct {
	Path    string
	At      moment
	Who     string
	Sub     string // the user name
	Gate    string
	Outcome access.Outcome
	Why     string
	Count   int
	System  bool // tells of the log itself, not of a decision
}

func eventPath(id int64) string { return fmt.Sprintf("/admin/events/%d/", id) }

// eventRows puts events into words. Names are those of today.
func (v *visit) eventRows(events []access.Event, named registry.Objects) []eventRow {
	rows := make([]eventRow, 0, len(events))
	for _, e := range events {
		row := eventRow{Path: eventPath(e.ID), At: v.moment(e.At), Outcome: e.Decision, Why: v.reason(e.Reason), Count: e.Count, System: e.Kind != access.DecisionEvent}
		row.Who, row.Sub = v.whoOf(e, named)
		row.Gate = v.gateOfEvent(e, named)
		rows = append(rows, row)
	}
	return rows
}

func (v *visit) whoOf(e access.Event, named registry.Objects) (name, sub string) {
	u, ok := named.Users[e.UserID]
	switch {
	case e.UserID == 0 && e.Kind != access.DecisionEvent:
		return v.t("events.system"), ""
	case e.UserID == 0:
		return v.t("access.unknown"), ""
	case !ok:
		return v.t("access.deleted_user"), ""
	}
	return namedUser(u), u.Username
}

// namedUser is how a person is called in a list, also one who is gone.
func namedUser(u registry.NamedUser) string {
	return fullName(access.User{Username: u.Username, FirstName: u.FirstName, LastName: u.LastName})
}

func namedGate(g registry.NamedGate) string { return gateName(access.Gate{Code: g.Code, Name: g.Name}) }

func (v *visit) gateOfEvent(e access.Event, named registry.Objects) string {
	if g, ok := named.Gates[e.GateID]; ok {
		return namedGate(g)
	}
	if e.PresentedGate != "" {
		return v.t("events.no_gate", e.PresentedGate)
	}
	return "—"
}

func (a *Admin) eventList(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	p := &eventsPage{frame: v.frame("events", v.t("nav.events"))}
	f, err := a.readEventFilter(r, &p.Filter)
	if err != nil {
		return err
	}
	p.Chips, p.Reasons = v.eventChips(r.URL.Query(), p.Filter), v.reasonOptions(p.Filter.Reason)
	q := r.URL.Query()
	q.Del("before")
	q.Set("format", string(table.CSV))
	p.CSV = "/admin/events/export/?" + q.Encode()
	q.Set("format", string(table.NDJSON))
	p.NDJSON = "/admin/events/export/?" + q.Encode()
	if len(p.Filter.Problems) > 0 {
		p.Status = http.StatusUnprocessableEntity
		return a.render(w, "events", p)
	}
	f.Before, f.Limit = queryID(r, "before"), pageRows
	found, err := a.desk.EventPage(ctx, f)
	if err != nil {
		return err
	}
	named, err := a.desk.ObjectsOfEvents(ctx, found.Events)
	if err != nil {
		return err
	}
	p.Events = v.eventRows(found.Events, named)
	p.Pager = pagerOf(r, "before", found.Next, found.Next != 0)
	p.Looked = found.Next != 0 && len(found.Events) < pageRows
	return a.render(w, "events", p)
}

// readEventFilter reads the filter of the URL. What cannot be read or found stands in Problems.
func (a *Admin) readEventFilter(r *http.Request, in *eventFilter) (f access.EventFilter, err error) {
	v, ctx, q := visitOf(r), r.Context(), r.URL.Query()
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	*in = eventFilter{
		Gate: get("gate"), User: get("user"), Group: get("group"), Device: get("device"), Decision: get("decision"), Reason: get("reason"),
		From: get("from"), To: get("to"), Request: get("request"),
	}
	wrong := func(key, value string) { in.Problems = append(in.Problems, v.t(key, value)) }
	missing := func(err error, key, value string) error {
		if errors.Is(err, access.ErrNotFound) {
			wrong(key, value)
			return nil
		}
		return err
	}
	if in.Gate != "" {
		g, err := a.desk.GateByCode(ctx, in.Gate)
		if f.GateID = g.ID; err != nil {
			if err := missing(err, "events.filter.no_gate", in.Gate); err != nil {
				return f, err
			}
		}
	}
	if in.User != "" {
		u, err := a.desk.UserByName(ctx, in.User)
		if f.UserID = u.ID; err != nil {
			if err := missing(err, "events.filter.no_user", in.User); err != nil {
				return f, err
			}
		}
	}
	if in.Group != "" {
		g, err := a.desk.GroupByName(ctx, in.Group)
		if f.GroupID = g.ID; err != nil {
			if err := missing(err, "events.filter.no_group", in.Group); err != nil {
				return f, err
			}
		}
	}
	if err := a.readEventIDs(r, in, &f); err != nil {
		return f, err
	}
	if in.Device != "" {
		id, err := strconv.ParseInt(in.Device, 10, 64)
		if f.DeviceID = id; err != nil || id <= 0 {
			wrong("events.filter.device", in.Device)
		}
	}
	switch f.Decision = access.Outcome(in.Decision); f.Decision {
	case "", access.Allow, access.Deny:
	default:
		wrong("events.filter.decision", in.Decision)
	}
	if f.Reason = access.Reason(in.Reason); in.Reason != "" && !slices.Contains(shownReasons(), f.Reason) {
		wrong("events.filter.reason", in.Reason)
	}
	f.RequestID = in.Request
	var ok bool
	if f.From, ok = v.instant(in.From, false); !ok {
		wrong("events.filter.time", in.From)
		in.From = "" // no control could show it
	}
	if f.To, ok = v.instant(in.To, true); !ok {
		wrong("events.filter.time", in.To)
		in.To = ""
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		wrong("events.filter.order", in.To)
	}
	return f, nil
}

// readEventIDs reads the filters by number, which also find the events of what is gone. A name that is given beside one counts.
func (a *Admin) readEventIDs(r *http.Request, in *eventFilter, f *access.EventFilter) error {
	v, q := visitOf(r), r.URL.Query()
	var ids registry.ObjectIDs
	read := func(name, other, key string, id *int64, of *[]int64) (text string) {
		text = strings.TrimSpace(q.Get(name))
		if text == "" || other != "" {
			return ""
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n <= 0 {
			in.Problems = append(in.Problems, v.t(key, text))
			return ""
		}
		*id, *of = n, []int64{n}
		return text
	}
	in.GateID = read("gate_id", in.Gate, "events.filter.no_gate", &f.GateID, &ids.Gates)
	in.UserID = read("user_id", in.User, "events.filter.no_user", &f.UserID, &ids.Users)
	in.GroupID = read("group_id", in.Group, "events.filter.no_group", &f.GroupID, &ids.Groups)
	if in.GateID+in.UserID+in.GroupID == "" {
		return nil
	}
	named, err := a.desk.Objects(r.Context(), ids)
	if err != nil {
		return err
	}
	name := func(id, text, key string, there bool, gone time.Time) string {
		switch {
		case id == "":
			return ""
		case !there:
			in.Problems = append(in.Problems, v.t(key, id))
			return ""
		case text == "": // erased
			text = "№ " + id
		}
		if !gone.IsZero() {
			return v.t("events.gone", text)
		}
		return text
	}
	g, ok := named.Gates[f.GateID]
	in.GateWas = name(in.GateID, namedGate(g), "events.filter.no_gate", ok, g.DeletedAt)
	u, ok := named.Users[f.UserID]
	in.UserWas = name(in.UserID, namedUser(u), "events.filter.no_user", ok, u.DeletedAt)
	p, ok := named.Groups[f.GroupID]
	in.GroupWas = name(in.GroupID, p.Name, "events.filter.no_group", ok, p.DeletedAt)
	return nil
}

// logOfGate is where the events of a gate are, and more of a filter if need be: by its code, which the form shows, or once it is gone by its number.
func logOfGate(g registry.NamedGate, more url.Values) string {
	q := url.Values{"gate": {g.Code}}
	if !g.DeletedAt.IsZero() {
		q = url.Values{"gate_id": {idText(g.ID)}}
	}
	maps.Copy(q, more)
	return "/admin/events/?" + q.Encode()
}

// logOfUser is logOfGate of a person.
func logOfUser(u registry.NamedUser, more url.Values) string {
	q := url.Values{"user": {u.Username}}
	if !u.DeletedAt.IsZero() {
		q = url.Values{"user_id": {idText(u.ID)}}
	}
	maps.Copy(q, more)
	return "/admin/events/?" + q.Encode()
}

// instant reads what a date or date-and-time control sends, in the site's zone: a date alone is its beginning, or (end) the beginning of the
// day after it; a minute is its beginning, or (end) the one after it. "" is no instant.
func (v *visit) instant(s string, end bool) (t time.Time, ok bool) {
	if s == "" {
		return time.Time{}, true
	}
	if day, err := time.Parse("2006-01-02", s); err == nil {
		if end {
			day = day.AddDate(0, 0, 1)
		}
		// By noon, which every day has; midnight may be missing.
		return registry.DayOf(time.Date(day.Year(), day.Month(), day.Day(), 12, 0, 0, 0, v.zone), v.zone), true
	}
	t, err := time.ParseInLocation("2006-01-02T15:04", s, v.zone)
	if err != nil {
		t, err = time.ParseInLocation("2006-01-02T15:04:05", s, v.zone)
		return t, err == nil
	}
	if end {
		t = t.Add(time.Minute)
	}
	return t, true
}

// eventChips are the filters that are set.
func (v *visit) eventChips(q url.Values, in eventFilter) []chip {
	var chips []chip
	for _, c := range []struct{ name, value, text string }{
		{"gate", in.Gate, v.t("events.gate")},
		{"user", in.User, v.t("events.user")},
		{"group", in.Group, v.t("events.group")},
		{"gate_id", in.GateWas, v.t("events.gate")},
		{"user_id", in.UserWas, v.t("events.user")},
		{"group_id", in.GroupWas, v.t("events.group")},
		{"device", in.Device, v.t("events.device")},
		{"decision", in.Decision, v.t("events.decision")},
		{"reason", in.Reason, v.t("events.reason")},
		{"from", in.From, v.t("events.from")},
		{"to", in.To, v.t("events.to")},
		{"request", in.Request, v.t("events.request")},
	} {
		if c.value == "" {
			continue
		}
		switch {
		case c.name == "decision" && (c.value == string(access.Allow) || c.value == string(access.Deny)):
			c.value = v.t("decision." + c.value)
		case c.name == "reason":
			c.value = v.reason(access.Reason(c.value))
		}
		rest := url.Values{}
		for k, values := range q {
			if k != c.name && k != c.name+"_id" && k != "before" && len(values) > 0 && values[0] != "" {
				rest.Set(k, values[0])
			}
		}
		without := "/admin/events/"
		if len(rest) > 0 {
			without += "?" + rest.Encode()
		}
		chips = append(chips, chip{c.text + ": " + c.value, without})
	}
	return chips
}

func (v *visit) reasonOptions(chosen string) []option {
	var options []option
	for _, r := range shownReasons() {
		options = append(options, option{string(r), v.reason(r), string(r) == chosen})
	}
	return options
}

// exportEvents sends the filtered log as a file, as it is read.
func (a *Admin) exportEvents(w http.ResponseWriter, r *http.Request) error {
	v := visitOf(r)
	var in eventFilter
	f, err := a.readEventFilter(r, &in)
	if err != nil {
		return err
	}
	format := table.Format(r.URL.Query().Get("format"))
	if len(in.Problems) > 0 || format != table.CSV && format != table.NDJSON {
		return fmt.Errorf("%w: the filter of an export", errBadForm)
	}
	return a.sendFile(w, "events", format, func() error {
		_, err := a.desk.WriteEvents(r.Context(), v.actor(), f, w, format)
		return err
	})
}

// sendFile names the file that write writes. What fails before the first byte is a page; after it the connection ends in the middle, so that
// nobody takes a part for the whole.
func (a *Admin) sendFile(w http.ResponseWriter, name string, format table.Format, write func() error) error {
	h := w.Header()
	h.Set("Content-Type", format.ContentType())
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s.%s"`, name, a.now().UTC().Format("2006-01-02-1504"), format))
	h.Set("Cache-Control", "no-store")
	if err := write(); err != nil {
		a.log.Error("webadmin: an export ended early", "export", name, "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}
