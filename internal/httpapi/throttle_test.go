package httpapi

import (
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/throttle"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func TestLoginLimits(t *testing.T) {
	t.Parallel()
	c := &clock{time.Unix(1_700_000_000, 0)}
	l := newLimits(Config{SignIns: throttle.NewSignIns(throttle.Rate{N: 3, Per: time.Minute}, c.now)})
	home, abroad := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")

	a, err := l.tryName(home, "ann")
	if err != nil {
		t.Fatalf("first attempt: %v", err)
	}
	a.Succeeded()
	for i := range 3 {
		if _, err := l.tryName(abroad, "ann"); err != nil {
			t.Fatalf("failure %d from abroad: %v, want it let pass", i+1, err)
		}
	}
	err = func() error { _, err := l.tryName(abroad, "ann"); return err }()
	e, ok := asRefusal(err)
	if !ok || e.status != 429 || e.retry <= 0 || e.retry > time.Minute {
		t.Errorf("fourth from abroad: got %v, want 429 with a time to wait within the minute", err)
	}
	if _, err := l.tryName(home, "ann"); err != nil {
		t.Errorf("from where she signed in lately: %v, want it let pass", err)
	}
	if _, err := l.tryName(home, "bob"); err != nil {
		t.Errorf("another name: %v, want it let pass", err)
	}
	c.at = c.at.Add(61 * time.Second)
	if _, err := l.tryName(abroad, "ann"); err != nil {
		t.Errorf("after the minute: %v, want it let pass", err)
	}
	for i := range 4 {
		if err := l.tryAddress(abroad); (err == nil) != (i < 3) {
			t.Errorf("attempt %d by address: %v", i+1, err)
		}
	}
	if err := l.tryAddress(netip.MustParseAddr("2001:db8::2")); err == nil {
		t.Error("another address of the same /64 was let pass")
	}
}

// Failures that are under way at once count before they have failed.
func TestFailuresAreExact(t *testing.T) {
	t.Parallel()
	l := newLimits(Config{SignIns: throttle.NewSignIns(throttle.Rate{N: 5, Per: time.Hour}, nil)})
	var passed atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if _, err := l.tryName(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), "ann"); err == nil {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if passed.Load() != 5 {
		t.Errorf("40 attempts at once: %d passed, want 5", passed.Load())
	}
}

func TestLimitsOff(t *testing.T) {
	t.Parallel()
	l := newLimits(Config{})
	r := httptest.NewRequest("GET", "/api/v1/nope", nil)
	for range 200 {
		_, nameErr := l.tryName(netip.Addr{}, "ann")
		for _, err := range []error{l.tryAddress(netip.Addr{}), nameErr, l.countUser(1), l.countAnonymous(r)} {
			if err != nil {
				t.Fatalf("limits off: %v", err)
			}
		}
	}
}
