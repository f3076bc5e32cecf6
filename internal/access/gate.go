package access

import "time"

// Gate is one place, in one direction, where a decision is taken (ONVIF: access point).
type Gate struct {
	ID        int64
	Code      string // gate_id on the wire; 1..64 characters, no outer white space, unique among the living, case-sensitive
	Name      string // 0..128 characters
	Location  string // 0..128 characters
	ReleaseMS int    // how long the lock opens, milliseconds, 1..60000; 0 = the site's default
	Version   int64  // policy version of its last change
	CreatedAt time.Time
}

// MaxReleaseMS bounds how long a lock may stay open: a minute.
const MaxReleaseMS = 60_000

// DefaultReleaseMS is the release time of a new site, as the original always answered.
const DefaultReleaseMS = 800

// Validate reports every field that breaks a rule, as Invalid.
func (g Gate) Validate() error {
	var bad Invalid
	text(&bad, "code", g.Code, 1, 64)
	text(&bad, "name", g.Name, 0, 128)
	text(&bad, "location", g.Location, 0, 128)
	if g.ReleaseMS < 0 || g.ReleaseMS > MaxReleaseMS {
		bad.AddRange("release_ms", 0, MaxReleaseMS)
	}
	return bad.OrNil()
}
