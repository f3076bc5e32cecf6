package goldentest

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/storetest"
)

// TestGolden sends every line of the corpus to the real binary, on both engines, and holds each answer against the line and against
// the OpenAPI document.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			runCorpus(t, newSeeds(t, engine))
		})
	}
}

func runCorpus(t *testing.T, s seeds) {
	t.Helper()
	contract := readContract(t)
	servers := newServers(t, s, processtest.ThrottlesOff())
	good := 0
	for _, c := range readCorpus(t) {
		if c.Fresh {
			servers.fresh()
		}
		q := c.request(t)
		got := exchange(t, servers.address(), q)
		servers.note(q, got)
		bad := c.Expect.mismatch(q.method, got)
		if bad == "" {
			if bad = contract.mismatch(q.method, q.path, got); bad != "" {
				bad = "against openapi.yaml: " + bad
			}
		}
		if bad != "" {
			t.Errorf("%s (%s): %s %s %.300q: %s\nanswered %d %s", c.ID, c.Setup, q.method, q.path, q.body, bad, got.status, got.body)
			continue
		}
		good++
	}
	t.Logf("%s: %d of %d", s.engine, good, corpusSize)
}

// servers gives each case that starts afresh a server on a seeded site. One that nothing has changed serves on; the next ones
// are being started meanwhile.
type servers struct {
	t       *testing.T
	seeds   seeds
	next    chan started
	done    chan struct{}
	tasks   sync.WaitGroup
	current *processtest.Process
	dirty   bool
}

type started struct {
	process *processtest.Process
	err     error
}

func newServers(t *testing.T, s seeds, env []string) *servers {
	t.Helper()
	v := &servers{t: t, seeds: s, next: make(chan started), done: make(chan struct{})}
	for range 2 {
		v.tasks.Go(func() { v.prepare(env) })
	}
	t.Cleanup(func() {
		close(v.done)
		v.retire(v.current)
		v.tasks.Wait()
	})
	return v
}

// prepare starts one server after the other and offers it.
func (v *servers) prepare(env []string) {
	for {
		var p *processtest.Process
		database, err := v.seeds.fresh()
		if err == nil {
			p, err = start(database, env...)
		}
		select {
		case v.next <- started{p, err}:
		case <-v.done:
			v.retire(p)
			return
		}
		if err != nil {
			return
		}
	}
}

// retire ends a server that nobody asks any more.
func (v *servers) retire(p *processtest.Process) {
	if p == nil {
		return
	}
	v.tasks.Go(func() {
		p.Stop(v.t)
		v.seeds.drop(v.t, p.Database)
	})
}

// fresh makes sure that the server's site is as it was seeded.
func (v *servers) fresh() {
	v.t.Helper()
	if v.current != nil && !v.dirty {
		return
	}
	v.retire(v.current)
	v.current = nil
	next := <-v.next
	if next.err != nil {
		v.t.Fatal(next.err)
	}
	v.current, v.dirty = next.process, false
}

func (v *servers) address() string { return v.current.Address }

// note sees whether a request changed devices: what else changes (tokens of a login, events) shows in no other case.
func (v *servers) note(q request, got response) {
	if q.method == http.MethodPost && strings.Contains(q.path, "/devices/") && got.status == http.StatusOK {
		v.dirty = true
	}
}
