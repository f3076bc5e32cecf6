package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	return w.sync(f)
}

// sync returns when what was written to a file of the database is on the disk.
func (w *writer) sync(f *os.File) error {
	if w.broken() {
		return ErrDiskFailed
	}
	switch err := w.syncing(f); {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrClosed): // the writer's connection was given up meanwhile, for reasons of its own
		return err
	default:
		return w.fail(err)
	}
}
