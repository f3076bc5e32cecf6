package store_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func addGate(t *testing.T, s *store.Store, code string) {
	t.Helper()
	_, _, err := s.Change(t.Context(), access.Actor{Kind: "cli"}, func(tx *store.Tx) error {
		g := access.Gate{Code: code}
		if err := tx.InsertGate(&g); err != nil {
			return err
		}
		return tx.Record(access.ObjectGate, g.ID, "create", nil, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rebuilt opens a database for a short while.
func rebuilt(t *testing.T, opt store.Options, fn func(s *store.Store)) {
	t.Helper()
	s, err := store.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	fn(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func gateCount(t *testing.T, path string) (n int64) {
	t.Helper()
	rebuilt(t, store.Options{Database: path}, func(s *store.Store) {
		h, err := s.HoldingsNow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n = h.Rows["gate"]
	})
	return n
}

func TestRebuild(t *testing.T) {
	path := storetest.New(t, store.SQLite).DSN
	rebuilt(t, store.Options{Database: path}, func(s *store.Store) { addGate(t, s, "old") })
	if err := os.WriteFile(path+".importing", []byte("left by a process that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := func(code string) *store.Rebuild {
		t.Helper()
		r, err := store.BeginRebuild(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		rebuilt(t, store.Options{Database: r.New, Building: true}, func(s *store.Store) { addGate(t, s, code) })
		return r
	}

	r := begin("first")
	if _, err := store.BeginRebuild(t.Context(), path); err == nil || !strings.Contains(err.Error(), "is served by another process already") {
		t.Errorf("two at once: %v", err)
	}
	keep := path + ".kept"
	if err := r.Swap(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	if now, was := gateCount(t, path), gateCount(t, keep); now != 2 || was != 1 {
		t.Errorf("%d gates now, %d in the file that was kept", now, was)
	}

	// What somebody changed meanwhile is not thrown away.
	r = begin("second")
	rebuilt(t, store.Options{Database: path}, func(s *store.Store) { addGate(t, s, "meanwhile") })
	if err := r.Swap(t.Context(), ""); !errors.Is(err, access.ErrConflict) {
		t.Errorf("after a change: %v", err)
	}
	if n := gateCount(t, path); n != 3 {
		t.Errorf("%d gates after the refusal", n)
	}

	// Nor is a file replaced that another process has open: it would go on writing to it.
	r = begin("third")
	rebuilt(t, store.Options{Database: path}, func(s *store.Store) {
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Swap(t.Context(), ""); err == nil || !strings.HasSuffix(err.Error(), "end it and import again; nothing was changed") {
			t.Errorf("while it is open: %v", err)
		}
	})
	if n := gateCount(t, path); n != 3 {
		t.Errorf("%d gates after the second refusal", n)
	}
	if _, err := os.Stat(path + ".importing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the new file is still there: %v", err)
	}
}
