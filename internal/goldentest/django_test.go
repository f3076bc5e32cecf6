package goldentest

import (
	"testing"

	"github.com/openway-access/openway/internal/djangotest"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestGoldenAfterImport holds the corpus against a site that was not applied but moved in from Django: from a dump, and from a PostgreSQL into which the
// dump was loaded.
func TestGoldenAfterImport(t *testing.T) {
	t.Parallel()
	dump := djangotest.Golden(t)
	live := storetest.Empty(t, store.Postgres).DSN
	djangotest.Load(t, live, dump)
	for name, c := range map[string]struct {
		engine string
		source []string
	}{
		"dump to sqlite":   {store.SQLite, []string{"--from-dump", dump}},
		"live to postgres": {store.Postgres, []string{"--from", live}},
		"dump to postgres": {store.Postgres, []string{"--from-dump", dump}},
		"live to sqlite":   {store.SQLite, []string{"--from", live}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := seeds{engine: c.engine, template: storetest.Empty(t, c.engine).DSN, dir: t.TempDir()}
			processtest.Run(t, s.template, append([]string{"import", "django"}, c.source...)...)
			runCorpus(t, s)
		})
	}
}
