package eventlog

import (
	"testing"
	"time"
)

func TestCounterRests(t *testing.T) {
	const ms = time.Millisecond
	c := NewCounter(CounterConfig{})
	for _, x := range []struct {
		what         string
		work, rounds time.Duration
		more         bool
		want         time.Duration
	}{
		{"an idle log", ms / 2, ms / 2, false, time.Second},
		{"a busy one", ms, 8 * ms, false, 3200 * ms},
		{"a slow disk", 100 * ms, 2 * time.Second, false, 5 * time.Second},
		{"a log to catch up with", 20 * ms, time.Minute, true, 200 * ms},
		{"small steps", ms / 10, ms, true, 10 * ms},
		{"a stall", time.Minute, time.Minute, true, time.Second},
	} {
		if got := c.rest(x.work, x.rounds, x.more); got != x.want {
			t.Errorf("%s: rests %v, want %v", x.what, got, x.want)
		}
	}
}
