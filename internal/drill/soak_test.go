//go:build drill

package drill

import (
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/storetest"
)

// TestSoak lets servers work for OPENWAY_TEST_SOAK (a duration, 10m unless set), on each engine at once, and holds their memory flat.
func TestSoak(t *testing.T) {
	lasts := 10 * time.Minute
	if s := os.Getenv("OPENWAY_TEST_SOAK"); s != "" {
		var err error
		if lasts, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			server, list := loaded(t, engine)
			var memory []float64
			var watching sync.WaitGroup
			stop := make(chan struct{})
			watching.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Second):
					}
					mb, err := server.ResidentMB()
					if err != nil {
						t.Error(err)
						return
					}
					memory = append(memory, mb)
				}
			})
			desk := openDesk(t, server.Database)
			defer desk.close(t)
			changes := 0
			watching.Go(func() { // somebody's right comes and goes
				for {
					select {
					case <-stop:
						return
					case <-time.After(500 * time.Millisecond):
					}
					active := changes%2 == 1
					if _, err := desk.registry.SetUserActive(t.Context(), actor, list[0].id, active); err != nil {
						t.Error(err)
						return
					}
					changes++
				}
			})
			got := push{address: server.Address, people: list, conns: 32, rate: 1000, lasts: lasts}.run(t)
			close(stop)
			watching.Wait()
			third := len(memory) / 3
			if third == 0 {
				t.Fatal("the soak was too short to see anything")
			}
			middle, last := median(memory[third:2*third]), median(memory[2*third:])
			t.Logf("%s: %v at 1,000/s arriving: %d accepted, %d refused, %d broken, p99 %v; %d changes; memory %.0f MB in the middle third, %.0f MB in the last, at most %.0f MB",
				engine, lasts, len(got.accepted), len(got.refused), got.broken, at(got.accepted, 0.99), changes, middle, last, slices.Max(memory))
			if last > middle+4 { // a quarter of what the collector lets gather
				t.Errorf("memory grew from %.0f to %.0f MB", middle, last)
			}
			got.allAccepted(t)
			stacks := goroutines(t, server)
			n := 0
			for _, k := range stacks {
				n += k
			}
			t.Logf("%s: %d goroutines at the end", engine, n)
			if n > 100 {
				t.Errorf("%d goroutines at the end: %v", n, stacks)
			}
		})
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
