package drill

import (
	"cmp"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/storetest"
)

// goroutines counts those of a server by what began them, from the stacks that the Go runtime prints when it is ended by SIGQUIT.
func goroutines(t *testing.T, p *processtest.Process) map[string]int {
	t.Helper()
	stacks, err := p.Abort()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for stack := range strings.SplitSeq(stacks, "\n\n") {
		if !strings.HasPrefix(strings.TrimSpace(stack), "goroutine ") {
			continue
		}
		by := "the runtime, or main"
		for line := range strings.Lines(stack) {
			if _, after, found := strings.Cut(line, "created by "); found {
				by, _, _ = strings.Cut(strings.TrimSpace(after), " in goroutine")
			}
		}
		if !strings.HasPrefix(by, "runtime.") {
			count[by]++
		}
	}
	return count
}

// TestGoroutinesDoNotLeak: after all kinds of load a server has the goroutines of one that has just begun.
func TestGoroutinesDoNotLeak(t *testing.T) {
	t.Parallel()
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			database := empty(t, engine)
			list := people(t, database, 20)
			options := processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true}
			begin := func() *processtest.Process {
				p, err := processtest.Start(options)
				if err != nil {
					t.Fatal(err)
				}
				c := newClient(time.Now())
				if a := c.ask(p.Address, door, list[0].token, "first"); a.status != http.StatusOK {
					t.Errorf("the first request: %+v", a)
				}
				c.close()
				return p
			}
			fresh := goroutines(t, begin())

			p := begin()
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() { misbehave(p.Address, i) })
			}
			wg.Go(func() { (push{address: p.Address, people: list, conns: 200, lasts: time.Second}).run(t) })
			wg.Wait()
			// The clients are gone; what is left has nobody to wait for. Connections are noticed to be closed by reading from them.
			until(t, 20*time.Second, "the server has seen its clients go", func() bool { return connections(t, p) == 0 })
			after := goroutines(t, p)
			total := func(m map[string]int) (n int) {
				for _, k := range m {
					n += k
				}
				return n
			}
			t.Logf("%s: %d goroutines in a fresh server, %d after the load", engine, total(fresh), total(after))
			for _, by := range slices.SortedFunc(maps.Keys(after), cmp.Compare) {
				// A pool of connections may have a few more of them than at first.
				if after[by] > fresh[by]+3 {
					t.Errorf("%d goroutines were begun by %s, %d in a fresh server", after[by], by, fresh[by])
				}
			}
			if total(fresh) == 0 {
				t.Error("no goroutine was seen: this shows nothing")
			}
		})
	}
}

// misbehave is a client as it should not be.
func misbehave(address string, kind int) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	texts := []string{
		"POST /api/v1/access/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"GET / HTTP/1.1\r\nHost: x",
		"nonsense\r\n\r\n",
		"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n" + `{"username":"person-0000","password":"bad"}`[:42],
		"POST /api/v1/access/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n" + `{"gate_id":"no door"}`,
	}
	if _, err := io.WriteString(conn, texts[kind%len(texts)]); err != nil {
		return
	}
	if kind%2 == 0 {
		_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)) // some wait for an answer, some go at once
		_, _ = io.Copy(io.Discard, conn)                                 // whatever it is
	}
}

// connections counts the TCP connections that the server's address has on this machine.
func connections(t *testing.T, p *processtest.Process) (n int) {
	t.Helper()
	_, port, err := net.SplitHostPort(p.Address)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range processtest.Established(t) {
		if strings.HasSuffix(address, ":"+port) {
			n++
		}
	}
	return n
}
