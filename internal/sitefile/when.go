package sitefile

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// When is an instant as people give it, in a file or on a command line: RFC 3339 with an offset ("2026-11-23T09:00:00Z"), or a local
// time without one ("2026-11-23 09:00"), which is meant in the site's zone. A date alone ("2026-11-23") is the start of that day there, so that
// a permission until 2027-01-01 holds up to the last moment of 2026. The zero When is none.
type When struct {
	text  string
	at    time.Time // the instant, or the civil time as if it were UTC
	civil bool
	day   bool // a date alone
}

var civilLayouts = []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02T15:04:05"}

// ParseWhen reads one of the three forms. Years are 1970..9999, fractions of a second end at microseconds.
func ParseWhen(s string) (When, error) {
	w := When{text: s}
	t, err := time.Parse(time.RFC3339Nano, strings.ToUpper(s))
	if err != nil {
		w.civil = true
		for _, layout := range civilLayouts {
			if t, err = time.Parse(layout, s); err == nil {
				w.day = layout == time.DateOnly
				break
			}
		}
	}
	if err != nil {
		return When{}, errors.New(`is not a time: write "2026-11-23" or "2026-11-23 09:00" (in the site's zone) or "2026-11-23T09:00:00Z"`)
	}
	if t.UnixMicro() <= 0 || t.UTC().Year() > 9999 { // the epoch itself stands for "none" in a policy
		return When{}, errors.New("must be in the years 1970 to 9999")
	}
	w.at = t.Truncate(time.Microsecond)
	return w, nil
}

// IsZero reports whether there is no time.
func (w When) IsZero() bool { return w.text == "" }

// In is the instant, in UTC; zone is the site's. A local time that the zone skips (clocks are put forward) is an error, but a day whose midnight
// is skipped begins when the clocks are put forward. A time that occurs twice is its first occurrence.
func (w When) In(zone *time.Location) (time.Time, error) {
	if w.IsZero() {
		return time.Time{}, nil
	}
	if !w.civil {
		return w.at.UTC(), nil
	}
	y, m, d := w.at.Date()
	t := time.Date(y, m, d, w.at.Hour(), w.at.Minute(), w.at.Second(), w.at.Nanosecond(), zone)
	if t.Format(time.DateTime) != w.at.Format(time.DateTime) {
		if w.day {
			return skip(t, w.at).UTC(), nil
		}
		return time.Time{}, fmt.Errorf("%s does not exist in %s: the clocks are put forward then", w.text, zone)
	}
	for _, back := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour} {
		if early := t.Add(-back); early.Format(time.DateTime) == w.at.Format(time.DateTime) {
			t = early
			break
		}
	}
	return t.UTC(), nil
}

// skip is the instant at which the clocks pass over a midnight; t is what time.Date makes of it, on either side.
func skip(t, midnight time.Time) time.Time {
	begin, end := t.ZoneBounds()
	if t.Format(time.DateTime) < midnight.Format(time.DateTime) {
		return end
	}
	return begin
}

// surelyNotBefore reports whether w is at or after o whatever the zone: both have an offset, or neither has.
func (w When) surelyNotBefore(o When) bool {
	return !w.IsZero() && !o.IsZero() && w.civil == o.civil && !w.at.Before(o.at)
}

func (w When) String() string { return w.text }
