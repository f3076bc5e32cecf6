// Package throttle counts acts (requests, failed logins) by key (client address, user, user name) and says whether one more is
// allowed. It is the mechanism only: which rates hold where is up to its users.
//
// It imports nothing of this module. A Limiter is exact: in no stretch of time as long as its period are more than N acts
// allowed, however many goroutines ask at once. Refused acts are not counted. Counters live in memory of one process, in a
// table of bounded size, and do not outlive it.
package throttle

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// Limiter limits the acts of each key to a Rate. It is safe for use by many goroutines.
type Limiter[K comparable] struct {
	rate    Rate
	maxKeys int64
	now     func() time.Time
	start   time.Time
	seed    maphash.Seed
	keys    atomic.Int64 // in all shards
	shards  []shard[K]
}

// A limiter has 1 to maxShards shards, a power of two, with at least minShardKeys keys each.
const (
	maxShards    = 64
	minShardKeys = 32
)

// New makes a limiter that remembers at most maxKeys keys (and up to one more for each of its at most 64 shards; below 1 counts as 1).
// When the table is full, a new key takes the place of one whose last counted act is the longest ago, so that a flood
// from many addresses cannot lock out those that come for the first time.
//
// now is the clock (nil = time.Now). Only differences of its instants count: give the clock as it is, without
// rounding or truncating, so that the monotonic reading that time.Now carries is kept and a change of the wall clock has no effect.
func New[K comparable](rate Rate, maxKeys int, now func() time.Time) *Limiter[K] {
	if now == nil {
		now = time.Now
	}
	n := 1
	for n < maxShards && maxKeys >= 2*n*minShardKeys {
		n *= 2
	}
	l := &Limiter[K]{
		rate: rate, maxKeys: int64(max(maxKeys, 1)), now: now, start: now(),
		seed: maphash.MakeSeed(), shards: make([]shard[K], n),
	}
	for i := range l.shards {
		l.shards[i].entries = map[K]*entry[K]{}
	}
	return l
}

// Rate is the limit that l holds.
func (l *Limiter[K]) Rate() Rate { return l.rate }

// Len is the number of keys that l remembers now.
func (l *Limiter[K]) Len() int { return int(l.keys.Load()) }

// Allow counts one act of key if that keeps within the rate. If not, it counts nothing and says after what time an act would
// be allowed (more than 0, at most the rate's period).
func (l *Limiter[K]) Allow(key K) (ok bool, retryAfter time.Duration) {
	if l.rate.Off() {
		return true, 0
	}
	s := l.lock(key)
	defer s.mu.Unlock()
	now := l.tick(s)
	e := s.entries[key]
	if e != nil {
		e.expire(now - l.rate.Per)
		if e.n >= l.rate.N {
			return false, l.wait(e, now)
		}
	}
	l.count(s, e, key, now)
	return true, 0
}

// Peek says what Allow would say, and counts nothing.
func (l *Limiter[K]) Peek(key K) (ok bool, retryAfter time.Duration) {
	if l.rate.Off() {
		return true, 0
	}
	s := l.lock(key)
	defer s.mu.Unlock()
	now := l.tick(s)
	e := s.entries[key]
	if e == nil {
		return true, 0
	}
	e.expire(now - l.rate.Per)
	if e.n < l.rate.N {
		return true, 0
	}
	return false, l.wait(e, now)
}

// Add counts one act of key whether or not it is within the rate. Of more than N acts within a period the newest N count.
//
// Peek before an act and Add after it let acts that overlap exceed the rate. Where that matters, Allow before and Undo after.
func (l *Limiter[K]) Add(key K) {
	if l.rate.Off() {
		return
	}
	s := l.lock(key)
	defer s.mu.Unlock()
	now := l.tick(s)
	e := s.entries[key]
	if e != nil {
		e.expire(now - l.rate.Per)
		if e.n >= l.rate.N {
			e.drop()
		}
	}
	l.count(s, e, key, now)
}

// Undo takes back the newest counted act of key, if there is one: a login that Allow let pass and that then succeeded is no failure.
func (l *Limiter[K]) Undo(key K) {
	s := l.lock(key)
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		if e.n--; e.n <= 0 {
			l.remove(s, e)
		}
	}
}

func (l *Limiter[K]) lock(key K) *shard[K] {
	s := &l.shards[0]
	if len(l.shards) > 1 {
		s = &l.shards[maphash.Comparable(l.seed, key)&uint64(len(l.shards)-1)]
	}
	s.mu.Lock()
	return s
}

// tick reads the clock as the time since l was made. The shard's time never runs backwards: where a clock without
// monotonic reading is set back, it goes on from where it stood.
func (l *Limiter[K]) tick(s *shard[K]) time.Duration {
	t := l.now().Sub(l.start) + s.ahead
	if t < s.last {
		s.ahead += s.last - t
		t = s.last
	}
	s.last = t
	return t
}

// wait is how long until the oldest of a full entry's acts leaves the window.
func (l *Limiter[K]) wait(e *entry[K], now time.Duration) time.Duration {
	return e.oldest() + l.rate.Per - now
}

// count notes an act of key at now. e is its entry, with room for one more act, or nil.
func (l *Limiter[K]) count(s *shard[K], e *entry[K], key K, now time.Duration) {
	if e == nil {
		e = l.insert(s, key, now)
	} else {
		s.unlink(e)
	}
	e.push(now, l.rate.N)
	s.linkNewest(e)
}

// insert makes an unlinked entry for key. Idle entries leave on the way, two at most, so that the table shrinks as it is used
// and no call takes long.
func (l *Limiter[K]) insert(s *shard[K], key K, now time.Duration) *entry[K] {
	for range 2 {
		if s.stalest == nil || s.stalest.newest > now-l.rate.Per {
			break
		}
		l.remove(s, s.stalest)
	}
	if l.keys.Load() >= l.maxKeys && s.stalest != nil {
		l.remove(s, s.stalest)
	}
	e := s.spare
	if e == nil {
		e = &entry[K]{}
	} else {
		s.spare = nil
	}
	e.key = key
	s.entries[key] = e
	l.keys.Add(1)
	return e
}

func (l *Limiter[K]) remove(s *shard[K], e *entry[K]) {
	s.unlink(e)
	delete(s.entries, e.key)
	l.keys.Add(-1)
	var none K
	e.key, e.first, e.n = none, 0, 0
	if len(e.at) <= spareActs {
		s.spare = e
	}
}
