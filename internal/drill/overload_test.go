package drill

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// loaded is a server that a push can be made against. It has one processor to itself as far as taskset can give it, so that the generator
// can offer more than it can do.
func loaded(t *testing.T, engine string, under ...string) (*processtest.Process, []*person) {
	t.Helper()
	database := empty(t, engine)
	if engine == store.Postgres {
		server := processtest.NewPostgres(t, "")
		database = server.URL()
		if len(under) > 0 {
			if err := server.Bind("0"); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := people(t, database, 50)
	p := processtest.Serve(t, processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true, Under: under})
	return p, list
}

// TestOverload offers four times the top rate: what is accepted stays quick, the rest is answered 503 at once, memory is bounded, and a moment
// later all is as before.
func TestOverload(t *testing.T) {
	measuring(t)
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			server, list := loaded(t, engine, "taskset", "-c", "0")
			lasts := long(500*time.Millisecond, 5*time.Second)
			top := push{address: server.Address, people: list, conns: 64, lasts: lasts}.run(t)
			before, err := server.ResidentMB()
			if err != nil {
				t.Fatal(err)
			}
			var highest atomic.Int64
			measured := make(chan struct{})
			var watching sync.WaitGroup
			watching.Go(func() {
				for {
					select {
					case <-measured:
						return
					case <-time.After(50 * time.Millisecond):
					}
					if mb, err := server.ResidentMB(); err == nil {
						highest.Store(max(highest.Load(), int64(mb)))
					}
				}
			})
			over := push{address: server.Address, people: list, conns: 1000, rate: 4 * top.rate(), lasts: lasts}.run(t)
			close(measured)
			watching.Wait()
			after := push{address: server.Address, people: list, conns: 64, lasts: time.Second}.run(t)

			t.Logf("%s: top %.0f/s (64 callers), p99 %v; offered %.0f/s (%.1f x): accepted %.0f/s, p50 %v, p99 %v (%.1f x); %d answered 503, p50 %v, p99 %v; %d found every connection busy; "+
				"memory %.0f MB before, at most %d MB; in the next second %.0f/s, p99 %v", engine, top.rate(), at(top.accepted, 0.99), over.offered(), over.offered()/top.rate(),
				over.rate(), at(over.accepted, 0.5), at(over.accepted, 0.99), slower(over, top), len(over.refused), at(over.refused, 0.5), at(over.refused, 0.99), over.short,
				before, highest.Load(), after.rate(), at(after.accepted, 0.99))
			if mb := highest.Load(); mb > 400 {
				t.Errorf("the server grew to %d MB", mb)
			}
			withstood(t, top, over, after)
		})
	}
}

// slower is how many times as long the slowest hundredth of what was accepted took in one push as in another.
func slower(in, than pushed) float64 {
	return float64(at(in.accepted, 0.99)) / float64(at(than.accepted, 0.99))
}

// withstood holds an overload, and what came before and after it, to what is promised.
func withstood(t *testing.T, top, over, after pushed) {
	t.Helper()
	if top.rate() == 0 || over.rate() == 0 || after.rate() == 0 || over.other > 0 || over.hintless > 0 || over.broken > 0 || after.broken > 0 {
		t.Errorf("%d other answers, %d 503 without Retry-After, %d broken; want none, and some accepted", over.other, over.hintless, over.broken+after.broken)
	}
	if len(after.refused) > 0 {
		t.Errorf("%d were refused after the overload", len(after.refused))
	}
	if long(true, false) {
		return
	}
	if ratio := slower(over, top); ratio > 10 {
		t.Errorf("p99 of what is accepted is %.1f times that at the top rate; want at most 10", ratio)
	}
	if back := after.rate() / top.rate(); back < 0.7 {
		t.Errorf("in the second after the overload the rate is %.2f of the top rate; want it back", back)
	}
}

// apart measures the rate of verify, in turns, with something else going on and without, and returns the ratio of the medians.
func apart(t *testing.T, server *processtest.Process, list []*person, during func(stop <-chan struct{})) float64 {
	t.Helper()
	lasts := long(400*time.Millisecond, 8*time.Second) // at length beyond the 5 s that the server gives a header
	var alone, beside []time.Duration                  // the time that one request takes, for the sake of at
	p := push{address: server.Address, people: list, conns: 16, lasts: lasts}
	measure := func() time.Duration {
		got := p.run(t)
		got.allAccepted(t)
		t.Logf("%.0f/s, p99 %v", got.rate(), at(got.accepted, 0.99))
		return time.Duration(float64(time.Second) / got.rate())
	}
	for range long(1, 3) {
		alone = append(alone, measure())
		stop := make(chan struct{})
		var other sync.WaitGroup
		other.Go(func() { during(stop) })
		rest(300 * time.Millisecond) // let it begin
		beside = append(beside, measure())
		close(stop)
		other.Wait()
	}
	slices.Sort(alone)
	slices.Sort(beside)
	return float64(at(alone, 0.5)) / float64(at(beside, 0.5))
}

// TestLoginStorm: two hundred who try passwords at once, and again as soon as they have an answer, leave the gates most of the machine.
func TestLoginStorm(t *testing.T) {
	measuring(t)
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			server, list := loaded(t, engine)
			processtest.Run(t, server.Database, "apply", "-f", mallory(t))
			var refused, other atomic.Int64
			ratio := apart(t, server, list, func(stop <-chan struct{}) {
				var wg sync.WaitGroup
				for i := range 200 {
					wg.Go(func() {
						c := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
						defer c.CloseIdleConnections()
						for {
							select {
							case <-stop:
								return
							default:
							}
							body := fmt.Sprintf(`{"username":"%s","password":"wrong %d"}`, []string{"mallory", "nobody"}[i%2], i)
							resp, err := c.Post("http://"+server.Address+"/api/v1/auth/token", "application/json", strings.NewReader(body))
							if err != nil {
								other.Add(1)
								continue
							}
							_, _ = io.Copy(io.Discard, resp.Body) // only the status counts
							resp.Body.Close()
							if resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusServiceUnavailable {
								refused.Add(1)
							} else {
								other.Add(1)
								t.Errorf("a bad login is answered %d", resp.StatusCode)
							}
						}
					})
				}
				wg.Wait()
			})
			t.Logf("%s: with 200 bad logins at once verify keeps %.2f of its rate; %d logins were refused", engine, ratio, refused.Load())
			if refused.Load() == 0 || other.Load() > 0 {
				t.Errorf("%d logins refused, %d otherwise; want some and none", refused.Load(), other.Load())
			}
			if long(false, true) && ratio < 0.7 {
				t.Errorf("verify keeps %.2f of its rate; want at least 0.7", ratio)
			}
		})
	}
}

// mallory is somebody with a password.
func mallory(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mallory.yaml")
	if err := os.WriteFile(file, []byte("users:\n  - username: mallory\n    password: a good long phrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestSlowClients: a thousand connections that send a byte a second change nothing, and are ended when their time is up.
func TestSlowClients(t *testing.T) {
	measuring(t)
	server, list := loaded(t, store.SQLite)
	n := long(200, 1000)
	request := []byte("POST /api/v1/access/verify HTTP/1.1\r\nHost: x\r\nX-Slow: " + strings.Repeat("slow", 100))
	var ended, open atomic.Int64
	ratio := apart(t, server, list, func(stop <-chan struct{}) {
		conns := make([]net.Conn, n)
		defer func() {
			for _, c := range conns {
				if c != nil {
					c.Close()
				}
			}
		}()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for at := 0; ; at++ {
			for i, c := range conns {
				if c == nil {
					c, err := net.Dial("tcp", server.Address)
					if err != nil {
						t.Error(err)
						return
					}
					conns[i] = c
					open.Add(1)
				} else if _, err := c.Write(request[at%len(request) : at%len(request)+1]); err != nil {
					ended.Add(1) // the server has ended it: another one comes in its place
					c.Close()
					conns[i] = nil
				}
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	})
	t.Logf("beside %d connections that send a byte a second verify keeps %.2f of its rate; %d were opened, %d ended by the server", n, ratio, open.Load(), ended.Load())
	if long(false, true) && (ratio < 0.8 || ended.Load() == 0) {
		t.Errorf("verify keeps %.2f of its rate and the server ended %d connections; want about all, and some", ratio, ended.Load())
	}
	timeOuts(t, server.Address)
}

// timeOuts: a header and a body that never end are cut off.
func timeOuts(t *testing.T, address string) {
	t.Helper()
	var wg sync.WaitGroup
	for what, c := range map[string]struct {
		start    string
		patience time.Duration
	}{
		"header": {"POST /api/v1/access/verify HTTP/1.1\r\nHost: x\r\n", 20 * time.Second},
		"body":   {"POST /api/v1/access/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{", 40 * time.Second},
	} {
		wg.Go(func() {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, c.start); err != nil {
				t.Error(err)
				return
			}
			began := time.Now()
			_ = conn.SetReadDeadline(began.Add(c.patience)) // a time-out shows as an error below
			answer, err := io.ReadAll(conn)
			if err != nil || bytes.Contains(answer, []byte(`"ALLOW"`)) {
				t.Errorf("a %s that does not end: %v after %v, answered %q; want the connection closed", what, err, time.Since(began), answer)
			}
			t.Logf("a %s that does not end is cut off after %v", what, time.Since(began).Round(100*time.Millisecond))
		})
	}
	wg.Wait()
}
