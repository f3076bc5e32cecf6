package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// BenchmarkAppendBesidePurge is how long a batch of 16 events takes, alone and while old events are deleted. There is a batch each 2 ms.
func BenchmarkAppendBesidePurge(b *testing.B) {
	for _, engine := range storetest.Engines() {
		for _, purging := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/purging=%t", engine, purging), func(b *testing.B) {
				s := storetest.OpenWith(b, store.Options{Database: storetest.New(b, engine).DSN})
				mark, err := s.PolicyMark(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				lane, seq := mustClaim(b, s), int64(0)
				g := &bustle{mark: mark}
				write := func(size int) {
					seq++
					mustAppend(b, s, lane, seq, g.batch(size))
				}
				for range 400 {
					write(1000)
				}
				if err := s.IndexEvents(b.Context()); err != nil {
					b.Fatal(err)
				}
				ctx, stop := context.WithCancel(b.Context())
				var purge sync.WaitGroup
				deleted := 0
				if purging {
					purge.Go(func() {
						deleted, _ = eventlog.Purge(ctx, s, noon.Add(1000*time.Hour), eventlog.PaceFor(engine), nil) // it ends when ctx does
					})
				}
				var took []time.Duration
				tick := time.NewTicker(2 * time.Millisecond)
				defer tick.Stop()
				for b.Loop() {
					<-tick.C
					begun := time.Now()
					write(16)
					took = append(took, time.Since(begun))
				}
				spent := b.Elapsed()
				stop()
				purge.Wait()
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "us/p50")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "us/p99")
				b.ReportMetric(float64(deleted)/spent.Seconds(), "deleted/s")
			})
		}
	}
}
