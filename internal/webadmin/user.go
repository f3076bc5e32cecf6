package webadmin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// userPage is one person: where they can go and why, what they carry, what happened to them at the gates.
type userPage struct {
	frame
	User      access.User
	Name      string
	Role      string
	Created   moment
	LastLogin moment
	Language  string
	MayChange bool   // the visitor may change the account
	Self      bool   // it is the visitor's own
	Last      bool   // the only active owner
	Lost      string // where a lost phone is reported; "" = there is none

	Groups []groupChip
	Join   []option // groups to add the person to

	Gates []reach
	Pager pager // of the gates
	Gate  string
	Found []gateFound

	Devices    []deviceRow
	Tokens     []tokenRow
	MoreTokens bool

	Events []eventRow
	Log    string // all of their events
}

// groupChip is a group of a person.
type groupChip struct {
	ID   int64
	Name string
	Path string
}

// reach is a gate at which a person or a group has permissions.
type reach struct {
	Path   string
	Name   string
	Code   string
	Passes bool
	Ways   []wayRow
}

// wayRow is one permission, as the page of whom it concerns shows it.
type wayRow struct {
	Text    string
	Group   string // the path of the group that it goes through; "" = one's own
	State   string // "on", "off" (suspended), "later", "over"
	Cause   string // why it does not hold now, or until when it does
	Action  string // where it is changed: its path; "" = on another page
	Label   string // which it is, for readers of the screen
	Version int64
	Allow   bool
}

// gateFound is a gate that the box found.
type gateFound struct {
	ID      int64
	Name    string
	Code    string
	Outcome access.Outcome
	Why     string
	CanAdd  bool
	Text    string // that was looked for
}

type deviceRow struct {
	Path    string
	Name    string
	Android string
	Preview string // of its token
	Active  bool
	Lost    string // where it is reported lost; "" = it is out of service
}

type tokenRow struct {
	Action  string
	Name    string
	Agent   string // in full
	Preview string
	Device  string // that it came from
	Since   moment
	Used    string
	Until   string
}

// How many of them the page of a person shows.
const (
	gatesShown  = 20
	tokensShown = 50
)

func groupPath(id int64) string  { return fmt.Sprintf("/admin/groups/%d/", id) }
func devicePath(id int64) string { return fmt.Sprintf("/admin/devices/%d/", id) }

func (a *Admin) userPage(w http.ResponseWriter, r *http.Request) error {
	v, ctx := visitOf(r), r.Context()
	u, err := a.userOf(r)
	if err != nil {
		return err
	}
	p := &userPage{
		frame: v.frame("people", fullName(u)), User: u, Name: fullName(u), Role: v.roleName(u.Role()), Created: v.moment(u.CreatedAt), LastLogin: v.moment(u.LastLoginAt),
		MayChange: v.mayChange(u), Self: u.ID == v.user.ID, Gate: strings.TrimSpace(r.URL.Query().Get("gate")), Log: "/admin/events/?" + url.Values{"user": {u.Username}}.Encode(),
	}
	switch u.Language {
	case "en":
		p.Language = "English"
	case "ru":
		p.Language = "Русский"
	}
	if u.Role() == access.Owner {
		if p.Last, err = a.lastOwner(ctx, u.ID); err != nil {
			return err
		}
	}
	if err := a.fillReach(r, p); err != nil {
		return err
	}
	if err := a.fillCarried(r, p); err != nil {
		return err
	}
	page, err := a.desk.EventPage(ctx, access.EventFilter{UserID: u.ID, Limit: recentEvents})
	if err != nil {
		return err
	}
	named, err := a.desk.ObjectsOfEvents(ctx, page.Events)
	if err != nil {
		return err
	}
	p.Events = v.eventRows(page.Events, named)
	if p.Gate != "" {
		if p.Found, err = a.gatesFound(r, u, p.Gate); err != nil {
			return err
		}
	}
	return a.render(w, "user", p)
}

// fillReach fills in where a person can go, and their groups.
func (a *Admin) fillReach(r *http.Request, p *userPage) error {
	v, ctx := visitOf(r), r.Context()
	can, err := a.desk.UserAccess(ctx, p.User.ID, queryID(r, "after"), gatesShown)
	if err != nil {
		return err
	}
	p.Pager = pagerOf(r, "after", can.Next, can.Next != 0)
	in := map[int64]bool{}
	for _, g := range can.Groups {
		in[g.ID] = true
		p.Groups = append(p.Groups, groupChip{g.ID, g.Name, groupPath(g.ID)})
	}
	groups, err := a.groupChoices(ctx, v, 0)
	if err != nil {
		return err
	}
	for _, c := range groups {
		if id, ok := numberOf(c.Value); !ok || !in[id] {
			p.Join = append(p.Join, c)
		}
	}
	for _, g := range can.Gates {
		row := reach{Path: gatePath(g.Gate.ID), Name: gateName(g.Gate), Code: g.Gate.Code, Passes: g.Passes}
		for _, x := range g.Grants {
			row.Ways = append(row.Ways, v.wayRow(x.Permission, x.Group, userPath(p.User.ID), row.Name))
		}
		p.Gates = append(p.Gates, row)
	}
	return nil
}

// wayRow puts a permission into words. home is the page of whom it is changed for, if it is theirs (no group).
func (v *visit) wayRow(x access.Permission, group access.Group, home, gate string) wayRow {
	row := wayRow{Text: v.t("access.own"), Version: x.Version, Allow: x.Allow, Label: gate}
	row.State, row.Cause = v.standing(x)
	if group.ID != 0 {
		row.Text, row.Group = v.t("access.through", group.Name), groupPath(group.ID)
		return row
	}
	row.Action = fmt.Sprintf("%spermissions/%d/", home, x.ID)
	return row
}

// fillCarried fills in what a person carries: devices and tokens.
func (a *Admin) fillCarried(r *http.Request, p *userPage) error {
	v, ctx := visitOf(r), r.Context()
	devices, err := a.desk.DevicesOf(ctx, p.User.ID)
	if err != nil {
		return err
	}
	names := map[int64]string{}
	for _, d := range devices {
		names[d.ID] = v.deviceName(d)
		row := deviceRow{Path: devicePath(d.ID), Name: v.deviceName(d), Android: d.AndroidDeviceID, Preview: d.TokenPreview, Active: d.Active}
		if d.Active {
			row.Lost = devicePath(d.ID) + "lost/"
			if p.Lost == "" {
				p.Lost = row.Lost
			} else if p.Lost != row.Lost {
				p.Lost = "#devices" // there are several: it has to be said which
			}
		}
		p.Devices = append(p.Devices, row)
	}
	tokens, err := a.desk.Tokens(ctx, registry.TokenFilter{UserID: p.User.ID, Kind: access.UserToken, Limit: tokensShown + 1})
	if err != nil {
		return err
	}
	p.MoreTokens = len(tokens) > tokensShown
	for _, c := range tokens[:min(tokensShown, len(tokens))] {
		row := tokenRow{
			Action: fmt.Sprintf("%stokens/%d/revoke/", userPath(p.User.ID), c.ID), Name: v.tokenName(c.Label), Agent: c.Label, Preview: c.Preview,
			Device: names[c.DeviceID], Since: v.moment(c.CreatedAt), Used: v.lastUsed(c.LastUsedDay),
		}
		if !c.ValidUntil.IsZero() {
			row.Until = v.t("access.until", v.minute(c.ValidUntil))
		}
		p.Tokens = append(p.Tokens, row)
	}
	return nil
}

func (v *visit) deviceName(d access.Device) string {
	if d.Name != "" {
		return d.Name
	}
	return v.t("user.device", number(v.lang, int(d.ID)))
}

// tokenName is what a token is known by: the browser or the app that signed in, as far as its User-Agent is understood.
func (v *visit) tokenName(label string) string {
	if name := v.browser(label); label == "" || name != v.t("account.unknown_browser") {
		if label == "" {
			return v.t("user.token")
		}
		return name
	}
	return label
}

// lastUsed is the day of a token's last use in words.
func (v *visit) lastUsed(days int) string {
	switch today := access.Day(v.now); {
	case days == 0:
		return v.t("user.used.unknown")
	case days >= today:
		return v.t("user.used.today")
	case days == today-1:
		return v.t("user.used.yesterday")
	}
	return v.t("user.used.day", day(v.lang, time.Unix(int64(days)*24*60*60, 0).UTC()))
}

// gatesFound finds gates by any part of their names, and says of each whether the person would pass now.
func (a *Admin) gatesFound(r *http.Request, u access.User, text string) ([]gateFound, error) {
	found, err := a.desk.FindGates(r.Context(), registry.Search{Query: text, Limit: mostCandidates})
	if err != nil {
		return nil, err
	}
	var list []gateFound
	for _, g := range found.List {
		row := gateFound{ID: g.ID, Name: gateName(g), Code: g.Code, Text: text}
		if row.Outcome, row.Why, err = a.tryUser(r, g, u); err != nil {
			return nil, err
		}
		row.CanAdd = row.Outcome == access.Deny && u.Active
		list = append(list, row)
	}
	return list, nil
}
