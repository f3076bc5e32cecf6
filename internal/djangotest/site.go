package djangotest

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/openway-access/openway/internal/sitefile"
)

// schema is what Django's migrations make of the service's models, a line each: table, serial column or -, columns with types.
const schema = `
access_accessevent id id bigint, device_id integer, decision varchar(10), reason varchar(64), raw jsonb, created_at timestamptz, user_id integer, access_point_id bigint
access_accesspermission id id bigint, allow boolean, group_id integer, user_id integer, access_point_id bigint
access_accesspoint id id bigint, code varchar(64), name varchar(128), location varchar(128)
accounts_passwordhistory id id bigint, password varchar(128), created_at timestamptz, user_id integer
auth_group id id integer, name varchar(150)
auth_group_permissions id id bigint, group_id integer, permission_id integer
auth_user id id integer, password varchar(128), last_login timestamptz, is_superuser boolean, username varchar(150), first_name varchar(150), last_name varchar(150), email varchar(254), is_staff boolean, is_active boolean, date_joined timestamptz
auth_user_groups id id bigint, user_id integer, group_id integer
auth_user_user_permissions id id bigint, user_id integer, permission_id integer
authtoken_token - key varchar(40), created timestamptz, user_id integer
devices_device id id bigint, name varchar(100), android_device_id varchar(128), totp_secret varchar(64), is_active boolean, created_at timestamptz, user_id integer, auth_token varchar(64)
django_admin_log id id integer, action_time timestamptz, object_id text, object_repr varchar(200), action_flag smallint, change_message text, content_type_id integer, user_id integer
django_content_type id id integer, app_label varchar(100), model varchar(100)
django_session - session_key varchar(40), session_data text, expire_date timestamptz
`

// Empty is a deployment in which nothing was entered.
func Empty() Database {
	var d Database
	for line := range strings.Lines(strings.TrimSpace(schema)) {
		parts := strings.SplitN(strings.TrimSpace(line), " ", 3)
		t := Table{Name: parts[0], Rows: slices.Values([][]any(nil))}
		if parts[1] != "-" {
			t.Serial = parts[1]
		}
		for _, c := range strings.Split(parts[2], ", ") {
			name, typ, _ := strings.Cut(c, " ")
			t.Columns, t.Types = append(t.Columns, name), append(t.Types, typ)
		}
		d = append(d, t)
	}
	return d
}

// Set gives a table its rows. Where it has a sequence, that stands at the highest id.
func (d Database) Set(table string, rows ...[]any) {
	t := d.Table(table)
	t.Rows, t.Last = slices.Values(rows), 0
	for _, r := range rows {
		if n, ok := r[0].(int); ok && t.Serial != "" {
			t.Last = max(t.Last, int64(n))
		}
	}
}

// Rows are a table's rows, to be changed and set again.
func (d Database) Rows(table string) [][]any { return slices.Collect(d.Table(table).Rows) }

// Founded is when everything in these deployments was entered.
var Founded = time.Date(2025, 10, 1, 8, 0, 0, 0, time.UTC)

// Rounds is the cost of the passwords in deployments made here: next to nothing.
const Rounds = 100

// Of is a deployment with the site of a file, ids counted from 1 in the file's order, with what the original allowed and a site file does not say: a
// gate code with outer spaces, a row that names a user and a group, rows more than once, tokens that are too short, and a log.
func Of(s *sitefile.Site) Database {
	d := Empty()
	groupID, userID, gateID := map[string]int{}, map[string]int{}, map[string]int{}
	var groups, users, members, tokens, former, gates, permissions, devices [][]any
	for i, g := range s.Groups {
		groupID[g.Name] = i + 1
		groups = append(groups, []any{i + 1, g.Name})
	}
	for i, u := range s.Users {
		id := i + 1
		userID[u.Username] = id
		hash := Password(u.Password, fmt.Sprintf("salt%02d", id), Rounds)
		users = append(users, []any{id, hash, nil, u.Superuser, u.Username, u.FirstName, u.LastName, u.Email, u.Staff, u.Active, Founded})
		former = append(former, []any{id, hash, Founded, id})
		for _, g := range u.Groups {
			members = append(members, []any{len(members) + 1, id, groupID[g]})
		}
		switch {
		case len(u.Tokens) > 0:
			tokens = append(tokens, []any{u.Tokens[0], Founded, id})
		case u.Username == "tok7":
			tokens = append(tokens, []any{"tok7chr", Founded, id})
		}
	}
	for _, g := range s.Gates {
		if g.Code == "1.5" { // in the middle, so that ids shift
			gates = append(gates, []any{len(gates) + 1, " gate-sp ", "code with outer spaces", ""})
		}
		gateID[g.Code] = len(gates) + 1
		gates = append(gates, []any{len(gates) + 1, g.Code, g.Name, g.Location})
	}
	for _, p := range s.Permissions {
		var user, group any
		if p.User != "" {
			user = userID[p.User]
		} else {
			group = groupID[p.Group]
		}
		n := len(permissions)
		if p.Gate == "gate-pair" && n > 0 && permissions[n-1][4] == gateID[p.Gate] {
			permissions[n-1][2] = group
			continue
		}
		permissions = append(permissions, []any{n + 1, p.Allow, group, user, gateID[p.Gate]})
		if p.Gate == "gate-dup" {
			permissions = append(permissions, []any{n + 2, true, group, user, gateID[p.Gate]}, []any{n + 3, false, group, user, gateID[p.Gate]})
		}
	}
	permissions = append(permissions, []any{len(permissions) + 1, true, nil, userID["demo"], gateID["1.5"] - 1})
	for i, v := range s.Devices {
		token := v.Token
		if v.Name == "short token" {
			token = "abc"
		}
		var android any = v.AndroidDeviceID
		if v.Name == "m3" {
			android = nil
		}
		devices = append(devices, []any{i + 1, v.Name, android, "", v.Active, Founded.Add(time.Duration(i) * time.Minute), userID[v.User], token})
	}
	d.Set("auth_group", groups...)
	d.Set("auth_user", users...)
	d.Set("auth_user_groups", members...)
	d.Set("authtoken_token", tokens...)
	d.Set("accounts_passwordhistory", former...)
	d.Set("access_accesspoint", gates...)
	d.Set("access_accesspermission", permissions...)
	d.Set("devices_device", devices...)
	at := Founded.Add(24 * time.Hour)
	demo, alice := s.Users[1].Tokens[0], s.Users[2].Tokens[0]
	d.Set("access_accessevent",
		[]any{1, nil, "ALLOW", "OK", `{"token": "` + demo + `", "gate_id": "gate-01"}`, at, userID["demo"], 1},
		[]any{2, nil, "DENY", "UNKNOWN_GATE", `{"token": "` + alice + `", "gate_id": "gate-99"}`, at.Add(time.Second), nil, nil},
		[]any{3, nil, "DENY", "INVALID_REQUEST", `{"gate": "x\ty"}`, at.Add(2 * time.Second), nil, nil},
		[]any{5, nil, "DENY", "NO_PERMISSION", `{"token": "` + alice + `", "gate_id": "gate-02"}`, at.Add(3 * time.Second), userID["alice"], 2},
	)
	d.Set("django_content_type", []any{1, "auth", "user"}, []any{2, "authtoken", "tokenproxy"}, []any{3, "access", "accesspoint"}, []any{4, "sessions", "session"})
	d.Set("django_admin_log",
		[]any{1, at, "2", "demo", 2, `[{"changed": {"fields": ["Email address", "Active"]}}]`, 1, 1},
		[]any{2, at, demo, demo, 1, `[{"added": {}}]`, 2, 1},
		[]any{3, at, "99", "gone", 3, "", 3, 1},
	)
	d.Set("django_session", []any{"s1", strings.Repeat("x", 1000) + "\n\\.\n", at})
	return d
}

// Great is a deployment of some size: each user has a token, a phone and two groups, each gate a right for each of ten groups and for some users.
func Great(nUsers, nGates, nEvents int) Database {
	d := Empty()
	const nGroups = 50
	hash := Password("StrongPass_123", "salt", Rounds)
	count := func(table string, n int, row func(i int) []any) {
		t := d.Table(table)
		t.Last = int64(n)
		t.Rows = iter.Seq[[]any](func(yield func([]any) bool) {
			for i := 1; i <= n && yield(row(i)); i++ { //nolint:revive // all is in the head
			}
		})
	}
	count("auth_group", nGroups, func(i int) []any { return []any{i, fmt.Sprintf("Group %d", i)} })
	count("auth_user", nUsers, func(i int) []any {
		return []any{i, hash, nil, i == 1, fmt.Sprintf("user%06d", i), "First", "Last", fmt.Sprintf("user%d@example.com", i), i == 1, i%50 != 0, Founded}
	})
	count("auth_user_groups", 2*nUsers, func(i int) []any {
		user := (i + 1) / 2
		return []any{i, user, (user*7+i%2*11)%nGroups + 1}
	})
	count("authtoken_token", nUsers, func(i int) []any { return []any{GreatToken(i), Founded, i} })
	count("devices_device", nUsers, func(i int) []any {
		return []any{i, "Mobile device", fmt.Sprintf("android-%d", i), "", i%20 != 0, Founded, i, fmt.Sprintf("%064x", 1_000_000_000+i)}
	})
	count("accounts_passwordhistory", nUsers, func(i int) []any { return []any{i, hash, Founded, i} })
	count("access_accesspoint", nGates, func(i int) []any { return []any{i, fmt.Sprintf("gate-%03d", i), fmt.Sprintf("Gate %d", i), "Hall"} })
	count("access_accesspermission", 20*nGates, func(i int) []any {
		gate := (i + 19) / 20
		if i%2 == 0 {
			return []any{i, i%6 != 0, (gate+i)%nGroups + 1, nil, gate}
		}
		return []any{i, true, nil, (gate*131+i)%nUsers + 1, gate}
	})
	count("access_accessevent", nEvents, func(i int) []any {
		user, gate := i*7919%nUsers+1, i*104729%nGates+1
		decision, reason := "ALLOW", "OK"
		if i%5 == 0 {
			decision, reason = "DENY", "NO_PERMISSION"
		}
		return []any{
			i, nil, decision, reason, `{"token": "` + GreatToken(user) + `", "gate_id": "` + fmt.Sprintf("gate-%03d", gate) + `"}`,
			Founded.Add(time.Duration(i) * 20 * time.Second), user, gate,
		}
	})
	return d
}

// GreatToken is the token of a user of Great.
func GreatToken(user int) string { return fmt.Sprintf("%040x", 7_000_000_000+user) }
