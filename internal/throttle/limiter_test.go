package throttle

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is one that tests move.
type clock struct{ micros atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMicro(c.micros.Load()) }
func (c *clock) advance(d time.Duration) { c.micros.Add(d.Microseconds()) }

func TestWindowSlides(t *testing.T) {
	var c clock
	l := New[string](Rate{N: 3, Per: time.Minute}, 10, c.now)
	for i, step := range []struct {
		after time.Duration
		ok    bool
		wait  time.Duration
	}{
		{0, true, 0},
		{10 * time.Second, true, 0},
		{10 * time.Second, true, 0},
		{10 * time.Second, false, 30 * time.Second}, // at 0:30: the act of 0:00 still counts
		{29999999 * time.Microsecond, false, time.Microsecond},
		{time.Microsecond, true, 0}, // at 1:00 it does not: the window is half-open
		{0, false, 10 * time.Second},
		{10 * time.Second, true, 0},
		{9 * time.Second, false, time.Second},
		{time.Hour, true, 0},
	} {
		c.advance(step.after)
		if ok, wait := l.Peek("anna"); ok != step.ok || wait != step.wait {
			t.Errorf("step %d: Peek = %t, %v, want %t, %v", i, ok, wait, step.ok, step.wait)
		}
		if ok, wait := l.Allow("anna"); ok != step.ok || wait != step.wait {
			t.Errorf("step %d: Allow = %t, %v, want %t, %v", i, ok, wait, step.ok, step.wait)
		}
	}
}

func TestOffAllowsEverything(t *testing.T) {
	for _, rate := range []Rate{{}, {N: 0, Per: time.Second}, {N: 5}, {N: -1, Per: time.Second}} {
		l := New[string](rate, 0, nil)
		for range 100 {
			l.Add("anna")
			if ok, wait := l.Allow("anna"); !ok || wait != 0 {
				t.Fatalf("Allow at %+v = %t, %v, want true", rate, ok, wait)
			}
		}
		if ok, _ := l.Peek("anna"); !ok || l.Len() != 0 {
			t.Errorf("at %+v Peek = %t with %d keys, want true with none", rate, ok, l.Len())
		}
	}
}

// naive is the rule in so many words.
type naive struct {
	rate Rate
	acts map[string][]time.Time
}

func (m *naive) peek(key string, now time.Time) (bool, time.Duration) {
	var inside []time.Time
	for _, at := range m.acts[key] {
		if now.Sub(at) < m.rate.Per {
			inside = append(inside, at)
		}
	}
	m.acts[key] = inside
	if len(inside) < m.rate.N {
		return true, 0
	}
	return false, inside[0].Add(m.rate.Per).Sub(now)
}

func (m *naive) add(key string, now time.Time) {
	m.peek(key, now)
	if acts := append(m.acts[key], now); len(acts) > m.rate.N {
		m.acts[key] = acts[1:]
	} else {
		m.acts[key] = acts
	}
}

func TestLimiterDoesAsTheNaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c clock
		rate := Rate{N: rapid.IntRange(1, 9).Draw(t, "n"), Per: time.Second}
		l := New[string](rate, rapid.SampledFrom([]int{3, 5000}).Draw(t, "max keys"), c.now)
		m := &naive{rate: rate, acts: map[string][]time.Time{}}
		key := rapid.SampledFrom([]string{"anna", "boris", "виктор"})
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if l.Len() > 3 {
					t.Fatalf("%d keys remembered, 3 are in use", l.Len())
				}
			},
			"advance": func(t *rapid.T) {
				c.advance(rapid.SampledFrom([]time.Duration{
					time.Microsecond, 300 * time.Millisecond, 999_999 * time.Microsecond, time.Second,
				}).Draw(t, "by"))
			},
			"allow": func(t *rapid.T) {
				k := key.Draw(t, "key")
				wantOK, want := m.peek(k, c.now())
				if wantOK {
					m.add(k, c.now())
				}
				if ok, wait := l.Allow(k); ok != wantOK || wait != want {
					t.Fatalf("Allow(%s) = %t, %v, want %t, %v", k, ok, wait, wantOK, want)
				}
			},
			"peek": func(t *rapid.T) {
				k := key.Draw(t, "key")
				wantOK, want := m.peek(k, c.now())
				if ok, wait := l.Peek(k); ok != wantOK || wait != want {
					t.Fatalf("Peek(%s) = %t, %v, want %t, %v", k, ok, wait, wantOK, want)
				}
			},
			"add": func(t *rapid.T) {
				k := key.Draw(t, "key")
				m.add(k, c.now())
				l.Add(k)
			},
			"undo": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if n := len(m.acts[k]); n > 0 {
					m.acts[k] = m.acts[k][:n-1]
				}
				l.Undo(k)
			},
		})
	})
}

func TestExactUnderConcurrency(t *testing.T) {
	const n, askers, asks, keys = 100, 16, 200, 5
	var c clock
	l := New[netip.Prefix](Rate{N: n, Per: time.Hour}, 10_000, c.now)
	for round := range 3 {
		var allowed [keys]atomic.Int64
		var wg sync.WaitGroup
		for range askers {
			wg.Go(func() {
				for i := range asks {
					if ok, _ := l.Allow(prefix(i % keys)); ok {
						allowed[i%keys].Add(1)
					}
				}
			})
		}
		wg.Wait()
		for i := range allowed {
			if got := allowed[i].Load(); got != n {
				t.Errorf("round %d: key %d was allowed %d of %d, want exactly %d", round, i, got, askers*asks/keys, n)
			}
		}
		c.advance(time.Hour)
	}
}

// The login's use: a slot is taken before the work and given back when it was no failure.
func TestUndoUnderConcurrency(t *testing.T) {
	l := New[string](Rate{N: 10, Per: time.Hour}, 100, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if ok, _ := l.Allow("anna"); ok {
					l.Undo("anna")
				}
			}
		})
	}
	wg.Wait()
	if l.Len() != 0 {
		t.Errorf("%d keys left, want 0", l.Len())
	}
	for range 12 {
		l.Undo("anna")
	}
	for i := range 11 {
		if ok, _ := l.Allow("anna"); ok != (i < 10) {
			t.Errorf("Allow no. %d = %t, want %t", i+1, ok, i < 10)
		}
	}
}

func prefix(i int) netip.Prefix {
	return AddressKey(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
}

func TestTableIsBounded(t *testing.T) {
	for _, most := range []int{-1, 1, 10, 1000, 10_000} {
		var c clock
		l := New[netip.Prefix](Rate{N: 5, Per: time.Hour}, most, c.now)
		limit := max(most, 1) + len(l.shards)
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for i := range 10_000 {
					c.advance(time.Microsecond)
					l.Allow(prefix(worker*10_000 + i))
					if i%100 == 0 && l.Len() > limit+4 { // what is between a removal and its insertion
						t.Errorf("at most %d keys: %d remembered", most, l.Len())
						return
					}
				}
			})
		}
		wg.Wait()
		held := 0
		for i := range l.shards {
			held += len(l.shards[i].entries)
		}
		if l.Len() > limit || held != l.Len() {
			t.Errorf("at most %d keys: Len = %d, %d held, want at most %d", most, l.Len(), held, limit)
		}
		c.advance(time.Hour)
		for i := range 4 * len(l.shards) * (1 + held) {
			if l.Len() <= 2*len(l.shards) {
				break
			}
			l.Allow(prefix(i))
			l.Undo(prefix(i))
		}
		if l.Len() > 2*len(l.shards) {
			t.Errorf("at most %d keys: %d still remembered long after they went idle", most, l.Len())
		}
	}
}

func TestFullTableGivesUpTheStalest(t *testing.T) {
	var c clock
	l := New[string](Rate{N: 1, Per: time.Hour}, 3, c.now)
	for _, key := range []string{"a", "b", "c"} {
		l.Allow(key)
		c.advance(time.Second)
	}
	l.Add("a") // a is the freshest again
	c.advance(time.Second)
	if ok, _ := l.Allow("d"); !ok {
		t.Error("a new key is refused by a full table")
	}
	for _, tt := range []struct {
		key string
		ok  bool
	}{{"a", false}, {"b", true}, {"c", false}, {"d", false}} {
		if ok, _ := l.Peek(tt.key); ok != tt.ok {
			t.Errorf("Peek(%s) = %t, want %t", tt.key, ok, tt.ok)
		}
	}
}

func TestClockThatIsSetBack(t *testing.T) {
	var c clock
	c.micros.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	l := New[string](Rate{N: 1, Per: time.Minute}, 10, c.now)
	l.Allow("anna")
	c.advance(10 * time.Second)
	l.Peek("anna")
	c.advance(-24 * time.Hour)
	if ok, wait := l.Allow("anna"); ok || wait != 50*time.Second {
		t.Errorf("after the clock was set back: Allow = %t, %v, want false, 50s", ok, wait)
	}
	c.advance(50 * time.Second)
	if ok, wait := l.Allow("anna"); !ok {
		t.Errorf("50 s later: Allow = false, %v, want true", wait)
	}
}

// A ring holds what the rate's number asks for, and an idle key gives up what it held.
func TestRingsGrowOnDemand(t *testing.T) {
	var c clock
	l := New[string](Rate{N: 1000, Per: time.Hour}, 10, c.now)
	for i := range 2000 {
		l.Allow("busy")
		if size := len(l.shards[0].entries["busy"].at); size > 1000 || size > max(4, 2*(i+1)) {
			t.Fatalf("after %d acts the ring has %d places", i+1, size)
		}
	}
	c.advance(2 * time.Hour)
	l.Allow("other")
	if size := len(l.shards[0].entries["other"].at); l.Len() != 1 || size > spareActs {
		t.Errorf("%d keys, a ring of %d, want 1 key with a small ring", l.Len(), size)
	}
}

func TestAllowDoesNotAllocate(t *testing.T) {
	l := New[netip.Prefix](Rate{N: 50, Per: time.Microsecond}, 10_000, nil)
	for i := range 20_000 {
		l.Allow(prefix(i % 100))
	}
	i := 0
	if n := testing.AllocsPerRun(10_000, func() {
		l.Allow(prefix(i % 100))
		i++
	}); n != 0 {
		t.Errorf("Allow allocates %v times, want 0", n)
	}
}

func BenchmarkAllow(b *testing.B) {
	for _, keys := range []int{1, 1000} {
		for _, rate := range []Rate{{N: 30, Per: time.Second}, {N: 1 << 19, Per: time.Millisecond}} {
			b.Run(fmt.Sprintf("%d-keys-%v", keys, rate), func(b *testing.B) {
				l := New[netip.Prefix](rate, 100_000, nil)
				of := make([]netip.Prefix, keys)
				for i := range of {
					of[i] = prefix(i)
				}
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					l.Allow(of[i])
					if i++; i == keys {
						i = 0
					}
				}
			})
		}
	}
}

func BenchmarkAllowParallel(b *testing.B) {
	for _, keys := range []int{1, 1000} {
		b.Run(fmt.Sprintf("%d-keys", keys), func(b *testing.B) {
			l := New[netip.Prefix](Rate{N: 30, Per: time.Second}, 100_000, nil)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					l.Allow(prefix(i % keys))
				}
			})
		})
	}
}

// BenchmarkAllowNewKeys is a flood from addresses that never come again, in a full table.
func BenchmarkAllowNewKeys(b *testing.B) {
	l := New[netip.Prefix](Rate{N: 30, Per: time.Second}, 10_000, nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		l.Allow(prefix(i))
	}
}
