package decide

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/openway-access/openway/internal/access"
)

// The sites of the benchmarks: each user has a credential and is in 10 of 200 groups, drawn at random (no two users alike); 1,000
// gates with 100 permissions each, half for users and half for groups.
const (
	benchGroups      = 200
	benchGroupsEach  = 10
	benchGates       = 1000
	benchPermissions = 100_000
	benchAt          = 20_000 * access.MicrosPerDay
)

func benchCode(gate int) string { return fmt.Sprintf("gate-%04d", gate) }

func benchLookup(user int) access.Lookup {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(user))
	return sha256.Sum256(b[:])
}

func benchPermission(id, people int) access.PolicyPermission {
	rnd := rand.New(rand.NewPCG(uint64(id), 5))
	p := access.PolicyPermission{ID: int64(id), GateID: int64(id%benchGates) + 1, Allow: true}
	if rnd.IntN(2) == 0 {
		p.UserID = int64(rnd.IntN(max(people, 1))) + 1
	} else {
		p.GroupID = int64(rnd.IntN(benchGroups)) + 1
	}
	return p
}

// benchSite tells a site with so many people to a builder.
func benchSite(b *Builder, people, permissions, groupsEach int) {
	rnd := rand.New(rand.NewPCG(1, 2))
	b.Site(access.PolicySite{DefaultReleaseMS: 800})
	for i := range benchGates {
		b.Gate(access.PolicyGate{ID: int64(i + 1), Code: benchCode(i)})
	}
	for i := range people {
		b.User(access.PolicyUser{ID: int64(i + 1), Active: true})
	}
	for i := range people {
		for range groupsEach {
			b.Member(int64(i+1), int64(rnd.IntN(benchGroups))+1)
		}
	}
	for i := range permissions {
		b.Permission(benchPermission(i+1, people))
	}
	for i := range people {
		b.Credential(access.PolicyCredential{ID: int64(i + 1), UserID: int64(i + 1), Lookup: benchLookup(i), IdleExpires: true, LastUsedDay: 19_990})
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, people := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("users=%d", people), func(b *testing.B) {
			builder := NewBuilder(90)
			benchSite(builder, people, benchPermissions, benchGroupsEach)
			s := builder.Snapshot(access.PolicyMark{})
			rnd := rand.New(rand.NewPCG(3, 4))
			requests := make([]Request, 1<<16) // as many different people, at gates drawn at random
			for i := range requests {
				requests[i] = Request{Gate: benchCode(rnd.IntN(benchGates)), Lookups: []access.Lookup{benchLookup(rnd.IntN(people))}, At: benchAt}
			}
			runtime.GC()
			allowed := 0
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if s.Decide(requests[i&(len(requests)-1)]).Outcome == access.Allow {
					allowed++
				}
				i++
			}
			b.ReportMetric(100*float64(allowed)/float64(i), "%allow")
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	const people = 1_000_000
	for b.Loop() {
		builder := NewBuilder(90)
		benchSite(builder, people, benchPermissions, benchGroupsEach)
		builder.Snapshot(access.PolicyMark{})
	}
}

// BenchmarkWith changes one thing of a site with a million users.
func BenchmarkWith(b *testing.B) {
	const people = 1_000_000
	builder := NewBuilder(90)
	benchSite(builder, people, benchPermissions, benchGroupsEach)
	s := builder.Snapshot(access.PolicyMark{})
	rnd := rand.New(rand.NewPCG(6, 7))
	for _, bm := range []struct {
		name  string
		delta func() access.PolicyDelta
	}{
		{"permission suspended", func() access.PolicyDelta {
			p := benchPermission(rnd.IntN(benchPermissions)+1, people)
			p.Allow = false
			return access.PolicyDelta{Permissions: []access.PolicyPermission{p}}
		}},
		{"permission granted", func() access.PolicyDelta {
			p := benchPermission(benchPermissions+1+rnd.IntN(1000), people)
			return access.PolicyDelta{Permissions: []access.PolicyPermission{p}}
		}},
		{"permission gone", func() access.PolicyDelta {
			return access.PolicyDelta{GonePermissions: []int64{int64(rnd.IntN(benchPermissions) + 1)}}
		}},
		{"100 permissions gone", func() access.PolicyDelta {
			var d access.PolicyDelta
			for range 100 {
				d.GonePermissions = append(d.GonePermissions, int64(rnd.IntN(benchPermissions)+1))
			}
			return d
		}},
		{"user changed", func() access.PolicyDelta {
			return access.PolicyDelta{Users: []access.PolicyUser{{ID: int64(rnd.IntN(people) + 1), Active: true, Groups: []int64{1, 2, 3}}}}
		}},
		{"credential gone", func() access.PolicyDelta {
			return access.PolicyDelta{GoneCredentials: []int64{int64(rnd.IntN(people) + 1)}}
		}},
		{"gate renamed", func() access.PolicyDelta {
			return access.PolicyDelta{Gates: []access.PolicyGate{{ID: int64(rnd.IntN(benchGates) + 1), Code: "new name"}}}
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.With(bm.delta())
			}
		})
	}
}

// BenchmarkBytes reports what a million users and a hundred thousand permissions cost, by Stats and by the runtime's own count.
func BenchmarkBytes(b *testing.B) {
	const people = 1_000_000
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	build := func(people, permissions int) (*Snapshot, float64) {
		before := heap()
		builder := NewBuilder(90)
		benchSite(builder, people, permissions, benchGroupsEach)
		s := builder.Snapshot(access.PolicyMark{})
		return s, heap() - before
	}
	for b.Loop() {
		empty, bytesEmpty := build(0, 0)
		permitted, bytesPermitted := build(0, benchPermissions) // they name users who are not there: no difference
		peopled, bytesPeopled := build(people, benchPermissions)
		st := peopled.Stats()
		b.ReportMetric(float64(st.UserBytes+st.CredentialBytes)/people, "stats-B/user")
		b.ReportMetric((bytesPeopled-bytesPermitted)/people, "heap-B/user")
		b.ReportMetric(float64(st.PermissionBytes)/benchPermissions, "stats-B/permission")
		b.ReportMetric((bytesPermitted-bytesEmpty)/benchPermissions, "heap-B/permission")
		b.ReportMetric(float64(st.Bytes)/1e6, "stats-MB")
		b.ReportMetric(bytesPeopled/1e6, "heap-MB")
		runtime.KeepAlive([]*Snapshot{empty, permitted, peopled})
	}
}
