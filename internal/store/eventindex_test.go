package store_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// indexModel is a log of few gates, users and so on, written by two processes, and the list that it must be equal to.
type indexModel struct {
	t     *testing.T
	db    storetest.Database
	sides [2]*side
	all   []access.Event // by id
	last  int64          // the highest id that was given
	group int64
}

type side struct {
	s         *store.Store
	lane, seq int64
}

// open opens one side, as after a crash or restart when it was open before.
func (m *indexModel) open(i int) {
	m.t.Helper()
	if m.sides[i] != nil {
		if err := m.sides[i].s.Close(); err != nil {
			m.t.Fatal(err)
		}
	}
	s, err := store.Open(m.t.Context(), store.Options{Database: m.db.DSN})
	if err != nil {
		m.t.Fatal(err)
	}
	store.SetIndexSizes(s, 7, 3, 60, 2, 25)
	store.RestUpkeep(s) // the test says when a step is done
	m.sides[i] = &side{s: s, lane: mustClaim(m.t, s)}
}

func (m *indexModel) close() {
	for _, s := range m.sides {
		if err := s.s.Close(); err != nil {
			m.t.Error(err)
		}
	}
}

var (
	fewReasons  = []access.Reason{access.OK, access.OK, access.NoPermission, access.TokenInvalid}
	fewRequests = []string{"a", "b", "c", "d", "e"}
)

func randomEvent(r *rapid.T, at time.Time) *access.Event {
	e := &access.Event{
		Kind: access.DecisionEvent, At: at.Add(time.Duration(rapid.IntRange(-30, 30).Draw(r, "late")) * time.Second),
		GateID: rapid.Int64Range(0, 3).Draw(r, "gate"), UserID: rapid.Int64Range(0, 5).Draw(r, "user"), DeviceID: rapid.Int64Range(0, 1).Draw(r, "device"),
		Decision: access.Allow, Reason: rapid.SampledFrom(fewReasons).Draw(r, "reason"), Count: 1, RequestID: rapid.SampledFrom(fewRequests).Draw(r, "request"),
	}
	if e.Reason != access.OK {
		e.Decision = access.Deny
	}
	if rapid.IntRange(0, 9).Draw(r, "kind") == 0 {
		e.Kind = access.SystemEvent
	}
	return e
}

func (m *indexModel) now() time.Time { return noon.Add(time.Duration(m.last) * time.Second) }

func (m *indexModel) append(r *rapid.T) {
	side := m.sides[rapid.IntRange(0, 1).Draw(r, "side")]
	side.seq++
	b := &access.EventBatch{Policy: mustMark(m.t, side.s)}
	for range rapid.IntRange(1, 12).Draw(r, "events") {
		b.Events = append(b.Events, randomEvent(r, m.now()))
	}
	if rapid.Bool().Draw(r, "held") {
		err := side.s.AppendBatchHeld(m.t.Context(), side.lane, side.seq, func(context.Context, access.PolicyMark) (*access.EventBatch, error) { return b, nil })
		if err != nil {
			r.Fatal(err)
		}
	} else if landed, err := side.s.AppendBatch(m.t.Context(), side.lane, side.seq, b); err != nil || !landed {
		r.Fatalf("AppendBatch = %v, %v", landed, err)
	}
	for _, e := range b.Events {
		m.last++
		e.ID = m.last
		m.all = append(m.all, *e)
	}
}

// step does a few steps of the index's work, on one side or on both at once.
func (m *indexModel) step(r *rapid.T) {
	steps := rapid.IntRange(1, 20).Draw(r, "steps")
	sides := m.sides[:]
	if n := rapid.IntRange(0, 2).Draw(r, "side"); n < 2 {
		sides = sides[n : n+1]
	}
	var wait sync.WaitGroup
	errs := make([]error, len(sides))
	for i, side := range sides {
		wait.Go(func() {
			for range steps {
				if _, err := store.IndexStep(m.t.Context(), side.s); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			r.Fatal(err)
		}
	}
}

func (m *indexModel) purge(r *rapid.T) {
	before := noon.Add(time.Duration(rapid.Int64Range(0, m.last/2+1).Draw(r, "before")) * time.Second)
	for {
		_, more, err := m.sides[0].s.PurgeEvents(m.t.Context(), before, 10)
		if err != nil {
			r.Fatal(err)
		}
		if !more {
			break
		}
	}
	m.all = slices.DeleteFunc(m.all, func(e access.Event) bool { return e.At.Before(before) })
}

// strangers inserts events as an import does: with ids of its choice, above or also below those that are there.
func (m *indexModel) strangers(r *rapid.T) {
	below := rapid.Bool().Draw(r, "below")
	id := m.last + rapid.Int64Range(1, 50).Draw(r, "gap")
	if below && len(m.all) > 0 {
		id = max(1, m.all[0].ID-5)
	}
	var added []access.Event
	err := m.sides[0].s.Note(m.t.Context(), anybody, func(tx *store.Tx) error {
		for range rapid.IntRange(1, 30).Draw(r, "events") {
			if below && len(m.all) > 0 && id >= m.all[0].ID {
				break
			}
			e := randomEvent(r, m.now())
			e.ID = id
			if err := store.InsertEvent(tx, e); err != nil {
				return err
			}
			added = append(added, *e)
			id++
		}
		if below {
			return tx.ForgetEventIndex()
		}
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	m.all = append(m.all, added...)
	slices.SortFunc(m.all, func(a, b access.Event) int { return int(a.ID - b.ID) })
	m.last = max(m.last, id-1)
}

// naive filters as the words of EventFilter say, newest first.
func (m *indexModel) naive(f access.EventFilter) []access.Event {
	return naive(m.all, f, []int64{1, 2})
}

// hints spoils what batches say of where their events stand, as a release before, a failover or a restore does.
func (m *indexModel) hints(r *rapid.T) {
	mustExec(m.t, raw(m.t, m.db), `UPDATE event_batch SET first_id = `+rapid.SampledFrom([]string{"NULL", "1", "first_id - 3", "first_id + 5", "1000000"}).Draw(r, "hint")+
		` WHERE seq % 3 = `+rapid.SampledFrom([]string{"0", "1", "2"}).Draw(r, "which"))
}

// times asks when events occurred.
func (m *indexModel) times(r *rapid.T) {
	s := m.sides[rapid.IntRange(0, 1).Draw(r, "side")].s
	var newest, first time.Time
	since := noon.Add(time.Duration(rapid.Int64Range(-30, m.last+30).Draw(r, "since")) * time.Second)
	for _, e := range m.all {
		if e.At.After(newest) {
			newest = e.At
		}
		if !e.At.Before(since) && (first.IsZero() || e.At.Before(first)) {
			first = e.At
		}
	}
	if at, err := s.NewestEvent(m.t.Context()); err != nil || !at.Equal(newest) {
		r.Fatalf("NewestEvent = %v, %v; want %v", at, err, newest)
	}
	if at, err := s.FirstEventSince(m.t.Context(), since); err != nil || !at.Equal(first) {
		r.Fatalf("FirstEventSince %v = %v, %v; want %v", since, at, err, first)
	}
}

// lane reads what a lane wrote.
func (m *indexModel) lane(r *rapid.T) {
	side := m.sides[rapid.IntRange(0, 1).Draw(r, "side")]
	var want []string
	for _, e := range m.all {
		if e.WriterID == side.lane {
			want = append(want, e.RequestID)
		}
	}
	_, got := readLane(m.t, m.sides[rapid.IntRange(0, 1).Draw(r, "reader")].s, side.lane, rapid.SampledFrom([]int{3, 100}).Draw(r, "batches"), rapid.SampledFrom([]int{20, 500}).Draw(r, "at a time"))
	if d := gocmp.Diff(want, got); d != "" {
		r.Fatalf("lane %d, want (-), got (+):\n%s", side.lane, d)
	}
}

// check reads pages of a random filter to their end, on a random side.
func (m *indexModel) check(r *rapid.T) {
	maybe := func(name string) bool { return rapid.IntRange(0, 2).Draw(r, name) == 0 }
	f := access.EventFilter{Limit: rapid.IntRange(1, 40).Draw(r, "limit")}
	if maybe("by gate") {
		f.GateID = rapid.Int64Range(1, 4).Draw(r, "gate")
	}
	if maybe("by user") {
		f.UserID = rapid.Int64Range(1, 6).Draw(r, "user")
	}
	if maybe("by device") {
		f.DeviceID = 1
	}
	if maybe("by group") {
		f.GroupID = m.group
	}
	if maybe("by request") {
		f.RequestID = rapid.SampledFrom(append(fewRequests, "none")).Draw(r, "request")
	}
	if maybe("by reason") {
		f.Reason = rapid.SampledFrom(fewReasons).Draw(r, "reason")
	}
	if maybe("by decision") {
		f.Decision = rapid.SampledFrom([]access.Outcome{access.Allow, access.Deny}).Draw(r, "decision")
	}
	if maybe("by kind") {
		f.Kind = rapid.SampledFrom([]access.EventKind{access.DecisionEvent, access.SystemEvent}).Draw(r, "kind")
	}
	if maybe("from") {
		f.From = noon.Add(time.Duration(rapid.Int64Range(-30, m.last+30).Draw(r, "from")) * time.Second)
	}
	if maybe("to") {
		f.To = noon.Add(time.Duration(rapid.Int64Range(-30, m.last+30).Draw(r, "to")) * time.Second)
	}
	if maybe("before") {
		f.Before = rapid.Int64Range(1, m.last+5).Draw(r, "before")
	}
	want := f
	want.Limit = store.All
	all := m.naive(want)
	s := m.sides[rapid.IntRange(0, 1).Draw(r, "side")].s
	var got []access.Event
	for page := f; ; {
		p, err := s.EventPage(m.t.Context(), page)
		if err != nil {
			r.Fatal(err)
		}
		if len(p.Events) > f.Limit {
			r.Fatalf("a page of %d has %d events", f.Limit, len(p.Events))
		}
		got = append(got, p.Events...)
		if p.Next == 0 {
			break
		}
		if page.Before != 0 && p.Next >= page.Before {
			r.Fatalf("a page before %d goes on at %d", page.Before, p.Next)
		}
		page.Before = p.Next
	}
	if d := gocmp.Diff(all, got, ignoreBatch); d != "" {
		r.Fatalf("%+v, want (-), got (+):\n%s", f, d)
	}
	once, err := s.Events(m.t.Context(), f)
	if d := gocmp.Diff(all[:min(len(all), f.Limit)], once, ignoreBatch); d != "" || err != nil {
		r.Fatalf("Events(%+v): %v, want (-), got (+):\n%s", f, err, d)
	}
}

// Whatever is written, by whom and how, purged or indexed, in whatever order, and wherever it was ended: pages hold what a naive look at the list holds.
//
// Each try makes a database and some hundred commits: with the race detector a hundred tries would take minutes. -rapid.checks asks for another number.
func TestEventIndex(t *testing.T) {
	checks := flag.Lookup("rapid.checks").Value
	given := checks.String() != flag.Lookup("rapid.checks").DefValue
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			if !given {
				if err := checks.Set(map[string]string{store.SQLite: "25", store.Postgres: "8"}[engine]); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = checks.Set(flag.Lookup("rapid.checks").DefValue) }) // what was the default can be set
			}
			rapid.Check(t, modelIndex(t, engine))
		})
	}
}

func modelIndex(t *testing.T, engine string) func(*rapid.T) {
	return func(r *rapid.T) {
		m := &indexModel{t: t, db: storetest.New(t, engine)}
		m.open(0)
		m.open(1)
		defer m.close()
		mustDo(t, m.sides[0].s, func(tx *store.Tx) error {
			e := &edits{rnd: rand.New(rand.NewPCG(1, 1))}
			if err := e.start(tx); err != nil {
				return err
			}
			m.group = e.groups[0]
			for _, u := range e.users[:2] { // 1 and 2
				if _, err := tx.AddMember(m.group, u); err != nil {
					return err
				}
			}
			return nil
		})
		r.Repeat(map[string]func(*rapid.T){
			"append":    m.append,
			"append2":   m.append,
			"step":      m.step,
			"step2":     m.step,
			"purge":     m.purge,
			"strangers": m.strangers,
			"hints":     m.hints,
			"times":     m.times,
			"lane":      m.lane,
			"restart":   func(r *rapid.T) { m.open(rapid.IntRange(0, 1).Draw(r, "side")) },
			"":          m.check,
		})
	}
}

// ignoreBatch leaves out of a comparison what the model does not know.
var ignoreBatch = cmpopts.IgnoreFields(access.Event{}, "RecordedAt", "WriterID", "Seq")

// A busy log on SQLite is indexed in blocks, which need no merge of slices: not before the slices that are there are merged, and what is less than a block waits only while the log is busy.
func TestIndexInBlocks(t *testing.T) {
	db, s, mark, lane := smallIndex(t, store.SQLite) // slices of 4, blocks of 3 slices
	store.SetIndexPatience(s, time.Hour)
	seq := int64(0)
	add := func(n int) {
		seq++
		mustAppend(t, s, lane, seq, batchOf(mark, strings.Split(strings.Repeat("x", n), "")...))
	}
	step := func(want bool, step func(context.Context, *store.Store) (bool, error)) {
		t.Helper()
		if worked, err := step(t.Context(), s); err != nil || worked != want {
			t.Fatalf("worked = %v, %v; want %v", worked, err, want)
		}
	}
	stand := func(when, want string) {
		t.Helper()
		const query = `SELECT COALESCE((SELECT group_concat(part, ' ') FROM (SELECT level || ':' || first_id || '-' || last_id AS part FROM event_segment WHERE state = 'live' ORDER BY first_id)), '')
			|| ' in ' || (SELECT COUNT(*) FROM event_span WHERE level = 0) || ' spans'`
		var got string
		if err := raw(t, db).QueryRow(query).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	add(14)
	step(true, store.PatientIndexStep)
	stand("a block", "1:1-12 in 3 spans")
	add(20) // up to 34
	step(true, store.PatientIndexStep)
	stand("another", "1:1-12 1:13-24 in 6 spans")
	step(false, store.PatientIndexStep) // 10 are less than a block
	store.SetIndexPatience(s, 0)
	step(true, store.PatientIndexStep)
	stand("the log is not busy any more", "1:1-12 1:13-24 0:25-28 in 7 spans")
	add(16) // up to 50
	step(true, store.IndexStep)
	stand("a block after a slice", "1:1-12 1:13-24 0:25-28 0:29-32 in 8 spans")
	if err := s.IndexEvents(t.Context()); err != nil {
		t.Fatal(err)
	}
	stand("all", "2:1-36 1:37-48 in 12 spans")
	got, err := s.Events(t.Context(), access.EventFilter{RequestID: "x", Limit: 100})
	if err != nil || len(got) != 50 {
		t.Errorf("%d events found, %v; want 50", len(got), err)
	}
}
