package webadmin

import (
	"testing"
	"time"
)

// A day ends where the next one begins, also when clocks are put forward at midnight.
func TestDaysOfAFilter(t *testing.T) {
	for _, x := range []struct {
		zone, day   string
		begins, end string
	}{
		{"America/Havana", "2026-03-07", "2026-03-07T05:00:00Z", "2026-03-08T05:00:00Z"},
		{"America/Havana", "2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},
		{"America/Santiago", "2026-09-05", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"},
		{"America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{"UTC", "2026-02-28", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"},
	} {
		zone := must(time.LoadLocation(x.zone))(t)
		v := &visit{zone: zone}
		for end, want := range map[bool]string{false: x.begins, true: x.end} {
			if got, ok := v.instant(x.day, end); !ok || got.UTC().Format(time.RFC3339) != want {
				t.Errorf("%s in %s, end %t: %v, want %s", x.day, x.zone, end, got, want)
			}
		}
	}
}
