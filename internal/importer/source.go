package importer

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// source is where Django's tables are read from.
type source interface {
	// read tells the rows of the tables that are wanted, table by table, in an order of its own. It goes on when told again.
	read(ctx context.Context, want *reading) error
	// name is the source's without its password; label says what kind it is of, too.
	name() string
	label() string
	close() error
}

// reading is what one pass over a source wants.
type reading struct {
	tables []*table
	row    func(r *row) error
	// early ends the pass as soon as all tables were seen. The whole of a dump is looked at once: a later pass needs no second look.
	early bool
	// progress is told how much of how much was read: bytes of a file, else rows of a database with total 0. It may be nil.
	progress func(done, total int64)

	seen      []string
	schema    string
	sequences map[string]int64 // by table: the last id that was given
}

// sequence notes the last id that a table gave.
func (w *reading) sequence(table string, last int64) {
	if w.sequences == nil {
		w.sequences = map[string]int64{}
	}
	w.sequences[table] = last
}

func (w *reading) wants(name string) *table {
	for _, t := range w.tables {
		if t.name == name {
			return t
		}
	}
	return nil
}

// begin opens a table that the source has in a schema.
func (w *reading) begin(t *table, schema string, columns []string) (layout, error) {
	switch {
	case len(w.seen) == 0:
		w.schema = schema
	case schema != w.schema:
		return layout{}, fmt.Errorf("there are Django tables in the schemas %s and %s: name the one to import with --schema", shownSchema(w.schema), shownSchema(schema))
	case slices.Contains(w.seen, t.name):
		return layout{}, fmt.Errorf("the table %s comes twice: this is not the dump of one database", t.name)
	}
	w.seen = append(w.seen, t.name)
	return layoutOf(t, columns)
}

func shownSchema(s string) string {
	if s == "" {
		return "public"
	}
	return s
}

// complete sees whether all tables were there.
func (w *reading) complete() error {
	if len(w.seen) == 0 {
		return errNotDjango
	}
	var missing []string
	for _, t := range w.tables {
		if !t.optional && !slices.Contains(w.seen, t.name) {
			missing = append(missing, t.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the tables %s are missing: it is not the whole database of the access service, or one of another version", strings.Join(missing, ", "))
}

// done reports whether the pass may end here.
func (w *reading) done() bool { return w.early && len(w.seen) == len(w.tables) }

var errNotDjango = fmt.Errorf("it has none of the tables of the Django access service (%s, %s, …): is it the right database?", users.name, gates.name)
