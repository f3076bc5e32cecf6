package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/openway-access/openway/internal/access"
)

// dialect is what differs between the engines in ordinary statements. How they connect, append and migrate differs more:
// see sqlite.go, postgres.go, events_sqlite.go, events_postgres.go and migrate.go.
type dialect interface {
	name() string
	// forUpdate and forShare end a SELECT whose row is to stand still until the transaction ends.
	forUpdate() string
	forShare() string
	// snapshot are the options of a consistent read-only transaction.
	snapshot() *sql.TxOptions
	// countTables is a query for the number of tables of the name $1 that statements would find.
	countTables() string
	// sizeOf is a query for the bytes that the database occupies.
	sizeOf() string
	// unixSeconds is an SQL expression for a timestamp column of goose's.
	unixSeconds(column string) string
	// place is a query for the schema that tables are in, and PostgreSQL's major version.
	place() string
	// listTables is a query for the names of the tables in the schema $1, and listColumns for the writable columns of its table $2.
	listTables() string
	listColumns() string
	// moveSequence makes the next id of a table follow its highest, after rows came with ids.
	moveSequence(tx *Tx, table string) error
	// lastID is the highest id of a table that was ever given; keepIDs makes the next one higher than last, and than all that were given.
	lastID(tx *Tx, table string) (int64, error)
	keepIDs(tx *Tx, table string, last int64) error
	// lastIDs are the highest ids that were given in the tables (SQLite) or by the sequences (PostgreSQL) of a schema, by their names, and
	// setLastID makes the next one follow another id.
	lastIDs(tx *Tx, schema string) (map[string]int64, error)
	setLastID(tx *Tx, schema, name string, id int64) error
	// unreadable reports whether err says that a table is not as it should be, and not that the database cannot be used now.
	unreadable(err error) bool
	// fault gives an error of the driver its kind: access.ErrNotFound for no row, access.ErrUnavailable when the database
	// cannot be used now. Other errors, and errors that have a kind, stay as they are.
	fault(err error) error
	// unknown reports whether a statement that failed with err while it committed may have been committed all the same.
	unknown(err error) bool
	// taken reports whether err is a breach of a unique index of the table.
	taken(err error, table string) bool
}

// isPostgres tells a PostgreSQL URL from the path of an SQLite file.
func isPostgres(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

// redact is the database as it may be shown: without a password.
func redact(database string) string {
	if !isPostgres(database) {
		return database
	}
	u, err := url.Parse(database)
	if err != nil {
		return "postgres://…"
	}
	if q := u.Query(); q.Has("password") {
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}

// commonFault gives the errors that database/sql and contexts make their kind. ok is false when err is none of them.
func commonFault(err error) (_ error, ok bool) {
	switch {
	case err == nil, errors.Is(err, access.ErrNotFound), errors.Is(err, access.ErrUnavailable), errors.Is(err, access.ErrOutcomeUnknown):
		return err, true
	case errors.Is(err, sql.ErrNoRows):
		return access.ErrNotFound, true
	case errors.Is(err, context.Canceled):
		return err, true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, sql.ErrTxDone),
		strings.HasSuffix(err.Error(), poolClosed):
		return unavailable(err), true
	}
	return nil, false
}

// poolClosed is how database/sql says that Close was called; it has no name for that error.
const poolClosed = "sql: database is closed"

func unavailable(err error) error { return fmt.Errorf("%w: %w", access.ErrUnavailable, err) }

// quoteName and quoteText write a name and a text into a statement, where no parameter may stand.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
func quoteText(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }

type sqliteDialect struct{}

func (sqliteDialect) name() string { return SQLite }

// BEGIN IMMEDIATE has locked all there is.
func (sqliteDialect) forUpdate() string { return "" }
func (sqliteDialect) forShare() string  { return "" }

func (sqliteDialect) snapshot() *sql.TxOptions { return &sql.TxOptions{ReadOnly: true} }

func (sqliteDialect) countTables() string {
	return `SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = $1`
}

func (sqliteDialect) sizeOf() string {
	return `SELECT c.page_count * s.page_size FROM pragma_page_count() c, pragma_page_size() s`
}

func (sqliteDialect) unixSeconds(column string) string {
	return `CAST(strftime('%s', ` + column + `) AS INTEGER)`
}

func (sqliteDialect) place() string { return `SELECT '', 0` }

// The names of a schema: main is the database itself, others were attached.
func (sqliteDialect) listTables() string {
	return `SELECT name FROM pragma_table_list WHERE schema = COALESCE(NULLIF($1, ''), 'main') AND type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name`
}

func (sqliteDialect) listColumns() string {
	return `SELECT name FROM pragma_table_info($2, COALESCE(NULLIF($1, ''), 'main')) ORDER BY cid`
}

// moveSequence has nothing to do: AUTOINCREMENT remembers the highest id that was ever given, by hand or not.
func (sqliteDialect) moveSequence(*Tx, string) error { return nil }

func (sqliteDialect) lastID(tx *Tx, table string) (last int64, err error) {
	err = tx.queryRow(`SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = $1`, table).Scan(&last)
	return last, err
}

func (sqliteDialect) keepIDs(tx *Tx, table string, last int64) error {
	n, err := tx.exec(`UPDATE sqlite_sequence SET seq = MAX(seq, $1) WHERE name = $2`, last, table)
	if err == nil && n == 0 && last > 0 {
		_, err = tx.exec(`INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)`, table, last)
	}
	return err
}

func (sqliteDialect) lastIDs(tx *Tx, schema string) (map[string]int64, error) {
	// A table that never had a row has no entry yet.
	return tx.numbers(`SELECT t.name, COALESCE(s.seq, 0) FROM ` + schema + `.sqlite_schema t LEFT JOIN ` + schema + `.sqlite_sequence s ON s.name = t.name
		WHERE t.type = 'table' AND t.sql LIKE '%AUTOINCREMENT%'`)
}

func (sqliteDialect) setLastID(tx *Tx, schema, name string, id int64) error {
	n, err := tx.exec(`UPDATE `+schema+`.sqlite_sequence SET seq = $1 WHERE name = $2`, id, name)
	if err == nil && n == 0 {
		_, err = tx.exec(`INSERT INTO `+schema+`.sqlite_sequence (name, seq) VALUES ($2, $1)`, id, name)
	}
	return err
}

func (sqliteDialect) unreadable(err error) bool {
	switch sqliteCode(err) & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR: // an ERROR is a statement that does not fit
		return true
	}
	return false
}

func (sqliteDialect) fault(err error) error {
	if e, ok := commonFault(err); ok {
		return e
	}
	switch sqliteCode(err) & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY:
		return unavailable(err)
	}
	return err
}

// unknown: only COMMIT can leave a doubt. A full disk means that the frame which ends the transaction is not in the WAL whole;
// busy and locked leave the transaction open, and it is rolled back. But when a write fails otherwise, the
// frame may have reached the disk: the running processes ignore it and will overwrite it, yet a crash before that would recover it. After a sync that failed nothing
// is written any more (Failed).
func (sqliteDialect) unknown(err error) bool {
	switch sqliteCode(err) & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_READONLY:
		return false
	}
	return err != nil
}

func (sqliteDialect) taken(err error, table string) bool {
	if c := sqliteCode(err); c != sqlite3.SQLITE_CONSTRAINT_UNIQUE && c != sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY {
		return false
	}
	// "UNIQUE constraint failed: gate.code", or "…: index 'role_grant_user'" when the index holds an expression.
	_, what, _ := strings.Cut(err.Error(), "constraint failed: UNIQUE constraint failed: ")
	return strings.HasPrefix(what, table+".") || strings.HasPrefix(what, "index '"+table+"_")
}

// sqliteCode is the extended result code in err, 0 when it is no error of SQLite's.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

type postgresDialect struct{}

func (postgresDialect) name() string      { return Postgres }
func (postgresDialect) forUpdate() string { return " FOR UPDATE" }
func (postgresDialect) forShare() string  { return " FOR SHARE" }

func (postgresDialect) snapshot() *sql.TxOptions {
	return &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
}

func (postgresDialect) countTables() string {
	return `SELECT COUNT(*) FROM pg_catalog.pg_class c WHERE c.relkind = 'r' AND c.relname = $1 AND pg_catalog.pg_table_is_visible(c.oid)`
}

func (postgresDialect) sizeOf() string { return `SELECT pg_database_size(current_database())` }

func (postgresDialect) unixSeconds(column string) string {
	return `CAST(EXTRACT(EPOCH FROM ` + column + `) AS BIGINT)`
}

func (postgresDialect) place() string {
	return `SELECT COALESCE(current_schema(), ''), current_setting('server_version_num')::int / 10000`
}

// What belongs to an extension is not ours.
func (postgresDialect) listTables() string {
	return `SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
		ORDER BY c.relname`
}

func (postgresDialect) listColumns() string {
	return `SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum`
}

func (postgresDialect) moveSequence(tx *Tx, table string) error {
	_, err := tx.exec(`SELECT setval(pg_get_serial_sequence('` + table + `', 'id'), (SELECT MAX(id) FROM ` + table + `))`)
	return err
}

func (postgresDialect) lastID(tx *Tx, table string) (last int64, err error) {
	err = tx.queryRow(`SELECT GREATEST(COALESCE(pg_sequence_last_value(pg_get_serial_sequence('` + table + `', 'id')::regclass), 0), (SELECT COALESCE(MAX(id), 0) FROM ` + table + `))`).Scan(&last)
	return last, err
}

func (d postgresDialect) keepIDs(tx *Tx, table string, last int64) error {
	given, err := d.lastID(tx, table)
	if err != nil {
		return err
	}
	if last = max(last, given); last == 0 {
		return nil
	}
	_, err = tx.exec(`SELECT setval(pg_get_serial_sequence('`+table+`', 'id'), $1::bigint)`, last)
	return err
}

func (postgresDialect) lastIDs(tx *Tx, schema string) (map[string]int64, error) {
	return tx.numbers(`SELECT sequencename, COALESCE(last_value, 0) FROM pg_catalog.pg_sequences WHERE schemaname = $1`, schema)
}

func (postgresDialect) setLastID(tx *Tx, schema, name string, id int64) error {
	_, err := tx.exec(`SELECT setval($1::regclass, $2)`, quoteName(schema)+"."+quoteName(name), id)
	return err
}

func (postgresDialect) unreadable(err error) bool {
	code := postgresCode(err)
	return strings.HasPrefix(code, "42") || strings.HasPrefix(code, "XX") // a statement that does not fit, damage
}

func (postgresDialect) fault(err error) error {
	if e, ok := commonFault(err); ok {
		return e
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) { // whatever the reason: a password that was changed, a database that is being restored
		return unavailable(err)
	}
	var reply *pgconn.PgError
	if errors.As(err, &reply) {
		switch reply.Code {
		case readOnlyCode,
			"40001", "40P01", "55P03", "57014": // serialization, deadlock, lock not available, cancelled
			return unavailable(err)
		}
		switch reply.Code[:min(2, len(reply.Code))] {
		case "08", "53", "57", "58": // connection, resources, operator intervention, system
			return unavailable(err)
		}
		return err
	}
	var network net.Error
	if errors.As(err, &network) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) || errors.Is(err, pgconn.ErrConnClosed) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return unavailable(err)
	}
	return err
}

// unknown: an ERROR that the server replied rolled the transaction back, and what failed before anything was sent did
// nothing. FATAL and PANIC may come after the commit, as may any loss of the connection or end of the context.
//
// "conn closed" proves nothing, although pgx calls it safe to retry: pgx 5.12 also reports a simple query (as COMMIT is one)
// in this way when the connection broke after it was sent.
func (postgresDialect) unknown(err error) bool {
	var reply *pgconn.PgError
	var connect *pgconn.ConnectError
	switch {
	case err == nil, errors.As(err, &connect), errors.Is(err, errNotSent), errors.Is(err, pgx.ErrTxCommitRollback):
		return false
	case errors.As(err, &reply):
		return reply.SeverityUnlocalized != "ERROR" // "" (a server before 9.6) counts as unknown
	case errors.Is(err, pgconn.ErrConnClosed), errors.Is(err, driver.ErrBadConn):
		return true
	}
	return !pgconn.SafeToRetry(err)
}

// postgresCode is the SQLSTATE in err, "" when it is no reply of PostgreSQL's.
func postgresCode(err error) string {
	var reply *pgconn.PgError
	if errors.As(err, &reply) {
		return reply.Code
	}
	return ""
}

// readOnlyCode is what a standby says, or a primary that was made read-only, to who writes.
const readOnlyCode = "25006"

// errNotSent: the connection was closed already when a statement was to be sent.
var errNotSent = fmt.Errorf("the connection was closed before: %w", driver.ErrBadConn)

func (postgresDialect) taken(err error, table string) bool {
	var reply *pgconn.PgError
	return errors.As(err, &reply) && reply.Code == "23505" && reply.TableName == table
}
