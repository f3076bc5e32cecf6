package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// noon is when events of tests occur.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 123000, time.UTC)

// allowed is an event with all that an ALLOW has.
func allowed(mark access.PolicyMark, requestID string) *access.Event {
	return &access.Event{
		Kind: access.DecisionEvent, At: noon, GateID: 1, UserID: 2, CredentialID: 3, PermissionID: 5, PolicyVersion: mark.Version,
		Decision: access.Allow, Reason: access.OK, Count: 1, Address: "192.0.2.7", RequestID: requestID, Fingerprint: "0123456789ab",
	}
}

func batchOf(mark access.PolicyMark, requestIDs ...string) *access.EventBatch {
	b := &access.EventBatch{Policy: mark}
	for _, id := range requestIDs {
		b.Events = append(b.Events, allowed(mark, id))
	}
	return b
}

func mustClaim(t testing.TB, s *store.Store) int64 {
	t.Helper()
	id, err := s.ClaimWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustAppend(t testing.TB, s *store.Store, writer, seq int64, b *access.EventBatch) {
	t.Helper()
	if landed, err := s.AppendBatch(t.Context(), writer, seq, b); err != nil || !landed {
		t.Fatalf("AppendBatch(%d, %d) = %v, %v; want it to land", writer, seq, landed, err)
	}
}

// requestIDs are those of all events, oldest first.
func requestIDs(t *testing.T, s *store.Store) string {
	t.Helper()
	events, err := s.Events(t.Context(), access.EventFilter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, e := range events {
		got = e.RequestID + got
	}
	return got
}

func TestAppendBatchKeepsEverything(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, s, _ *store.Store) {
		mark := mustMark(t, s)
		full := &access.Event{
			Kind: access.SystemEvent, At: noon, GateID: 1, PresentedGate: "ворота's \"gate\" \\ {1,2}", UserID: 2, CredentialID: 3, DeviceID: 4, PermissionID: 5,
			ControllerID: 6, PolicyVersion: 7, Decision: access.Deny, Reason: access.TokenInvalid, Count: 8, Until: noon.Add(time.Second),
			Address: "2001:db8::1", RequestID: "r, NULL", Fingerprint: "abcdefabcdef",
		}
		bare := &access.Event{Kind: access.DecisionEvent, At: noon.Add(-time.Hour), Decision: access.Deny, Reason: access.UnknownGate}
		lane := mustClaim(t, s)
		before := time.Now().Add(-time.Second)
		mustAppend(t, s, lane, 1, &access.EventBatch{Policy: mark, Events: []*access.Event{full, bare}})

		got, err := s.Events(t.Context(), access.EventFilter{})
		if err != nil || len(got) != 2 {
			t.Fatalf("Events = %v, %v; want 2", got, err)
		}
		bare.Count = 1 // an event is at least itself
		want := []access.Event{*bare, *full}
		for i := range want {
			if want[i].WriterID != lane || want[i].Seq != 1 || want[i].RecordedAt.Before(before) {
				t.Errorf("AppendBatch filled in writer %d, seq %d, recorded %v; want %d, 1, now", want[i].WriterID, want[i].Seq, want[i].RecordedAt, lane)
			}
			want[i].ID = got[i].ID
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("events, as appended (-) and as read (+):\n%s", d)
		}

		var version, count, oldest int64
		if err := raw(t, db).QueryRow(`SELECT policy_version, count, oldest_at FROM event_batch`).Scan(&version, &count, &oldest); err != nil {
			t.Fatal(err)
		}
		if version != mark.Version || count != 2 || oldest != bare.At.UnixMicro() {
			t.Errorf("the batch's row: version %d, count %d, oldest %d; want %d, 2, %d", version, count, oldest, mark.Version, bare.At.UnixMicro())
		}
		var nulls int
		if err := raw(t, db).QueryRow(`SELECT COUNT(*) FROM events WHERE gate_id IS NULL AND presented_gate IS NULL AND user_id IS NULL AND credential_id IS NULL
			AND device_id IS NULL AND permission_id IS NULL AND controller_id IS NULL AND until IS NULL`).Scan(&nulls); err != nil || nulls != 1 {
			t.Errorf("%d events (%v) have NULL in their optional columns, want 1", nulls, err)
		}
	})
}

func TestAppendBatchOnlyUnderTheNewestPolicy(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, server, cli *store.Store) {
		lane := mustClaim(t, server)
		seq := int64(0)
		for i := range 20 {
			stale := mustMark(t, server)
			mark := mustChange(t, cli)
			if landed, err := server.AppendBatch(t.Context(), lane, seq+1, batchOf(stale, "stale")); err != nil || landed {
				t.Fatalf("round %d: a batch decided by %v landed (%v, %v) after the policy was %v", i, stale, landed, err, mark)
			}
			seq++
			mustAppend(t, server, lane, seq, batchOf(mark, "x"))
		}
		mark := mustMark(t, server)
		for _, m := range []access.PolicyMark{{}, {Version: mark.Version, Stamp: mark.Stamp + 1}, {Version: mark.Version + 1, Stamp: mark.Stamp}} {
			if landed, err := server.AppendBatch(t.Context(), lane, seq+1, batchOf(m, "other")); err != nil || landed {
				t.Errorf("a batch decided by %v landed (%v, %v) under %v", m, landed, err, mark)
			}
		}
		if got, want := requestIDs(t, server), "xxxxxxxxxxxxxxxxxxxx"; got != want {
			t.Errorf("the log holds %q, want %q", got, want)
		}
		var batches int
		if err := raw(t, db).QueryRow(`SELECT COUNT(*) FROM event_batch`).Scan(&batches); err != nil || batches != 20 {
			t.Errorf("%d batches (%v), want 20: a refused one leaves no row", batches, err)
		}
	})
}

func TestAppendBatchRefusals(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ storetest.Database, s, other *store.Store) {
		mark, lane := mustMark(t, s), mustClaim(t, s)
		mustAppend(t, s, lane, 1, batchOf(mark, "a", "b"))
		retired := mustClaim(t, s)
		if err := s.RetireWriter(t.Context(), retired); err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			name        string
			s           *store.Store
			writer, seq int64
			b           *access.EventBatch
		}{
			{"a seq that is taken", s, lane, 1, batchOf(mark, "c")},
			{"no events", s, lane, 2, batchOf(mark)},
			{"another process's writer", other, lane, 2, batchOf(mark, "c")},
			{"a retired writer", s, retired, 1, batchOf(mark, "c")},
		}
		for _, tt := range tests {
			landed, err := tt.s.AppendBatch(t.Context(), tt.writer, tt.seq, tt.b)
			if landed || err == nil || errors.Is(err, access.ErrOutcomeUnknown) {
				t.Errorf("%s: AppendBatch = %v, %v; want an error that is sure", tt.name, landed, err)
			}
		}
		mustAppend(t, s, lane, 2, batchOf(mark, "d"))
		if got := requestIDs(t, s); got != "abd" {
			t.Errorf("the log holds %q, want %q", got, "abd")
		}
	})
}

func TestAppendBatchOfManySizes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		mark, lane := mustMark(t, s), mustClaim(t, s)
		total := 0
		for i, size := range []int{1, 2, 63, 64, 65, 1000, 1} {
			var ids []string
			for range size {
				ids = append(ids, fmt.Sprint(total, " "))
				total++
			}
			mustAppend(t, s, lane, int64(i+1), batchOf(mark, ids...))
		}
		want := ""
		for i := total - 1000; i < total; i++ {
			want += fmt.Sprint(i, " ")
		}
		if got := requestIDs(t, s); got != want {
			t.Errorf("the last 1000 of %d events, in order of their ids, are not in order of appending", total)
		}
	})
}

func TestAppendHeldGetsThrough(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ storetest.Database, s, other *store.Store) {
		lane := mustClaim(t, s)
		mark := mustChange(t, other)
		err := s.AppendBatchHeld(t.Context(), lane, 1, func(ctx context.Context, now access.PolicyMark) (*access.EventBatch, error) {
			if now != mark {
				t.Errorf("decide was given %v, want the newest, %v", now, mark)
			}
			if got := mustMark(t, s); got != now {
				t.Errorf("a read inside decide sees %v, want %v", got, now)
			}
			soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			_, _, err := other.Change(soon, anybody, func(tx *store.Tx) error { return tx.Record(access.ObjectSite, 1, "change", nil, nil) })
			if !errors.Is(err, access.ErrUnavailable) {
				t.Errorf("the policy moved while it was held: %v", err)
			}
			return batchOf(now, "held"), nil
		})
		if err != nil {
			t.Fatalf("AppendBatchHeld: %v", err)
		}
		if got := requestIDs(t, s); got != "held" {
			t.Errorf("the log holds %q, want %q", got, "held")
		}
		mark = mustChange(t, other)
		mustAppend(t, s, lane, 2, batchOf(mark, "+"))
	})
}

func TestAppendHeldThatWritesNothing(t *testing.T) {
	boom := errors.New("boom")
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		mark, lane := mustMark(t, s), mustClaim(t, s)
		tests := []struct {
			name string
			b    *access.EventBatch
			err  error
			sure bool // an error is wanted
		}{
			{"nil", nil, nil, false},
			{"no events", batchOf(mark), nil, false},
			{"decide fails", batchOf(mark, "x"), boom, true},
			{"another mark", batchOf(access.PolicyMark{Version: 9, Stamp: 9}, "x"), nil, true},
		}
		for _, tt := range tests {
			err := s.AppendBatchHeld(t.Context(), lane, 1, func(context.Context, access.PolicyMark) (*access.EventBatch, error) { return tt.b, tt.err })
			if (err != nil) != tt.sure || (tt.err != nil && !errors.Is(err, tt.err)) || errors.Is(err, access.ErrOutcomeUnknown) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		mustAppend(t, s, lane, 1, batchOf(mark, "y"))
		if got := requestIDs(t, s); got != "y" {
			t.Errorf("the log holds %q, want %q", got, "y")
		}
	})
}

func TestFenceBothWays(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ storetest.Database, s, successor *store.Store) {
		mark, lane := mustMark(t, s), mustClaim(t, s)
		mustAppend(t, s, lane, 1, batchOf(mark, "a", "b"))
		for range 2 { // asking again changes nothing
			if landed, count, err := successor.FenceBatch(t.Context(), lane, 1); err != nil || !landed || count != 2 {
				t.Errorf("FenceBatch of a batch that landed = %v, %d, %v; want true, 2", landed, count, err)
			}
			if landed, count, err := successor.FenceBatch(t.Context(), lane, 2); err != nil || landed || count != 0 {
				t.Errorf("FenceBatch of a batch that did not land = %v, %d, %v; want false, 0", landed, count, err)
			}
		}
		landed, err := s.AppendBatch(t.Context(), lane, 2, batchOf(mark, "late"))
		if landed || err == nil || errors.Is(err, access.ErrOutcomeUnknown) {
			t.Errorf("a batch that comes after its fence: %v, %v; want an error that is sure", landed, err)
		}
		if got := requestIDs(t, s); got != "ab" {
			t.Errorf("the log holds %q, want %q", got, "ab")
		}
	})
}

// A batch whose commit still runs, in a connection that its process has lost, is waited for.
func TestFenceWaitsForARunningCommit(t *testing.T) {
	for _, lands := range []bool{true, false} {
		t.Run(fmt.Sprint("lands=", lands), func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, db storetest.Database, s, _ *store.Store) {
				if db.Engine == store.SQLite {
					return // SQLite has one writer: there is nothing that could still run
				}
				lane := mustClaim(t, s)
				lost, err := raw(t, db).BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := lost.Exec(`INSERT INTO event_batch (writer_id, seq, policy_version, count, oldest_at, recorded_at) VALUES ($1, 1, 1, 3, 0, 0)`, lane); err != nil {
					t.Fatal(err)
				}
				soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if _, _, err := s.FenceBatch(soon, lane, 1); !errors.Is(err, access.ErrUnavailable) {
					t.Fatalf("FenceBatch beside a running commit: %v; want unavailable at its deadline", err)
				}
				end := lost.Rollback
				if lands {
					end = lost.Commit
				}
				if err := end(); err != nil {
					t.Fatal(err)
				}
				if landed, count, err := s.FenceBatch(t.Context(), lane, 1); err != nil || landed != lands || (count == 3) != lands {
					t.Errorf("FenceBatch = %v, %d, %v; want landed=%v", landed, count, err, lands)
				}
			})
		})
	}
}

func TestAppendBatchKeepsItsDeadline(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, s, _ *store.Store) {
		mark, lane := mustMark(t, s), mustClaim(t, s)
		mustAppend(t, s, lane, 1, batchOf(mark, "a"))
		c, err := raw(t, db).Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		block := []string{`BEGIN`, `LOCK TABLE event_batch`}
		if db.Engine == store.SQLite {
			block = []string{`BEGIN IMMEDIATE`}
		}
		execAll(t, c, block...)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		landed, err := s.AppendBatch(ctx, lane, 2, batchOf(mark, "b"))
		if landed || err == nil {
			t.Errorf("AppendBatch to a blocked database = %v, %v; want an error", landed, err)
		}
		unknown := errors.Is(err, access.ErrOutcomeUnknown)
		if unknown != (db.Engine == store.Postgres) {
			t.Errorf("AppendBatch to a blocked database: %v; unknown = %v (SQLite did not begin; a PostgreSQL server may go on)", err, unknown)
		}
		execAll(t, c, `ROLLBACK`)
		landed, count, err := s.FenceBatch(t.Context(), lane, 2)
		if err != nil {
			t.Fatal(err)
		}
		want := "a"
		if landed {
			want = "ab"
		}
		if got := requestIDs(t, s); got != want || (db.Engine == store.SQLite && landed) {
			t.Errorf("after the fence said landed=%v (%d) the log holds %q, want %q", landed, count, got, want)
		}
		mustAppend(t, s, lane, 3, batchOf(mark, "c")) // the lane made a new connection
	})
}

func execAll(t *testing.T, c *sql.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := c.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestReopening(t *testing.T) {
	for _, db := range storetest.Databases(t) {
		t.Run(db.Engine, func(t *testing.T) {
			first := storetest.OpenWith(t, store.Options{Database: db.DSN})
			lane := mustClaim(t, first)
			mustAppend(t, first, lane, 1, batchOf(mustMark(t, first), "a"))
			mark := mustChange(t, first)
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := first.ClaimWriter(t.Context()); err == nil {
				t.Error("a closed store claimed a writer")
			}
			again := storetest.OpenWith(t, store.Options{Database: db.DSN})
			if got := mustMark(t, again); got != mark {
				t.Errorf("the policy is %v after reopening, want %v", got, mark)
			}
			if next := mustClaim(t, again); next == lane {
				t.Errorf("writer %d was given twice", lane)
			}
			if got := requestIDs(t, again); got != "a" {
				t.Errorf("the log holds %q after reopening, want %q", got, "a")
			}
		})
	}
}

// Behind a pooler in transaction mode the next server session may not know the lane's prepared statement.
func TestAppendSurvivesALostStatement(t *testing.T) {
	for name, batches := range map[string][3][]string{
		"one event":   {{"a"}, {"b"}, {"c", "d"}},
		"many events": {{"a", "b"}, {"c", "d"}, {"e"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Open(t, store.Postgres)
			mark, lane := mustMark(t, s), mustClaim(t, s)
			want := ""
			for i, ids := range batches {
				mustAppend(t, s, lane, int64(i+1), batchOf(mark, ids...))
				want += strings.Join(ids, "")
				if i == 0 {
					if err := store.ForgetStatements(t.Context(), s, lane); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got := requestIDs(t, s); got != want {
				t.Errorf("the log holds %q, want %q", got, want)
			}
		})
	}
}

// A PostgreSQL that answers before it has written is pointed out to the operator.
func TestClaimWarnsOfLateCommits(t *testing.T) {
	db := storetest.New(t, store.Postgres)
	var log strings.Builder
	opt := store.Options{Database: db.DSN, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	mustClaim(t, storetest.OpenWith(t, opt))
	if log.Len() > 0 {
		t.Errorf("a claim with synchronous commits logged %q", log.String())
	}
	u, err := url.Parse(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, raw(t, db), `ALTER DATABASE `+strings.TrimPrefix(u.Path, "/")+` SET synchronous_commit = off`)
	mustClaim(t, storetest.OpenWith(t, opt))
	if !strings.Contains(log.String(), "synchronous_commit") {
		t.Errorf("a claim with synchronous_commit off logged %q", log.String())
	}
}
