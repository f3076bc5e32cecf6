package eventlog

import (
	"context"
	"iter"

	"github.com/openway-access/openway/internal/access"
)

// Reader lists events for pages and exports. store.Store is one.
type Reader interface {
	// Events lists events, newest first, at most f.Limit of them (1..1000, 0 = 50). The next page has the last id as f.Before.
	Events(ctx context.Context, f access.EventFilter) ([]access.Event, error)
}

// eachPage is how many events All reads at a time.
const eachPage = 500

// All yields every event that f selects, newest first, reading a page at a time: for exports, in constant memory. f.Limit is not looked
// at. After an error it ends. What is recorded meanwhile is not in it, what is purged meanwhile may be missing.
func All(ctx context.Context, r Reader, f access.EventFilter) iter.Seq2[access.Event, error] {
	return func(yield func(access.Event, error) bool) {
		for page, err := range Pages(ctx, r, f) {
			if err != nil {
				yield(access.Event{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// Pages is All, some events at a time, for those who look up names a page at a time.
func Pages(ctx context.Context, r Reader, f access.EventFilter) iter.Seq2[[]access.Event, error] {
	return func(yield func([]access.Event, error) bool) {
		f.Limit = eachPage
		for {
			page, err := r.Events(ctx, f)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(page) > 0 && !yield(page, nil) || len(page) < f.Limit {
				return
			}
			f.Before = page[len(page)-1].ID
		}
	}
}
