package sitefile_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/sitefile"
)

// content compares what sites declare, not where.
var content = cmp.Options{
	cmpopts.IgnoreTypes(sitefile.Place{}), cmpopts.IgnoreFields(sitefile.Site{}, "File"),
	cmpopts.EquateEmpty(), cmp.AllowUnexported(sitefile.When{}),
}

func TestParseTheWholeSite(t *testing.T) {
	data, err := os.ReadFile("../../testdata/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := sitefile.Parse("site.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	got := []int{len(s.Groups), len(s.Users), len(s.Gates), len(s.Permissions), len(s.Devices)}
	if diff := cmp.Diff([]int{5, 20, 13, 24, 11}, got); diff != "" {
		t.Errorf("groups, users, gates, permissions, devices (-want +got):\n%s", diff)
	}
	carol := s.Users[4]
	if carol.Username != "carol" || carol.Active || carol.At("active") != carol.Line+3 || !carol.Has("active") {
		t.Errorf("users[4] = %+v, want carol, inactive, that being said three lines below her name", carol)
	}
	if s.Users[18].Password != " pass with spaces " {
		t.Errorf("password of %s = %q, want it untrimmed", s.Users[18].Username, s.Users[18].Password)
	}
	again, err := sitefile.Parse("again.yaml", sitefile.Encode(s))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, again, content); diff != "" {
		t.Errorf("Parse(Encode(site)) (-site +again):\n%s", diff)
	}
}

func TestParseEveryField(t *testing.T) {
	const in = `
groups:
  - {name: Staff, was: Personnel}
users:
  - username: anna
    was: ann
    first_name: Анна
    last_name: "O'Neil"
    email: anna@example.com
    language: ru
    password_hash: pbkdf2_sha256$1000$salt$aGFzaA==
    active: false
    staff: true
    superuser: false
    role: viewer
    groups: [Staff]
    tokens:
      - aaaaaaaaaaaaaaaaaaaa
      - bbbbbbbbbbbbbbbbbbbb
gates:
  - code: "42"
    was: "41"
    name: Front door
    location: >-
      Hall,
      ground floor
    release_ms: 1500
permissions:
  - gate: "42"
    group: Staff
    allow: false
    valid_from: 2026-11-23 09:00
    valid_until: 2026-11-23T18:00:00+01:00
devices:
  - user: anna
    name: Phone
    android_device_id: a-1
    token: cccccccccccccccc
    active: false
`
	want := &sitefile.Site{
		Groups: []sitefile.Group{{Name: "Staff", Was: "Personnel"}},
		Users: []sitefile.User{{
			Username: "anna", Was: "ann", FirstName: "Анна", LastName: "O'Neil", Email: "anna@example.com", Language: "ru",
			PasswordHash: "pbkdf2_sha256$1000$salt$aGFzaA==", Staff: true, Role: access.Viewer, Groups: []string{"Staff"},
			Tokens: []string{"aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb"},
		}},
		Gates:       []sitefile.Gate{{Code: "42", Was: "41", Name: "Front door", Location: "Hall, ground floor", ReleaseMS: 1500}},
		Permissions: []sitefile.Permission{{Gate: "42", Group: "Staff", ValidFrom: when(t, "2026-11-23 09:00"), ValidUntil: when(t, "2026-11-23T18:00:00+01:00")}},
		Devices:     []sitefile.Device{{User: "anna", Name: "Phone", AndroidDeviceID: "a-1", Token: "cccccccccccccccc"}},
	}
	for name, data := range map[string]string{"as written": in, "with CRLF": strings.ReplaceAll(in, "\n", "\r\n"), "with a BOM": "\ufeff" + in} {
		got, err := sitefile.Parse("s", []byte(data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got, content); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if line := got.Users[0].At("tokens[1]"); line != 19 {
			t.Errorf("%s: line of the second token = %d, want 19", name, line)
		}
		again, err := sitefile.Parse("again", sitefile.Encode(got))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(got, again, content); diff != "" {
			t.Errorf("%s: Parse(Encode(site)) (-site +again):\n%s", name, diff)
		}
	}
}

func TestLeftOut(t *testing.T) {
	s, err := sitefile.Parse("s", []byte("users:\n  - username: bob\ngates:\n  - code: g\npermissions:\n  - {gate: g, user: bob}\ndevices:\n  - user: bob\n"))
	if err != nil {
		t.Fatal(err)
	}
	if u := s.Users[0]; !u.Active || u.Has("active") || u.Has("tokens") || u.Has("password") || u.Has("language") {
		t.Errorf("users[0] = %+v, want active, and nothing said of active, tokens, password, language", u)
	}
	if !s.Permissions[0].Allow || !s.Permissions[0].ValidFrom.IsZero() || !s.Devices[0].Active {
		t.Errorf("permission %+v, device %+v: want allow, no period, active", s.Permissions[0], s.Devices[0])
	}
}

func TestMistakes(t *testing.T) {
	long := strings.Repeat("x", 151)
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", "s.yaml: is empty: it must have groups, users, gates, permissions or devices"},
		{"comments only", "# users\n", "s.yaml: is empty: it must have groups, users, gates, permissions or devices"},
		{"a list", "- a\n", "s.yaml:1: must have keys such as groups:, not a list"},
		{"a word", "users", "s.yaml:1: must have keys such as groups:, not text"},
		{"unknown section", "user:\n  - username: a\n", `s.yaml:1: key: unknown key "user": did you mean "users"?`},
		{"far from everything", "zzz: 1\n", `s.yaml:1: key: unknown key "zzz": known are groups, users, gates, permissions, devices`},
		{"unknown field", "users:\n  - username: a\n    e-mail: x\n", `s.yaml:3: users[0]: unknown key "e-mail": did you mean "email"?`},
		{"section twice", "gates: []\nusers: []\ngates: []\n", "s.yaml:3: key: gates is given twice, first on line 1"},
		{"field twice", "gates:\n  - code: a\n    code: b\n", "s.yaml:3: gates[0]: code is given twice, first on line 2"},
		{"section of another type", "users: {a: b}\n", "s.yaml:1: users: must be a list, not a mapping"},
		{"item of another type", "users:\n  - bob\n", "s.yaml:2: users[0]: must have keys such as username:, not text"},
		{"number as a code", "gates:\n  - name: a\n    code: 42\n", `s.yaml:3: gates[0].code: must be text, and 42 is a number: put it in quotes, "42"`},
		{"float as a code", "gates:\n  - code: 1.5\n", `s.yaml:2: gates[0].code: must be text, and 1.5 is a number: put it in quotes, "1.5"`},
		{"true as a name", "groups:\n  - name: true\n", `s.yaml:2: groups[0].name: must be text, and true is true or false: put it in quotes, "true"`},
		{"no value", "users:\n  - username: a\n    email:\n", `s.yaml:3: users[0].email: has no value: write "" for none, or leave the line out`},
		{"list as a name", "groups:\n  - name: [a]\n", "s.yaml:2: groups[0].name: must be text, not a list"},
		{"tag", "groups:\n  - name: !!binary aGk=\n", "s.yaml:2: groups[0].name: must be text without a tag"},
		{"yes", "users:\n  - username: a\n    active: yes\n", "s.yaml:3: users[0].active: must be true or false, not text"},
		{"quoted true", "users:\n  - username: a\n    staff: \"true\"\n", "s.yaml:3: users[0].staff: must be true or false, not text"},
		{"release as text", "gates:\n  - code: a\n    release_ms: \"800\"\n", "s.yaml:3: gates[0].release_ms: must be a whole number between 0 and 60000, not text"},
		{"release below", "gates:\n  - code: a\n    release_ms: -1\n", "s.yaml:3: gates[0].release_ms: must be a whole number between 0 and 60000, not -1"},
		{"release beyond", "gates:\n  - code: a\n    release_ms: 60001\n", "s.yaml:3: gates[0].release_ms: must be a whole number between 0 and 60000, not 60001"},
		{"release broken", "gates:\n  - code: a\n    release_ms: 1.5\n", "s.yaml:3: gates[0].release_ms: must be a whole number between 0 and 60000, not 1.5"},
		{"release of too many digits", "gates:\n  - code: a\n    release_ms: 12345678901234567890\n", "s.yaml:3: gates[0].release_ms: must be a whole number between 0 and 60000, not 12345678901234567890"},
		{"release of far too many digits", "gates:\n  - code: a\n    release_ms: 123456789012345678901234567890\n", "s.yaml:3: gates[0].release_ms: must be a whole number between 0 and 60000, not 123456789012345678901234567890"},
		{"release as a power", "gates:\n  - code: a\n    release_ms: 1e3\n", "s.yaml:3: gates[0].release_ms: must be a whole number between 0 and 60000, not 1e3"},
		{"release without end", "gates:\n  - code: a\n    release_ms: .inf\n", "s.yaml:3: gates[0].release_ms: must be a whole number between 0 and 60000, not .inf"},
		{"no code", "gates:\n  - name: a\n", "s.yaml:2: gates[0].code: is required"},
		{"blank code", "gates:\n  - name: a\n    code: \"\"\n", "s.yaml:3: gates[0].code: may not be blank"},
		{"white space", "gates:\n  - code: \" a\"\n", "s.yaml:2: gates[0].code: may not begin or end with white space"},
		{"NUL", "gates:\n  - code: \"a\\0\"\n", "s.yaml:2: gates[0].code: may not contain null characters"},
		{"too long", "users:\n  - username: " + long + "\n", "s.yaml:2: users[0].username: may have at most 150 characters"},
		{"e-mail", "users:\n  - username: a\n    email: nobody\n", "s.yaml:3: users[0].email: is not an e-mail address"},
		{"language", "users:\n  - username: a\n    language: fr\n", "s.yaml:3: users[0].language: is unknown: known are en, ru"},
		{"role", "users:\n  - username: a\n    role: boss\n", `s.yaml:3: users[0].role: unknown role "boss": known are viewer, manager, owner`},
		{"two passwords", "users:\n  - username: a\n    password: x\n    password_hash: y\n", "s.yaml:4: users[0].password_hash: give a password or a password_hash, not both"},
		{"blank password", "users:\n  - username: a\n    password: \"\"\n", "s.yaml:3: users[0].password: may not be blank: leave the line out to keep the password that is there"},
		{"group twice", "users:\n  - username: a\n    groups: [b, b]\n", `s.yaml:3: users[0].groups[1]: group "b" is listed twice`},
		{"groups as text", "users:\n  - username: a\n    groups: b\n", "s.yaml:3: users[0].groups: must be a list, not text"},
		{"short token", "users:\n  - username: a\n    tokens: [\"1234567\"]\n", "s.yaml:3: users[0].tokens[0]: must have 8 to 128 characters, as a gate accepts them, and has 7"},
		{"numeric token", "users:\n  - username: a\n    tokens:\n      - 12345678\n", `s.yaml:4: users[0].tokens[0]: must be text, and 12345678 is a number: put it in quotes, "12345678"`},
		{"token twice", "users:\n  - username: a\n    tokens: [abcdefgh]\ndevices:\n  - user: a\n    token: abcdefgh\n", "s.yaml:6: devices[0].token: is the same token as users[0].tokens[0] on line 3"},
		{"user twice", "users:\n  - username: a\n  - username: b\n  - email: a@b.c\n    username: a\n", `s.yaml:5: users[2].username: "a" is declared twice, first on line 2`},
		{"gate twice", "gates:\n  - code: a\n  - code: a\n", `s.yaml:3: gates[1].code: "a" is declared twice, first on line 2`},
		{"renamed and declared", "gates:\n  - code: b\n    was: a\n  - code: a\n", `s.yaml:3: gates[0].was: "a" is declared on line 4 as well: rename it in a file of its own first`},
		{"renamed to itself", "groups:\n  - name: a\n    was: a\n", `s.yaml:3: groups[0].was: "a" is the name it has: leave the line out`},
		{"two from one", "groups:\n  - {name: a, was: c}\n  - {name: b, was: c}\n", `s.yaml:3: groups[1].was: "c" becomes something else already on line 2`},
		{"nobody", "permissions:\n  - gate: a\n", "s.yaml:2: permissions[0]: name a user or a group"},
		{"both", "permissions:\n  - {gate: a, user: b, group: c}\n", "s.yaml:2: permissions[0]: name a user or a group, not both: write two permissions"},
		{"permission twice", "permissions:\n  - {gate: a, user: b}\n  - {gate: a, user: b, allow: false}\n", `s.yaml:3: permissions[1]: gate "a" for user b is declared twice, first on line 2`},
		{"period", "permissions:\n  - gate: a\n    user: b\n    valid_from: 2026-01-02 00:00\n    valid_until: 2026-01-01 00:00\n", "s.yaml:5: permissions[0].valid_until: ends before it begins"},
		{"month without day", "permissions:\n  - gate: a\n    user: b\n    valid_until: 2026-01\n", `s.yaml:4: permissions[0].valid_until: "2026-01" is not a time: write "2026-11-23" or "2026-11-23 09:00" (in the site's zone) or "2026-11-23T09:00:00Z"`},
		{"no user", "devices:\n  - name: Phone\n", "s.yaml:2: devices[0].user: is required"},
		{"tab", "users:\n\t- username: a\n", "s.yaml:2: is indented with a tab: YAML wants spaces"},
		{"not UTF-8", "users:\n  - username: \xff\n", "s.yaml:2: is not UTF-8 text"},
		{"control character", "users:\n  - username: \x01\n", "s.yaml:2: contains a control character"},
		{"two documents after a directive", "%YAML 1.2\n---\nusers: []\n---\nusers: []\n", "s.yaml:5: a second document begins: a site file has one"},
		{"two documents", "users: []\n---\nusers: []\n", "s.yaml:3: a second document begins: a site file has one"},
		{"alias of nothing", "users:\n  - username: *who\n", "s.yaml:2: users[0].username: must be text, not an alias (*who) of nothing"},
		{"deep", "users: " + strings.Repeat("[", 100_000), "s.yaml:1: is nested too deeply for a site"},
		{"deep dashes", strings.Repeat("- ", 100_000), "s.yaml:1: is nested too deeply for a site"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sitefile.Parse("s.yaml", []byte(c.in))
			if err == nil || err.Error() != c.want {
				t.Errorf("Parse(%.200q)\n got %v\nwant %s", c.in, err, c.want)
			}
		})
	}
}

func TestNotYAML(t *testing.T) {
	for _, in := range []string{"users:\n  - username: \"a\n", "users:\n  - username: a\n   email: b\n", "users: [\n", "a: b: c\n", "users:\n  - : x\n", "%YAML 9\n--- x: [\n"} {
		if _, err := sitefile.Parse("s.yaml", []byte(in)); err == nil || !strings.HasPrefix(err.Error(), "s.yaml:") {
			t.Errorf("Parse(%q) = %v, want a mistake with its line", in, err)
		}
	}
}

func TestMistakesTogether(t *testing.T) {
	_, err := sitefile.Parse("s.yaml", []byte("gates:\n  - code: 42\nusers:\n  - username: a\n    email: b\n  - {}\n"))
	want := `s.yaml:2: gates[0].code: must be text, and 42 is a number: put it in quotes, "42"
s.yaml:5: users[0].email: is not an e-mail address
s.yaml:6: users[1].username: is required`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	_, err = sitefile.Parse("s.yaml", []byte("users:\n"+strings.Repeat("  - {}\n", 70)))
	if got := strings.Count(err.Error(), "\n"); got != 50 || !strings.HasSuffix(err.Error(), "s.yaml: and 20 more mistakes") {
		t.Errorf("70 mistakes: %d line breaks and the end %q, want 50 lines and a count", got, err.Error()[len(err.Error())-40:])
	}
}

func TestAliases(t *testing.T) {
	s, err := sitefile.Parse("s", []byte(`
users:
  - &base
    username: a
    groups: &staff [Staff, Cleaners]
    staff: true
  - <<: *base
    username: b
    staff: false
  - username: c
    groups: *staff
`))
	if err != nil {
		t.Fatal(err)
	}
	b, c := s.Users[1], s.Users[2]
	if b.Username != "b" || b.Staff || len(b.Groups) != 2 || len(c.Groups) != 2 || c.At("groups[1]") != 11 {
		t.Errorf("b = %+v, c = %+v: want b with a's groups and its own values, c with the groups, said on line 11", b, c)
	}
}

func TestBombs(t *testing.T) {
	list := "[" + strings.Repeat("a,", 2000) + "a]"
	const repeated = "aliases repeat more than 200000 values"
	for _, c := range []struct{ name, in, want string }{
		{"lists", "users:\n  - username: a\n    groups: &g " + list + "\n" + strings.Repeat("  - username: b\n    groups: *g\n", 200), repeated},
		{"merges", "users:\n  - &u {username: a, email: b@c.d}\n" + strings.Repeat("  - {<<: [*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u,*u]}\n", 5500), repeated},
		{"sections", "users: &u [{username: a}]\ngroups: *u\n", `unknown key "username"`},
		{"itself", "users: &u [*u]\n", "must have keys such as username:, not a list"},
		{"in a ring", "users: &a *b\ngroups: &b *a\n", "is not YAML"},
		{"laughs", "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\nusers: *d\n", `unknown key "a"`},
	} {
		begun := time.Now()
		_, err := sitefile.Parse("s", []byte(c.in))
		var bad *sitefile.Mistakes
		if !errors.As(err, &bad) || !slices.ContainsFunc(bad.List, func(m sitefile.Mistake) bool { return strings.Contains(m.Text, c.want) }) {
			t.Errorf("%s: error %.300v, want among its mistakes: %s", c.name, err, c.want)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s: took %v", c.name, took)
		}
	}
	if _, err := sitefile.Parse("s", make([]byte, sitefile.MaxBytes+1)); err == nil || err.Error() != "s: is larger than 32 MiB" {
		t.Errorf("a file of 32 MiB and a byte: %v", err)
	}
}

func when(t *testing.T, s string) sitefile.When {
	t.Helper()
	w, err := sitefile.ParseWhen(s)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWhen(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ in, want string }{
		{"2026-11-23T09:00:00Z", "2026-11-23T09:00:00Z"},
		{"2026-11-23t09:00:00.1234567+03:00", "2026-11-23T06:00:00.123456Z"},
		{"2026-11-23 09:00", "2026-11-23T08:00:00Z"},
		{"2026-07-01T09:00:30", "2026-07-01T07:00:30Z"},
		{"2026-10-25 02:30", "2026-10-25T00:30:00Z"},
		{"2026-03-29 02:30", "2026-03-29 02:30 does not exist in Europe/Berlin: the clocks are put forward then"},
	} {
		got, err := when(t, c.in).In(berlin)
		text := got.Format(time.RFC3339Nano)
		if err != nil {
			text = err.Error()
		}
		if text != c.want {
			t.Errorf("%q in Berlin = %s, want %s", c.in, text, c.want)
		}
	}
	for _, c := range []struct{ zone, in, want string }{
		{"Europe/Berlin", "2027-01-01", "2026-12-31T23:00:00Z"},
		{"UTC", "2027-01-01", "2027-01-01T00:00:00Z"},
		{"Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z"},      // has no midnight: 01:00 follows 23:59
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"}, // the like, west of Greenwich
		{"America/Havana", "2026-11-01", "2026-11-01T04:00:00Z"},    // has two: 00:00 follows 00:59
		{"Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"},      // was left out: it begins and ends with the 31st
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		got, err := when(t, c.in).In(zone)
		if text := got.Format(time.RFC3339Nano); err != nil || text != c.want {
			t.Errorf("%s in %s = %s, %v; want %s", c.in, c.zone, text, err, c.want)
		}
	}
	for _, in := range []string{"tomorrow", "2026-11", "2026-02-30", "2026-11-23Z", "1970-01-01", "2026-02-30 09:00", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "09:00", " 2026-11-23 09:00"} {
		if w, err := sitefile.ParseWhen(in); err == nil {
			t.Errorf("ParseWhen(%q) = %v, want an error", in, w)
		}
	}
	at := time.Date(2026, 11, 23, 9, 0, 0, 123_000, time.UTC)
	if got, err := sitefile.Instant(at).In(berlin); err != nil || !got.Equal(at) {
		t.Errorf("Instant(%v).In = %v, %v", at, got, err)
	}
}

func TestDateAloneIsReadAndWritten(t *testing.T) {
	site, err := sitefile.Parse("s", []byte("permissions:\n  - {gate: a, user: b, valid_from: 2026-12-01, valid_until: \"2027-01-01\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := sitefile.Parse("again", sitefile.Encode(site))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*sitefile.Site{site, again} {
		p := s.Permissions[0]
		from, fromErr := p.ValidFrom.In(time.UTC)
		until, untilErr := p.ValidUntil.In(time.UTC)
		if got := from.Format(time.RFC3339) + " " + until.Format(time.RFC3339); fromErr != nil || untilErr != nil || got != "2026-12-01T00:00:00Z 2027-01-01T00:00:00Z" {
			t.Errorf("%s: got %s, %v, %v", s.File, got, fromErr, untilErr)
		}
	}
}

// Phones name themselves as they like: a site with such a name must still be one that can be read back.
func TestEncodeControlCharacters(t *testing.T) {
	const id = "a\n\t\x1b\x7f\u0085\u009b\u2028\ufeff\u200bb"
	s := &sitefile.Site{
		Users:   []sitefile.User{{Username: "anna"}},
		Devices: []sitefile.Device{{User: "anna", AndroidDeviceID: id}},
	}
	data := sitefile.Encode(s)
	again, err := sitefile.Parse("again.yaml", data)
	if err != nil {
		t.Fatalf("Parse(Encode(site)): %v\n%s", err, data)
	}
	if len(again.Devices) != 1 || again.Devices[0].AndroidDeviceID != id {
		t.Errorf("Parse(Encode(site)): got %+v, want the android id %q\n%s", again.Devices, id, data)
	}
}

func FuzzParse(f *testing.F) {
	if data, err := os.ReadFile("../../testdata/site.yaml"); err == nil {
		f.Add(data)
	}
	for _, s := range []string{"users: &a [*a]", "gates:\n  - {code: 1, <<: {a: b}}", "? a\n: b", "- - -\n", "users:\n  - username: |\n      a\n", "!!map {users: !x}", "users: *\n", "--- !\n", "{[]: {}}", "&a &b: c"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		s, err := sitefile.Parse("f", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("error %q does not name the file", err)
			}
			return
		}
		again, err := sitefile.Parse("f", sitefile.Encode(s))
		if err != nil {
			t.Fatalf("what Encode wrote does not parse: %v\n%s", err, sitefile.Encode(s))
		}
		if diff := cmp.Diff(s, again, content); diff != "" {
			t.Errorf("Parse(Encode(site)) (-site +again):\n%s", diff)
		}
	})
}
