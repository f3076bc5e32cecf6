package store_test

import (
	"errors"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// write runs fn in a change that must succeed; a change of the nouns needs one audit line to be kept.
func write(t *testing.T, s *store.Store, fn func(*store.Tx) error) access.PolicyMark {
	t.Helper()
	mark, err := tryWrite(t, s, fn)
	if err != nil {
		t.Fatalf("change: %v", err)
	}
	return mark
}

func tryWrite(t *testing.T, s *store.Store, fn func(*store.Tx) error) (access.PolicyMark, error) {
	t.Helper()
	mark, _, err := s.Change(t.Context(), access.Actor{Kind: "system", Label: "test"}, func(tx *store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.Record(access.ObjectSite, store.OnlySite, "test", nil, nil)
	})
	return mark, err
}

// read runs fn in a view that must succeed.
func read(t *testing.T, s *store.Store, fn func(*store.Tx) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// wantTaken expects the error of a value that another row has.
func wantTaken(t *testing.T, what string, err error, field string) {
	t.Helper()
	var bad access.Invalid
	if !errors.As(err, &bad) || len(bad) != 1 || bad[0].Field != field || bad[0].Code != access.CodeTaken {
		t.Errorf("%s: got error %v, want %s taken", what, err, field)
	}
}

func wantKind(t *testing.T, what string, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s: got error %v, want one of kind %q", what, err, kind)
	}
}

// person writes an active user who has nothing but a name.
func person(tx *store.Tx, name string) (access.User, error) {
	u := access.User{Username: name, Active: true}
	return u, tx.InsertUser(&u, "!")
}
