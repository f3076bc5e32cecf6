package eventlog_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// possible lists the ways in which each step can go wrong at random. Retiring is left alone: nothing depends on it.
var possible = map[step][]fault{
	claim:   {fails, failsKept, stallsToEnd},
	write:   {fails, unknownLost, unknownKept, policyMoved, stallsToEnd, stallsUnsure},
	held:    {fails, unknownLost, unknownKept, stallsToEnd, stallsUnsure},
	fence:   {fails, failsKept, stallsToEnd},
	catchUp: {fails},
}

// chance is a plan in which each step goes wrong with the given probability, while on.
type chance struct {
	mu  sync.Mutex
	rnd *rand.Rand
	p   float64
}

func (c *chance) plan(s step) fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rnd.Float64() >= c.p || len(possible[s]) == 0 {
		return fine
	}
	return possible[s][c.rnd.IntN(len(possible[s]))]
}

// off ends the faults.
func (c *chance) off() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.p = 0
}

// conserve lets callers append and post through random faults and holds the log to its promise: what was answered stands in it once,
// nothing twice, and each refusal is told of by exactly one note.
func conserve(t *testing.T, db database, seed uint64, callers, each int, cfg eventlog.Config) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	c := &chance{rnd: rnd, p: []float64{0.02, 0.2, 0.6}[seed%3]}
	conserveUnder(t, db, fineOnce(claim, cfg.Lanes, c.plan), c.off, seed, callers, each, cfg)
}

// conserveUnder does it with a plan of faults that ends when calm is called.
func conserveUnder(t *testing.T, db database, plan func(step) fault, calm func(), seed uint64, callers, each int, cfg eventlog.Config) {
	t.Helper()
	f := newFaulty(t, db, plan)
	cfg.Appender, cfg.Policies = f, f
	l := start(t, cfg)

	var mu sync.Mutex
	told := map[string]bool{} // decision -> answered
	posted := map[string]bool{}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			e := entry("", 0, f) // used again, as a server does
			for i := range each {
				id := fmt.Sprintf("%d-%d-%d", seed, caller, i)
				if i%8 == 7 {
					l.Post(&eventlog.Entry{Event: access.Event{At: time.Now(), Decision: access.Deny, Reason: access.UnknownGate, Count: 3, RequestID: "p" + id}})
					mu.Lock()
					posted["p"+id] = true
					mu.Unlock()
				}
				if e == nil {
					e = entry("", 0, f)
				}
				e.Event = entry(id, int64(1+caller%3), f).Event
				e.Mark = f.Mark()
				err := l.Append(t.Context(), e)
				if err != nil {
					if !errors.Is(err, access.ErrUnavailable) {
						t.Errorf("seed %d: Append: %v, which is not access.ErrUnavailable", seed, err)
					}
					e = nil
				}
				mu.Lock()
				told[id] = err == nil
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	calm()
	stop(t, l)

	a := takeAccount(t, db)
	refused, unanswered := 0, 0
	for id, answered := range told {
		n := a.decisions[id]
		delete(a.decisions, id)
		switch {
		case answered && n != 1:
			t.Errorf("seed %d: %s was answered and stands in the log %d times", seed, id, n)
		case n > 1:
			t.Errorf("seed %d: %s stands in the log %d times", seed, id, n)
		case !answered:
			refused++
			unanswered += n
		}
	}
	for id := range posted {
		if n := a.decisions[id]; n != 1 {
			t.Errorf("seed %d: %s was posted and stands in the log %d times", seed, id, n)
		}
		delete(a.decisions, id)
	}
	if len(a.decisions) > 0 {
		t.Errorf("seed %d: the log holds %d decisions that nobody gave it", seed, len(a.decisions))
	}
	if a.unanswered != unanswered {
		t.Errorf("seed %d: notes tell of %d recorded but not answered, and there are %d", seed, a.unanswered, unanswered)
	}
	if a.unanswered+a.unavailable != refused {
		t.Errorf("seed %d: notes tell of %d + %d refusals, and there were %d", seed, a.unanswered, a.unavailable, refused)
	}
	if s := l.Stats(); int(s.Refused) != refused || s.Fences != 0 || s.Queued != 0 || int(s.Unanswered) != unanswered {
		t.Errorf("seed %d: stats %+v after %d refusals, %d of them recorded", seed, s, refused, unanswered)
	}
	t.Logf("seed %d: %d answered, %d refused, %d of them recorded", seed, len(told)-refused, refused, unanswered)
}

// fineOnce lets a step be fine the first n times: a log that cannot claim its lanes does not start.
func fineOnce(s step, n int, plan func(step) fault) func(step) fault {
	var mu sync.Mutex
	n = max(n, 1)
	return func(k step) fault {
		mu.Lock()
		first := k == s && n > 0
		if first {
			n--
		}
		mu.Unlock()
		if first {
			return fine
		}
		return plan(k)
	}
}

func TestConservation(t *testing.T) {
	for seed := range uint64(90) {
		synctest.Test(t, func(t *testing.T) {
			conserve(t, newMemory(), seed, 24, 40, eventlog.Config{
				Lanes: 1 + int(seed/3)%3, MaxBatch: 1 + int(seed)%17, QueueLength: 4 + int(seed)%40,
				MaxWait: 300 * time.Millisecond, CommitTimeout: 200 * time.Millisecond * time.Duration(1+seed%4), Quiet: time.Second,
			})
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := newFaulty(t, m, script{write: {stallsKept}}.plan())
		l := start(t, eventlog.Config{Appender: f, Policies: f, QueueLength: 5, MaxBatch: 100})
		var wg sync.WaitGroup
		appendOne := func(i int) {
			wg.Go(func() {
				if err := l.Append(t.Context(), entry(fmt.Sprint(i), 1, f)); err != nil {
					t.Errorf("append %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		for i := range 6 { // one in flight, five in the queue
			appendOne(i)
		}
		began := time.Now()
		if err := l.Append(t.Context(), entry("too many", 9, f)); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("append to a full queue: %v, want access.ErrUnavailable", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("a full queue refused after %v, want at once", took)
		}
		close(f.release)
		wg.Wait()
		pass(2 * time.Second)
		synctest.Wait()
		a := takeAccount(t, m)
		if len(a.decisions) != 6 || a.unavailable != 1 || a.unanswered != 0 {
			t.Errorf("the log holds %+v, want 6 decisions and word of one refusal", a)
		}
		if s := l.Stats(); s.Batches != 3 { // the first alone, then all that had gathered, then the note
			t.Errorf("%d batches, want 3", s.Batches)
		}
		stop(t, l)
	})
}

// TestBatchesAreWorthTheirCommit: what comes to a log that is hardly busy is written at once; while a batch of some size is in flight the next waits
// until half as many again are there, and then does not wait for the first. A lane that got nowhere keeps nobody waiting.
func TestBatchesAreWorthTheirCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := newFaulty(t, m, script{write: {stallsKept, stallsKept, stallsKept, stallsKept, fails, fails, fails}}.plan())
		l := start(t, eventlog.Config{Appender: f, Policies: f, Lanes: 2, Pause: 10 * time.Second})
		var wg sync.WaitGroup
		appendOne := func(wantQueued int) {
			t.Helper()
			wg.Go(func() {
				if err := l.Append(t.Context(), entry("x", 1, f)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			if n := l.Stats().Queued; n != wantQueued {
				t.Errorf("%d wait to be taken, want %d", n, wantQueued)
			}
		}
		appendOne(0) // the first lane is at it
		appendOne(0) // the second takes one as well
		for i := range 6 {
			appendOne(i + 1) // both lanes are away
		}
		for range 2 { // the first comes back and takes the six, and then the second
			f.release <- struct{}{}
			synctest.Wait()
		}
		for i := range 8 {
			appendOne(i + 1)
		}
		appendOne(0) // the second takes nine
		for i := range 4 {
			appendOne(i + 1)
		}
		close(f.release)
		synctest.Wait()
		if s := l.Stats(); s.Recorded != 21 { // of the three failures at most two were of one lane, which rests now
			t.Errorf("%+v, want 21 events recorded", s)
		}
		wg.Wait()
		stop(t, l)
	})
}

// TestHangingBatchHoldsNobodyUp: whoever comes while a great batch hangs is written by another lane in time, however few they are.
func TestHangingBatchHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := newFaulty(t, m, script{write: {stallsKept, stallsKept, stallsKept}}.plan())
		l := start(t, eventlog.Config{Appender: f, Policies: f, Lanes: 2})
		var wg sync.WaitGroup
		ask := func(id string, want error) {
			wg.Go(func() {
				if err := l.Append(t.Context(), entry(id, 1, f)); !errors.Is(err, want) {
					t.Errorf("append %s: %v, want %v", id, err, want)
				}
			})
			synctest.Wait()
		}
		for i := range 2 { // both lanes are away for a moment, so that the others gather
			ask(fmt.Sprint("first ", i), nil)
		}
		for i := range 20 {
			ask(fmt.Sprint("gathered ", i), access.ErrUnavailable)
		}
		for range 2 { // one lane takes what has gathered, and hangs; the other is free
			f.release <- struct{}{}
			synctest.Wait()
		}
		ask("alone", nil)
		wg.Wait()
		close(f.release)
		stop(t, l)
	})
}

// TestGivenBackFirst: what could not be written goes before what has come since.
func TestGivenBackFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := newFaulty(t, m, script{write: {stallsToEnd}}.plan())
		l := start(t, eventlog.Config{Appender: f, Policies: f, Lanes: 1, MaxBatch: 4, CommitTimeout: time.Second})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() { _ = l.Append(t.Context(), entry(fmt.Sprintf("%02d", i), 1, f)) })
			synctest.Wait()
		}
		wg.Wait()
		stop(t, l)
		var ids []string
		for _, e := range readAll(t, m) {
			ids = append(ids, e.RequestID)
		}
		slices.Reverse(ids)
		if len(ids) != 10 || !slices.IsSorted(ids) {
			t.Errorf("recorded as %v, want all in the order in which they came", ids)
		}
	})
}

// TestFencedBeforeRetired: a lane whose last batch is of unknown fate is marked as given up only when that is settled: until then its number may still be used.
func TestFencedBeforeRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		var steps []step
		faults := script{write: {unknownLost}, fence: {fails}}.plan()
		f := newFaulty(t, m, func(s step) fault {
			k := faults(s)
			if s == retire || s == fence && k == fine {
				steps = append(steps, s)
			}
			return k
		})
		l := start(t, eventlog.Config{Appender: f, Policies: f, Lanes: 1})
		if err := l.Append(t.Context(), entry("x", 1, f)); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("append: %v, want access.ErrUnavailable", err)
		}
		pass(time.Second)
		synctest.Wait()
		if !slices.Equal(steps, []step{fence, retire}) {
			t.Errorf("settled by %v, want it fenced, then retired", steps)
		}
		stop(t, l)
	})
}

// TestOutage lets the database be away for a minute: everybody is answered within the time bound, and afterwards the log says so, once for each gate.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		var mu sync.Mutex
		down := false
		f := newFaulty(t, m, func(s step) fault {
			mu.Lock()
			defer mu.Unlock()
			if !down {
				return fine
			}
			if s == write {
				return unknownLost
			}
			return fails
		})
		set := func(v bool) { mu.Lock(); down = v; mu.Unlock() }
		l := start(t, eventlog.Config{Appender: f, Policies: f})
		set(true)
		began := time.Now()
		var last time.Time
		var wg sync.WaitGroup
		for i := range 600 { // ten a second
			at := time.Now()
			if time.Since(began) > 55*time.Second {
				break
			}
			wg.Go(func() {
				err := l.Append(t.Context(), entry(fmt.Sprint(i), int64(1+i%2), f))
				if took := time.Since(at); err == nil || took > eventlog.DefaultMaxWait*5/4 {
					t.Errorf("during the outage: %v after %v", err, took)
				}
			})
			last = at
			if i == 200 {
				pass(5 * time.Second) // the log tries to say so, in vain
			}
			pass(100 * time.Millisecond)
		}
		wg.Wait()
		set(false)
		pass(5 * time.Second)
		synctest.Wait()
		if err := l.Append(t.Context(), entry("after", 1, f)); err != nil {
			t.Errorf("after the outage: %v", err)
		}
		var notes, count int
		for _, e := range readAll(t, m) {
			if e.Reason == access.NoteUnavailable {
				notes++
				count += e.Count
				if e.At.Before(began.Truncate(time.Microsecond)) || e.Until.After(last) || e.Until.Sub(e.At) < 50*time.Second {
					t.Errorf("note %+v, want about %v until %v", e, began, last)
				}
			}
		}
		if notes != 2 || uint64(count) != l.Stats().Refused {
			t.Errorf("%d notes of %d refusals, want 2 of %d", notes, count, l.Stats().Refused)
		}
		stop(t, l)
	})
}

// TestCloseDrains closes a log while callers append: what was accepted is recorded, and nothing is left running.
func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := newFaulty(t, m, func(s step) fault { return fine })
		l := start(t, eventlog.Config{Appender: f, Policies: f, Lanes: 2, MaxBatch: 3})
		var wg sync.WaitGroup
		var mu sync.Mutex
		answered := 0
		for i := range 50 {
			wg.Go(func() {
				for j := 0; ; j++ {
					if err := l.Append(t.Context(), entry(fmt.Sprintf("%d-%d", i, j), 1, f)); err != nil {
						return
					}
					mu.Lock()
					answered++
					mu.Unlock()
				}
			})
		}
		for range 100 {
			l.Post(&eventlog.Entry{Event: access.Event{RequestID: "posted", Count: 2}})
		}
		stop(t, l)
		wg.Wait()
		a := takeAccount(t, m)
		if a.decisions["posted"] != 100 {
			t.Errorf("%d of 100 posted events are in the log", a.decisions["posted"])
		}
		if got := len(a.decisions) - 1; got != answered {
			t.Errorf("%d decisions in the log, %d were answered", got, answered)
		}
		for id := range m.writers {
			if !m.retired[id+1] {
				t.Errorf("lane %d is not marked as given up", id+1)
			}
		}
	})
}

// TestCloseWithoutDatabase gives up when the context ends, answers those who wait, and says what is lost.
func TestCloseWithoutDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := newFaulty(t, m, fineOnce(claim, 1, func(s step) fault { return stallsToEnd }))
		l := start(t, eventlog.Config{Appender: f, Policies: f})
		l.Post(&eventlog.Entry{Event: access.Event{RequestID: "posted"}})
		done := make(chan error, 1)
		go func() { done <- l.Append(t.Context(), entry("x", 1, f)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Close(ctx); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("close: %v, want access.ErrUnavailable", err)
		}
		if err := <-done; !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("append: %v, want access.ErrUnavailable", err)
		}
	})
}

// TestCloseWithHangingDisk: a commit that cannot be interrupted does not keep the log from closing.
func TestCloseWithHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := newFaulty(t, m, script{write: {stallsKept}}.plan())
		l := start(t, eventlog.Config{Appender: f, Policies: f})
		done := make(chan error, 1)
		go func() { done <- l.Append(t.Context(), entry("x", 1, f)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := l.Close(ctx); !errors.Is(err, access.ErrUnavailable) || time.Since(began) > 3*time.Second {
			t.Errorf("close: %v after %v, want access.ErrUnavailable soon after a second", err, time.Since(began))
		}
		if err := <-done; !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("append: %v, want access.ErrUnavailable", err)
		}
		close(f.release) // what hung comes back and finds nobody
	})
}

// TestConservationOnDatabases is TestConservation with the real ones beneath, by the real clock.
func TestConservationOnDatabases(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for seed := range uint64(5) {
			conserve(t, since{s, newestID(t, s)}, seed, 16, 20, eventlog.Config{
				Lanes: 1 + int(seed/3), MaxBatch: 8, QueueLength: 12, Pause: time.Millisecond,
				MaxWait: 80 * time.Millisecond, CommitTimeout: time.Duration(40+80*(seed%2)) * time.Millisecond, Quiet: 50 * time.Millisecond,
			})
		}
	})
}

// TestFullBatches fills batches to the brim, on each engine.
func TestFullBatches(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		f := newFaulty(t, s, script{write: {stallsKept}}.plan())
		l := start(t, eventlog.Config{Appender: f, Policies: f, MaxWait: patient})
		const callers = 1 + 2*512
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				if err := l.Append(t.Context(), entry(fmt.Sprint(i), 1, f)); err != nil {
					t.Errorf("append %d: %v", i, err)
				}
			})
		}
		for l.Stats().Queued < callers-512 { // the first batch, which stalls, may have taken some
			runtime.Gosched()
		}
		close(f.release)
		wg.Wait()
		stop(t, l)
		if a := takeAccount(t, s); len(a.decisions) != callers {
			t.Errorf("%d decisions in the log, want %d", len(a.decisions), callers)
		}
		if n := l.Stats().Batches; n > 4 {
			t.Errorf("%d batches, want at most 4", n)
		}
	})
}

// since is a store of which only later events are seen.
type since struct {
	*store.Store
	after int64
}

func newestID(t testing.TB, s *store.Store) int64 {
	t.Helper()
	e, err := s.Events(t.Context(), access.EventFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(e) == 0 {
		return 0
	}
	return e[0].ID
}

func (s since) Events(ctx context.Context, f access.EventFilter) ([]access.Event, error) {
	all, err := s.Store.Events(ctx, f)
	return slices.DeleteFunc(all, func(e access.Event) bool { return e.ID <= s.after }), err
}

// TestConservationWhenConnectionsAreCut cuts all connections to a PostgreSQL again and again, many of them in the middle of a commit.
func TestConservationWhenConnectionsAreCut(t *testing.T) {
	d := storetest.New(t, store.Postgres)
	s := storetest.OpenWith(t, store.Options{Database: d.DSN})
	knife, err := sql.Open("pgx", d.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer knife.Close()
	knife.SetMaxOpenConns(1)
	done := make(chan struct{})
	var cuts int
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if _, err := knife.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
				t.Errorf("cut: %v", err)
				return
			}
			cuts++
		}
	})
	calm := func() { close(done); wg.Wait() }
	conserveUnder(t, s, func(step) fault { return fine }, calm, 0, 16, 240, eventlog.Config{Lanes: 2, MaxBatch: 8, MaxWait: 500 * time.Millisecond, Pause: time.Millisecond, Quiet: 50 * time.Millisecond})
	t.Logf("cut %d times", cuts)
	if cuts < 3 { // on a crowded machine each takes long
		t.Errorf("cut only %d times: this test proves little", cuts)
	}
}
