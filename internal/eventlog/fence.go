package eventlog

import (
	"context"
	"sync"

	"github.com/openway-access/openway/internal/access"
)

// fence is a lane that was given up, with the batch of which nobody knows whether it was written.
type fence struct {
	writer, seq int64
	events      int
	waiters     []refusal // those who waited for the batch, and were answered unavailable
	posted      []*Entry
	settled     bool // there is no such batch, or its fate is known: only the lane is to be marked as given up
}

// fences are settled one after the other, aside: the lanes go on meanwhile.
type fences struct {
	mu   sync.Mutex
	list []fence
	wake chan struct{}
}

func (f *fences) add(x fence) {
	f.mu.Lock()
	f.list = append(f.list, x)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// len is the number of batches whose fate is unknown.
func (f *fences) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, x := range f.list {
		if !x.settled {
			n++
		}
	}
	return n
}

// settleFences settles what is added until the log is closed, pausing while the database is away.
func (l *Log) settleFences() {
	for {
		select {
		case <-l.fences.wake:
		case <-l.leave:
			return
		}
		for failures := 0; ; {
			l.fences.mu.Lock()
			if len(l.fences.list) == 0 {
				l.fences.mu.Unlock()
				break
			}
			f := l.fences.list[0]
			l.fences.mu.Unlock()

			err := l.settle(&f)
			l.fences.mu.Lock()
			l.fences.list = l.fences.list[1:]
			if err != nil {
				l.fences.list = append(l.fences.list, f) // another one may fare better
			}
			l.fences.mu.Unlock()
			if err == nil {
				failures = 0
				l.mu.Lock()
				l.work.Broadcast() // a closing log waits for the fences
				l.mu.Unlock()
				continue
			}
			if failures++; failures == 1 && !f.settled {
				l.cfg.Logger.Warn("eventlog: the fate of a batch cannot be settled yet", "writer", f.writer, "seq", f.seq, "error", err)
			}
			l.pause(failures)
			select {
			case <-l.run.Done():
				return
			case <-l.leave:
				return
			default:
			}
		}
	}
}

// settle finds out what became of the batch, keeps it from landing later, and says so; then it marks the lane as given up.
func (l *Log) settle(f *fence) error {
	ctx, cancel := context.WithTimeout(l.run, l.cfg.CommitTimeout)
	defer cancel()
	if !f.settled {
		landed, count, err := l.cfg.Appender.FenceBatch(ctx, f.writer, f.seq)
		if err != nil {
			return err
		}
		l.settled(f, landed, count)
		f.settled, f.waiters, f.posted = true, nil, nil
	}
	return l.cfg.Appender.RetireWriter(ctx, f.writer)
}

func (l *Log) settled(f *fence, landed bool, count int) {
	if landed {
		l.batches.Add(1)
		l.events.Add(uint64(count))
		if len(f.waiters) > 0 {
			l.noteUnanswered(f.writer, f.seq, len(f.waiters))
		}
	} else {
		l.mu.Lock()
		for _, r := range f.waiters {
			l.refuse(&access.Event{GateID: r.gate, At: r.at})
		}
		l.pendAgain(f.posted)
		l.work.Signal()
		l.mu.Unlock()
	}
	l.cfg.Logger.Info("eventlog: the fate of a batch is settled", "writer", f.writer, "seq", f.seq, "landed", landed, "events", count, "waited", len(f.waiters))
}
