package throttle

import (
	"sync"
	"time"
)

// shard is a part of the table under a lock of its own.
type shard[K comparable] struct {
	mu      sync.Mutex
	entries map[K]*entry[K]
	last    time.Duration // the latest reading of the clock
	ahead   time.Duration // what is added to the clock because it was set back

	// The entries by their newest act: those that went idle first are found at once.
	stalest, freshest *entry[K]
	spare             *entry[K] // a removed one, to be used again: a table that is full and churns does not allocate

	_ [40]byte // neighbours do not share a cache line
}

func (s *shard[K]) unlink(e *entry[K]) {
	if e.older != nil {
		e.older.fresher = e.fresher
	} else {
		s.stalest = e.fresher
	}
	if e.fresher != nil {
		e.fresher.older = e.older
	} else {
		s.freshest = e.older
	}
	e.older, e.fresher = nil, nil
}

func (s *shard[K]) linkNewest(e *entry[K]) {
	e.older, e.fresher = s.freshest, nil
	if s.freshest != nil {
		s.freshest.fresher = e
	} else {
		s.stalest = e
	}
	s.freshest = e
}

// spareActs is the greatest ring that a spare entry keeps.
const spareActs = 64

// entry holds the acts of one key within the window: a ring that grows up to the rate's N.
type entry[K comparable] struct {
	key            K
	older, fresher *entry[K]
	newest         time.Duration   // when the last act was counted, also if it was undone since
	at             []time.Duration // since the limiter was made
	first, n       int             // the oldest act and how many there are
}

// oldest asks for at least one act.
func (e *entry[K]) oldest() time.Duration { return e.at[e.first] }

// drop forgets the oldest act.
func (e *entry[K]) drop() {
	if e.first++; e.first == len(e.at) {
		e.first = 0
	}
	e.n--
}

// expire forgets the acts at or before the instant gone.
func (e *entry[K]) expire(gone time.Duration) {
	for e.n > 0 && e.oldest() <= gone {
		e.drop()
	}
}

// push notes an act; the ring never grows beyond most.
func (e *entry[K]) push(at time.Duration, most int) {
	if e.n == len(e.at) {
		ring := make([]time.Duration, min(max(2*e.n, 4), most))
		for i := range e.n {
			ring[i] = e.at[(e.first+i)%len(e.at)]
		}
		e.at, e.first = ring, 0
	}
	e.at[(e.first+e.n)%len(e.at)] = at
	e.n++
	e.newest = at
}
