package decide

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// goldenSite is the site that the recorded exchanges of API v1 speak of.
func goldenSite(t *testing.T) *site {
	s := newSite(t)
	s.groups("USER", "G1", "G2", "DENIED", "PAIR")
	s.user("admin", tokens(strings.Repeat("a1", 20)))
	s.user("demo", in("USER"), tokens(strings.Repeat("d2", 20)))
	s.user("alice", tokens(strings.Repeat("a3", 20)))
	s.user("bob", tokens(strings.Repeat("b4", 20)))
	s.user("carol", inactive, tokens(strings.Repeat("c5", 20)))
	s.user("dave", in("G1", "G2"), tokens(strings.Repeat("d6", 20)))
	s.user("erin", in("USER"), tokens(strings.Repeat("e7", 20)))
	s.user("frank", in("DENIED"), tokens(strings.Repeat("f8", 20)))
	s.user("grace", in("DENIED"), tokens(strings.Repeat("99", 20)))
	s.user("heidi")
	s.user("two words", tokens(strings.Repeat("11", 20)))
	s.user("Юрий", in("PAIR"), tokens(strings.Repeat("12", 20)))
	s.user("tok8", tokens("tok8char"))
	s.user("tok7")
	s.user("MixedCase", tokens("AbCdEf0123456789AbCdEf0123456789AbCdEf01"))
	s.user("manydev", tokens(strings.Repeat("16", 20)))
	s.user("nodev", tokens(strings.Repeat("17", 20)))
	s.user("revdev", tokens(strings.Repeat("18", 20)))
	s.user("spacepw", tokens(strings.Repeat("19", 20)))
	s.user("judy", in("G1", "G2", "DENIED"), tokens(strings.Repeat("20", 20)))

	s.gate("gate-01", "gate-02", "Gate-Case", "калитка-1", "42", "gate 03", "1.5", "gate-empty", gate64, "gate-multi", "gate-deny", "gate-pair", "gate-dup")

	s.permit("gate-01", "group USER")
	s.permit("gate-01", "user alice")
	s.permit("gate-01", "user carol")
	s.permit("gate-01", "user erin", suspended)
	s.permit("gate-02", "user frank")
	s.permit("gate-02", "group DENIED", suspended)
	s.permit("gate-deny", "user grace", suspended)
	s.permit("gate-deny", "group DENIED", suspended)
	s.permit("gate-multi", "group G1", suspended)
	s.permit("gate-multi", "group G2")
	s.permit("gate-multi", "user judy")
	for _, gate := range []string{"Gate-Case", "калитка-1", "42", "gate 03", "1.5", gate64} {
		s.permit(gate, "user demo")
	}
	s.permit("gate-pair", "user bob")
	s.permit("gate-pair", "group PAIR")
	s.permit("gate-dup", "user demo")
	s.permit("gate-01", "user tok8")
	s.permit("gate-01", "user tok7")
	s.permit("gate-01", "user MixedCase")
	s.permit("gate-01", "user Юрий")

	s.device("demo", strings.Repeat("a", 64), true)
	s.device("alice", "a1b2c3d4"+strings.Repeat("0", 56), true)
	s.device("alice", "a2b2c3d4"+strings.Repeat("1", 56), true)
	s.device("alice", "a3b2c3d4"+strings.Repeat("2", 56), false)
	s.device("manydev", strings.Repeat("51", 32), true)
	s.device("manydev", strings.Repeat("61", 32), true)
	s.device("manydev", strings.Repeat("71", 32), true)
	s.device("manydev", strings.Repeat("81", 32), false)
	s.device("revdev", strings.Repeat("91", 32), false)
	return s
}

var gate64 = strings.Repeat("g", 64)

func TestGoldenSite(t *testing.T) {
	s := goldenSite(t).asks()
	allow, deny := s.allow, s.deny

	allow("alice", "gate-01")   // her own
	allow("demo", "gate-01")    // by group
	allow("erin", "gate-01")    // her own is suspended, her group's is not
	allow("frank", "gate-02")   // his own is not suspended, his group's is
	allow("dave", "gate-multi") // one of his groups' is suspended, the other's is not
	allow("judy", "gate-multi")
	allow("tok8", "gate-01")
	allow("MixedCase", "gate-01")
	allow("Юрий", "gate-01")
	allow("demo", "gate-dup")
	for _, gate := range []string{"Gate-Case", "калитка-1", "42", "gate 03", "1.5", gate64} {
		allow("demo", gate)
	}

	// A permission recorded for a user and a group at once lets either pass.
	allow("bob", "gate-pair")
	allow("Юрий", "gate-pair")
	deny("demo", "gate-pair", access.NoPermission)

	deny("admin", "gate-01", access.NoPermission) // a superuser needs a permission like anybody
	deny("bob", "gate-01", access.NoPermission)
	deny("nodev", "gate-01", access.NoPermission)
	deny("grace", "gate-deny", access.NoPermission)
	deny("frank", "gate-deny", access.NoPermission)
	deny("grace", "gate-02", access.NoPermission) // her group's is suspended
	deny("demo", "gate-empty", access.NoPermission)
	deny("two words", "gate-empty", access.NoPermission)
	deny("carol", "gate-01", access.TokenInvalid) // inactive, though she has a permission

	// Codes are compared byte for byte.
	for _, gate := range []string{
		"gate-99", "", "GATE-01", "gate-case", "КАЛИТКА-1", "калитка-1\u0301", "gate-01 ", " gate-01", "gate\x07", "gate-01\u200b", "%", "-1", gate64 + "g", "42.0", "01.5", "gate",
	} {
		deny("demo", gate, access.UnknownGate)
		s.denyToken("nobody's", gate, access.UnknownGate) // comes before the token is looked at
	}

	for _, text := range []string{
		strings.Repeat("f", 40), strings.Repeat("D2", 20), "xxxxxxxx", "tok8chaR", "tok8char ", "Token " + strings.Repeat("d2", 20), "' OR '1'='1", "",
		strings.Repeat("x", 128), strings.Repeat("d2", 19),
	} {
		s.denyToken(text, "gate-01", access.TokenInvalid)
	}

	s.allowToken(strings.Repeat("a", 64), "gate-01") // demo's phone
	s.allowToken("a1b2c3d4"+strings.Repeat("0", 56), "gate-01")
	s.denyToken("a3b2c3d4"+strings.Repeat("2", 56), "gate-01", access.DeviceInactive) // alice's revoked phone
	s.denyToken(strings.Repeat("91", 32), "gate-01", access.DeviceInactive)
	s.denyToken(strings.Repeat("91", 32), "gate-empty", access.DeviceInactive) // comes before the permission
	s.denyToken(strings.Repeat("71", 32), "gate-01", access.NoPermission)
	s.denyToken(strings.Repeat("81", 32), "gate-01", access.DeviceInactive)
	s.allow("alice", "gate-01") // her own token is not her phone's
}

// TestEventFields looks at what a decision tells the event log.
func TestEventFields(t *testing.T) {
	s := goldenSite(t)
	s.delta.Gates[0].ReleaseMS = 2500
	demo, phone := strings.Repeat("d2", 20), strings.Repeat("a", 64)
	for _, tc := range []struct {
		token, gate string
		want        Decision
	}{
		{demo, "gate-01", Decision{Outcome: access.Allow, Reason: access.OK, ReleaseMS: 2500, GateID: 1, UserID: 2, CredentialID: 2, PermissionID: 1}},
		{demo, "gate-dup", Decision{Outcome: access.Allow, Reason: access.OK, ReleaseMS: 800, GateID: 13, UserID: 2, CredentialID: 2, PermissionID: 20}},
		{phone, "gate-01", Decision{Outcome: access.Allow, Reason: access.OK, ReleaseMS: 2500, GateID: 1, UserID: 2, CredentialID: 19, DeviceID: 1, PermissionID: 1}},
		{demo, "gate-99", Decision{Outcome: access.Deny, Reason: access.UnknownGate}},
		{"unknown", "gate-01", Decision{Outcome: access.Deny, Reason: access.TokenInvalid, GateID: 1}},
		{strings.Repeat("c5", 20), "gate-01", Decision{Outcome: access.Deny, Reason: access.TokenInvalid, GateID: 1, UserID: 5, CredentialID: 5}},
		{strings.Repeat("91", 32), "gate-01", Decision{Outcome: access.Deny, Reason: access.DeviceInactive, GateID: 1, UserID: 18, CredentialID: 27, DeviceID: 9}},
		{demo, "gate-empty", Decision{Outcome: access.Deny, Reason: access.NoPermission, GateID: 8, UserID: 2, CredentialID: 2}},
		// Both his own (11) and his groups' (10) let judy pass: his own is named.
		{strings.Repeat("20", 20), "gate-multi", Decision{Outcome: access.Allow, Reason: access.OK, ReleaseMS: 800, GateID: 10, UserID: 20, CredentialID: 18, PermissionID: 11}},
	} {
		a := s.asks()
		for how, snap := range a.snapshots {
			if got := snap.Decide(a.request(tc.token, tc.gate)); got != tc.want {
				t.Errorf("%s: token %.12s… at %s:\n got %s\nwant %s", how, tc.token, tc.gate, show(got), show(tc.want))
			}
			if got, want := snap.Mark(), s.delta.Mark; got != want {
				t.Errorf("%s: mark: got %v, want %v", how, got, want)
			}
		}
	}
}

func TestWhichPermission(t *testing.T) {
	s := newSite(t)
	s.groups("staff", "night", "guests")
	s.gate("door")
	s.user("ann", in("guests", "night", "staff"), tokens("ann's token"))
	s.permit("door", "group night", until(s.at)) // 1: over
	s.permit("door", "group guests")             // 2
	s.permit("door", "group staff")              // 3
	s.permit("door", "user ann", from(s.at.Add(time.Hour)))
	s.permit("door", "user ann", from(s.at.Add(-time.Hour)))
	s.permit("door", "user ann")
	want := func(what string, id int64) {
		t.Helper()
		a := s.asks()
		for how, snap := range a.snapshots {
			if d := snap.Decide(a.first("ann", "door")); d.PermissionID != id {
				t.Errorf("%s, %s: got permission %d, want %d", how, what, d.PermissionID, id)
			}
		}
	}
	want("her own with the lowest id that holds", 5)
	s.delta.Permissions[4].Allow = false
	want("her own that is left", 6)
	s.delta.Permissions[5].Allow = false
	want("the groups' with the lowest id that holds", 2)
	s.at = s.at.Add(-time.Microsecond)
	want("one that is not over yet", 1)
	s.at = s.at.Add(time.Hour + time.Microsecond)
	want("her own again, an hour later", 4)
}

// TestWhichPermissionOfGreatIDs: ids above 2^31 are numbered as they are met, which must not show.
func TestWhichPermissionOfGreatIDs(t *testing.T) {
	s := newSite(t)
	s.groups("staff")
	s.gate("door", "back door")
	s.user("ann", in("staff"), tokens("ann's token"))
	for i, gate := range []string{"door", "door", "door", "back door", "back door", "back door"} {
		s.permit(gate, map[bool]string{true: "user ann", false: "group staff"}[gate == "door"])
		s.delta.Permissions[i].ID = []int64{1 << 50, 1 << 40, 1 << 45}[i%3] + int64(i/3)
	}
	a := s.asks()
	for how, snap := range a.snapshots {
		for gate, want := range map[string]int64{"door": 1 << 40, "back door": 1<<40 + 1} {
			if d := snap.Decide(a.first("ann", gate)); d.PermissionID != want {
				t.Errorf("%s: %s: got permission %d, want %d", how, gate, d.PermissionID, want)
			}
		}
	}
}

// TestManyGroups has sets of groups of every length, in short and in long steps.
func TestManyGroups(t *testing.T) {
	for _, step := range []int64{1, 200, 20_000} {
		s := newSite(t)
		s.gate("first", "last")
		var all []int64
		for n := range 40 {
			name := fmt.Sprint("user ", n)
			s.user(name, tokens("token "+name))
			if n == 0 {
				continue
			}
			all = append(all, int64(n)*step)
			s.delta.Users[n].Groups = slices.Clone(all)
			slices.Reverse(s.delta.Users[n].Groups)
		}
		s.delta.Permissions = append(s.delta.Permissions, access.PolicyPermission{ID: 1, GateID: 1, GroupID: all[0], Allow: true})
		for i, g := range all {
			s.delta.Gates = append(s.delta.Gates, access.PolicyGate{ID: int64(100 + i), Code: fmt.Sprint("gate ", i+1)})
			s.ids[fmt.Sprint("gate gate ", i+1)] = int64(100 + i)
			s.delta.Permissions = append(s.delta.Permissions, access.PolicyPermission{ID: int64(100 + i), GateID: int64(100 + i), GroupID: g, Allow: true})
		}
		a := s.asks()
		for n := range 40 {
			name := fmt.Sprint("user ", n)
			for gate := 1; gate < 40; gate++ {
				if code := fmt.Sprint("gate ", gate); gate <= n {
					a.allow(name, code)
				} else {
					a.deny(name, code, access.NoPermission)
				}
			}
		}
	}
}

func TestPermissionPeriod(t *testing.T) {
	nine := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	ten := nine.Add(time.Hour)
	for _, subject := range []string{"user ann", "group staff"} {
		s := newSite(t)
		s.groups("staff")
		s.gate("from", "until", "both", "never")
		s.user("ann", in("staff"), tokens("ann's token"))
		s.user("other", tokens("other's token"))
		s.permit("from", subject, from(nine))
		s.permit("until", subject, until(ten))
		s.permit("both", subject, from(nine), until(ten))
		s.permit("never", subject, from(nine), until(nine))
		for _, tc := range []struct {
			at   time.Time
			pass string
		}{
			{nine.Add(-time.Microsecond), "until"},
			{nine, "from until both"},
			{ten.Add(-time.Microsecond), "from until both"},
			{ten, "from"},
		} {
			s.at = tc.at
			a := s.asks()
			for _, gate := range []string{"from", "until", "both", "never"} {
				if strings.Contains(tc.pass, gate) {
					a.allow("ann", gate)
				} else {
					a.deny("ann", gate, access.NoPermission)
				}
				a.deny("other", gate, access.NoPermission)
			}
		}
	}
}

func TestCredentialPeriod(t *testing.T) {
	nine := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	ten := nine.Add(time.Hour)
	s := newSite(t)
	s.gate("door")
	s.user("from", special("from", func(c *access.PolicyCredential) { c.ValidFrom = nine.UnixMicro() }))
	s.user("until", special("until", func(c *access.PolicyCredential) { c.ValidUntil = ten.UnixMicro() }))
	s.user("both", special("both", func(c *access.PolicyCredential) { c.ValidFrom, c.ValidUntil = nine.UnixMicro(), ten.UnixMicro() }))
	for _, u := range []string{"from", "until", "both"} {
		s.permit("door", "user "+u)
	}
	for _, tc := range []struct {
		at   time.Time
		pass string
	}{
		{nine.Add(-time.Microsecond), "until"},
		{nine, "from until both"},
		{ten.Add(-time.Microsecond), "from until both"},
		{ten, "from"},
	} {
		s.at = tc.at
		a := s.asks()
		for _, u := range []string{"from", "until", "both"} {
			if strings.Contains(tc.pass, u) {
				a.allow(u, "door")
			} else {
				a.deny(u, "door", access.TokenInvalid)
			}
		}
	}
}

func TestIdling(t *testing.T) {
	const last = 20_000 // the day of last use
	idles := func(c *access.PolicyCredential) { c.IdleExpires, c.LastUsedDay = true, last }
	build := func(idleDays int) *Snapshot {
		s := newSite(t)
		s.idle = idleDays
		s.gate("door")
		s.user("ann", special("ann", idles))
		s.user("stays", special("stays", func(c *access.PolicyCredential) { c.LastUsedDay = last }))
		s.user("gone", inactive, special("gone", idles))
		s.user("over", special("over", func(c *access.PolicyCredential) { idles(c); c.ValidUntil = 1 }))
		s.user("lost", special("lost", func(c *access.PolicyCredential) { idles(c); c.Inactive = true }))
		s.user("never", special("never", func(c *access.PolicyCredential) { idles(c); c.LastUsedDay = 0 }))
		for _, u := range []string{"ann", "stays", "gone", "over", "lost", "never"} {
			s.permit("door", "user "+u)
		}
		return s.compiled()["compiled"]
	}
	for _, tc := range []struct {
		token    string
		idleDays int
		day      int
		known    int // Request.LastUsedDay
		want     access.Reason
		touch    bool
		ended    bool
	}{
		{"ann", 90, last, 0, access.OK, false, false},
		{"ann", 90, last - 1, 0, access.OK, false, false}, // a clock set back
		{"ann", 90, last + 1, 0, access.OK, true, false},
		{"ann", 90, last + 90, 0, access.OK, true, false},
		{"ann", 90, last + 91, 0, access.TokenInvalid, false, true},
		{"ann", 90, last + 91, last + 1, access.OK, true, false}, // the database knows better
		{"ann", 90, last + 91, last + 91, access.OK, false, false},
		{"ann", 90, last + 91, last, access.TokenInvalid, false, true},
		{"ann", 90, last + 91, 5, access.TokenInvalid, false, true}, // and never worse
		{"ann", 90, last + 90, 5, access.OK, true, false},
		{"ann", 0, last + 10_000, 0, access.OK, true, false},
		{"ann", -1, last + 10_000, 0, access.OK, true, false},
		{"stays", 90, last + 10_000, 0, access.OK, true, false},
		{"gone", 90, last + 91, 0, access.TokenInvalid, false, false}, // not idling alone
		{"over", 90, last + 91, 0, access.TokenInvalid, false, false},
		{"lost", 90, last + 91, 0, access.TokenInvalid, false, true}, // comes before DEVICE_INACTIVE
		{"lost", 90, last + 90, 0, access.DeviceInactive, true, false},
		{"never", 90, last, 0, access.TokenInvalid, false, true},
		{"never", 90, last, last, access.OK, false, false},
	} {
		for _, second := range []int64{0, access.MicrosPerDay - 1} { // the whole day is alike
			r := Request{Gate: "door", Lookups: []access.Lookup{lookup(tc.token)}, At: int64(tc.day)*access.MicrosPerDay + second, LastUsedDay: tc.known}
			if d := build(tc.idleDays).Decide(r); d.Reason != tc.want || d.Touch != tc.touch || d.IdleEnded != tc.ended {
				t.Errorf("%s, %d idle days, day %d, known %d: got %s, want %s touch %t ended %t", tc.token, tc.idleDays, tc.day, tc.known, show(d), tc.want, tc.touch, tc.ended)
			}
		}
	}
}

func TestLookupsAreTriedInOrder(t *testing.T) {
	s := newSite(t)
	s.gate("door")
	s.user("ann", tokens("one", "two"))
	s.permit("door", "user ann")
	a := s.asks()
	for _, tc := range []struct {
		tried []string
		want  int64
	}{
		{nil, 0},
		{[]string{"x", "y", "z"}, 0},
		{[]string{"one", "two"}, 1},
		{[]string{"two", "one"}, 2},
		{[]string{"x", "y", "z", "w", "two"}, 2},
	} {
		r := Request{Gate: "door", At: s.at.UnixMicro()}
		for _, text := range tc.tried {
			r.Lookups = append(r.Lookups, lookup(text))
		}
		for how, snap := range a.snapshots {
			if d := snap.Decide(r); d.CredentialID != tc.want {
				t.Errorf("%s: lookups %q: got credential %d, want %d", how, tc.tried, d.CredentialID, tc.want)
			}
		}
	}
}

// TestDecideAllocatesNothing also covers the rarer ways: dated permissions and credentials, great ids, several lookups.
func TestDecideAllocatesNothing(t *testing.T) {
	s := goldenSite(t)
	s.delta.Users[1].ID, s.delta.Credentials[1].UserID = 1<<40, 1<<40
	s.permit("gate-empty", "group USER", from(s.at))
	s.delta.Credentials[3].ValidUntil = s.at.Add(time.Hour).UnixMicro()
	a := s.asks()
	for how, snap := range a.snapshots {
		for _, gate := range []string{"gate-01", "gate-empty", "gate-99", "gate-pair"} {
			for _, text := range []string{strings.Repeat("d2", 20), strings.Repeat("b4", 20), strings.Repeat("c5", 20), strings.Repeat("91", 32), "unknown"} {
				r := Request{Gate: gate, Lookups: []access.Lookup{lookup("x"), lookup("y"), lookup(text)}, At: s.at.UnixMicro()}
				if n := testing.AllocsPerRun(100, func() { snap.Decide(r) }); n != 0 {
					t.Errorf("%s: %.12s… at %s: got %v allocations, want 0", how, text, gate, n)
				}
			}
		}
	}
}

func TestEmptySnapshot(t *testing.T) {
	r := Request{Gate: "door", Lookups: []access.Lookup{lookup("x")}}
	want := Decision{Outcome: access.Deny, Reason: access.UnknownGate}
	for name, s := range map[string]*Snapshot{"zero": {}, "compiled": NewBuilder(90).Snapshot(access.PolicyMark{})} {
		if got := s.Decide(r); got != want {
			t.Errorf("%s: got %s, want %s", name, show(got), show(want))
		}
		if got := s.WithUse(5, []int64{1, 1 << 40}); got != s {
			t.Errorf("%s: WithUse of unknown credentials made another snapshot", name)
		}
		s = s.With(access.PolicyDelta{Gates: []access.PolicyGate{{ID: 1, Code: "door"}}})
		if got := s.Decide(r); got.Reason != access.TokenInvalid {
			t.Errorf("%s with a gate: got %s, want TOKEN_INVALID", name, show(got))
		}
	}
}
