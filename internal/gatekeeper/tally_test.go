package gatekeeper

import (
	"fmt"
	"sync"
	"testing"

	"github.com/openway-access/openway/internal/access"
)

func TestTallyCountsEverything(t *testing.T) {
	var g Gatekeeper
	var callers sync.WaitGroup
	const each = 200
	for n := range 8 {
		callers.Go(func() {
			for i := range each {
				g.tally.add(fmt.Sprint("gate-", i%20), reasons[(i+n)%len(reasons)])
			}
		})
	}
	callers.Wait()
	total, gates := uint64(0), map[string]bool{}
	g.Answers(func(gate string, reason access.Reason, n uint64) {
		gates[gate] = true
		total += n
	})
	if total != 8*each || len(gates) != 21 { // and "", whose zeros are shown
		t.Errorf("%d answers of %d gates, want %d of 21", total, len(gates), 8*each)
	}
}

func TestTallyCostsNoMemory(t *testing.T) {
	var tl tally
	tl.add("front", access.OK)
	if n := testing.AllocsPerRun(100, func() { tl.add("front", access.OK) }); n != 0 {
		t.Errorf("%v allocations to count an answer, want none", n)
	}
}

func BenchmarkTally(b *testing.B) {
	var tl tally
	for i := range 1000 {
		tl.add(fmt.Sprint("gate-", i), access.OK)
	}
	for b.Loop() {
		tl.add("gate-500", access.NoPermission)
	}
}
