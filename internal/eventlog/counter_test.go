package eventlog

import (
	"testing"
	"time"
)

func TestCounterRests(t *testing.T) {
	const ms = time.Millisecond
	c := NewCounter(CounterConfig{})
	now := time.Now()
	came := arrivals{since: now}
	for _, x := range []struct {
		what  string
		after time.Duration // since the call before
		n     int
		more  bool
		work  time.Duration
		want  time.Duration
	}{
		{"an idle log", time.Second, 0, false, ms, time.Second},
		{"some come", time.Second, 400, false, 50 * ms, time.Second},
		{"small steps", 700 * ms, 300, true, ms / 10, 10 * ms},
		{"longer ones", 200 * ms, 300, true, 20 * ms, 200 * ms},
		{"a stall", 10 * ms, 0, true, time.Minute, time.Second},
		{"all of which were many", 90 * ms, 0, false, ms, 5 * time.Second},
		{"as many in five seconds are few", 5 * time.Second, 600, false, ms, time.Second},
		{"a busy log stays so", time.Second, 3000, false, ms, 5 * time.Second},
		{"for as long as it is", 5 * time.Second, 2600, false, ms, 5 * time.Second},
	} {
		now = now.Add(x.after)
		if got := c.rest(&came, x.n, x.more, now, x.work); got != x.want {
			t.Errorf("%s: rests %v, want %v", x.what, got, x.want)
		}
	}
}
