package registry

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// Site is the site's settings.
type Site = store.Site

// MaxDays bounds every setting that counts days: a hundred years.
const MaxDays = 36_525

func siteFields(s Site) access.Fields {
	return access.Fields{
		"name": s.Name, "zone": s.Zone, "default_release_ms": strconv.Itoa(s.DefaultReleaseMS), "retention_days": strconv.Itoa(s.RetentionDays),
	}
}

// Site returns the site's settings.
func (r *Registry) Site(ctx context.Context) (Site, error) {
	return reading(ctx, r, (*store.Tx).Site)
}

// UpdateSite changes the site's settings: Name (0..128 characters), Zone (an IANA name), DefaultReleaseMS (1..access.MaxReleaseMS), RetentionDays
// (0 = for ever, at most MaxDays). s.Version is the version seen, 0 = any.
func (r *Registry) UpdateSite(ctx context.Context, actor access.Actor, s Site) (Site, error) {
	return changing(ctx, r, actor, "change the site", func(c *change) (Site, error) { return c.updateSite(s) })
}

func (c *change) updateSite(s Site) (Site, error) {
	old, err := c.Site()
	if err != nil {
		return Site{}, err
	}
	if err := unlessKept(validSite(s), siteFields(old), siteFields(s)); err != nil {
		return Site{}, err
	}
	if err := fresh("the site", s.Version, old.Version); err != nil {
		return Site{}, err
	}
	s.ID, s.CreatedAt, s.Version = old.ID, old.CreatedAt, old.Version
	if s == old {
		return old, nil
	}
	if err := c.UpdateSite(&s); err != nil {
		return Site{}, err
	}
	return s, c.recordChange(access.ObjectSite, s.ID, siteFields(old), siteFields(s))
}

func validSite(s Site) error {
	var bad access.Invalid
	if !utf8.ValidString(s.Name) || strings.ContainsFunc(s.Name, access.Misleads) {
		bad.Add("name", access.CodeCharacters)
	} else if utf8.RuneCountInString(s.Name) > 128 {
		bad.AddLimit("name", access.CodeTooLong, 128)
	}
	if s.Zone == "" {
		bad.Add("zone", access.CodeBlank)
	} else if _, err := time.LoadLocation(s.Zone); err != nil || s.Zone == "Local" {
		bad.Add("zone", access.CodeZone)
	}
	if s.DefaultReleaseMS < 1 || s.DefaultReleaseMS > access.MaxReleaseMS {
		bad.AddRange("default_release_ms", 1, access.MaxReleaseMS)
	}
	if s.RetentionDays < 0 || s.RetentionDays > MaxDays {
		bad.AddRange("retention_days", 0, MaxDays)
	}
	return bad.OrNil()
}
