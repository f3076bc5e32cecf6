package store

import "database/sql"

// lane is one committing connection.
type lane struct{ conn *sql.Conn }

func (l *lane) close() {
	if l.conn != nil {
		l.conn.Close() //nolint:errcheck // it is gone either way
	}
}

// batchStatements are the prepared statements of the writer of SQLite.
type batchStatements struct{}

func (b *batchStatements) close() {}
