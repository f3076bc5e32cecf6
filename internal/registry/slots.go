package registry

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// slots bounds the password hashes that are computed at the same time, so that a storm of logins leaves a core to the gates.
type slots struct {
	free    chan struct{}
	waiting atomic.Int64
	most    int64   // how many logins may wait
	rest    float64 // how long a slot rests in a storm, by the time that the hash took
}

// stormShare is how much of the processors' time the hashes of a storm of logins may take: the gates keep the rest.
const stormShare = 0.12

// queueLength is how many logins may wait for one slot: some seconds of work.
const queueLength = 16

func newSlots(n int) *slots {
	return &slots{
		free: make(chan struct{}, n), most: int64(n * queueLength),
		rest: max(0, float64(n)/(stormShare*float64(runtime.GOMAXPROCS(0)))-1),
	}
}

// use runs fn in a slot. With bounded it gives up at once (ErrUnavailable) when too many wait; without, as for administrators, it waits its turn.
func (s *slots) use(ctx context.Context, bounded bool, fn func() error) error {
	if bounded {
		defer s.waiting.Add(-1)
		if s.waiting.Add(1) > s.most+int64(cap(s.free)) {
			return fmt.Errorf("%d logins are waiting: %w", s.most, access.ErrUnavailable)
		}
	}
	select {
	case s.free <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting to compute a password hash: %w", ctx.Err())
	}
	begun := time.Now()
	defer func() {
		if bounded && s.waiting.Load() > int64(cap(s.free)) { // more wait, which is what makes a storm
			time.AfterFunc(time.Duration(s.rest*float64(time.Since(begun))), func() { <-s.free })
			return
		}
		<-s.free
	}()
	return fn()
}

// prevailing knows what kind of password hash most users have now, to spend the same time on a user who does not exist.
type prevailing struct {
	mu    sync.Mutex
	until time.Time
	like  string
}

// hash returns a hash of the prevailing kind, "" when nobody has a password. It looks again each minute.
func (p *prevailing) hash(ctx context.Context, s *store.Store) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.until) {
		return p.like
	}
	err := s.View(ctx, func(tx *store.Tx) error {
		sample, err := tx.SampleHashes(101)
		if err == nil {
			p.like, p.until = mostCommon(sample), time.Now().Add(time.Minute)
		}
		return err
	})
	_ = err // the last known kind, or argon2id, does as well: the time floor covers the difference
	return p.like
}

// mostCommon returns one of the hashes of the kind that most are of. A kind is the algorithm with its cost.
func mostCommon(hashes []string) (like string) {
	count := map[string]int{}
	best := 0
	for _, h := range hashes {
		kind := hashKind(h)
		if count[kind]++; count[kind] > best {
			best, like = count[kind], h
		}
	}
	return like
}

// hashKind is the part of an encoded hash that its cost depends on: "$argon2id$v=19$m=19456,t=2,p=1", "pbkdf2_sha256$600000".
func hashKind(h string) string {
	fields := 2
	if strings.HasPrefix(h, "$") {
		fields = 4
	}
	parts := strings.SplitN(h, "$", fields+1)
	return strings.Join(parts[:min(fields, len(parts))], "$")
}
