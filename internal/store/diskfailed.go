package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// When a sync of an SQLite file has failed nothing that this process sees of its disk is to be trusted any more (ADR 19): the kernel takes what it could not
// write for written, the next sync says nothing of it, and what is read is what is in memory.

// ErrDiskFailed is the error of writes after a sync of an SQLite file has failed, and of that one.
var ErrDiskFailed = errors.New("the disk has failed to keep what was written")

var errSeenByOthers = errors.New("another process was told so")

// Failed returns a channel that is closed when a sync of an SQLite file has failed. From then on nothing is written, each write and Ping ends with ErrDiskFailed, and Close
// leaves the file as it is. Whoever serves is to LeaveFile and to become another process. On PostgreSQL, which stops itself and recovers, it is nil.
func (s *Store) Failed() <-chan struct{} {
	if s.write == nil {
		return nil
	}
	return s.write.failed
}

// FailedBy is why the disk has Failed; nil while it has not.
func (s *Store) FailedBy() error {
	if s.write == nil || !s.write.broken() {
		return nil
	}
	return s.write.cause
}

// LeaveFile is for a process that serves, when the disk has Failed; not for PostgreSQL. It keeps other processes from writing, whose commits would stand in the log
// behind what is lost, waits until the disk works again (awaitDisk), and does what ReadFromDisk does. Nothing may be done with the store after it; without an error
// this process is to become another one at once, because it has lost its locks to readers. An error is that of ctx, or the disk's.
func (s *Store) LeaveFile(ctx context.Context) error {
	w := s.write
	select {
	case w.turn <- struct{}{}: // for ever
	case <-ctx.Done():
		return ctx.Err()
	}
	for held := false; !held; {
		held = w.holdFile(ctx) == nil
		if err := awaitDisk(ctx, w.path); err != nil {
			return err
		}
	}
	s.endUpkeep() // a checkpoint that is under way ends with what it saw
	var err error
	w.left, err = forget(ctx, w.path)
	return err
}

// holdFile keeps other processes from writing. The turn is held.
func (w *writer) holdFile(ctx context.Context) error {
	if w.conn == nil {
		if err := w.open(ctx); err != nil {
			return err
		}
	}
	_, _ = w.conn.ExecContext(ctx, `ROLLBACK`) // of whoever saw the disk fail
	_, err := w.conn.ExecContext(ctx, `PRAGMA busy_timeout = `+busyTimeout+`; BEGIN IMMEDIATE`)
	return err
}

// tryPause is between two looks at a disk that has failed.
const tryPause = time.Second

// awaitDisk returns when what is written beside an SQLite file is kept by the disk, at the earliest after a second; else with ctx's error.
func awaitDisk(ctx context.Context, database string) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(tryPause):
		}
		if tryDisk(database) == nil {
			return nil
		}
	}
}

// tryDisk writes a little beside an SQLite file, more than the next commits will need, and reports whether the disk keeps it.
func tryDisk(database string) error {
	path, err := filepath.EvalSymlinks(database)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".try", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(bytes.Repeat([]byte("openway\n"), 16<<10))
	if err == nil {
		err = syncData(f)
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// failedMark is the file that tells processes which come later that the disk has failed: they are not told by the kernel. Open makes it go, by ReadFromDisk, where
// nobody serves.
func failedMark(database string) string {
	if path, err := filepath.EvalSymlinks(database); err == nil {
		database = path
	}
	return database + ".failed"
}

// trustDisk is for whoever is about to open an SQLite file.
func trustDisk(ctx context.Context, database string) error {
	if _, err := os.Stat(failedMark(database)); err != nil {
		return nil //nolint:nilerr // there is none
	}
	if err := ReadFromDisk(ctx, database); err != nil {
		return unavailable(fmt.Errorf("%w, and nobody writes before the server has started anew: %w", ErrDiskFailed, err))
	}
	return nil
}

// heed is for errors in which a sync of SQLite's own may be: of the log before its pages are taken over or its head is written anew, or of the database file after
// that. (A disk that has no room says so while it is written to, and nothing is lost by that.) Only a disk that fails shows this: TestDiskThatForgets.
func (w *writer) heed(err error) error {
	if sqliteCode(err) == sqlite3.SQLITE_IOERR_FSYNC {
		return w.fail(err)
	}
	return err
}

func (w *writer) fail(cause error) error {
	w.failing.Do(func() {
		w.cause = cause
		// In memory is where it is needed: a start of the machine makes an end of what is only there.
		if err := os.WriteFile(failedMark(w.path), []byte(cause.Error()+"\n"), 0o600); err != nil {
			w.cause = errors.Join(cause, err)
		}
		close(w.failed)
	})
	return fmt.Errorf("%w: %w", ErrDiskFailed, cause)
}

func (w *writer) broken() bool {
	select {
	case <-w.failed:
		return true
	default:
		return false
	}
}
