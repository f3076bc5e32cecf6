package store

import (
	"context"
	"math"
	"time"
)

// Health is what an operator wants to know of a database at a glance. Zero times say that there is nothing yet.
type Health struct {
	Engine      string
	Bytes       int64 // of the database; of SQLite without its WAL
	OldestEvent time.Time
	NewestEvent time.Time
	CountedAt   time.Time // when events were last counted (CountEvents)
	Uncounted   time.Time // since when some wait to be counted
}

// Health reads it: a few slices of the log at most.
func (s *Store) Health(ctx context.Context) (h Health, err error) {
	h.Engine = s.Engine()
	if h.Bytes, err = s.Size(ctx); err != nil {
		return Health{}, err
	}
	if h.OldestEvent, err = s.FirstEventSince(ctx, time.UnixMicro(math.MinInt64)); err != nil {
		return Health{}, err
	}
	if h.NewestEvent, err = s.NewestEvent(ctx); err != nil {
		return Health{}, err
	}
	err = s.View(ctx, func(tx *Tx) error {
		h.CountedAt, h.Uncounted, err = tx.CountedAt()
		return err
	})
	return h, err
}
