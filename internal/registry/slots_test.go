package registry

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// In a storm of logins the slots rest between hashes, so that the gates keep their share of the processors; who signs in alone waits for nothing.
func TestSlotsRestInAStorm(t *testing.T) {
	const hash = 30 * time.Millisecond
	storm := func(s *slots, callers int) (took time.Duration, refused int) {
		begun := time.Now()
		var mu sync.Mutex
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				err := s.use(context.Background(), true, func() error { <-time.After(hash); return nil })
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, access.ErrUnavailable) {
					refused++
				} else if err != nil {
					t.Errorf("use: %v", err)
				}
				took = max(took, time.Since(begun))
			})
		}
		all.Wait()
		return took, refused
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		s.rest = 0.5
		if took, _ := storm(s, 1); took != hash {
			t.Errorf("one login took %s, want %s", took, hash)
		}
		if took, _ := storm(s, 1); took != hash {
			t.Errorf("another one after it took %s, want %s", took, hash)
		}
		if took, refused := storm(s, 3); took != 3*hash+2*hash/2 || refused != 0 {
			t.Errorf("three at once took %s (%d refused), want three hashes and two rests of half of one", took, refused)
		}
		if took, refused := storm(s, 200); took != (1+queueLength)*hash+queueLength*hash/2 || refused != 200-1-queueLength {
			t.Errorf("200 at once took %s, %d were refused", took, refused)
		}
		<-time.After(hash)
	})
}
