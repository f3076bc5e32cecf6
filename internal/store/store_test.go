package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// anybody is who changes things in tests.
var anybody = access.Actor{Kind: "cli", UserID: 7, Label: "root@host", Address: "192.0.2.1", RequestID: "r-1", SessionID: 9}

// eachDatabase runs fn for each engine with two stores on one fresh database, as two processes would have them.
func eachDatabase(t *testing.T, fn func(t *testing.T, db storetest.Database, a, b *store.Store)) {
	t.Helper()
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			db := storetest.New(t, engine)
			fn(t, db, storetest.OpenWith(t, store.Options{Database: db.DSN}), storetest.OpenWith(t, store.Options{Database: db.DSN}))
		})
	}
}

// raw opens a database beside the store, for what no method of the store does.
func raw(t *testing.T, db storetest.Database) *sql.DB {
	t.Helper()
	driver, dsn := "pgx", db.DSN
	if db.Engine == store.SQLite {
		driver, dsn = "sqlite", "file:"+db.DSN+"?_pragma=busy_timeout(5000)"
	}
	r, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// migrated opens a database, which may be empty, and migrates it.
func migrated(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s := storetest.OpenWith(t, store.Options{Database: dsn})
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func mustExec(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// mustChange makes a change that is one line in the audit.
func mustChange(t *testing.T, s *store.Store) access.PolicyMark {
	t.Helper()
	return mustDo(t, s, func(tx *store.Tx) error { return tx.Record(access.ObjectSite, 1, "change", nil, nil) })
}

func mustDo(t *testing.T, s *store.Store, fn func(*store.Tx) error) access.PolicyMark {
	t.Helper()
	mark, changed, err := s.Change(t.Context(), anybody, fn)
	if err != nil || !changed {
		t.Fatalf("Change: changed %v, %v; want true", changed, err)
	}
	return mark
}

func mustMark(t *testing.T, s *store.Store) access.PolicyMark {
	t.Helper()
	mark, err := s.PolicyMark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

func TestChangeMovesThePolicy(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		before := mustMark(t, s)
		var inside access.PolicyMark
		mark := mustDo(t, s, func(tx *store.Tx) error {
			inside = tx.Mark
			return tx.Record(access.ObjectGate, 12, "change", access.Fields{"name": "a"}, access.Fields{"name": "b"})
		})
		if mark.Version != before.Version+1 || mark.Stamp == before.Stamp || mark.Stamp <= 0 || mark != inside {
			t.Errorf("Change after %v made %v (inside: %v); want the next version and another stamp", before, mark, inside)
		}
		if got := mustMark(t, s); got != mark {
			t.Errorf("PolicyMark = %v, want %v", got, mark)
		}
		lines, err := s.Changes(t.Context(), store.ChangeFilter{Object: access.ObjectGate})
		if err != nil || len(lines) != 1 {
			t.Fatalf("Changes: %v, %v; want one line", lines, err)
		}
		l := lines[0]
		if l.Mark != mark || l.Actor != anybody || l.ObjectID != 12 || l.Action != "change" || l.Before["name"] != "a" || l.After["name"] != "b" || time.Since(l.At) > time.Minute {
			t.Errorf("the audit says %+v", l)
		}
	})
}

func TestChangeThatIsNone(t *testing.T) {
	boom := errors.New("boom")
	invalid := access.Invalid{{Field: "f", Code: access.CodeBlank}}
	tests := []struct {
		name string
		fn   func(*store.Tx) error
		want error
	}{
		{"bad input", func(*store.Tx) error { return invalid }, nil},
		{"nothing recorded", func(tx *store.Tx) error { return tx.InsertGate(&access.Gate{Code: "g"}) }, nil},
		{"an error", func(tx *store.Tx) error {
			return errors.Join(tx.InsertGate(&access.Gate{Code: "g"}), tx.Record(access.ObjectGate, 1, "create", nil, nil), boom)
		}, boom},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				before := mustMark(t, s)
				mark, changed, err := s.Change(t.Context(), anybody, tt.fn)
				if changed || (tt.want != nil && !errors.Is(err, tt.want)) || (err == nil && mark != before) {
					t.Errorf("Change = %v, %v, %v; want the mark that stands, false, %v", mark, changed, err, tt.want)
				}
				if got := mustMark(t, s); got != before {
					t.Errorf("the policy moved from %v to %v", before, got)
				}
				err = s.View(t.Context(), func(tx *store.Tx) error { _, err := tx.GateByCode("g"); return err })
				if !errors.Is(err, access.ErrNotFound) {
					t.Errorf("the gate was kept: %v, want %v", err, access.ErrNotFound)
				}
			})
		})
	}
}

func TestChangePanicLeavesTheStoreUsable(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		func() {
			defer func() { _ = recover() }()
			_, _, _ = s.Change(t.Context(), anybody, func(*store.Tx) error { panic("a bug") })
		}()
		mustChange(t, s)
	})
}

func TestNoteKeepsThePolicy(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		before := mustChange(t, s)
		if err := s.Note(t.Context(), anybody, func(tx *store.Tx) error {
			return tx.Record(access.ObjectSession, 0, "refused", nil, access.Fields{"username": "ann"})
		}); err != nil {
			t.Fatal(err)
		}
		if got := mustMark(t, s); got != before {
			t.Errorf("Note moved the policy from %v to %v", before, got)
		}
		lines, err := s.Changes(t.Context(), store.ChangeFilter{Limit: 1})
		if err != nil || len(lines) != 1 || lines[0].Action != "refused" || lines[0].Mark != before {
			t.Errorf("the audit says %+v, %v; want the refusal under %v", lines, err, before)
		}
	})
}

func TestViewIsOneSnapshot(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ storetest.Database, a, b *store.Store) {
		err := a.View(t.Context(), func(tx *store.Tx) error {
			seen := tx.Mark
			mustDo(t, b, func(tx *store.Tx) error {
				return errors.Join(tx.InsertGate(&access.Gate{Code: "g"}), tx.Record(access.ObjectGate, 1, "create", nil, nil))
			})
			if _, err := tx.GateByCode("g"); !errors.Is(err, access.ErrNotFound) {
				t.Errorf("a view begun at %v sees a gate made later: %v", seen, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestConcurrentChangesAreSerial(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ storetest.Database, a, b *store.Store) {
		first := mustMark(t, a)
		const each, workers = 8, 4
		var mu sync.Mutex
		var got []int64
		var wg sync.WaitGroup
		for _, s := range []*store.Store{a, b} {
			for range workers {
				wg.Go(func() {
					for range each {
						mark, _, err := s.Change(t.Context(), anybody, func(tx *store.Tx) error { return tx.Record(access.ObjectSite, 1, "change", nil, nil) })
						if err != nil {
							t.Errorf("Change: %v", err)
							return
						}
						mu.Lock()
						got = append(got, mark.Version)
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		slices.Sort(got)
		for i, v := range got {
			if v != first.Version+int64(i)+1 {
				t.Fatalf("the versions of %d changes after %d: %v; want each once, without gaps", len(got), first.Version, got)
			}
		}
		if len(got) != 2*each*workers {
			t.Errorf("%d changes succeeded, want %d", len(got), 2*each*workers)
		}
	})
}

func TestDeadlinesAreKept(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ storetest.Database, a, b *store.Store) {
		mustDo(t, a, func(tx *store.Tx) error {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			start := time.Now()
			for name, s := range map[string]*store.Store{"this process": a, "another process": b} {
				_, _, err := s.Change(ctx, anybody, func(tx *store.Tx) error { return tx.Record(access.ObjectSite, 1, "change", nil, nil) })
				if !errors.Is(err, access.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a Change of %s while another one lasts: %v; want unavailable, by its deadline", name, err)
				}
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("a deadline of 100 ms was kept after %v", took)
			}
			return tx.Record(access.ObjectSite, 1, "change", nil, nil)
		})
		mustChange(t, b)
		mustChange(t, a)
	})
}

func TestChangesFilter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		from := time.Now().Add(-time.Second)
		mustDo(t, s, func(tx *store.Tx) error {
			return errors.Join(tx.Record(access.ObjectGate, 1, "a", nil, nil), tx.Record(access.ObjectGate, 2, "b", nil, nil), tx.Record(access.ObjectUser, 1, "c", nil, nil))
		})
		other := access.Actor{Kind: "api", UserID: 8}
		if err := s.Note(t.Context(), other, func(tx *store.Tx) error { return tx.Record(access.ObjectSession, 5, "d", nil, nil) }); err != nil {
			t.Fatal(err)
		}
		all, err := s.Changes(t.Context(), store.ChangeFilter{})
		if err != nil || len(all) != 5 {
			t.Fatalf("Changes = %v, %v; want 4 and the making of the site", all, err)
		}
		tests := []struct {
			name string
			f    store.ChangeFilter
			want string
		}{
			{"all", store.ChangeFilter{From: from}, "dcba"},
			{"a page", store.ChangeFilter{Limit: 2}, "dc"},
			{"the next page", store.ChangeFilter{Limit: 2, Before: all[1].ID}, "ba"},
			{"kind", store.ChangeFilter{Object: access.ObjectGate}, "ba"},
			{"object", store.ChangeFilter{Object: access.ObjectGate, ObjectID: 1}, "a"},
			{"actor", store.ChangeFilter{ActorUserID: 8}, "d"},
			{"later", store.ChangeFilter{From: time.Now().Add(time.Minute)}, ""},
			{"earlier", store.ChangeFilter{To: from}, ""},
		}
		for _, tt := range tests {
			lines, err := s.Changes(t.Context(), tt.f)
			got := ""
			for _, l := range lines {
				got += strings.TrimPrefix(l.Action, "create")
			}
			if err != nil || got != tt.want {
				t.Errorf("%s: Changes(%+v) = %q, %v; want %q", tt.name, tt.f, got, err, tt.want)
			}
		}
	})
}

func TestUniqueViolationIsTaken(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		insert := func(tx *store.Tx) error {
			return errors.Join(tx.InsertGate(&access.Gate{Code: "g"}), tx.Record(access.ObjectGate, 1, "create", nil, nil))
		}
		mustDo(t, s, insert)
		_, _, err := s.Change(t.Context(), anybody, func(tx *store.Tx) error { return tx.InsertGate(&access.Gate{Code: "g"}) })
		var invalid access.Invalid
		if !errors.As(err, &invalid) || invalid[0].Code != access.CodeTaken {
			t.Errorf("a second gate with the code g: %v; want %q", err, access.CodeTaken)
		}
	})
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b", "100%?#", "openway.db")
	s := storetest.OpenWith(t, store.Options{Database: path})
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{path: 0o600, path + "-wal": 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

func TestOpenFailures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("this is no database, it only looks like a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, database string
		not            string // never shown
	}{
		{"not a database", file, ""},
		{"below a file", filepath.Join(file, "openway.db"), ""},
		{"nobody listens", "postgres://u:hush@127.0.0.1:1/x?sslmode=disable", "hush"},
		{"not a URL", "postgres://u:hush@127.0.0.1:port/x", "hush"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := store.Open(t.Context(), store.Options{Database: tt.database})
			if err == nil {
				s.Close()
				t.Fatalf("Open(%q) worked", tt.database)
			}
			if tt.not != "" && strings.Contains(err.Error(), tt.not) {
				t.Errorf("Open(%q) shows the password: %v", tt.database, err)
			}
		})
	}
}

func TestPing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("Ping: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Ping(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Ping with an ended context: %v", err)
		}
	})
}

func TestInstance(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		i, err := s.Instance(t.Context())
		if err != nil || len(i.UUID) != 36 || i.KeyCheck != "" {
			t.Fatalf("Instance = %+v, %v; want a UUID and no key check", i, err)
		}
		for _, tt := range []struct {
			was, check string
			want       bool
		}{{"", "one", true}, {"", "two", false}, {"one", "two", true}} {
			if ok, err := s.SetKeyCheck(t.Context(), tt.was, tt.check); err != nil || ok != tt.want {
				t.Errorf("SetKeyCheck(%q, %q) = %v, %v; want %v", tt.was, tt.check, ok, err, tt.want)
			}
		}
		if i, err := s.Instance(t.Context()); err != nil || i.KeyCheck != "two" {
			t.Errorf("Instance = %+v, %v; want the key check two", i, err)
		}
	})
}

// What durability on SQLite rests on.
func TestSQLiteSettings(t *testing.T) {
	s := storetest.Open(t, store.SQLite)
	writer, reader, err := store.Pragmas(t.Context(), s, "journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"journal_mode": "wal", "synchronous": "1", "foreign_keys": "1", "busy_timeout": "1", "query_only": "0"} // it asks again itself
	if d := cmp.Diff(want, writer); d != "" {
		t.Errorf("the writer's settings, want (-), got (+):\n%s", d)
	}
	want["query_only"], want["busy_timeout"] = "1", "5000"
	if d := cmp.Diff(want, reader); d != "" {
		t.Errorf("a reader's settings, want (-), got (+):\n%s", d)
	}
}

// TestStatementsThatAreKept: a query may run while rows of the same text are read, after one that failed, and among more texts than are kept.
func TestStatementsThatAreKept(t *testing.T) {
	s := storetest.Open(t, store.SQLite)
	const three = `SELECT column1 FROM (VALUES (1), (2), (3)) ORDER BY 1`
	stop := errors.New("stop")
	for range 2 {
		_, err := tryWrite(t, s, func(tx *store.Tx) error {
			if err := store.Each(tx, three, func(int64) error { return stop }); !errors.Is(err, stop) {
				t.Errorf("a query whose reader gives up: %v", err)
			}
			var got []int64
			err := store.Each(tx, three, func(a int64) error {
				return store.Each(tx, three, func(b int64) error {
					for i := range int64(100) {
						if err := store.Each(tx, fmt.Sprintf(`SELECT %d`, 1000*a+100*b+i), func(int64) error { return nil }); err != nil {
							return err
						}
					}
					if got = append(got, 10*a+b); len(got) > 9 {
						return stop
					}
					return nil
				})
			})
			if want := []int64{11, 12, 13, 21, 22, 23, 31, 32, 33}; !slices.Equal(got, want) {
				t.Errorf("got %d, want %d", got, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
