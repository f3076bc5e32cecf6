package importer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// live is the running database, read in one snapshot: whatever people do meanwhile is not in it, and none of it is changed.
type live struct {
	conn   *pgx.Conn
	where  string // database and host
	schema string
}

// openLive connects and takes the snapshot. The rights to SELECT are enough.
func openLive(ctx context.Context, address, schema string) (source, error) {
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, errors.New("the URL of the Django database cannot be read: it looks like postgres://user:password@host:5432/name") // pgx's words may hold the password
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	cfg.RuntimeParams["application_name"] = "openway import"
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // no prepared statements, for a pooler's sake
	l := &live{where: fmt.Sprintf("%s on %s", cfg.Database, cfg.Host), schema: schema}
	if l.conn, err = pgx.ConnectConfig(ctx, cfg); err != nil {
		return nil, l.fault("", err)
	}
	if err := l.begin(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

// begin takes the snapshot.
func (l *live) begin(ctx context.Context) error {
	for _, statement := range []string{
		`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`,
		`SET LOCAL client_encoding TO 'UTF8'`, `SET LOCAL DateStyle TO 'ISO'`, `SET LOCAL TimeZone TO 'UTC'`,
		`SET LOCAL statement_timeout TO 0`, `SET LOCAL idle_in_transaction_session_timeout TO 0`,
	} {
		if _, err := l.conn.Exec(ctx, statement); err != nil {
			return l.fault("", err)
		}
	}
	// A pooler that gives each statement a connection of its own has forgotten the transaction.
	var level string
	if err := l.conn.QueryRow(ctx, `SHOW transaction_isolation`).Scan(&level); err != nil {
		return l.fault("", err)
	}
	if level != "repeatable read" {
		return errPooler
	}
	return nil
}

var errPooler = errors.New("the Django database is behind a pooler that does not keep transactions (pgbouncer with pool_mode=statement): give the address of PostgreSQL itself")

func (l *live) name() string  { return l.where }
func (l *live) label() string { return "the database " + l.where }

func (l *live) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return l.conn.Close(ctx)
}

// fault says what is the matter with the database.
func (l *live) fault(table string, err error) error {
	var reply *pgconn.PgError
	if !errors.As(err, &reply) {
		return fmt.Errorf("read the Django database %s: %w", l.where, err)
	}
	switch reply.Code {
	case "42501":
		if table == "" {
			break
		}
		return fmt.Errorf("the Django database's user may not read the table %s: permission denied; GRANT SELECT ON %s TO it", table, table)
	case "22021", "22P05":
		return fmt.Errorf("the Django database has text that is not UTF-8 (%s): %s", table, reply.Message)
	case "08P01", "25P01":
		return errPooler
	}
	return fmt.Errorf("read the Django database %s: %s", l.where, reply.Message)
}

func (l *live) read(ctx context.Context, want *reading) error {
	// In the order of want.tables, so that what is small comes first.
	for _, t := range want.tables {
		found, err := l.find(ctx, t)
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := l.table(ctx, want, t, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// found is a table in a schema, with its columns.
type found struct {
	schema  string
	columns []string
}

// find looks where a table is, among all that exist: one that may not be read is to be told.
func (l *live) find(ctx context.Context, t *table) ([]found, error) {
	rows, err := l.conn.Query(ctx, `SELECT n.nspname, a.attname FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
		WHERE c.relname = $1 AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname NOT LIKE 'pg\_%' AND ($2 = '' OR n.nspname = $2)
		ORDER BY n.nspname, a.attnum`, t.name, l.schema)
	if err != nil {
		return nil, l.fault(t.name, err)
	}
	defer rows.Close()
	var all []found
	for rows.Next() {
		var schema, column string
		if err := rows.Scan(&schema, &column); err != nil {
			return nil, l.fault(t.name, err)
		}
		if len(all) == 0 || all[len(all)-1].schema != schema {
			all = append(all, found{schema: schema})
		}
		all[len(all)-1].columns = append(all[len(all)-1].columns, column)
	}
	if err := rows.Err(); err != nil {
		return nil, l.fault(t.name, err)
	}
	return all, nil
}

// table tells one table's rows, as COPY gives them.
func (l *live) table(ctx context.Context, want *reading, t *table, f found) error {
	columns := slices.DeleteFunc(f.columns, func(c string) bool { return !slices.Contains(t.columns, c) })
	lay, err := want.begin(t, f.schema, columns)
	if err != nil {
		return err
	}
	var last *int64
	err = l.conn.QueryRow(ctx, `SELECT last_value FROM pg_catalog.pg_sequences WHERE schemaname = $1 AND sequencename = $2`, f.schema, t.name+"_id_seq").Scan(&last)
	switch {
	case err == nil && last != nil: // NULL: it was never used, or may not be read
		want.sequence(t.name, *last)
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return l.fault(t.name, err)
	}
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = pgx.Identifier{c}.Sanitize()
	}
	from := pgx.Identifier{f.schema, t.name}.Sanitize()
	out := &rowWriter{row: row{layout: lay}, tell: want.row, progress: want.progress, stop: ctx.Err}
	// SELECT, because COPY of a table alone leaves out what inherits from it.
	_, err = l.conn.PgConn().CopyTo(ctx, out, "COPY (SELECT "+strings.Join(quoted, ", ")+" FROM "+from+") TO STDOUT")
	if out.err != nil {
		return out.err
	}
	if err != nil {
		return l.fault(t.name, err)
	}
	return nil
}

// rowWriter takes the lines of COPY TO.
type rowWriter struct {
	row      row
	tell     func(*row) error
	progress func(done, total int64)
	stop     func() error
	n        int64
	rest     []byte // the beginning of a line
	err      error
}

var _ io.Writer = (*rowWriter)(nil)

// Write gets whole rows from PostgreSQL as a rule, and does not rely on it.
func (w *rowWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && w.err == nil {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		p = rest
		if !whole {
			w.rest = append(w.rest, line...)
			break
		}
		if len(w.rest) > 0 {
			w.rest = append(w.rest, line...)
			line = w.rest
		}
		if w.err = w.row.split(line); w.err == nil {
			w.err = w.tell(&w.row)
		}
		w.rest = w.rest[:0]
		if w.n++; w.n%1024 == 0 && w.err == nil {
			if w.progress != nil {
				w.progress(w.n, 0)
			}
			w.err = w.stop()
		}
	}
	return n, w.err
}
