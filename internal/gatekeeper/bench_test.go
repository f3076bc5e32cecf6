package gatekeeper_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
	"github.com/openway-access/openway/internal/throttle"
)

// BenchmarkVerify is the gate path without HTTP: throttle, decision, durable event, answer, by some callers at once.
func BenchmarkVerify(b *testing.B) {
	for _, engine := range storetest.Engines() {
		for _, lanes := range []int{1, 2} {
			if engine == store.SQLite && lanes > 1 {
				continue
			}
			for _, callers := range []int{1, 64, 256} {
				b.Run(fmt.Sprintf("%s/lanes=%d/callers=%d", engine, lanes, callers), func(b *testing.B) {
					s := storetest.Open(b, engine)
					site := build(b, s, 100)
					benchmark(b, gatekeeper.Config{
						Source: s, Keys: site.keys, IdleDays: 90, VerifyRate: throttle.Rate{N: 1_000_000, Per: time.Minute},
						Events: eventlog.Config{Appender: s, Lanes: lanes},
					}, site, callers)
				})
			}
		}
	}
}

// BenchmarkVerifyUnrecorded is the same with a database that takes everything at once: what our own part costs.
func BenchmarkVerifyUnrecorded(b *testing.B) {
	s := storetest.Open(b, store.SQLite)
	site := build(b, s, 100)
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			benchmark(b, gatekeeper.Config{Source: s, Keys: site.keys, IdleDays: 90, VerifyRate: throttle.Rate{N: 1_000_000, Per: time.Minute}, Events: eventlog.Config{Appender: nowhere{s}}}, site, callers)
		})
	}
}

// nowhere writes nothing.
type nowhere struct{ *store.Store }

func (nowhere) AppendBatch(context.Context, int64, int64, *access.EventBatch) (bool, error) {
	return true, nil
}

func benchmark(b *testing.B, cfg gatekeeper.Config, site *block, callers int) {
	b.Helper()
	g := gatekeeper.New(cfg)
	if err := g.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := g.Close(context.Background()); err != nil {
			b.Error(err)
		}
	}()
	var left, wrong atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range callers {
		address := netip.AddrFrom4([4]byte{10, 0, byte(c >> 8), byte(c)})
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				g.Admit(address, "")
				a := g.Verify(b.Context(), gatekeeper.Request{Gate: "door", Token: site.people[c%100].token, Address: address, RequestID: "00000000-0000-0000-0000-000000000000", At: time.Now()})
				if a.Outcome != access.Allow {
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verify/s")
	if st := g.Events(); st.Batches > 0 {
		b.ReportMetric(float64(st.Recorded)/float64(st.Batches), "events/batch")
	}
	if n := wrong.Load(); n > 0 {
		b.Errorf("%d of %d answers were not ALLOW", n, b.N)
	}
}
