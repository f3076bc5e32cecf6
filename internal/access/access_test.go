package access_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// fields lists "field code" of an Invalid, in order; "" for no error.
func fields(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var bad access.Invalid
	if !errors.As(err, &bad) {
		t.Fatalf("got %T %v, want access.Invalid", err, err)
	}
	var parts []string
	for _, f := range bad {
		parts = append(parts, f.Field+" "+string(f.Code))
	}
	return strings.Join(parts, ", ")
}

func TestValidate(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	user := func(edit func(*access.User)) access.User {
		u := access.User{Username: "ann"}
		edit(&u)
		return u
	}
	for _, c := range []struct {
		name string
		noun interface{ Validate() error }
		want string
	}{
		{"gate", access.Gate{Code: "gate-01"}, ""},
		{"gate with spaces inside and Cyrillic", access.Gate{Code: "калитка 1"}, ""},
		{"gate without a code", access.Gate{}, "code blank"},
		{"gate of spaces", access.Gate{Code: "  "}, "code blank"},
		{"gate with outer spaces could never match", access.Gate{Code: " gate-01"}, "code other"},
		{"gate code of 64 characters, not bytes", access.Gate{Code: strings.Repeat("ж", 64)}, ""},
		{"gate code of 65 characters", access.Gate{Code: strings.Repeat("g", 65)}, "code too_long"},
		{"gate with a NUL", access.Gate{Code: "a\x00b"}, "code nul"},
		{"gate with a line break in its name", access.Gate{Code: "a", Name: "a\nb"}, "name characters"},
		{"gate with a name that is read backwards", access.Gate{Code: "a", Name: "Front\u202erood"}, "name characters"},
		{"gate with an isolated name", access.Gate{Code: "a", Location: "\u2067hall\u2069"}, "location characters"},
		{"gate with a code that cannot be seen", access.Gate{Code: "\u200b"}, "code characters"},
		{"group with a name that cannot be seen", access.Group{Name: "\u3164\u200d"}, "name characters"},
		{"gate with a name that is joined, and one from right to left", access.Gate{Code: "👩\u200d🔧", Name: "שער\u200f 1", Location: "می\u200cخواهم"}, ""},
		{"gate in broken UTF-8", access.Gate{Code: "\xff"}, "code characters"},
		{"all that is wrong at once", access.Gate{Code: "", Name: strings.Repeat("n", 129), ReleaseMS: -1}, "code blank, name too_long, release_ms range"},
		{"release time of a minute", access.Gate{Code: "a", ReleaseMS: 60_000}, ""},
		{"release time over a minute", access.Gate{Code: "a", ReleaseMS: 60_001}, "release_ms range"},

		{"user", user(func(*access.User) {}), ""},
		{"user with an address", user(func(u *access.User) { u.Email = "ann@example.com" }), ""},
		{"user with half an address", user(func(u *access.User) { u.Email = "ann@" }), "email email"},
		{"user with two addresses", user(func(u *access.User) { u.Email = "a@x.org, b@x.org" }), "email email"},
		{"user with a language we do not speak", user(func(u *access.User) { u.Language = "xx" }), "language unknown"},
		{"user of 151 characters", user(func(u *access.User) { u.Username = strings.Repeat("u", 151) }), "username too_long"},

		{"group", access.Group{Name: "Staff"}, ""},
		{"group without a name", access.Group{}, "name blank"},

		{"permission of a user", access.Permission{GateID: 1, UserID: 2}, ""},
		{"permission of nobody", access.Permission{GateID: 1}, " other"},
		{"permission of a user and a group", access.Permission{GateID: 1, UserID: 2, GroupID: 3}, " other"},
		{"permission without a gate", access.Permission{UserID: 2}, "gate required"},
		{"permission for a while", access.Permission{GateID: 1, UserID: 2, ValidFrom: noon, ValidUntil: noon.Add(time.Hour)}, ""},
		{"permission for no time at all", access.Permission{GateID: 1, UserID: 2, ValidFrom: noon, ValidUntil: noon}, "valid_until period"},

		{"device", access.Device{UserID: 1, Name: "Mobile device"}, ""},
		{"device of nobody", access.Device{}, "user required"},
		{"device with an android id that phones may send", access.Device{UserID: 1, AndroidDeviceID: "a\n\x1b\u200bb"}, ""},
		{"device with an android id with a NUL", access.Device{UserID: 1, AndroidDeviceID: "a\x00"}, "android_device_id nul"},
		{"device with an android id that is no text", access.Device{UserID: 1, AndroidDeviceID: "a\xff"}, "android_device_id characters"},
		{"device with a long android id", access.Device{UserID: 1, AndroidDeviceID: strings.Repeat("a", 129)}, "android_device_id too_long"},
	} {
		if got := fields(t, c.noun.Validate()); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestInvalidReadsAsASentence(t *testing.T) {
	err := access.Gate{Code: strings.Repeat("g", 65), ReleaseMS: -1}.Validate()
	want := "code: may have at most 64 characters; release_ms: must be between 0 and 60000"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRoleOfAUser(t *testing.T) {
	for _, c := range []struct {
		name string
		user access.User
		want access.Role
	}{
		{"nobody in particular", access.User{}, access.None},
		{"staff is a manager", access.User{Staff: true}, access.Manager},
		{"superuser is an owner", access.User{Superuser: true}, access.Owner},
		{"a grant counts", access.User{Roles: []access.RoleGrant{{Role: access.Viewer}}}, access.Viewer},
		{"the highest counts", access.User{Staff: true, Roles: []access.RoleGrant{{Role: access.Viewer}}}, access.Manager},
	} {
		if got := c.user.Role(); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if !access.Owner.Includes(access.Viewer) || access.Viewer.Includes(access.Manager) || !access.None.Includes(access.None) {
		t.Error("owner includes viewer, viewer does not include manager, none includes none")
	}
}

func TestDay(t *testing.T) {
	for at, want := range map[string]int{"1970-01-01T00:00:00Z": 0, "1970-01-01T23:59:59Z": 0, "1970-01-02T00:00:00Z": 1, "2026-11-23T16:00:00+03:00": 20780} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := access.Day(when); got != want {
			t.Errorf("Day(%s): got %d, want %d", at, got, want)
		}
	}
}

func TestShownGate(t *testing.T) {
	for code, want := range map[string]string{
		"gate-01":                                                       "gate-01",
		strings.Repeat("ж", 65):                                         strings.Repeat("ж", 64),
		strings.Repeat("a", 31):                                         strings.Repeat("a", 31),
		strings.Repeat("aB", 20):                                        "aBaB…aBaB",
		"0123456789abcdef0123456789abcdefx":                             "0123…cdefx",
		"gate-01;token=" + strings.Repeat("d2", 20):                     "gate-01;token=d2d2…d2d2",
		strings.Repeat("x", 60) + strings.Repeat("d2", 32):              strings.Repeat("x", 60) + "d2d2",
		strings.Repeat("a1", 20) + "," + strings.Repeat("B2", 20) + ",": "a1a1…a1a1,B2B2…B2B2,",
	} {
		if got := access.ShownGate(code); got != want {
			t.Errorf("ShownGate(%q): got %q, want %q", code, got, want)
		}
	}
}
