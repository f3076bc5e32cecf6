package store

import (
	"context"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// busyPatience is how long those who begin to write wait for another process's write.
const busyPatience = 5 * time.Second

// waitHere leaves the waiting for the lock to begin: SQLite's own lasts a millisecond from now on.
func (w *writer) waitHere(ctx context.Context) error {
	_, err := w.conn.ExecContext(ctx, `PRAGMA busy_timeout = 1`)
	return err
}

// begin waits for the lock, busyPatience at most, by asking for it every millisecond. There is no line for it, and SQLite's own
// waiting asks ever more seldom: beside a server that writes nearly all the time a command would find it free late or never.
func (w *writer) begin(ctx context.Context) error {
	apart := context.WithoutCancel(ctx) // the driver would start a goroutine for each commit, to interrupt what lasts a millisecond
	for begun := time.Now(); ; {
		_, err := w.stmt.begin.ExecContext(apart)
		if err == nil || sqliteCode(err)&0xff != sqlite3.SQLITE_BUSY || time.Since(begun) > busyPatience {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
