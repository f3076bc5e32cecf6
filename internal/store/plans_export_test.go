package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Plan is how the engine means to answer a query.
type Plan struct{ Query, How string }

// Plans runs fn in a View and returns the plan of each of its queries.
func Plans(ctx context.Context, s *Store, fn func(*Tx) error) (plans []Plan, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		watched := *tx
		watched.on = explaining{tx.on, s, &plans}
		return fn(&watched)
	})
	return plans, err
}

// explaining asks for the plan of each query before it runs it.
type explaining struct {
	conn
	s     *Store
	plans *[]Plan
}

func (e explaining) note(ctx context.Context, query string, args []any) {
	how := "EXPLAIN "
	if e.s.write != nil {
		how = "EXPLAIN QUERY PLAN "
	}
	rows, err := e.conn.QueryContext(ctx, how+query, args...)
	if err != nil {
		*e.plans = append(*e.plans, Plan{query, "no plan: " + err.Error()})
		return
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var id, parent, unused int
		var line string
		if e.s.write != nil {
			err = rows.Scan(&id, &parent, &unused, &line)
		} else {
			err = rows.Scan(&line)
		}
		if err != nil {
			line = fmt.Sprint("no plan: ", err)
		}
		lines = append(lines, line)
	}
	*e.plans = append(*e.plans, Plan{query, strings.Join(lines, "\n")})
}

func (e explaining) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	e.note(ctx, query, args)
	return e.conn.QueryContext(ctx, query, args...)
}

func (e explaining) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	e.note(ctx, query, args)
	return e.conn.QueryRowContext(ctx, query, args...)
}

// Inside are parts of the store's methods for pages, each as one transaction runs it.
func Inside(tx *Tx) map[string]func() error {
	return map[string]func() error{
		"lanes": func() error { _, err := tx.lanes(tx.Now); return err },
		"batches of a lane": func() error {
			b, err := tx.laneBatches(1, 15_000, 100, 1000)
			if err != nil || len(b) == 0 {
				return fmt.Errorf("%d batches, %v", len(b), err)
			}
			events, err := tx.batchEvents(b)
			if err == nil && len(events) != len(b) {
				err = fmt.Errorf("%d events of %d batches", len(events), len(b))
			}
			return err
		},
		"batches without a hint": func() error {
			b, err := tx.laneBatches(1, 15_000, 100, 1000)
			if err == nil {
				for i := range b {
					b[i].FirstID = 0 // not known
				}
				_, err = tx.batchEvents(b)
			}
			return err
		},
		"uncounted": func() error {
			sums := newTally(tx.Now.Location(), nil)
			_, _, _, err := tx.uncounted(&sums, leastEvents)
			return err
		},
		"all audit":       func() error { _, err := tx.changes(changeQuery(ChangeFilter{Limit: 50})); return err },
		"audit of a kind": func() error { _, err := tx.changes(changeQuery(ChangeFilter{Object: "gate", Limit: 50})); return err },
		"audit of an object": func() error {
			_, err := tx.changes(changeQuery(ChangeFilter{Object: "user", ObjectID: 7, From: tx.Now.AddDate(-9, 0, 0), Before: 15_000}))
			return err
		},
		"audit of an actor":  func() error { _, err := tx.changes(changeQuery(ChangeFilter{ActorUserID: 3})); return err },
		"audit of an action": func() error { _, err := tx.changes(changeQuery(ChangeFilter{Action: "delete"})); return err },
		"audit of a day": func() error {
			_, err := tx.changes(changeQuery(ChangeFilter{From: tx.Now.AddDate(-9, 0, 0), Before: 15_000}))
			return err
		},
		"changes of an object": func() error { _, err := tx.ChangesAfter("user", 7, 5, 50); return err },
		"health":               func() error { _, _, err := tx.CountedAt(); return err },
	}
}
