package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// entry is a decision of the policy at hand, to be known again by its request id.
func entry(id string, gate int64, p eventlog.Policies) *eventlog.Entry {
	e := &eventlog.Entry{
		Event: access.Event{
			At: time.Now().UTC().Truncate(time.Microsecond), GateID: gate, Decision: access.Allow, Reason: access.OK, Address: "192.0.2.7", RequestID: id,
		},
		Mark: p.Mark(),
	}
	e.Redecide = func(e *eventlog.Entry) bool { e.Mark = p.Mark(); return true }
	return e
}

// script lists the faults of the first calls of each step, one for each call; later calls are fine.
type script map[step][]fault

func (s script) plan() func(step) fault {
	var mu sync.Mutex
	left := make(script, len(s))
	for k, v := range s {
		left[k] = append([]fault(nil), v...)
	}
	return func(k step) fault {
		mu.Lock()
		defer mu.Unlock()
		if len(left[k]) == 0 {
			return fine
		}
		f := left[k][0]
		left[k] = left[k][1:]
		return f
	}
}

// again is n times the same fault.
func again(n int, f fault) []fault {
	all := make([]fault, n)
	for i := range all {
		all[i] = f
	}
	return all
}

const (
	patient   = 20 * time.Second      // longer than anything takes here
	impatient = 60 * time.Millisecond // than anything that stalls
)

// matrix lists each step with each way it goes wrong: what the gate is told, and what the log holds once it is closed.
var matrix = []struct {
	name    string
	faults  script
	maxWait time.Duration
	commit  time.Duration // time-out of a commit

	answered    bool
	decisions   int // events of the entry that was appended
	unanswered  int // told of by notes
	unavailable int
}{
	{name: "nothing", answered: true, decisions: 1},

	{name: "append fails once", faults: script{write: {fails}}, answered: true, decisions: 1},
	{name: "append fails five times", faults: script{write: again(5, fails)}, answered: true, decisions: 1},
	{name: "append fails until the time is up", faults: script{write: again(9, fails)}, maxWait: impatient, unavailable: 1},
	{name: "append: outcome unknown, lost", faults: script{write: {unknownLost}}, unavailable: 1},
	{name: "append: outcome unknown, kept", faults: script{write: {unknownKept}}, decisions: 1, unanswered: 1},
	{name: "append fails, then outcome unknown, kept", faults: script{write: {fails, unknownKept}}, decisions: 1, unanswered: 1},
	{name: "append stalls, then lands", faults: script{write: {stallsKept}}, maxWait: impatient, decisions: 1, unanswered: 1},
	{name: "append stalls until cut off, lost", faults: script{write: {stallsToEnd}}, maxWait: impatient, commit: 4 * impatient, unavailable: 1},
	{name: "append stalls until cut off, outcome unknown, kept", faults: script{write: {stallsUnsure}}, maxWait: impatient, commit: 4 * impatient, decisions: 1, unanswered: 1},
	{name: "append stalls and is cut off in time", faults: script{write: {stallsToEnd}}, commit: impatient, answered: true, decisions: 1},

	{name: "policy moved once", faults: script{write: {policyMoved}}, answered: true, decisions: 1},
	{name: "policy moved twice", faults: script{write: {policyMoved, policyMoved}}, answered: true, decisions: 1},
	{name: "held fails once", faults: script{write: {policyMoved, policyMoved}, held: {fails}}, answered: true, decisions: 1},
	{name: "held: outcome unknown, lost", faults: script{write: {policyMoved, policyMoved}, held: {unknownLost}}, unavailable: 1},
	{name: "held: outcome unknown, kept", faults: script{write: {policyMoved, policyMoved}, held: {unknownKept}}, decisions: 1, unanswered: 1},
	{name: "held stalls, then lands", faults: script{write: {policyMoved, policyMoved}, held: {stallsKept}}, maxWait: impatient, decisions: 1, unanswered: 1},
	{name: "catching up fails", faults: script{write: {policyMoved}, catchUp: {fails}}, answered: true, decisions: 1},
	{name: "catching up fails until the time is up", faults: script{write: again(9, policyMoved), catchUp: again(9, fails)}, maxWait: impatient, unavailable: 1},

	{name: "claim fails", faults: script{write: again(2, fails), claim: {fine, fails}}, answered: true, decisions: 1},
	{name: "claim fails, did persist", faults: script{write: again(2, fails), claim: {fine, failsKept}}, answered: true, decisions: 1},
	{name: "claim fails until the time is up", faults: script{write: again(2, fails), claim: append(again(1, fine), again(9, fails)...)}, maxWait: impatient, unavailable: 1},
	{name: "claim stalls", faults: script{write: again(2, fails), claim: {fine, stallsKept}}, maxWait: impatient, unavailable: 1},

	{name: "lost; fence fails", faults: script{write: {unknownLost}, fence: again(3, fails)}, unavailable: 1},
	{name: "kept; fence fails", faults: script{write: {unknownKept}, fence: again(3, fails)}, decisions: 1, unanswered: 1},
	{name: "lost; fence fails, did persist", faults: script{write: {unknownLost}, fence: again(2, failsKept)}, unavailable: 1},
	{name: "kept; fence fails, did persist", faults: script{write: {unknownKept}, fence: again(2, failsKept)}, decisions: 1, unanswered: 1},
	{name: "kept; fence stalls", faults: script{write: {unknownKept}, fence: {stallsToEnd}}, commit: impatient, decisions: 1, unanswered: 1},
	{name: "kept; retiring fails", faults: script{write: {unknownKept}, retire: {fails, failsKept}}, decisions: 1, unanswered: 1},

	{name: "lost; the note is lost as well", faults: script{write: {unknownLost, unknownLost, fails}}, unavailable: 1},
	{name: "lost; the note is kept, not known", faults: script{write: {unknownLost, unknownKept}}, unavailable: 1},
	{name: "kept; the note fails", faults: script{write: {unknownKept, fails, unknownLost, unknownKept}}, decisions: 1, unanswered: 1},
}

func TestFaultMatrix(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		runMatrix(t, func(t *testing.T, run func(*testing.T, database)) {
			synctest.Test(t, func(t *testing.T) { run(t, newMemory()) })
		})
	})
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		runMatrix(t, func(t *testing.T, run func(*testing.T, database)) { run(t, s) })
	})
}

func runMatrix(t *testing.T, with func(*testing.T, func(*testing.T, database))) {
	for i, c := range matrix {
		t.Run(c.name, func(t *testing.T) {
			with(t, func(t *testing.T, db database) {
				f := newFaulty(t, db, c.faults.plan())
				cfg := eventlog.Config{Appender: f, Policies: f, MaxWait: patient, CommitTimeout: 2 * patient, Pause: impatient / 30}
				if c.maxWait > 0 {
					cfg.MaxWait = c.maxWait
				}
				if c.commit > 0 {
					cfg.CommitTimeout = c.commit
				}
				l := eventlog.New(cfg)
				if err := l.Start(t.Context()); err != nil {
					t.Fatalf("start: %v", err)
				}
				id, posted := fmt.Sprintf("appended-%d", i), fmt.Sprintf("posted-%d", i)
				before := takeAccount(t, db)
				began := time.Now()
				err := l.Append(t.Context(), entry(id, 3, f))
				took := time.Since(began)
				l.Post(&eventlog.Entry{Event: access.Event{At: time.Now(), Decision: access.Deny, Reason: access.TokenInvalid, Count: 5, RequestID: posted}})
				close(f.release)
				if err := l.Close(t.Context()); err != nil {
					t.Errorf("close: %v", err)
				}

				if got := err == nil; got != c.answered {
					t.Errorf("Append: %v, want answered = %v", err, c.answered)
				}
				if err != nil && !errors.Is(err, access.ErrUnavailable) {
					t.Errorf("Append: %v, which is not access.ErrUnavailable", err)
				}
				if limit := cfg.MaxWait + cfg.MaxWait/4 + 2*time.Second; took > limit {
					t.Errorf("Append took %v, want at most %v", took, limit)
				}
				a := takeAccount(t, db)
				if got := a.decisions[id]; got != c.decisions {
					t.Errorf("the decision stands in the log %d times, want %d", got, c.decisions)
				}
				if got := a.unanswered - before.unanswered; got != c.unanswered {
					t.Errorf("notes tell of %d recorded but not answered, want %d", got, c.unanswered)
				}
				if got := a.unavailable - before.unavailable; got != c.unavailable {
					t.Errorf("notes tell of %d unavailable, want %d", got, c.unavailable)
				}
				if got := a.decisions[posted]; got != 1 {
					t.Errorf("the posted event stands in the log %d times, want once", got)
				}
			})
		})
	}
}

func TestContextEndsBeforeAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		f := newFaulty(t, m, func(step) fault { return fine })
		l := start(t, eventlog.Config{Appender: f, Policies: f})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Append(ctx, entry("x", 1, f)); !errors.Is(err, access.ErrUnavailable) {
			t.Errorf("Append with an ended context: %v, want access.ErrUnavailable", err)
		}
		stop(t, l)
		if n := len(readAll(t, m)); n != 0 {
			t.Errorf("%d events in the log, want none", n)
		}
	})
}

func start(t testing.TB, cfg eventlog.Config) *eventlog.Log {
	t.Helper()
	l := eventlog.New(cfg)
	if err := l.Start(t.Context()); err != nil {
		t.Fatalf("start: %v", err)
	}
	return l
}

func stop(t testing.TB, l *eventlog.Log) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}
