package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// A database that cannot grow refuses a batch whole, says so for sure, and works again when there is space.
func TestFullDatabase(t *testing.T) {
	s := storetest.Open(t, store.SQLite)
	mark, lane := mustMark(t, s), mustClaim(t, s)
	mustAppend(t, s, lane, 1, batchOf(mark, "a"))
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprint("request-with-a-long-name-", i))
	}
	if err := store.OnWriter(t.Context(), s, `PRAGMA max_page_count = 1`); err != nil { // SQLite makes it the present size
		t.Fatal(err)
	}
	landed, err := s.AppendBatch(t.Context(), lane, 2, batchOf(mark, many...))
	if landed || !errors.Is(err, access.ErrUnavailable) || errors.Is(err, access.ErrOutcomeUnknown) {
		t.Errorf("AppendBatch to a full database = %v, %v; want unavailable, for sure", landed, err)
	}
	if got := requestIDs(t, s); got != "a" {
		t.Errorf("the log holds %q, want %q", got, "a")
	}
	// The connection that met the failure was given up, and the new one knows no limit.
	mustAppend(t, s, lane, 2, batchOf(mark, many...))
	mustAppend(t, s, lane, 3, batchOf(mark, "b"))
	if got, err := s.Events(t.Context(), access.EventFilter{Limit: 1}); err != nil || len(got) != 1 || got[0].ID != 2002 {
		t.Errorf("the newest event is %+v (%v), want number 2002", got, err)
	}
}
