package importer

import (
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/djangotest"
)

// odd is a deployment with all that is not one to one.
func odd(t testing.TB) djangotest.Database {
	t.Helper()
	d := djangotest.Of(djangotest.GoldenSite(t))
	for _, t := range []string{"auth_user", "devices_device"} { // a deployment whose columns somebody made wider
		for i, typ := range d.Table(t).Types {
			if strings.HasPrefix(typ, "varchar") {
				d.Table(t).Types[i] = "text"
			}
		}
	}
	users := d.Rows("auth_user")
	const password, username, first, last, email, staff = 1, 4, 5, 6, 7, 8
	users[2][first], users[2][last], users[2][email] = "  Alice\n", strings.Repeat("ж", 151), "no address"
	users[3][password], users[4][password], users[5][password] = "!abc", "md5$x$y", "argon2$argon2id$v=19$m=102400,t=2,p=8$c29tZXNhbHRzb21lc2FsdA$"+strings.Repeat("A", 43)
	users[6][staff], users[7][username] = true, " frank "
	users[8][username] = "ALICE"
	d.Set("auth_user", users...)
	devices := d.Rows("devices_device")
	devices[0][3] = "JBSWY3DP"
	devices[4][7] = d.Rows("authtoken_token")[0][0] // a user's token
	devices[5][1] = strings.Repeat("n", 101)
	d.Set("devices_device", devices...)
	d.Set("auth_user_user_permissions", []any{1, 2, 3})
	d.Set("auth_group_permissions", []any{1, 2, 3}, []any{2, 2, 4})
	permissions := d.Rows("access_accesspermission")
	d.Set("access_accesspermission", append(permissions, []any{len(permissions) + 1, true, nil, nil, 1})...)
	events := d.Rows("access_accessevent")
	d.Set("access_accessevent", append(events, []any{9, nil, "ALLOW", "OK", `{"token": "x", "gate_id": "gone"}`, djangotest.Founded, 2, nil})...)
	return d
}

func TestNotes(t *testing.T) {
	im := read(t, Options{Dump: dumpOf(t, odd(t)), EventsSince: djangotest.Founded.Add(24*time.Hour + time.Second)})
	got := map[string]int64{}
	for _, n := range im.Report.Notes {
		got[n.Kind] = n.Count
		if n.Text == "" || len(n.Examples) > maxExamples {
			t.Errorf("note %s: %q with %d examples", n.Kind, n.Text, len(n.Examples))
		}
	}
	want := map[string]int64{
		"owners": 1, "managers": 1, "unusable_passwords": 1, "unreadable_passwords": 1, "texts": 3, "emails": 1, "names_alike": 1,
		"gate_spaces": 1, "split": 1, "merged": 2, "suspended": 5, "nobody": 1, "short_tokens": 1, "shared_tokens": 2,
		"devices_active": 8, "devices_revoked": 3, "device_tokens_minted": 2, "device_tokens_taken": 1, "totp": 1, "django_rights": 3,
		"events_left": 2,
	}
	for kind, n := range want {
		mustEqual(t, kind, got[kind], n)
		delete(got, kind)
	}
	if len(got) > 0 {
		t.Errorf("also noted: %v", got)
	}
	if len(im.Report.Conflicts) > 0 {
		t.Errorf("conflicts: %q", im.Report.Conflicts)
	}
	if u := im.plan.users[2]; u.FirstName != "Alice" || u.LastName != strings.Repeat("ж", 150) || u.Email != "" {
		t.Errorf("cleaned to %+v", u)
	}
	mustEqual(t, "a name without its outer spaces", im.plan.users[7].Username, "frank")
	if h := im.plan.hashes[5]; !strings.HasPrefix(h, "$argon2id$v=19$m=102400,") {
		t.Errorf("Django's argon2id is kept as %q", h)
	}
	mustEqual(t, "an unusable password", im.plan.hashes[3], "!")
	mustEqual(t, "events kept", im.site.events.kept, 3)

	im = read(t, Options{Dump: dumpOf(t, odd(t))})
	mustEqual(t, "events at deleted gates", note(&im.Report, "events_gates").Count, 1)
	if examples := note(&im.Report, "texts").Examples; len(examples) != 3 || examples[0] != `user 3 ("alice"): first name "  Alice\n"` {
		t.Errorf("examples: %q", examples)
	}
}

// TestNoSecretIsReported: tokens and passwords are nowhere in a report.
func TestNoSecretIsReported(t *testing.T) {
	im := read(t, Options{Dump: dumpOf(t, odd(t))})
	text := reportText(im.Report)
	for _, s := range secretsOf(im) {
		if strings.Contains(text, s) {
			t.Errorf("the report shows %q", s)
		}
	}
}

// secretsOf are the tokens and hashes of a source.
func secretsOf(im *Import) (all []string) {
	for _, tk := range im.site.tokens {
		all = append(all, tk.key)
	}
	for _, d := range im.site.devices {
		if len(d.token) > access.MinToken {
			all = append(all, d.token)
		}
	}
	return all
}

func TestConflicts(t *testing.T) {
	d := djangotest.Of(djangotest.GoldenSite(t))
	users, gates, groups := d.Rows("auth_user"), d.Rows("access_accesspoint"), d.Rows("auth_group")
	users[6][4], users[7][4] = " alice", "a\nb"
	gates[8][1], gates[9][1] = " gate-01", "   "
	groups[2][1], groups[3][1] = "\u200b", "USER "
	d.Set("auth_user", users...)
	d.Set("access_accesspoint", gates...)
	d.Set("auth_group", groups...)
	im := read(t, Options{Dump: dumpOf(t, d)})
	want := []string{
		`user 7 (" alice"): without its outer spaces it has the user name of 3: rename or delete one of the two in Django`,
		`user 8 ("a\nb"): the user name "a\nb" contains characters that are not allowed; change it in Django`,
		`group 3 ("\u200b"): the name "\u200b" contains characters that are not allowed; change it in Django`,
		`group 4 ("USER "): without its outer spaces it has the name of 1: rename or delete one of the two in Django`,
		`gate 9 (" gate-01"): without its outer spaces it has the code of 1: rename or delete one of the two in Django`,
		`gate 10 ("   "): the code "" may not be blank; change it in Django`,
	}
	if got := strings.Join(im.Report.Conflicts, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// TestPermissionsMerge: of several rows for one gate and subject the one that lets pass counts, as before.
func TestPermissionsMerge(t *testing.T) {
	p := &plan{}
	p.planPermissions(&site{permissions: []djangoPermission{
		{id: 7, gate: 1, user: 2, group: 3, allow: false},
		{id: 2, gate: 1, user: 2, allow: false},
		{id: 9, gate: 1, user: 2, allow: true},
		{id: 8, gate: 1, group: 3, allow: true},
		{id: 4, gate: 2, user: 2, allow: true},
	}})
	want := []access.Permission{
		{ID: 2, GateID: 1, UserID: 2, Allow: true}, {ID: 4, GateID: 2, UserID: 2, Allow: true}, {ID: 7, GateID: 1, GroupID: 3, Allow: true},
	}
	if len(p.permissions) != len(want) {
		t.Fatalf("got %+v", p.permissions)
	}
	for i := range want {
		if p.permissions[i] != want[i] {
			t.Errorf("got %+v, want %+v", p.permissions[i], want[i])
		}
	}
}
