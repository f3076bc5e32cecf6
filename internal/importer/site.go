package importer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// site is all of a Django deployment but its events and its log, as it stands there.
type site struct {
	users       []djangoUser
	groups      []djangoGroup
	members     []member
	gates       []djangoGate
	permissions []djangoPermission
	tokens      []djangoToken
	devices     []djangoDevice
	passwords   map[int64][]djangoPassword // by user: the newest ones, oldest first
	sequences   map[string]int64           // by table: the last id that was ever given

	read       map[string]int64 // rows by table
	events     eventsSeen
	log        logSeen
	totpSecret int64 // devices with one

	contentTypes map[int64]string // app_label.model
	byUser       map[int64]*djangoUser
}

type djangoUser struct {
	id                                     int64
	username, first, last, email, password string
	staff, superuser, active               bool
	joined, login                          time.Time
}

type djangoGroup struct {
	id   int64
	name string
}

type member struct{ user, group int64 }

type djangoGate struct {
	id                   int64
	code, name, location string
}

type djangoPermission struct {
	id, user, group, gate int64 // user or group may be 0, and neither
	allow                 bool
}

type djangoToken struct {
	key     string
	created time.Time
	user    int64
}

type djangoDevice struct {
	id, user             int64
	name, android, token string
	active               bool
	created              time.Time
}

type djangoPassword struct {
	id   int64
	hash string
	at   time.Time
}

// eventsSeen is what the first look at the events finds.
type eventsSeen struct {
	kept, left   int64 // by --events-since
	lastID       int64
	users, gates map[int64]int64 // what events name: the first event that does
	first, last  time.Time
	deletedGate  int64 // decisions at gates that are no more
}

type logSeen struct {
	users map[int64]int64
}

// Places of columns, in the order of tables.go.
const (
	userID = iota
	userPassword
	userLogin
	userSuperuser
	userName
	userFirst
	userLast
	userEmail
	userStaff
	userActive
	userJoined
)

const (
	deviceID = iota
	deviceName
	deviceAndroid
	deviceActive
	deviceCreated
	deviceUser
	deviceToken
	deviceSecret
)

const (
	eventID = iota
	eventDecision
	eventReason
	eventRaw
	eventCreated
	eventUser
	eventGate
)

// readSite reads everything once, and every event with it.
func readSite(ctx context.Context, from source, o *Options) (*site, error) {
	s := &site{
		passwords: map[int64][]djangoPassword{}, read: map[string]int64{}, contentTypes: map[int64]string{}, byUser: map[int64]*djangoUser{},
		events: eventsSeen{users: map[int64]int64{}, gates: map[int64]int64{}}, log: logSeen{users: map[int64]int64{}},
	}
	want := &reading{
		tables:   []*table{users, groups, members, gates, permissions, tokens, devices, passwords, contentTypes, userRights, groupRights, adminLog},
		progress: o.step("reading"),
	}
	if !o.SkipEvents {
		want.tables = append(want.tables, events)
	}
	want.row = func(r *row) error {
		s.read[r.name]++
		s.take(r, o)
		return r.err
	}
	if err := from.read(ctx, want); err != nil {
		return nil, err
	}
	err := want.complete()
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.name(), err)
	}
	s.sequences = want.sequences
	return s, nil
}

// take keeps a row.
func (s *site) take(r *row, o *Options) {
	switch r.table {
	case users:
		s.users = append(s.users, djangoUser{
			id: r.id(userID), username: r.text(userName), first: r.text(userFirst), last: r.text(userLast), email: r.text(userEmail), password: r.text(userPassword),
			staff: r.yes(userStaff), superuser: r.yes(userSuperuser), active: r.yes(userActive), joined: r.instant(userJoined), login: r.optionalInstant(userLogin),
		})
	case groups:
		s.groups = append(s.groups, djangoGroup{r.id(0), r.text(1)})
	case members:
		s.members = append(s.members, member{r.id(0), r.id(1)})
	case gates:
		s.gates = append(s.gates, djangoGate{r.id(0), r.text(1), r.text(2), r.text(3)})
	case permissions:
		s.permissions = append(s.permissions, djangoPermission{id: r.id(0), allow: r.yes(1), group: r.optionalID(2), user: r.optionalID(3), gate: r.id(4)})
	case tokens:
		s.tokens = append(s.tokens, djangoToken{r.text(0), r.instant(1), r.id(2)})
	case devices:
		s.devices = append(s.devices, djangoDevice{
			id: r.id(deviceID), user: r.id(deviceUser), name: r.text(deviceName), android: r.optionalText(deviceAndroid), token: r.text(deviceToken),
			active: r.yes(deviceActive), created: r.instant(deviceCreated),
		})
		if len(r.bytes(deviceSecret)) > 0 {
			s.totpSecret++
		}
	case passwords:
		s.remember(r.id(3), djangoPassword{r.id(0), r.text(1), r.instant(2)})
	case contentTypes:
		s.contentTypes[r.id(0)] = r.text(1) + "." + r.text(2)
	case adminLog:
		first(s.log.users, r.id(7), r.id(0))
		r.instant(1)
		r.text(3)
		r.text(5)
	case events:
		s.look(r, o)
	}
}

// first notes who was the first to name something; 0 names nothing.
func first(seen map[int64]int64, id, by int64) {
	if _, known := seen[id]; !known && id != 0 {
		seen[id] = by
	}
}

// remember keeps the newest hashes of a user, as many as count.
func (s *site) remember(user int64, p djangoPassword) {
	list := append(s.passwords[user], p)
	slices.SortFunc(list, func(a, b djangoPassword) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return int(a.id - b.id)
	})
	if len(list) > keptPasswords {
		list = slices.Delete(list, 0, 1)
	}
	s.passwords[user] = list
}

// look sees whether an event can be read.
func (s *site) look(r *row, o *Options) {
	e := &s.events
	id, at := r.id(eventID), r.instant(eventCreated)
	e.lastID = max(e.lastID, id)
	if at.Before(o.EventsSince) {
		e.left++
		return
	}
	e.kept++
	if e.first.IsZero() || at.Before(e.first) {
		e.first = at
	}
	if at.After(e.last) {
		e.last = at
	}
	user, gate := r.optionalID(eventUser), r.optionalID(eventGate)
	first(e.users, user, id)
	first(e.gates, gate, id)
	outcomeOf(r)
	if reason := r.text(eventReason); gate == 0 && reason != string(access.UnknownGate) && reason != string(access.InvalidRequest) {
		e.deletedGate++
	}
	r.optionalText(eventRaw)
}

func outcomeOf(r *row) access.Outcome {
	o := access.Outcome(r.bytes(eventDecision))
	if o != access.Allow && o != access.Deny {
		r.fail(eventDecision, fmt.Errorf("is %.40q, neither ALLOW nor DENY", r.bytes(eventDecision)))
	}
	return o
}

// check sees whether what rows name is there: PostgreSQL sees to that, but a dump can be edited, or be made of two.
func (s *site) check() error {
	groupIDs, gateIDs, deviceIDs, permissionIDs := map[int64]bool{}, map[int64]bool{}, map[int64]bool{}, map[int64]bool{}
	for i := range s.users {
		u := &s.users[i]
		if s.byUser[u.id] != nil {
			return twice(users, u.id)
		}
		s.byUser[u.id] = u
	}
	for _, g := range s.groups {
		if groupIDs[g.id] {
			return twice(groups, g.id)
		}
		groupIDs[g.id] = true
	}
	for _, g := range s.gates {
		if gateIDs[g.id] {
			return twice(gates, g.id)
		}
		gateIDs[g.id] = true
	}
	hasUser := func(id int64) bool { return id == 0 || s.byUser[id] != nil }
	for _, m := range s.members {
		if !hasUser(m.user) {
			return dangling(members, fmt.Sprintf("in group %d", m.group), users, m.user)
		}
		if !groupIDs[m.group] {
			return dangling(members, fmt.Sprintf("of user %d", m.user), groups, m.group)
		}
	}
	for _, p := range s.permissions {
		row := fmt.Sprintf("%d", p.id)
		switch {
		case permissionIDs[p.id]:
			return twice(permissions, p.id)
		case !hasUser(p.user):
			return dangling(permissions, row, users, p.user)
		case p.group != 0 && !groupIDs[p.group]:
			return dangling(permissions, row, groups, p.group)
		case !gateIDs[p.gate]:
			return dangling(permissions, row, gates, p.gate)
		}
		permissionIDs[p.id] = true
	}
	for _, d := range s.devices {
		if deviceIDs[d.id] {
			return twice(devices, d.id)
		}
		if !hasUser(d.user) {
			return dangling(devices, fmt.Sprintf("%d", d.id), users, d.user)
		}
		deviceIDs[d.id] = true
	}
	for _, t := range s.tokens {
		if !hasUser(t.user) {
			return dangling(tokens, "of a user", users, t.user)
		}
	}
	for user := range s.passwords {
		if !hasUser(user) {
			return dangling(passwords, "of a user", users, user)
		}
	}
	for user, event := range s.events.users {
		if !hasUser(user) {
			return dangling(events, fmt.Sprintf("%d", event), users, user)
		}
	}
	for gate, event := range s.events.gates {
		if !gateIDs[gate] {
			return dangling(events, fmt.Sprintf("%d", event), gates, gate)
		}
	}
	for user, line := range s.log.users {
		if !hasUser(user) {
			return dangling(adminLog, fmt.Sprintf("%d", line), users, user)
		}
	}
	return nil
}

func twice(t *table, id int64) error {
	return fmt.Errorf("%s has the id %d twice: the dump was edited, or is none of one database", t.name, id)
}

func dangling(t *table, row string, of *table, id int64) error {
	return fmt.Errorf("the row %s of %s names the id %d, which is not in %s: the dump was edited, or is not whole", row, t.name, id, of.name)
}

// presentedIn takes apart what the original kept of a request: the gate's code and the token, each "" when it was no text.
func presentedIn(raw []byte) (gate, token string) {
	if len(raw) == 0 || raw[0] != '{' {
		return "", ""
	}
	var kept struct {
		Gate  json.RawMessage `json:"gate_id"`
		Token json.RawMessage `json:"token"`
	}
	if json.Unmarshal(raw, &kept) != nil {
		return "", ""
	}
	return textOf(kept.Gate), textOf(kept.Token)
}

func textOf(raw json.RawMessage) string {
	switch {
	case len(raw) == 0 || bytes.Equal(raw, []byte("null")):
		return ""
	case raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
		return strings.TrimSpace(s)
	case raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9': // numbers were taken as texts
		return string(raw)
	}
	return ""
}
