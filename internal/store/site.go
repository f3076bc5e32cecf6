package store

import (
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Site is a site's settings.
type Site struct {
	ID               int64
	Name             string
	Zone             string // IANA
	DefaultReleaseMS int    // 1..access.MaxReleaseMS, for gates without a release time of their own
	RetentionDays    int    // 0 = events are kept for ever
	Version          int64
	CreatedAt        time.Time
}

// OnlySite is the id of the one site that an installation has for now.
const OnlySite = 1

// Site returns the site.
func (tx *Tx) Site() (Site, error) {
	var s Site
	err := tx.queryRow(`SELECT id, name, zone, default_release_ms, retention_days, version, created_at FROM site WHERE id = $1`, OnlySite).
		Scan(&s.ID, &s.Name, &s.Zone, &s.DefaultReleaseMS, &s.RetentionDays, &s.Version, asTime(&s.CreatedAt))
	if err != nil {
		return Site{}, fmt.Errorf("read the site: %w", err)
	}
	return s, nil
}

// UpdateSite writes the site's settings if s.Version (0 = any) is still its version; access.ErrConflict if not.
func (tx *Tx) UpdateSite(s *Site) error {
	n, err := tx.exec(`UPDATE site SET name = $1, zone = $2, default_release_ms = $3, retention_days = $4, version = $5
		WHERE id = $6 AND (version = $7 OR $7 = 0)`,
		s.Name, s.Zone, s.DefaultReleaseMS, s.RetentionDays, tx.Mark.Version, OnlySite, s.Version)
	if err != nil {
		return fmt.Errorf("update the site: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("the site was changed meanwhile: %w", access.ErrConflict)
	}
	s.Version = tx.Mark.Version
	return nil
}
