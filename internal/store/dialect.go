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
	// requestIs is the condition that events are of the request ?, as an index can answer it.
	requestIs() string
	// moveSequence makes the next id of a table follow its highest, after rows came with ids.
	moveSequence(tx *Tx, table string) error
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

// requestIs needs no care: the index over the events is asked before (pageByIndex).
func (sqliteDialect) requestIs() string { return `request_id = ?` }

// moveSequence has nothing to do: AUTOINCREMENT remembers the highest id that was ever given, by hand or not.
func (sqliteDialect) moveSequence(*Tx, string) error { return nil }

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
// busy and locked leave the transaction open, and it is rolled back. But when a write or fdatasync fails otherwise, the
// frame may have reached the disk: the running processes ignore it and will overwrite it, yet a crash before that would recover it.
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

func (postgresDialect) requestIs() string {
	return `hashtext(request_id) = hashtext(?) AND request_id = ?`
}

func (postgresDialect) moveSequence(tx *Tx, table string) error {
	_, err := tx.exec(`SELECT setval(pg_get_serial_sequence('` + table + `', 'id'), (SELECT MAX(id) FROM ` + table + `))`)
	return err
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
		case "25006", // read-only: we talk to a standby
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

// errNotSent: the connection was closed already when a statement was to be sent.
var errNotSent = fmt.Errorf("the connection was closed before: %w", driver.ErrBadConn)

func (postgresDialect) taken(err error, table string) bool {
	var reply *pgconn.PgError
	return errors.As(err, &reply) && reply.Code == "23505" && reply.TableName == table
}
