package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// collectorRoom is how much garbage may gather before it is collected, whatever the size of the site. A collection costs by what is alive
// and may hold pointers, which the policy's snapshot does not: at Go's own proportion a small site (a few MB alive) would collect a
// hundred times a second under load, and a site of a million users would set aside as much memory again as it holds.
const collectorRoom = 16 << 20

// pace keeps the garbage collector's proportion such that the room is the same at any size. GOGC and GOMEMLIMIT, where set, are the
// operator's word, and nothing is done.
type pace struct {
	percent int
	live    []metrics.Sample
}

func paceCollector() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	p := &pace{live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	p.set()
}

// set is called after each collection, as the finalizer of something that nobody holds.
func (p *pace) set() {
	metrics.Read(p.live)
	if v := p.live[0].Value; v.Kind() == metrics.KindUint64 {
		if percent := proportion(v.Uint64()); percent != p.percent {
			p.percent = percent
			debug.SetGCPercent(percent)
		}
	}
	runtime.SetFinalizer(p, (*pace).set)
}

// proportion is GOGC for a heap of which so many bytes are alive, in steps, so that it is set seldom.
func proportion(live uint64) int {
	percent := 1000
	if live > 0 {
		percent = int(min(100*collectorRoom/live, 1000))
	}
	return max(percent-percent%10, 10)
}

// spareProcessors lets so many goroutines more run at a time than there are processors: on SQLite each lane waits for the disk in a system call most
// of the time under load, and until the runtime notices that, a processor would do nothing. GOMAXPROCS, where set, is the operator's word.
func spareProcessors(n int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
	}
}
