package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// asked is one question of a controller and what came back. Instants are those of one monotonic clock of this process: a request that begins after
// a command has returned here begins after it anywhere.
type asked struct {
	id         string
	who        int
	began      time.Duration
	ended      time.Duration
	status     int // 0 = no whole answer came
	decision   access.Outcome
	reason     access.Reason
	retryAfter string
}

// client is one controller with a connection of its own.
type client struct {
	transport *http.Transport
	clock     time.Time
}

func newClient(clock time.Time) *client {
	return &client{transport: &http.Transport{MaxIdleConnsPerHost: 2, ResponseHeaderTimeout: 30 * time.Second}, clock: clock}
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// ask asks at a gate. headers are pairs of name and value.
func (c *client) ask(address, gate, token, id string, headers ...string) asked {
	a := asked{id: id}
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/api/v1/access/verify", strings.NewReader(`{"gate_id":"`+gate+`","token":"`+token+`"}`))
	if err != nil {
		return a
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-ID", id)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	a.began = time.Since(c.clock)
	defer func() { a.ended = max(a.ended, time.Since(c.clock)) }()
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		a.ended = time.Since(c.clock)
		return a
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a.ended = time.Since(c.clock)
	if err != nil {
		return a
	}
	a.status, a.retryAfter = resp.StatusCode, resp.Header.Get("Retry-After")
	a.decision, a.reason = access.Outcome(field(string(body), "decision")), access.Reason(field(string(body), "reason"))
	return a
}

// field is a text of a compact JSON object.
func field(body, name string) string {
	_, rest, _ := strings.Cut(body, `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// drill is servers under load while a right after the other is taken away.
type drill struct {
	t        *testing.T
	database string // as the drill reads it, and the desk changes it
	people   []*person
	clock    time.Time
	servers  []atomic.Pointer[string] // addresses; nil = down

	serial  atomic.Int64
	stop    context.CancelFunc
	working sync.WaitGroup

	mu      sync.Mutex
	all     []asked
	revoked []span // by person
	unsure  int    // commands whose outcome nobody knew at first
	failed  int    // commands that failed and were given again
}

// span is when a command that takes a right away was given, and when it returned; 0 = not yet.
type span struct{ given, returned time.Duration }

const drillClients = 16

// startDrill lets clients ask the servers until finish, and a desk take rights away, one about each pace.
func startDrill(t *testing.T, database string, list []*person, pace time.Duration, servers ...string) *drill {
	t.Helper()
	desk := openDesk(t, database)
	t.Cleanup(func() { desk.close(t) })
	return startDrillWith(t, desk.remove, database, list, pace, servers...)
}

// startDrillWith is startDrill with another way to take rights away.
func startDrillWith(t *testing.T, remove func(context.Context, *person) error, database string, list []*person, pace time.Duration, servers ...string) *drill {
	t.Helper()
	d := &drill{t: t, database: database, people: list, clock: time.Now(), servers: make([]atomic.Pointer[string], len(servers)), revoked: make([]span, len(list))}
	for i, address := range servers {
		d.servers[i].Store(&address)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	t.Cleanup(func() { cancel(); d.working.Wait() })
	for n := range drillClients {
		d.working.Go(func() { d.askOn(ctx, n) })
	}
	d.working.Go(func() { d.takeAway(ctx, remove, pace) })
	return d
}

func (d *drill) askOn(ctx context.Context, n int) {
	c := newClient(d.clock)
	defer c.close()
	var mine []asked
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.all = append(d.all, mine...)
	}()
	for ctx.Err() == nil {
		address := d.servers[rand.IntN(len(d.servers))].Load()
		if address == nil {
			rest(time.Millisecond)
			continue
		}
		who := rand.IntN(len(d.people))
		a := c.ask(*address, door, d.people[who].token, fmt.Sprintf("drill-%d-%d", n, d.serial.Add(1)))
		a.who = who
		mine = append(mine, a)
		if a.status == 0 {
			rest(time.Millisecond)
		}
	}
}

// takeAway revokes the people's rights in turn. A command that fails is given again, as people do, until it succeeds.
func (d *drill) takeAway(ctx context.Context, remove func(context.Context, *person) error, pace time.Duration) {
	for i, p := range d.people {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pace):
		}
		given := time.Since(d.clock)
		d.mu.Lock()
		d.revoked[i].given = given
		d.mu.Unlock()
		unsure := false // an earlier try of this one may have come through
		for {
			short, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			err := remove(short, p)
			cancel()
			returned := time.Since(d.clock)
			d.mu.Lock()
			switch {
			case err == nil, errors.Is(err, access.ErrNotFound) && unsure:
				d.revoked[i].returned = returned
			case errors.Is(err, access.ErrOutcomeUnknown):
				unsure = true
				d.unsure++
			case errors.Is(err, access.ErrUnavailable):
				d.failed++
			default:
				d.t.Errorf("revoke %s: %v", p.name, err)
			}
			done := d.revoked[i].returned != 0
			d.mu.Unlock()
			if done || d.t.Failed() {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// asked is how many requests were begun so far.
func (d *drill) asked() int64 { return d.serial.Load() }

// more waits until n further requests have begun.
func (d *drill) more(n int64) {
	d.t.Helper()
	from := d.asked()
	until(d.t, time.Minute, fmt.Sprintf("%d more requests have begun", n), func() bool { return d.asked() >= from+n })
}

// some waits until n further rights are taken away, and as many requests have begun as show it.
func (d *drill) some(n int) {
	d.t.Helper()
	taken := func() (done int) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, s := range d.revoked {
			if s.returned != 0 {
				done++
			}
		}
		return done
	}
	from := taken()
	until(d.t, time.Minute, fmt.Sprintf("%d more rights are taken away", n), func() bool { return taken() >= min(from+n, len(d.people)) })
	d.more(between)
}

// refuses waits until a request is answered 503.
func (d *drill) refuses(why string) {
	d.t.Helper()
	c := newClient(d.clock)
	defer c.close()
	until(d.t, 2*time.Minute, why+" and requests are refused", func() bool {
		a := c.ask(*d.servers[0].Load(), door, d.people[0].token, fmt.Sprintf("refused-%d", d.serial.Add(1)))
		d.mu.Lock()
		d.all = append(d.all, a)
		d.mu.Unlock()
		return a.status == http.StatusServiceUnavailable
	})
}

// recovers waits until a server answers again, by itself, and says how long that took.
func (d *drill) recovers(server int, patience time.Duration) time.Duration {
	d.t.Helper()
	began := time.Now()
	c := newClient(d.clock)
	defer c.close()
	until(d.t, patience, "the server answers again", func() bool {
		a := c.ask(*d.servers[server].Load(), door, d.people[0].token, fmt.Sprintf("again-%d", d.serial.Add(1)))
		d.mu.Lock()
		d.all = append(d.all, a)
		d.mu.Unlock()
		return a.status == http.StatusOK
	})
	return time.Since(began)
}

// finish ends the load and waits for the last answers.
func (d *drill) finish() {
	d.stop()
	d.working.Wait()
	slices.SortFunc(d.all, func(a, b asked) int { return cmp.Compare(a.began, b.began) })
}

// settled waits until the log tells of every request that was answered 503: that is written when the refusals have ceased for a second.
func (d *drill) settled() {
	d.t.Helper()
	refused := 0
	for _, a := range d.all {
		if a.status == http.StatusServiceUnavailable {
			refused++
		}
	}
	until(d.t, 30*time.Second, "the log tells of every refusal", func() bool {
		b := readBook(d.t, d.database)
		return b.unanswered+b.unavailable >= refused
	})
}

// figures is what a drill has shown.
type figures struct {
	asked, allowed, denied, refused, broken int
	revoked, unsure, failed                 int
	late                                    int // recorded, not answered
	slowest                                 time.Duration
	slowestRefusal                          time.Duration
}

func (f figures) String() string {
	return fmt.Sprintf("%d asked: %d ALLOW, %d DENY, %d answered 503, %d without an answer; %d rights taken away (%d commands of unknown outcome, %d failed); "+
		"%d recorded, not answered; slowest answer %v, slowest 503 %v", f.asked, f.allowed, f.denied, f.refused, f.broken, f.revoked, f.unsure, f.failed,
		f.late, f.slowest.Round(time.Millisecond), f.slowestRefusal.Round(time.Millisecond))
}

// check holds what the clients saw against what the log says. survived: no server was killed, so the log tells of every refusal.
func (d *drill) check(survived bool) figures {
	d.t.Helper()
	book := readBook(d.t, d.database)
	f := figures{unsure: d.unsure, failed: d.failed}
	for _, s := range d.revoked {
		if s.returned != 0 {
			f.revoked++
		}
	}
	var lost, twice, other, staleYes, staleNo, noHint int
	for _, a := range d.all {
		f.asked++
		events := book.decisions[a.id]
		if len(events) > 1 {
			twice++
		}
		if a.status != 0 {
			f.slowest = max(f.slowest, a.ended-a.began)
		}
		switch {
		case a.status == 0:
			f.broken++
			continue
		case a.status == http.StatusServiceUnavailable:
			f.refused++
			f.slowestRefusal = max(f.slowestRefusal, a.ended-a.began)
			f.late += len(events)
			if a.decision != access.Deny || a.retryAfter == "" {
				noHint++
			}
			continue
		case a.status != http.StatusOK:
			other++
			continue
		case len(events) == 0:
			lost++
			continue
		case events[0].Decision != a.decision || events[0].Reason != a.reason:
			other++
		}
		s := d.revoked[a.who]
		switch a.decision {
		case access.Allow:
			f.allowed++
			if s.returned != 0 && a.began > s.returned {
				staleYes++
			}
		default:
			f.denied++
			if s.given == 0 || a.ended < s.given {
				staleNo++
			}
		}
	}
	d.t.Log(f)
	if lost+twice+other+staleYes+staleNo+noHint > 0 {
		d.t.Errorf("answered and not in the log: %d; in the log more than once: %d; answered otherwise than recorded: %d; ALLOW begun after the right was taken away: %d; "+
			"DENY before it was: %d; 503 without DENY and Retry-After: %d; want none of each", lost, twice, other, staleYes, staleNo, noHint)
	}
	if survived && book.unanswered != f.late {
		d.t.Errorf("the log tells of %d recorded and not answered; there are %d", book.unanswered, f.late)
	}
	if survived && book.unanswered+book.unavailable < f.refused {
		d.t.Errorf("the log tells of %d + %d refusals; there were %d", book.unanswered, book.unavailable, f.refused)
	}
	if f.allowed == 0 || f.denied == 0 || f.revoked == 0 {
		d.t.Errorf("%v: this shows nothing", f)
	}
	return f
}

// book is what the log holds.
type book struct {
	decisions               map[string][]access.Event // by request id
	unanswered, unavailable int                       // what its notes count
}

func readBook(t testing.TB, database string) book {
	t.Helper()
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Database: database})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := book{decisions: map[string][]access.Event{}}
	for f := (access.EventFilter{Limit: 1000}); ; {
		page, err := s.Events(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			switch {
			case e.Kind == access.DecisionEvent:
				b.decisions[e.RequestID] = append(b.decisions[e.RequestID], e)
			case e.Reason == access.NoteUnanswered:
				b.unanswered += e.Count
			case e.Reason == access.NoteUnavailable:
				b.unavailable += e.Count
			}
		}
		if len(page) < f.Limit {
			return b
		}
		f.Before = page[len(page)-1].ID
	}
}
