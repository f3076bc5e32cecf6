package decide

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/openway-access/openway/internal/access"
)

// Small pools make random policies meet: the same few things are named again and again. They hold the edges of every
// encoding: ids around 2^31, distances between groups that need several bytes, lookups that share their first bytes.
var (
	someIDs    = []int64{1, 2, 3, 4, 5, 6, 7, 300, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32, 1 << 40, math.MaxInt64}
	someGroups = []int64{1, 2, 3, 4, 5, 6, 133, 134, 70_000, math.MaxInt32, math.MaxInt32 + 1, math.MaxInt64}
	someCodes  = []string{"a", "b", "A", "gate-01", "калитка", "a\x00", "long enough to be no small string at all, if there were such"}
	someDays   = []int{19_999, 20_000, 20_001, 20_004, 20_005, 20_006}
	someTimes  = []int64{0, 1, 20_000 * access.MicrosPerDay, 20_000*access.MicrosPerDay + 5, 20_005 * access.MicrosPerDay, math.MaxInt64}
)

func someLookups() []access.Lookup {
	out := make([]access.Lookup, 12)
	for i := range out {
		out[i] = lookup(string(rune('a' + i)))
	}
	copy(out[1][:4], out[0][:4]) // the same tag
	copy(out[2][:4], out[0][:4])
	out[3] = out[0]
	out[3][31]++ // all but the last byte
	out[4] = access.Lookup{}
	for i := range out[5] {
		out[5][i] = 0xff
	}
	return out
}

// drawDelta draws a change of m, within what a database would hold: codes and lookups are unique.
func drawDelta(t *rapid.T, m *model, most int) access.PolicyDelta {
	distinct := func(label string) []int64 {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(someIDs), 0, most, rapid.ID[int64]).Draw(t, label)
	}
	split := func(ids []int64, label string) (changed, gone []int64) {
		n := rapid.IntRange(0, len(ids)).Draw(t, label)
		return ids[:n], ids[n:]
	}
	version := m.mark.Version + 1
	d := access.PolicyDelta{Mark: access.PolicyMark{Version: version, Stamp: rapid.Int64().Draw(t, "stamp")}}
	if rapid.Bool().Draw(t, "site") {
		d.Site = &access.PolicySite{DefaultReleaseMS: rapid.IntRange(1, 60_000).Draw(t, "default")}
	}

	changed, gone := split(distinct("gates"), "gates gone")
	d.GoneGates = slices.Clone(gone)
	codes := slices.Clone(someCodes)
	for id, g := range m.gates {
		if !slices.Contains(changed, id) && !slices.Contains(gone, id) {
			codes = slices.DeleteFunc(codes, func(c string) bool { return c == g.Code })
		}
	}
	for _, id := range changed {
		if len(codes) == 0 {
			d.GoneGates = append(d.GoneGates, id)
			continue
		}
		i := rapid.IntRange(0, len(codes)-1).Draw(t, "code")
		d.Gates = append(d.Gates, access.PolicyGate{ID: id, Code: codes[i], ReleaseMS: rapid.SampledFrom([]int{0, 0, 1, 5000}).Draw(t, "release")})
		codes = slices.Delete(codes, i, i+1)
	}

	changed, d.GoneUsers = split(distinct("users"), "users gone")
	for _, id := range changed {
		d.Users = append(d.Users, access.PolicyUser{
			ID: id, Active: rapid.IntRange(0, 4).Draw(t, "active") > 0,
			Groups: rapid.SliceOfN(rapid.SampledFrom(someGroups), 0, 6).Draw(t, "groups"),
		})
	}

	changed, d.GonePermissions = split(distinct("permissions"), "permissions gone")
	for _, id := range changed {
		p := access.PolicyPermission{ID: id, GateID: rapid.SampledFrom(someIDs).Draw(t, "gate"), Allow: rapid.IntRange(0, 3).Draw(t, "allow") > 0}
		if rapid.Bool().Draw(t, "for a group") {
			p.GroupID = rapid.SampledFrom(someGroups).Draw(t, "group")
		} else {
			p.UserID = rapid.SampledFrom(someIDs).Draw(t, "user")
		}
		if rapid.Bool().Draw(t, "dated") {
			p.ValidFrom, p.ValidUntil = rapid.SampledFrom(someTimes).Draw(t, "from"), rapid.SampledFrom(someTimes).Draw(t, "until")
		}
		d.Permissions = append(d.Permissions, p)
	}

	changed, gone = split(distinct("credentials"), "credentials gone")
	d.GoneCredentials = slices.Clone(gone)
	lookups := someLookups()
	for id, c := range m.credentials {
		if !slices.Contains(changed, id) && !slices.Contains(gone, id) {
			lookups = slices.DeleteFunc(lookups, func(l access.Lookup) bool { return l == c.Lookup })
		}
	}
	for _, id := range changed {
		if len(lookups) == 0 {
			d.GoneCredentials = append(d.GoneCredentials, id)
			continue
		}
		i := rapid.IntRange(0, len(lookups)-1).Draw(t, "lookup")
		c := access.PolicyCredential{
			ID: id, UserID: rapid.SampledFrom(someIDs).Draw(t, "owner"), DeviceID: rapid.SampledFrom(append(someIDs, 0)).Draw(t, "device"), Lookup: lookups[i],
			Inactive: rapid.IntRange(0, 4).Draw(t, "inactive") == 0, IdleExpires: rapid.Bool().Draw(t, "idles"),
			LastUsedDay: int32(rapid.SampledFrom(append(someDays, 0, rowDay, rowDay+1, math.MaxInt32)).Draw(t, "last used")),
		}
		if rapid.IntRange(0, 2).Draw(t, "dated") == 0 {
			c.ValidFrom, c.ValidUntil = rapid.SampledFrom(someTimes).Draw(t, "from"), rapid.SampledFrom(someTimes).Draw(t, "until")
		}
		d.Credentials = append(d.Credentials, c)
		lookups = slices.Delete(lookups, i, i+1)
	}
	return d
}

// compare asks both about every code and lookup.
func compare(t *rapid.T, what string, m *model, s *Snapshot, at int64, known int) {
	t.Helper()
	lookups := someLookups()
	for _, code := range append(someCodes, "unknown") {
		for i, l := range lookups {
			r := Request{Gate: code, Lookups: []access.Lookup{l}, At: at, LastUsedDay: known}
			if i%3 == 0 {
				r.Lookups = []access.Lookup{lookup("none"), l, lookups[(i+1)%len(lookups)]}
			}
			if d := s.Decide(r); d.Reason == access.OK || d.Reason == access.NoPermission {
				if u := s.DecideUser(r.Gate, d.UserID, r.At); u.Reason != d.Reason || u.Outcome != d.Outcome || u.PermissionID != d.PermissionID || u.ReleaseMS != d.ReleaseMS {
					t.Fatalf("the user of %+v: got %+v, the credential gets %+v", r, u, d)
				}
			}
			if got, want := s.Decide(r), m.decide(r); got != want {
				t.Fatalf("%s: gate %q, lookup %d, at %d:\n got %s\nwant %s", what, code, i, at, show(got), show(want))
			}
		}
	}
	st := s.Stats()
	granting := 0
	for _, p := range m.permissions {
		if p.Allow {
			granting++
		}
	}
	if st.Users != len(m.users) || st.Gates != len(m.gates) || st.Credentials != len(m.credentials) || st.Permissions != granting {
		t.Fatalf("%s: got %+v, want %d users, %d gates, %d credentials, %d permissions", what, st, len(m.users), len(m.gates), len(m.credentials), granting)
	}
	if s.Mark() != m.mark {
		t.Fatalf("%s: got mark %v, want %v", what, s.Mark(), m.mark)
	}
}

func drawAt(t *rapid.T) (at int64, known int) {
	at = rapid.SampledFrom(someTimes[1:5]).Draw(t, "time") + rapid.Int64Range(-1, 1).Draw(t, "or so")
	if rapid.Bool().Draw(t, "on a day") {
		at = int64(rapid.SampledFrom(someDays).Draw(t, "day")) * access.MicrosPerDay
	}
	if rapid.IntRange(0, 3).Draw(t, "use known") == 0 {
		known = rapid.SampledFrom(someDays).Draw(t, "last use")
	}
	return at, known
}

// TestDecidesLikeTheModel compiles random policies, told in any order.
func TestDecidesLikeTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := modelOf(rapid.SampledFrom([]int{0, 1, 5}).Draw(t, "idle days"), access.PolicyDelta{})
		m.apply(drawDelta(t, m, len(someIDs)))
		at, known := drawAt(t)
		compare(t, "in order", m, m.compile(slices.Clone[[]int]), at, known)
		compare(t, "shuffled", m, m.compile(shuffled(rapid.Uint64().Draw(t, "seed"))), at, known)
	})
}

// TestWithLikeTheModel makes random changes to random policies, one after the other, and looks at each step that the step before did not change.
func TestWithLikeTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := modelOf(rapid.SampledFrom([]int{0, 1, 5}).Draw(t, "idle days"), access.PolicyDelta{})
		m.apply(drawDelta(t, m, rapid.IntRange(0, len(someIDs)).Draw(t, "begin with")))
		s := m.compile(shuffled(rapid.Uint64().Draw(t, "seed")))
		at, known := drawAt(t)
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			before := *m
			before.gates, before.users = maps.Clone(m.gates), maps.Clone(m.users)
			before.permissions, before.credentials = maps.Clone(m.permissions), maps.Clone(m.credentials)
			d := drawDelta(t, m, rapid.IntRange(0, 4).Draw(t, "how much"))
			next := s.With(d)
			if rapid.IntRange(0, 3).Draw(t, "branch") == 0 { // two lines of descent do not disturb each other
				s.With(drawDelta(t, m, 4))
			}
			m.apply(d)
			compare(t, "after the change", m, next, at, known)
			compare(t, "the snapshot before the change", &before, s, at, known)
			s = next
		}
	})
}

// TestManyEditsOfABigSite does it where blocks get cut, shards are chosen anew and everything shrinks again: incremental
// must equal compiled from scratch.
func TestManyEditsOfABigSite(t *testing.T) {
	const (
		people = 6000
		rounds = 24
	)
	rnd := rand.New(rand.NewPCG(2026, 11))
	var codes []string
	m := modelOf(30, access.PolicyDelta{Site: &access.PolicySite{DefaultReleaseMS: 800}})
	for i := range 6 {
		g := access.PolicyGate{ID: int64(i + 1), Code: string(rune('a' + i))}
		codes = append(codes, g.Code)
		m.gates[g.ID] = g
	}
	s := m.compile(slices.Clone[[]int])
	serial := int64(0)
	for round := range rounds {
		d := access.PolicyDelta{Mark: access.PolicyMark{Version: int64(round + 1)}}
		size := []int{1, 7, 400, 4000}[round%4]
		shrink := round > rounds/2 && round%4 == 3
		for range size {
			id := rnd.Int64N(people) + 1
			if shrink || rnd.IntN(10) == 0 {
				d.GoneUsers = append(d.GoneUsers, id)
			} else {
				u := access.PolicyUser{ID: id, Active: rnd.IntN(10) > 0}
				for range rnd.IntN(6) {
					u.Groups = append(u.Groups, rnd.Int64N(400)+1)
				}
				d.Users = append(d.Users, u)
			}
			serial++
			id = rnd.Int64N(3*people) + 1
			if shrink || rnd.IntN(5) == 0 {
				d.GonePermissions = append(d.GonePermissions, id)
			} else {
				p := access.PolicyPermission{ID: id, GateID: min(rnd.Int64N(30)+1, 7), Allow: rnd.IntN(10) > 0} // most at one gate, which nobody knows
				if rnd.IntN(2) == 0 {
					p.GateID = 1
				}
				if rnd.IntN(4) == 0 {
					p.GroupID = rnd.Int64N(400) + 1
				} else {
					p.UserID = rnd.Int64N(people) + 1
				}
				if rnd.IntN(10) == 0 {
					p.ValidFrom = rnd.Int64N(20)
				}
				d.Permissions = append(d.Permissions, p)
			}
			id = rnd.Int64N(people) + 1
			if shrink || rnd.IntN(10) == 0 {
				d.GoneCredentials = append(d.GoneCredentials, id)
			} else {
				c := access.PolicyCredential{ID: id, UserID: rnd.Int64N(people) + 1, LastUsedDay: 1, Lookup: lookup(strconv.FormatInt(serial, 10))}
				if old, ok := m.credentials[id]; ok && rnd.IntN(2) == 0 {
					c.Lookup = old.Lookup
				}
				if rnd.IntN(10) == 0 {
					c.ValidUntil = rnd.Int64N(20) + 1
				}
				d.Credentials = append(d.Credentials, c)
			}
		}
		// In a delta of this test an object may occur twice: gone goes before changed, and the later change before the earlier.
		s = s.With(d)
		m.apply(d)
		fresh := m.compile(shuffled(uint64(round)))
		for id, c := range m.credentials {
			for _, code := range codes {
				r := Request{Gate: code, Lookups: []access.Lookup{c.Lookup}, At: rnd.Int64N(20)}
				if got, want := s.Decide(r), fresh.Decide(r); got != want {
					t.Fatalf("round %d: credential %d at %q:\n got %s\nwant %s", round, id, code, show(got), show(want))
				}
			}
		}
		for range 30 { // the two could be wrong alike
			r := Request{Gate: codes[rnd.IntN(2)], At: rnd.Int64N(20)}
			for _, c := range m.credentials {
				r.Lookups = []access.Lookup{c.Lookup}
				break
			}
			if got, want := s.Decide(r), m.decide(r); got != want {
				t.Fatalf("round %d: %x at %q:\n got %s\nwant %s", round, r.Lookups, r.Gate, show(got), show(want))
			}
		}
		for i, sh := range s.credentials.shards {
			again := sh
			if again.place(s.credentials.bits); again.places != sh.places {
				t.Fatalf("round %d: shard %d: got places %v, want %v", round, i, sh.places, again.places)
			}
		}
		got, want := s.Stats(), fresh.Stats()
		if got.Users != want.Users || got.Permissions != want.Permissions || got.Credentials != want.Credentials {
			t.Fatalf("round %d: got %+v, want as many as %+v", round, got, want)
		}
		if round == rounds/2-1 && (len(s.users.pages) < 4 || s.gates.list[0].users.tree == nil || len(s.credentials.byID.tree.leaf) < 3 || len(s.credentials.shards) < 2) {
			t.Fatalf("round %d: the site is too small for this test: %+v", round, got)
		}
	}
	if s.Stats().Users > people/2 {
		t.Errorf("the site did not shrink: %+v", s.Stats())
	}
}

func TestWithUse(t *testing.T) {
	s := goldenSite(t)
	for i := range s.delta.Credentials {
		s.delta.Credentials[i].LastUsedDay, s.delta.Credentials[i].IdleExpires = 100, true
	}
	a := s.asks()
	for how, snap := range a.snapshots {
		r := a.first("demo", "gate-01")
		r.At = 105 * access.MicrosPerDay
		used := snap.WithUse(105, []int64{2, 2, 99, 1 << 50})
		if !snap.Decide(r).Touch || used.Decide(r).Touch {
			t.Errorf("%s: touch: got %t before and %t after the use, want true, false", how, snap.Decide(r).Touch, used.Decide(r).Touch)
		}
		if used.Mark() != snap.Mark() {
			t.Errorf("%s: the mark moved from %v to %v", how, snap.Mark(), used.Mark())
		}
		if got := used.WithUse(104, []int64{2}); got.Decide(r).Touch {
			t.Errorf("%s: the day of last use fell", how)
		}
		other := a.first("alice", "gate-01")
		other.At = r.At
		if !used.Decide(other).Touch {
			t.Errorf("%s: a use of demo's token counted for alice's", how)
		}
	}
}

// TestRebuildIsNotApplied: the mark must not move, so that nothing decided by it can be recorded.
func TestRebuildIsNotApplied(t *testing.T) {
	s := goldenSite(t).compiled()["compiled"]
	d := access.PolicyDelta{Rebuild: true, Mark: access.PolicyMark{Version: 9}, GoneUsers: []int64{1}}
	if got := s.With(d); got != s {
		t.Errorf("With a delta that asks for a rebuild: got a snapshot of mark %v, want the old one", got.Mark())
	}
}

// TestNothingIsLeftBehind: what is gone does not take memory, once everything that names it is gone as well.
func TestNothingIsLeftBehind(t *testing.T) {
	site := goldenSite(t)
	s := site.compiled()["applied"]
	var d access.PolicyDelta
	for _, g := range site.delta.Gates {
		d.GoneGates = append(d.GoneGates, g.ID)
	}
	s = s.With(d)
	if st := s.Stats(); st.Gates != 0 || st.Permissions == 0 {
		t.Errorf("without gates: got %+v, want permissions that wait for their gates", st)
	}
	d = access.PolicyDelta{}
	for _, p := range site.delta.Permissions {
		d.GonePermissions = append(d.GonePermissions, p.ID)
	}
	for _, u := range site.delta.Users {
		d.GoneUsers = append(d.GoneUsers, u.ID)
	}
	for _, c := range site.delta.Credentials {
		d.GoneCredentials = append(d.GoneCredentials, c.ID)
	}
	s = s.With(d)
	if got := s.Stats(); got.Users+got.Gates+got.Permissions+got.Credentials != 0 || len(s.gates.list)+len(s.users.pages) != 0 || got.PermissionBytes != 0 {
		t.Errorf("without anything: got %+v, want nothing", got)
	}
}
