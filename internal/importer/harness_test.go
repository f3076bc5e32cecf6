package importer

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/djangotest"
	"github.com/openway-access/openway/internal/store"
)

var operator = access.Actor{Kind: "cli", Label: "root@test"}

func testKeys(t testing.TB) *credential.Keyring {
	t.Helper()
	k, err := credential.NewKeyring([]byte("a key for tests, of more than 32 bytes"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// dumpOf writes a dump of a deployment.
func dumpOf(t testing.TB, d djangotest.Database) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "django.sql")
	djangotest.WriteFile(t, path, d, djangotest.Format{Restrict: true})
	return path
}

// textOfDump is a dump as text, to be spoiled.
func textOfDump(t testing.TB, d djangotest.Database, f djangotest.Format) string {
	t.Helper()
	var b strings.Builder
	if err := d.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func fileOf(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "django.sql")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read reads a source that can be read.
func read(t testing.TB, o Options) *Import {
	t.Helper()
	im, err := Read(t.Context(), o)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	t.Cleanup(func() {
		if err := im.Close(); err != nil {
			t.Errorf("close the source: %v", err)
		}
	})
	return im
}

// moveIn imports what must be importable.
func moveIn(t testing.TB, st *store.Store, o Options) *Import {
	t.Helper()
	im := read(t, o)
	if err := im.Into(t.Context(), st, testKeys(t), operator); err != nil {
		t.Fatalf("import: %v", err)
	}
	return im
}

func view[T any](t testing.TB, st *store.Store, fn func(tx *store.Tx) (T, error)) (got T) {
	t.Helper()
	err := st.View(t.Context(), func(tx *store.Tx) (err error) {
		got, err = fn(tx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func holdings(t testing.TB, st *store.Store) store.Holdings {
	t.Helper()
	h, err := st.HoldingsNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// note is the note of a kind; Count 0 when there is none.
func note(r *Report, kind string) Note {
	for _, n := range r.Notes {
		if n.Kind == kind {
			return n
		}
	}
	return Note{Kind: kind}
}

func mustEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// within bounds what waits for others.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
