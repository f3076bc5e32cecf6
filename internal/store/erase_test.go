package store_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// What was erased does not stay in the free bytes of SQLite's pages.
func TestErasedTextIsGoneFromTheFile(t *testing.T) {
	path := storetest.New(t, store.SQLite).DSN
	s, err := store.Open(t.Context(), store.Options{Database: path})
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	write(t, s, func(tx *store.Tx) error {
		for i := range 50 {
			u := access.User{Username: fmt.Sprintf("quaint-name-%d", i), Email: fmt.Sprintf("quaint-name-%d@example.org", i), Active: true}
			if err := tx.InsertUser(&u, "!"); err != nil {
				return err
			}
			ids = append(ids, u.ID)
		}
		return nil
	})
	inFile := func() int {
		if err := s.Close(); err != nil { // the last connection moves the WAL into the file
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if s, err = store.Open(t.Context(), store.Options{Database: path}); err != nil {
			t.Fatal(err)
		}
		return bytes.Count(raw, []byte("quaint-name-"))
	}
	if n := inFile(); n == 0 {
		t.Fatal("the names are not in the file at all: this test sees nothing")
	}
	write(t, s, func(tx *store.Tx) error {
		for _, id := range ids {
			if err := tx.DeleteUser(id); err != nil {
				return err
			}
			if _, err := tx.EraseUser(id); err != nil {
				return err
			}
		}
		return nil
	})
	if n := inFile(); n != 0 {
		t.Errorf("%d erased names are still in the file", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
