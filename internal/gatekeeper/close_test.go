package gatekeeper_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
)

// stuck is a town whose disk hangs when days of last use are written, whatever the context says.
type stuck struct {
	*town
	release chan struct{}
}

func (s stuck) TouchCredentials(ctx context.Context, day int, ids []int64) error {
	<-s.release
	return s.town.TouchCredentials(ctx, day, ids)
}

// TestCloseWithoutTouches: the end of the process does not wait for ever for what matters least, and what matters most comes first.
func TestCloseWithoutTouches(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration // when Close is called: before the first flush, or amid it
	}{{"at the end", time.Second}, {"in the background", 6 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTown(t)
				m.lastUsed[1] = access.Day(time.Now()) - 1
				s := stuck{m, make(chan struct{})}
				g := m.guard(t, func(c *gatekeeper.Config) { c.Source = s })
				for range 20 { // some of them are folded
					g.Verify(t.Context(), ask("north", "stranger"))
				}
				g.Verify(t.Context(), ask("north", ann))
				pass(c.after)
				began := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
				defer cancel()
				done := make(chan struct{})
				go func() {
					defer close(done)
					g.Close(ctx) //nolint:errcheck // what counts is that it returns, and the events
				}()
				pass(5 * time.Second)
				synctest.Wait()
				n := 0
				for _, e := range m.recorded() {
					n += e.Count
				}
				if n != 21 {
					t.Errorf("%d decisions recorded, want 21", n)
				}
				select {
				case <-done:
				default:
					t.Errorf("Close waits for a hanging disk, %v after its call", time.Since(began))
				}
				close(s.release)
				<-done
			})
		})
	}
}
