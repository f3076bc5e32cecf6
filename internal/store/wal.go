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

// wal is the write-ahead log of an SQLite file, opened once more: so a commit waits for the disk when its writer's turn has ended already,
// and the next one is written meanwhile (ADR 18). Within COMMIT, as synchronous=FULL does it, the writer would idle as long.
//
// Each who waits has a descriptor to himself meanwhile: the kernel tells each descriptor once that pages could not be written, and whoever came
// second on a shared one would take his commit, which stands in the log behind the one that is lost, for safe.
//
// More descriptors are harmless here: SQLite's locks are on the database file and on the -shm, not on this one. The file stays the same one
// for as long as a connection is open, and the writer's connection outlives its wal.
type wal struct {
	files []*os.File
	free  chan *os.File // those by which nobody waits
}

// openWAL opens the log of a database that somebody has open.
func openWAL(database string) (*wal, error) {
	path, err := filepath.EvalSymlinks(database) // SQLite keeps the log beside the file itself
	if err != nil {
		return nil, err
	}
	l := &wal{free: make(chan *os.File, syncsAtOnce)}
	for range syncsAtOnce {
		f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
		if err != nil {
			l.close()
			if errors.Is(err, os.ErrNotExist) {
				err = fmt.Errorf("%w: SQLite keeps no such log on this file system; put the database on a local one", err)
			}
			return nil, err
		}
		l.files = append(l.files, f)
		l.free <- f
	}
	return l, nil
}

func (l *wal) close() {
	if l == nil {
		return
	}
	for _, f := range l.files {
		f.Close() //nolint:errcheck // what is committed was synced, or nobody was told so
	}
}

// settle returns when all that was committed before the call is on the disk.
func (w *writer) settle(l *wal) error {
	if l == nil { // the file is bare
		return nil
	}
	f := <-l.free
	defer func() { l.free <- f }()
	if w.broken() {
		return ErrDiskFailed
	}
	if err := w.syncing(f); err != nil {
		return w.fail(err)
	}
	return nil
}

// ErrDiskFailed is an error of a Store that is not to be trusted any more: see Failed.
var ErrDiskFailed = errors.New("the disk has failed to keep what was written")

// LeaveFile is for a process that serves, when the disk has Failed. It keeps all others from writing, whose commits would stand in the log behind what is lost,
// waits until the disk works again (AwaitDisk), and does what ReadFromDisk does. Without an error this process is to become another one at once: it has no locks
// any more.
func (s *Store) LeaveFile(ctx context.Context) error {
	w := s.write
	select {
	case w.turn <- struct{}{}: // for ever
	case <-ctx.Done():
		return ctx.Err()
	}
	if w.conn == nil {
		if err := w.open(ctx); err != nil {
			return err
		}
	}
	if err := w.begin(ctx); err != nil {
		return w.kind.fault(err)
	}
	if err := AwaitDisk(ctx, w.path); err != nil {
		return err
	}
	_, err := forgetPages(ctx, w.path) // the files stay open, and the log's index locked, until another process is here
	return err
}

// tryPause is between two looks at a disk that has failed.
const tryPause = time.Second

// AwaitDisk returns when what is written beside an SQLite file is kept by the disk, at the earliest after a second.
func AwaitDisk(ctx context.Context, database string) error {
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

// tryDisk writes a little beside an SQLite file, and reports whether the disk keeps it.
func tryDisk(database string) error {
	f, err := os.CreateTemp(filepath.Dir(database), filepath.Base(database)+".try-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(bytes.Repeat([]byte("openway\n"), 16<<10)) // 128 KiB
	if err == nil {
		err = syncData(f)
	}
	return errors.Join(err, f.Close())
}

// heed looks whether a sync of SQLite's own has failed: of the log before its pages are taken over or its head is written anew, or of the database file after that.
// (A disk that has no room says so while it is written to, and nothing is lost by that.)
func (w *writer) heed(err error) error {
	if sqliteCode(err) == sqlite3.SQLITE_IOERR_FSYNC || errors.Is(err, ErrDiskFailed) {
		return w.fail(err)
	}
	return err
}

func (w *writer) fail(cause error) error {
	w.failing.Do(func() { close(w.failed) })
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

// Failed is closed when a sync of an SQLite file has failed. The kernel takes what it could not write for written: the next sync says nothing of it, and what is
// read here is not what the disk has. So nothing more is written, each write ends with ErrDiskFailed, Close leaves the file as it is, and whoever serves is to LeaveFile and to
// begin anew with ReadFromDisk. On PostgreSQL, which does the like by itself, it is nil.
func (s *Store) Failed() <-chan struct{} {
	if s.write == nil {
		return nil
	}
	return s.write.failed
}
