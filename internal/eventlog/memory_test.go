package eventlog_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
)

// memory keeps events as a database would. It stands where the real ones cannot: in tests on a synthetic clock.
type memory struct {
	mu      sync.Mutex
	mark    access.PolicyMark
	writers int64
	retired map[int64]bool
	batches map[[2]int64]int
	events  []access.Event
}

func newMemory() *memory {
	return &memory{mark: access.PolicyMark{Version: 1, Stamp: 7}, retired: map[int64]bool{}, batches: map[[2]int64]int{}}
}

func (m *memory) ClaimWriter(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writers++
	return m.writers, nil
}

func (m *memory) RetireWriter(_ context.Context, id int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retired[id] = true
	return nil
}

func (m *memory) AppendBatch(_ context.Context, writer, seq int64, b *access.EventBatch) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.Policy != m.mark {
		return false, nil
	}
	return true, m.write(writer, seq, b)
}

func (m *memory) AppendBatchHeld(ctx context.Context, writer, seq int64, decide func(context.Context, access.PolicyMark) (*access.EventBatch, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := decide(ctx, m.mark)
	if err != nil {
		return err
	}
	return m.write(writer, seq, b)
}

func (m *memory) write(writer, seq int64, b *access.EventBatch) error {
	key := [2]int64{writer, seq}
	if _, there := m.batches[key]; there || writer == 0 || m.retired[writer] {
		return errors.New("this batch is there already, or its lane is given up")
	}
	if _, before := m.batches[[2]int64{writer, seq - 1}]; seq != 1 && !before {
		return errors.New("a gap between batches")
	}
	m.batches[key] = len(b.Events)
	for _, e := range b.Events {
		ev := *e
		ev.ID, ev.WriterID, ev.Seq = int64(len(m.events)+1), writer, seq
		m.events = append(m.events, ev)
	}
	return nil
}

func (m *memory) FenceBatch(_ context.Context, writer, seq int64) (bool, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := [2]int64{writer, seq}
	n, there := m.batches[key]
	if !there {
		m.batches[key] = 0
	}
	return n > 0, n, nil
}

func (m *memory) Events(_ context.Context, f access.EventFilter) ([]access.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []access.Event
	for _, e := range m.events {
		if f.Before == 0 || e.ID < f.Before {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b access.Event) int { return cmp.Compare(b.ID, a.ID) })
	return out[:min(len(out), cmp.Or(f.Limit, 50))], nil
}

func (m *memory) PolicyMark(context.Context) (access.PolicyMark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mark, nil
}

// database is what the tests need of one: memory, or a store.
type database interface {
	eventlog.Appender
	Events(ctx context.Context, f access.EventFilter) ([]access.Event, error)
	PolicyMark(context.Context) (access.PolicyMark, error)
}

// pass lets time pass on the synthetic clock.
func pass(d time.Duration) { <-time.After(d) }
