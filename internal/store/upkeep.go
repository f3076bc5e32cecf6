package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync"
	"time"
)

// upkeep is what a process that appends does beside: it keeps the index over the events up to date, and takes an SQLite file's checkpoints in small steps. In other processes commits take their checkpoints themselves.
type upkeep struct {
	once sync.Once
	end  context.CancelFunc
	done chan struct{}
}

// upkeepRest is how long upkeep rests after a failure.
const upkeepRest = time.Second

func (s *Store) beginUpkeep() {
	s.upkeep.once.Do(func() {
		run := s.followEvents
		if s.write != nil {
			s.write.paced.Store(true)
			var err error
			if s.write.data, err = os.Open(s.write.path); err != nil {
				s.log.Warn("checkpoints will hold the gates up longer", "error", err)
			}
			run = s.keepUp
		}
		ctx, cancel := context.WithCancel(context.Background())
		s.upkeep.end, s.upkeep.done = cancel, make(chan struct{})
		go func() {
			defer close(s.upkeep.done)
			run(ctx)
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

// keepUp does what is to be done, a small step at a time, until ctx ends. Between two steps whoever waits for the writer has his turn.
func (s *Store) keepUp(ctx context.Context) {
	failed := false
	for {
		worked, err := s.checkpointStep(ctx)
		if err == nil && !worked {
			worked, err = s.indexStep(ctx, true)
		}
		switch {
		case ctx.Err() != nil || s.write.broken(): // FailedBy
			return
		case err != nil:
			if !failed { // events are recorded and found all the same
				s.log.WarnContext(ctx, "the upkeep of the database fails; trying again", "error", err)
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
			var late <-chan time.Time
			if patience := s.fresh.patience(); patience > 0 {
				late = time.After(patience)
			}
			select {
			case <-s.fresh.wake:
			case <-late:
			case <-s.write.filled:
			case <-ctx.Done():
			}
		}
	}
}

// checkpointPages is how many pages are written to the WAL before they are taken over into the database file, 32 MiB. Commits write the same
// few pages again and again, and only the last of each is taken over: with 1 MiB a step was not much shorter.
// mostPasses is how many passes there are beside the writer: on a disk that is slower than he writes they would not end.
// ownPages is after how many the commits of a process without upkeep do it themselves, SQLite's own default.
const (
	checkpointPages = 8192
	mostPasses      = 4
	ownPages        = 1000
)

// checkpointStep takes a checkpoint when there are enough pages for one.
func (s *Store) checkpointStep(ctx context.Context) (worked bool, err error) {
	w := s.write
	if w.pages.Load() < w.enough {
		return false, nil
	}
	if err := w.takeOver(ctx, s.read); err != nil {
		return false, fmt.Errorf("checkpoint: %w", s.kind.fault(err))
	}
	return true, nil
}

// takeOver takes the WAL's pages over into the database file. Most of them beside the writer, who
// meanwhile appends more (again, when it appended much); the rest, which are few, in its turn: only when none is left does the writer begin at the head of the
// WAL again, instead of making it longer for ever. A reader that stays long keeps pages back; the next step takes them.
func (w *writer) takeOver(ctx context.Context, beside conn) error {
	more := true
	for pass := 0; more && pass < mostPasses && ctx.Err() == nil; pass++ {
		before := w.pages.Load()
		kept, err := w.checkpoint(ctx, beside)
		if err != nil {
			return err
		}
		if kept >= w.enough { // a reader keeps them back; should it end now, the writer's turn is no time to take them
			w.pages.Store(0)
			return nil
		}
		// The pass in the turn waits until the disk has all that was taken over: let it have most of that before.
		if w.data != nil {
			if err := w.sync(w.data); err != nil {
				return err
			}
		}
		more = w.pages.Load()-before >= w.enough // so many were written meanwhile: it was a long one, as after a long read
	}
	return w.turned(ctx, func(c *sql.Conn) error {
		_, err := w.checkpoint(ctx, c)
		w.pages.Store(0)
		return err
	})
}

// checkpoint does one pass, unless the disk has failed: a connection that was made since is not told. The pass goes on when ctx ends, because database/sql would tell of that
// and not what the disk has told.
func (w *writer) checkpoint(ctx context.Context, on conn) (kept int64, err error) {
	if w.broken() {
		return 0, ErrDiskFailed
	}
	kept, err = w.pass(context.WithoutCancel(ctx), on)
	return kept, w.heed(err)
}

// checkpointPass takes the pages over that no reader keeps back, and returns how many are left.
func checkpointPass(ctx context.Context, on conn) (kept int64, err error) {
	var busy, all, done int64
	err = on.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &all, &done)
	return all - done, err
}
