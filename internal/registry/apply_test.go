package registry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/sitefile"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

var console = access.Actor{Kind: "cli", Label: "root@test"}

// bench is a desk on a fresh database.
type bench struct {
	*testing.T
	*registry.Registry
	ctx context.Context
}

func benches(t *testing.T, fn func(bench)) {
	storetest.Each(t, func(t *testing.T, s *store.Store) { fn(newBench(t, s)) })
}

func newBench(t *testing.T, s *store.Store) bench {
	keys, err := credential.NewKeyring([]byte("a key for tests only, 32 bytes and more"))
	if err != nil {
		t.Fatal(err)
	}
	r := registry.New(registry.Config{Store: s, Keys: keys})
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return bench{t, r, t.Context()}
}

func (b bench) parse(text string) *sitefile.Site {
	b.Helper()
	s, err := sitefile.Parse("site.yaml", []byte(text))
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// apply returns what the plan does beside leaving things as they are, and the notes.
func (b bench) apply(text string, o registry.ApplyOptions) (steps, notes []string) {
	b.Helper()
	plan, err := b.Apply(b.ctx, console, b.parse(text), o)
	if err != nil {
		b.Fatal(err)
	}
	return acts(plan), plan.Notes
}

func acts(plan *registry.Plan) (steps []string) {
	for _, s := range plan.Steps {
		if s.Action != registry.PlanUnchanged {
			steps = append(steps, s.String())
		}
	}
	return steps
}

// refuse applies a file that must not be applied, and sees that nothing was changed.
func (b bench) refuse(text string, o registry.ApplyOptions) error {
	b.Helper()
	before := b.audit()
	_, err := b.Apply(b.ctx, console, b.parse(text), o)
	if err == nil {
		b.Fatalf("applied, want an error:\n%s", text)
	}
	if n := b.audit(); n != before {
		b.Errorf("%v; and %d audit lines more, want nothing changed", err, n-before)
	}
	return err
}

func (b bench) audit() int {
	b.Helper()
	list, err := b.Changes(b.ctx, registry.ChangeFilter{Limit: store.All})
	if err != nil {
		b.Fatal(err)
	}
	return len(list)
}

func (b bench) want(what string, got, want []string) {
	b.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		b.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wholeSite is testdata/site.yaml, but only three of its users have their password: each takes long to hash, and again to compare.
func wholeSite(t *testing.T) string {
	data, err := os.ReadFile("../../testdata/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const password = "    password: \"StrongPass_123\"\n"
	parts := strings.SplitAfterN(string(data), password, 3)
	return parts[0] + parts[1] + strings.ReplaceAll(parts[2], password, "")
}

func TestApplyTheWholeSite(t *testing.T) {
	text := wholeSite(t)
	benches(t, func(b bench) {
		before := b.audit()
		steps, _ := b.apply(text, registry.ApplyOptions{DryRun: true})
		if n := b.audit() - before; len(steps) != 5+20+13+24+11 || n != 0 {
			b.Errorf("a dry run plans %d steps and leaves %d audit lines, want 73 and none", len(steps), n)
		}
		b.apply(text, registry.ApplyOptions{})
		b.ids()
		user, err := b.UserByName(b.ctx, "spacepw")
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := b.Login(b.ctx, console, user.Username, " pass with spaces ", "test"); err != nil {
			b.Errorf("log in as spacepw: %v", err)
		}
		if c, err := b.Authenticate(b.ctx, "tok8char"); err != nil || c.User.Username != "tok8" {
			b.Errorf("authenticate with tok8's token: %+v, %v", c.User, err)
		}
		if _, err := b.Authenticate(b.ctx, "c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5"); !errors.Is(err, access.ErrInactive) {
			b.Errorf("authenticate as carol: %v, want inactive", err)
		}

		before = b.audit()
		for _, prune := range []bool{false, true} {
			steps, notes := b.apply(text, registry.ApplyOptions{Prune: prune})
			b.want("applied again", append(steps, notes...), nil)
		}
		if n := b.audit(); n != before {
			b.Errorf("applying it again left %d audit lines, want none", n-before)
		}
	})
}

// ids sees that each kind counts from 1 in the file's order.
func (b bench) ids() {
	b.Helper()
	var got []string
	users, err := b.Users(b.ctx, registry.UserFilter{Limit: store.All})
	if err != nil {
		b.Fatal(err)
	}
	for i, u := range users {
		if u.ID != int64(i+1) {
			b.Errorf("user %s has id %d, want %d", u.Username, u.ID, i+1)
		}
	}
	devices, err := b.Devices(b.ctx, registry.DeviceFilter{Limit: store.All})
	if err != nil {
		b.Fatal(err)
	}
	for i, d := range devices {
		if d.ID != int64(i+1) {
			b.Errorf("device %s has id %d, want %d", d.Name, d.ID, i+1)
		}
		got = append(got, fmt.Sprintf("%s active=%t token=%t", d.Name, d.Active, d.TokenPreview != ""))
	}
	b.want("devices", got, []string{
		"Mobile device active=true token=true", "old active active=true token=true", "new active active=true token=true",
		"newest inactive active=false token=true", "m1 active=true token=true", "m2 active=true token=true", "m3 active=true token=true",
		"m4 active=false token=true", "revoked active=false token=true", "short token active=true token=true", "empty token active=true token=true",
	})
	gates, err := b.Gates(b.ctx, registry.GateFilter{Limit: store.All})
	if err != nil || len(gates) != 13 || gates[12].ID != 13 {
		b.Errorf("gates %v, %v, want 13 of them, ids from 1", gates, err)
	}
	permissions, err := b.Permissions(b.ctx, registry.PermissionFilter{Limit: store.All})
	if err != nil || len(permissions) != 24 || permissions[23].ID != 24 {
		b.Errorf("permissions %v, %v, want 24 of them, ids from 1", permissions, err)
	}
	groups, err := b.Groups(b.ctx, registry.GroupFilter{Limit: store.All})
	if err != nil || len(groups) != 5 || groups[4].ID != 5 {
		b.Errorf("groups %v, %v, want 5 of them, ids from 1", groups, err)
	}
}

func TestExportAndApplyElsewhere(t *testing.T) {
	text := wholeSite(t)
	benches(t, func(b bench) {
		b.apply(text, registry.ApplyOptions{})
		b.apply(`
gates: [{code: "more", release_ms: 1200}]
users: [{username: "vera", role: "viewer", language: "ru", first_name: "Вера \"V\"", active: false}]
permissions:
  - {gate: "more", user: "vera", valid_from: "2026-01-01 00:00", valid_until: "2026-02-01T00:00:00.5Z"}
  - {gate: "more", user: "vera", valid_from: "2027-01-01 00:00"}
devices: [{user: "vera", name: "twin"}, {user: "vera", name: "twin", active: false}]
`, registry.ApplyOptions{})
		out, err := b.Export(b.ctx, console)
		if err != nil {
			b.Fatal(err)
		}
		first := string(sitefile.Encode(out))
		for _, secret := range []string{"StrongPass", "password:", "tokens:", "token:", "d2d2d2", "$argon2id", "5151"} {
			if strings.Contains(first, secret) {
				b.Errorf("the export holds %q", secret)
			}
		}
		steps, notes := b.apply(first, registry.ApplyOptions{Prune: true})
		b.want("applying the export to the same site", steps, nil)
		b.want("its notes", notes, []string{})

		other := newBench(b.T, storetest.Open(b.T, storetest.Engines()[0]))
		other.apply(first, registry.ApplyOptions{})
		again, err := other.Export(other.ctx, console)
		if err != nil {
			b.Fatal(err)
		}
		if diff := cmp.Diff(first, string(sitefile.Encode(again))); diff != "" {
			b.Errorf("export of what the export made (-first +again):\n%s", diff)
		}
		list, err := b.Changes(b.ctx, registry.ChangeFilter{Limit: 1})
		if err != nil || len(list) != 1 || list[0].Action != "export" || list[0].Object != access.ObjectSite || list[0].Actor.Label != console.Label {
			b.Errorf("the newest audit line is %+v, %v, want the export by %s", list, err, console.Label)
		}
	})
}

const small = `
groups: [{name: Staff}, {name: Night}]
users:
  - {username: root, superuser: true, password: Correct-Horse-7, tokens: [root-token-1, root-token-2]}
  - {username: anna, email: anna@example.com, groups: [Staff], password: Correct-Horse-8}
gates: [{code: front, name: Front}, {code: lab}]
permissions:
  - {gate: front, group: Staff}
  - {gate: lab, user: anna}
devices: [{user: anna, name: Phone, android_device_id: a1, token: anna-phone-1}]
`

// quick is the small site without its passwords, which take long.
func quick(text string) string {
	return strings.NewReplacer(", password: Correct-Horse-7", "", ", password: Correct-Horse-8", "").Replace(text)
}

func TestApplyChanges(t *testing.T) {
	for _, c := range []struct {
		name, from, to string // replaced in the small site
		prune          bool
		steps, notes   []string
	}{
		{name: "fields", from: "name: Front}", to: "name: Main, location: Hall, release_ms: 900}", steps: []string{
			`change gate front: name: Front -> Main; location: "" -> Hall; release_ms: the site's -> 900`,
		}},
		{name: "a user", from: "email: anna@example.com, groups: [Staff]", to: "first_name: Anna, staff: true, role: viewer, groups: [Night]", steps: []string{
			`change user anna: first_name: "" -> Anna; email: anna@example.com -> ""; staff: false -> true; role: "" -> viewer; groups: Staff -> Night`,
		}},
		{name: "renames", from: "{name: Staff}, {name: Night}]", to: "{name: People, was: Staff}, {name: Night}]\ngates: [{code: door, was: front, name: Front}, {code: lab}]\nusers: [{username: anne, was: anna, email: anna@example.com, groups: [People]}]\n#", steps: []string{
			"change group People: name: Staff -> People",
			"change user anne: username: anna -> anne",
			"change gate door: code: front -> door",
		}, notes: []string{"not in the file: 1 user, 2 permissions, 1 device; --prune would delete that"}},
		{name: "a password", from: "password: Correct-Horse-7", to: "password: Battery-Staple-9", steps: []string{
			"change user root: password: set; the user's tokens and sessions end",
		}},
		{name: "a token more, one less", from: "tokens: [root-token-1, root-token-2]", to: "tokens: [root-token-2, root-token-3]", steps: []string{
			"change user root: tokens: 1 added",
		}, notes: []string{"user root has 1 fixed tokens that the file does not list any more: --prune revokes them"}},
		{name: "a token less, pruned", from: "tokens: [root-token-1, root-token-2]", to: "tokens: [root-token-2]", prune: true, steps: []string{
			"change user root: tokens: 1 revoked",
		}},
		{name: "tokens left out", from: ", tokens: [root-token-1, root-token-2]", to: "", prune: true},
		{name: "suspended", from: "{gate: lab, user: anna}", to: "{gate: lab, user: anna, allow: false}", steps: []string{
			"change permission lab for user anna: allow: true -> false",
		}},
		{name: "a period", from: "{gate: lab, user: anna}", to: "{gate: lab, user: anna, valid_until: 2026-12-31 18:00}", steps: []string{
			`change permission lab for user anna until 2026-12-31T18:00:00Z: valid_until: "" -> 2026-12-31T18:00:00Z`,
		}},
		{name: "a second period", from: "{gate: lab, user: anna}", to: "{gate: lab, user: anna, valid_from: 2027-01-01 00:00}\n  - {gate: lab, user: anna}", steps: []string{
			"create permission lab for user anna from 2027-01-01T00:00:00Z",
		}},
		{name: "a device renamed", from: "name: Phone, android_device_id: a1", to: "name: Handy, android_device_id: a2, active: false", steps: []string{
			"change device anna: Handy (a2): name: Phone -> Handy; android_device_id: a1 -> a2; active: true -> false",
		}},
		{name: "a device of somebody else", from: "{user: anna, name: Phone", to: "{user: root, name: Phone", steps: []string{
			"change device root: Phone (a1): user: anna -> root",
		}},
		{name: "a device's token", from: "token: anna-phone-1", to: "token: anna-phone-2", steps: []string{
			"change device anna: Phone (a1): token: set",
		}},
		{name: "a device's token left out", from: ", token: anna-phone-1", to: ""},
		{name: "a device more", from: "token: anna-phone-1}", to: "token: anna-phone-1}, {user: anna, name: Phone, android_device_id: a1}", steps: []string{
			"create device anna: Phone (a1)",
		}},
		{name: "nothing deleted", from: ", {code: lab}]\npermissions:\n  - {gate: front, group: Staff}\n  - {gate: lab, user: anna}\n", to: "]\n", notes: []string{
			"not in the file: 1 gate, 1 permission; --prune would delete that",
		}},
		{name: "pruned", from: ", {code: lab}]\npermissions:\n  - {gate: front, group: Staff}\n  - {gate: lab, user: anna}\n", to: "]\n", prune: true, steps: []string{
			"delete permission front for group Staff", "delete gate lab",
		}},
		{name: "all pruned but the owner", from: small, to: "groups: [{name: Staff}]", prune: true, steps: []string{
			"delete gate front", "delete gate lab", "delete user anna", "delete group Night",
		}, notes: []string{"user root is not in the file and stays: the last active owner is never deleted"}},
		{name: "another owner", from: "{username: root, superuser: true,", to: "{username: boss, role: owner}\n  - {username: root,", steps: []string{
			"create user boss", "change user root: superuser: true -> false",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Count(small, c.from) != 1 {
				t.Fatalf("the small site holds %q %d times", c.from, strings.Count(small, c.from))
			}
			benches(t, func(b bench) {
				from, text := small, strings.Replace(small, c.from, c.to, 1)
				if c.name != "a password" {
					from, text = quick(from), quick(text)
				}
				b.apply(from, registry.ApplyOptions{})
				if c.name == "renames" {
					text = text[:strings.Index(text, "#")]
				}
				before := b.audit()
				steps, notes := b.apply(text, registry.ApplyOptions{Prune: c.prune, DryRun: true})
				if n := b.audit(); n != before {
					b.Errorf("the dry run left %d audit lines", n-before)
				}
				b.want("the plan", steps, c.steps)
				b.want("its notes", notes, c.notes)
				b.apply(text, registry.ApplyOptions{Prune: c.prune})
				if n := b.audit(); (n > before) != (len(c.steps) > 0) {
					b.Errorf("applied: %d audit lines more for %d steps", n-before, len(c.steps))
				}
				steps, _ = b.apply(text, registry.ApplyOptions{Prune: c.prune})
				b.want("applied again", steps, nil)
			})
		})
	}
}

// What an administrator did in an emergency is not undone by a file that does not speak of it.
func TestApplyKeepsPeopleAndPhonesSwitchedOff(t *testing.T) {
	benches(t, func(b bench) {
		b.apply(small, registry.ApplyOptions{})
		if _, err := b.SetUserActive(b.ctx, console, 2, false); err != nil {
			b.Fatal(err)
		}
		if _, err := b.LostDevice(b.ctx, console, 1, false); err != nil {
			b.Fatal(err)
		}
		steps, notes := b.apply(small, registry.ApplyOptions{Prune: true})
		b.want("steps", steps, nil)
		b.want("notes", notes, []string{"inactive, and the file does not say active: true or false: anna"})
		steps, _ = b.apply(strings.Replace(small, "email: anna", "active: true, email: anna", 1), registry.ApplyOptions{})
		b.want("with active: true", steps, []string{"change user anna: active: false -> true"})
	})
}

// Nor does it bring back a token that was revoked, or take the one away that a phone has got since.
func TestApplyLeavesEndedTokensEnded(t *testing.T) {
	benches(t, func(b bench) {
		text := quick(small)
		b.apply(text, registry.ApplyOptions{})
		tokens, err := b.Tokens(b.ctx, registry.TokenFilter{UserID: 1, Kind: access.UserToken})
		if err != nil || len(tokens) != 2 {
			b.Fatalf("root's tokens: %v, %v", tokens, err)
		}
		if err := b.RevokeToken(b.ctx, console, tokens[0].ID); err != nil {
			b.Fatal(err)
		}
		if _, _, err := b.SetDeviceToken(b.ctx, console, 1, ""); err != nil {
			b.Fatal(err)
		}
		for range 2 {
			steps, notes := b.apply(text, registry.ApplyOptions{Prune: true})
			b.want("steps", steps, nil)
			b.want("notes", notes, []string{
				"line 4, tokens[0] of user root: this token was revoked at the desk and stays so; list a new one",
				"line 10: device anna: Phone (a1) has another token by now and keeps it",
			})
		}
		if _, err := b.Authenticate(b.ctx, "root-token-1"); !errors.Is(err, access.ErrBadToken) {
			b.Errorf("the revoked token: %v, want a bad token", err)
		}

		// One that only a file took away may come back by a file.
		b.apply(strings.Replace(text, "root-token-1, root-token-2", "root-token-3", 1), registry.ApplyOptions{Prune: true})
		b.apply(text, registry.ApplyOptions{})
		if _, err := b.Authenticate(b.ctx, "root-token-2"); err != nil {
			b.Errorf("a token that a file dropped and lists again: %v", err)
		}
	})
}

func TestApplyPasswords(t *testing.T) {
	benches(t, func(b bench) {
		b.apply(small, registry.ApplyOptions{})
		signIn := func(password string, want error) {
			b.Helper()
			if _, _, err := b.Login(b.ctx, console, "root", password, "test"); !errors.Is(err, want) {
				b.Errorf("log in with %s: %v, want %v", password, err, want)
			}
		}
		signIn("Correct-Horse-7", nil)
		b.apply(strings.Replace(small, "Correct-Horse-7", "Battery-Staple-9", 1), registry.ApplyOptions{})
		signIn("Correct-Horse-7", access.ErrBadLogin)
		signIn("Battery-Staple-9", nil)
		if _, err := b.Authenticate(b.ctx, "root-token-1"); err != nil {
			b.Errorf("a listed token after a new password: %v", err)
		}
		err := b.refuse(small, registry.ApplyOptions{})
		if want := "site.yaml:4: users[0].password: was used before: the last 5 may not be used again: leave the line out to keep the password that the user has now"; err.Error() != want {
			b.Errorf("an earlier password:\n got %v\nwant %s", err, want)
		}

		const django = "pbkdf2_sha256$1000$c2FsdA$tQW0fBx2YcGrF2CqPdu3V4zQRwGJYcXIYv9MIJxLFRM="
		hashed := strings.Replace(small, "password: Correct-Horse-7", "password_hash: "+django, 1)
		_, notes := b.apply(hashed, registry.ApplyOptions{})
		if len(notes) != 1 || !strings.Contains(notes[0], "user root keeps the password") {
			b.Errorf("an old hash over a newer one: notes %q", notes)
		}
		signIn("Battery-Staple-9", nil)
		none := strings.Replace(small, "password: Correct-Horse-7", `password_hash: "!"`, 1)
		steps, _ := b.apply(none, registry.ApplyOptions{})
		b.want("no password", steps, []string{"change user root: password: set; the user's tokens and sessions end"})
		signIn("Battery-Staple-9", access.ErrBadLogin)
		steps, _ = b.apply(none, registry.ApplyOptions{})
		b.want("no password, again", steps, nil)
		steps, _ = b.apply(hashed, registry.ApplyOptions{})
		b.want("a hash", steps, []string{"change user root: password: set; the user's tokens and sessions end"})
		steps, _ = b.apply(hashed, registry.ApplyOptions{})
		b.want("a hash, again", steps, nil)
	})
}

func TestApplyRefuses(t *testing.T) {
	cases := []struct {
		name, text string
		prune      bool
		want       string
	}{
		{"unknown gate", "permissions: [{gate: nowhere, user: anna}]", false, `site.yaml:1: permissions[0].gate: there is no gate "nowhere", neither in the file nor in the database`},
		{"unknown user", "permissions:\n  - gate: lab\n    user: nobody", false, `site.yaml:3: permissions[0].user: there is no user "nobody", neither in the file nor in the database`},
		{"unknown group", "permissions:\n  - gate: lab\n    group: None", false, `site.yaml:3: permissions[0].group: there is no group "None", neither in the file nor in the database`},
		{"unknown group of a user", "users:\n  - username: x\n    groups:\n      - Staff\n      - Stuff", false, `site.yaml:5: users[0].groups[1]: there is no group "Stuff", neither in the file nor in the database`},
		{"unknown user of a device", "devices:\n  - name: x\n    user: nobody", false, `site.yaml:3: devices[0].user: there is no user "nobody", neither in the file nor in the database`},
		{"old name", "gates:\n  - {code: door, was: front}\npermissions:\n  - {gate: front, user: anna}", false, `site.yaml:4: permissions[0].gate: gate "front" becomes "door": use the new name`},
		{"pruned name", "users: [{username: root, superuser: true}]\npermissions:\n  - {gate: front, user: root}", true, `site.yaml:3: permissions[0].gate: gate "front" is not in the file, so that --prune would delete it`},
		{"both names exist", "gates: [{code: front, was: lab}]", false, `site.yaml:1: gates[0].was: "front" and its former name "lab" both exist: delete one of them first`},
		{"weak password", "users:\n  - username: new\n    password: password", false, "site.yaml:3: users[0].password: is too common (--weak-passwords takes it)"},
		{"bad hash", "users:\n  - username: new\n    password_hash: md5$x", false, "site.yaml:3: users[0].password_hash: is neither argon2id nor pbkdf2_sha256 at a sane cost"},
		{"somebody's token", "users:\n  - username: anna\n    tokens: [root-token-1]", false, "site.yaml:3: users[0].tokens[0]: belongs to user root already"},
		{"a device's token", "users:\n  - username: anna\n    tokens: [anna-phone-1]", false, "site.yaml:3: users[0].tokens[0]: is the token of a device already"},
		{"a user's token for a device", "devices:\n  - user: anna\n    token: root-token-1", false, "site.yaml:3: devices[0].token: is a token of user root already"},
		{"last owner demoted", "users:\n  - username: root\n    superuser: false", false, "site.yaml:3: users[0].superuser: root is the last active owner: make somebody else one first"},
		{"last owner shut out", "users:\n  - username: root\n    superuser: true\n    active: false", false, "site.yaml:4: users[0].active: root is the last active owner: make somebody else one first"},
		{"the same instant twice", "permissions:\n  - {gate: lab, user: anna, valid_from: 2026-01-01 00:00}\n  - {gate: lab, user: anna, valid_from: \"2026-01-01T00:00:00Z\"}", false, "site.yaml:3: permissions[1]: is the same permission as the one on line 2"},
		{"period across zones", "permissions:\n  - {gate: lab, user: anna, valid_from: 2026-01-01 00:00, valid_until: \"2026-01-01T00:00:00+01:00\"}", false, "site.yaml:2: permissions[0].valid_until: ends before it begins"},
		{"good things before a bad one", "groups: [{name: New}]\ngates: [{code: new}]\nusers: [{username: new}]\npermissions:\n  - {gate: new, user: new}\n  - {gate: new, group: Knew}", false, `site.yaml:6: permissions[1].group: there is no group "Knew", neither in the file nor in the database`},
	}
	benches(t, func(b bench) {
		b.apply(quick(small), registry.ApplyOptions{})
		for _, c := range cases {
			for _, dry := range []bool{false, true} {
				if err := b.refuse(c.text, registry.ApplyOptions{Prune: c.prune, DryRun: dry}); err.Error() != c.want {
					b.Errorf("%s (dry run: %t)\n%s\n got %v\nwant %s", c.name, dry, c.text, err, c.want)
				}
			}
		}
	})
}

func TestApplyBesideOthers(t *testing.T) {
	benches(t, func(b bench) {
		b.apply(small, registry.ApplyOptions{})
		text := strings.Replace(small, "name: Front}", "name: Main}", 1)
		if _, err := b.Apply(b.ctx, console, b.parse(text), registry.ApplyOptions{Confirm: func(*registry.Plan) bool { return false }}); !errors.Is(err, registry.ErrDeclined) {
			b.Errorf("declined: %v", err)
		}
		for name, meanwhile := range map[string]func() error{
			"the same field": func() error {
				g, err := b.GateByCode(b.ctx, "front")
				g.Name = "Somebody else's"
				if err == nil {
					_, err = b.UpdateGate(b.ctx, console, g)
				}
				return err
			},
			"a reference goes": func() error { return b.DeleteGroup(b.ctx, console, 1, 0) },
			"a password": func() error {
				return b.SetPassword(b.ctx, console, 2, registry.Password{Plain: "Something-Else-5"})
			},
		} {
			_, err := b.Apply(b.ctx, console, b.parse(text), registry.ApplyOptions{Confirm: func(*registry.Plan) bool {
				if err := meanwhile(); err != nil {
					b.Error(err)
				}
				return true
			}})
			if !errors.Is(err, access.ErrConflict) {
				b.Errorf("%s changed between plan and transaction: %v, want a conflict", name, err)
			}
			if g, err := b.GateByCode(b.ctx, "front"); err != nil || g.Name == "Main" {
				b.Errorf("%s: the gate is %q, %v: want the file not applied", name, g.Name, err)
			}
			if name == "a password" {
				text = strings.Replace(text, "Correct-Horse-8", "Something-Else-5", 1)
			}
			b.apply(strings.Replace(text, "name: Main}", "name: Front}", 1), registry.ApplyOptions{})
		}
		_, err := b.Apply(b.ctx, console, b.parse(text), registry.ApplyOptions{Confirm: func(*registry.Plan) bool {
			_, err := b.CreateGate(b.ctx, console, access.Gate{Code: "elsewhere"})
			return err == nil
		}})
		if err != nil {
			b.Errorf("something else changed meanwhile: %v, want it applied", err)
		}
	})
}

func TestApplyReportsProgressAndLines(t *testing.T) {
	b := newBench(t, storetest.Open(t, storetest.Engines()[0]))
	var last [2]int
	calls := 0
	plan, err := b.Apply(b.ctx, console, b.parse(small), registry.ApplyOptions{Progress: func(done, total int) { calls++; last = [2]int{done, total} }})
	if err != nil || calls != 2 || last != [2]int{2, 2} {
		t.Errorf("%d calls, the last with %v, %v: want 2, with 2 of 2", calls, last, err)
	}
	if s := plan.Steps[3]; s.Line != 5 || s.Name != "anna" {
		t.Errorf("step %+v, want anna of line 5", s)
	}
	if plan.Unchanged() != "" || plan.Empty() || plan.Count(registry.PlanCreate) != 9 {
		t.Errorf("plan: unchanged %q, %d to create, want 9", plan.Unchanged(), plan.Count(registry.PlanCreate))
	}
	plan, err = b.Apply(b.ctx, console, b.parse(small), registry.ApplyOptions{})
	if want := "2 groups, 2 users, 2 gates, 2 permissions, 1 device"; err != nil || !plan.Empty() || plan.Unchanged() != want {
		t.Errorf("again: unchanged %q, %v, want %s", plan.Unchanged(), err, want)
	}
}
