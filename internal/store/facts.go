package store

import (
	"context"
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// Facts are what tells one state of a database from another: a backup's manifest holds them. All are of one snapshot.
type Facts struct {
	Engine       string // SQLite or Postgres
	ServerMajor  int    // PostgreSQL's major version; 0 with SQLite
	Schema       string // PostgreSQL's schema that holds the tables; "" with SQLite
	Instance     Instance
	Migration    int64 // the newest one applied
	OldestBinary int64 // a program whose newest migration is below it must not run
	Policy       access.PolicyMark
	Rows         map[string]int64 // of every table
}

// Facts reads the facts. access.ErrNotFound says that there is no database of ours: an empty one, or another program's.
func (s *Store) Facts(ctx context.Context) (Facts, error) {
	var f Facts
	err := s.isOurs(ctx)
	if err == nil {
		err = s.View(ctx, func(tx *Tx) (err error) {
			f, err = tx.facts()
			return err
		})
	}
	if err != nil {
		return Facts{}, fmt.Errorf("look at the database: %w", err)
	}
	return f, nil
}

// isOurs returns access.ErrNotFound when the database has none of the tables by which ours is known, and another error when it has lost some of them.
func (s *Store) isOurs(ctx context.Context) error {
	known := []string{"instance", "policy", "goose_db_version"}
	var missing []string
	for _, table := range known {
		if there, err := s.tableExists(ctx, table); err != nil {
			return err
		} else if !there {
			missing = append(missing, table)
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case len(known):
		return fmt.Errorf("there is none of ours: %w", access.ErrNotFound)
	}
	return fmt.Errorf("it has lost its table %s", missing[0])
}

func (tx *Tx) facts() (Facts, error) {
	f := Facts{Engine: tx.s.Engine(), Policy: tx.Mark, Rows: map[string]int64{}}
	err := tx.queryRow(`SELECT uuid, key_check, oldest_binary_schema FROM instance WHERE id = 1`).Scan(&f.Instance.UUID, &f.Instance.KeyCheck, &f.OldestBinary)
	if err != nil {
		return f, fmt.Errorf("read the instance: %w", err)
	}
	if err := tx.queryRow(`SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&f.Migration); err != nil {
		return f, fmt.Errorf("read the schema's history: %w", err)
	}
	if err := tx.queryRow(tx.s.kind.place()).Scan(&f.Schema, &f.ServerMajor); err != nil {
		return f, fmt.Errorf("read where the tables are: %w", err)
	}
	tables, err := tx.tables(f.Schema)
	if err != nil {
		return f, err
	}
	for _, t := range tables {
		var n int64
		if err := tx.queryRow(`SELECT COUNT(*) FROM ` + quoteName(t)).Scan(&n); err != nil {
			return f, fmt.Errorf("count the rows of %s: %w", t, err)
		}
		f.Rows[t] = n
	}
	return f, nil
}

// tables lists the tables of a schema in order of their names. On SQLite "" is the database itself.
func (tx *Tx) tables(schema string) ([]string, error) {
	return tx.names(tx.s.kind.listTables(), schema)
}

// columns lists the columns of a table that can be written.
func (tx *Tx) columns(schema, table string) ([]string, error) {
	return tx.names(tx.s.kind.listColumns(), schema, table)
}

// names is what a query for one column of text finds.
func (tx *Tx) names(query string, args ...any) (all []string, err error) {
	err = tx.each(query, args, func(row scanner) error {
		var name string
		err := row.Scan(&name)
		all = append(all, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	return all, nil
}

// numbers is what a query for names and numbers finds.
func (tx *Tx) numbers(query string, args ...any) (map[string]int64, error) {
	all := map[string]int64{}
	err := tx.each(query, args, func(row scanner) error {
		var name string
		var n int64
		err := row.Scan(&name, &n)
		all[name] = n
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	return all, nil
}
