package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

type (
	// HourCount is how often something was decided in an hour.
	HourCount = store.HourCount
	// GateSeen is the last decision at a gate.
	GateSeen = store.GateSeen
)

// Sum is how often gates said yes and no.
type Sum struct{ Allowed, Denied int64 }

// ReasonCount is how often there was a reason.
type ReasonCount struct {
	Reason access.Reason
	Count  int64
}

// Hour is what was decided in an hour.
type Hour struct {
	Begins time.Time // in the site's zone
	Sum
}

// Overview is what happened at the gates today and in the last days, in the site's zone. It is read from sums that are about a second
// behind the events, on a busy site up to five (Health.Uncounted says when more, after an import or a crash).
type Overview struct {
	Zone    *time.Location
	Today   time.Time // when today began
	Day     Sum
	Week    Sum           // the seven days that end with today
	People  int64         // users who were let in today; -1 = not known, since the site's zone was changed
	Hours   []Hour        // of today, each from midnight to the present one; days of 23 or 25 hours have as many
	Denials []ReasonCount // of the week, the most frequent first
	Recent  []GateSeen    // the gates with the newest decisions, newest first; at most gates of them
	Silent  []GateSeen    // living gates that were seen, the longest time ago first; at most gates of them
}

// Overview reads it: about 1,000 rows at most (seven days of hours, a row for each reason), found by their keys. gates bounds Recent and Silent.
func (r *Registry) Overview(ctx context.Context, gates int) (Overview, error) {
	now := r.now()
	o, err := reading(ctx, r, func(tx *store.Tx) (o Overview, err error) {
		if o, err = r.day(tx, 0, now); err != nil {
			return o, err
		}
		people, known, err := tx.PeopleOn(o.Today, o.Zone)
		if err != nil {
			return o, err
		}
		if o.People = people; !known {
			o.People = -1
		}
		if o.Recent, err = tx.SilentGates(true, gates); err != nil {
			return o, err
		}
		o.Silent, err = tx.SilentGates(false, gates)
		return o, err
	})
	if err != nil {
		return Overview{}, fmt.Errorf("read the overview: %w", err)
	}
	return o, nil
}

// GateOverview is Overview of one gate, without People, Recent and Silent.
func (r *Registry) GateOverview(ctx context.Context, gateID int64) (Overview, error) {
	now := r.now()
	o, err := reading(ctx, r, func(tx *store.Tx) (Overview, error) { return r.day(tx, gateID, now) })
	if err != nil {
		return Overview{}, fmt.Errorf("read the overview of gate %d: %w", gateID, err)
	}
	return o, nil
}

// GatesSeen returns the last decisions at some gates, by gate; those without any are missing.
func (r *Registry) GatesSeen(ctx context.Context, gateIDs []int64) (map[int64]GateSeen, error) {
	return reading(ctx, r, func(tx *store.Tx) (map[int64]GateSeen, error) { return tx.GatesSeen(gateIDs) })
}

// DayOf is when the day of a zone began that an instant falls into.
func DayOf(at time.Time, zone *time.Location) time.Time { return store.DayOf(at, zone) }

// day sums up the seven days that end with the day of an instant, at a gate or (0) at all.
func (r *Registry) day(tx *store.Tx, gateID int64, now time.Time) (o Overview, err error) {
	if o.Zone, err = zone(tx); err != nil {
		return o, err
	}
	o.Today = store.DayOf(now, o.Zone)
	// By noon, which every day has.
	noon := func(days int) time.Time {
		return time.Date(o.Today.Year(), o.Today.Month(), o.Today.Day()+days, 12, 0, 0, 0, o.Zone)
	}
	tomorrow := store.DayOf(noon(1), o.Zone)
	counts, err := tx.HourCounts(gateID, store.DayOf(noon(-6), o.Zone), tomorrow)
	if err != nil {
		return o, err
	}
	for at := o.Today; !at.After(now) && at.Before(tomorrow); at = at.Add(time.Hour) {
		o.Hours = append(o.Hours, Hour{Begins: at.In(o.Zone)})
	}
	reasons := map[access.Reason]int64{}
	for _, c := range counts {
		o.Week.add(c)
		if c.Decision == access.Deny {
			reasons[c.Reason] += c.Count
		}
		if c.Hour.Before(o.Today) {
			continue
		}
		o.Day.add(c)
		// An hour may be split where the zone's distance from UTC changes by less.
		if i := int(c.Hour.Sub(o.Today) / time.Hour); i < len(o.Hours) {
			o.Hours[i].add(c)
		}
	}
	for reason, n := range reasons {
		o.Denials = append(o.Denials, ReasonCount{reason, n})
	}
	slices.SortFunc(o.Denials, func(a, b ReasonCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
	})
	return o, nil
}

func (s *Sum) add(c HourCount) {
	if c.Decision == access.Allow {
		s.Allowed += c.Count
	} else {
		s.Denied += c.Count
	}
}

// zone is the site's.
func zone(tx *store.Tx) (*time.Location, error) {
	site, err := tx.Site()
	if err != nil {
		return nil, err
	}
	z, err := time.LoadLocation(site.Zone)
	if err != nil {
		return nil, fmt.Errorf("the site's zone: %w", err)
	}
	return z, nil
}

// Health is what an operator wants to know of the installation at a glance.
type Health struct {
	store.Health
	LastBackup access.Change // the newest audit line of a backup; its At is zero when none was ever recorded
}

// Health reads it: a few rows.
func (r *Registry) Health(ctx context.Context) (h Health, err error) {
	if h.Health, err = r.store.Health(ctx); err != nil {
		return Health{}, fmt.Errorf("read the health of the database: %w", err)
	}
	lines, err := r.store.Changes(ctx, ChangeFilter{Object: access.ObjectBackup, Limit: 1})
	if err != nil {
		return Health{}, fmt.Errorf("look for the last backup: %w", err)
	}
	if len(lines) > 0 {
		h.LastBackup = lines[0]
	}
	return h, nil
}

// EventPage is a page of the log.
type EventPage = store.EventPage

// EventPage lists events, newest first, and looks at a bounded number of them whatever the filter is: EventPage.Next says how far it looked.
func (r *Registry) EventPage(ctx context.Context, f access.EventFilter) (EventPage, error) {
	return r.store.EventPage(ctx, f)
}
