package eventlog_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/openway-access/openway/internal/access"
)

// step is something that a log asks of others and that may go wrong.
type step string

const (
	claim   step = "claim"
	retire  step = "retire"
	write   step = "append"
	held    step = "held"
	fence   step = "fence"
	catchUp step = "catch up"
)

// fault is how a step goes wrong.
type fault string

const (
	fine         fault = ""
	fails        fault = "fails, did not persist"         // and the error says so
	failsKept    fault = "fails, did persist"             // claim, fence, retire: the answer is lost, the deed is not
	unknownLost  fault = "outcome unknown, not persisted" // append, held
	unknownKept  fault = "outcome unknown, persisted"     // append, held
	policyMoved  fault = "refused: the policy moved"      // append
	stallsKept   fault = "stalls, then persists"
	stallsToEnd  fault = "stalls until the context ends, did not persist"
	stallsUnsure fault = "stalls until the context ends, outcome unknown, persisted"
)

var errFault = fmt.Errorf("injected: %w", access.ErrUnavailable)

// faulty goes between a log and its database and makes steps go wrong as planned.
type faulty struct {
	database
	plan    func(step) fault
	release chan struct{} // closed: what stalls goes on

	mu   sync.Mutex
	mark access.PolicyMark // as the log knows it
}

func newFaulty(t testing.TB, db database, plan func(step) fault) *faulty {
	t.Helper()
	f := &faulty{database: db, plan: plan, release: make(chan struct{})}
	mark, err := db.PolicyMark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.mark = mark
	return f
}

// Mark and CatchUp make it the log's policies as well.
func (f *faulty) Mark() access.PolicyMark {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mark
}

func (f *faulty) CatchUp(ctx context.Context) error {
	if k := f.plan(catchUp); k != fine {
		return errFault
	}
	mark, err := f.PolicyMark(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mark = mark
	return nil
}

// do lets the deed happen as the fault has it, and says what the caller hears of it.
func (f *faulty) do(ctx context.Context, s step, deed func(context.Context) error) error {
	k := f.plan(s)
	switch k {
	case fine:
		return deed(ctx)
	case fails:
		return errFault
	case policyMoved:
		return nil // the deed is not done: landed stays false
	case unknownLost:
		return fmt.Errorf("injected: %w", access.ErrOutcomeUnknown)
	case stallsKept:
		<-f.release
		return deed(context.WithoutCancel(ctx))
	case stallsToEnd, stallsUnsure:
		<-ctx.Done()
	}
	err := errFault
	if k == unknownKept || k == stallsUnsure {
		err = fmt.Errorf("injected: %w", access.ErrOutcomeUnknown)
	}
	if k != stallsToEnd {
		if e := deed(context.WithoutCancel(ctx)); e != nil {
			return e
		}
	}
	return err
}

func (f *faulty) ClaimWriter(ctx context.Context) (id int64, err error) {
	err = f.do(ctx, claim, func(ctx context.Context) (err error) {
		id, err = f.database.ClaimWriter(ctx)
		return err
	})
	return id, err
}

func (f *faulty) RetireWriter(ctx context.Context, id int64) error {
	return f.do(ctx, retire, func(ctx context.Context) error { return f.database.RetireWriter(ctx, id) })
}

func (f *faulty) AppendBatch(ctx context.Context, writer, seq int64, b *access.EventBatch) (landed bool, err error) {
	err = f.do(ctx, write, func(ctx context.Context) (err error) {
		landed, err = f.database.AppendBatch(ctx, writer, seq, b)
		return err
	})
	return landed && err == nil, err
}

func (f *faulty) AppendBatchHeld(ctx context.Context, writer, seq int64, decide func(context.Context, access.PolicyMark) (*access.EventBatch, error)) error {
	return f.do(ctx, held, func(ctx context.Context) error { return f.database.AppendBatchHeld(ctx, writer, seq, decide) })
}

func (f *faulty) FenceBatch(ctx context.Context, writer, seq int64) (landed bool, count int, err error) {
	err = f.do(ctx, fence, func(ctx context.Context) (err error) {
		landed, count, err = f.database.FenceBatch(ctx, writer, seq)
		return err
	})
	return landed, count, err
}

// readAll is the whole log, newest first.
func readAll(t testing.TB, db database) []access.Event {
	t.Helper()
	var all []access.Event
	f := access.EventFilter{Limit: 1000}
	for {
		page, err := db.Events(context.Background(), f)
		if err != nil {
			t.Fatalf("read the log: %v", err)
		}
		all = append(all, page...)
		if len(page) < f.Limit {
			return all
		}
		f.Before = page[len(page)-1].ID
	}
}

// account is what a log holds: how often each decision stands in it, and how many refusals its notes tell of.
type account struct {
	decisions               map[string]int // by request id
	unanswered, unavailable int
}

func takeAccount(t testing.TB, db database) account {
	t.Helper()
	a := account{decisions: map[string]int{}}
	for _, e := range readAll(t, db) {
		switch {
		case e.Kind == access.DecisionEvent:
			a.decisions[e.RequestID]++
		case e.Reason == access.NoteUnanswered:
			a.unanswered += e.Count
		case e.Reason == access.NoteUnavailable:
			a.unavailable += e.Count
		default:
			t.Errorf("the log holds %+v, which nobody wrote", e)
		}
	}
	return a
}
