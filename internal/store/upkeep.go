package store

import (
	"context"
	"sync"
	"time"
)

// upkeep is what a process that appends to an SQLite file does beside: it keeps the index over the events up to date.
type upkeep struct {
	once sync.Once
	end  context.CancelFunc
	done chan struct{}
}

// upkeepRest is how long upkeep rests after a failure.
const upkeepRest = time.Second

func (s *Store) beginUpkeep() {
	s.upkeep.once.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		s.upkeep.end, s.upkeep.done = cancel, make(chan struct{})
		go func() {
			defer close(s.upkeep.done)
			s.keepUp(ctx)
		}()
	})
}

// endUpkeep ends it between two steps, unless the disk hangs.
func (s *Store) endUpkeep() {
	if s.upkeep.end == nil {
		return
	}
	s.upkeep.end()
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-s.upkeep.done:
	case <-patience.C:
	}
}

func (s *Store) keepUp(ctx context.Context) {
	failed := false
	for {
		worked, err := s.indexStep(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failed { // events are recorded and found all the same
				s.log.WarnContext(ctx, "the index over the events cannot be brought up to date; trying again", "error", err)
			}
			failed = true
			rest := time.NewTimer(upkeepRest)
			select {
			case <-rest.C:
			case <-ctx.Done():
				rest.Stop()
			}
		case !worked:
			failed = false
			select {
			case <-s.fresh.wake:
			case <-ctx.Done():
			}
		}
	}
}
