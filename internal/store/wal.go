package store

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	if w.doubtful.Load() {
		return errDoubtful
	}
	err := w.syncing(f)
	if err != nil {
		w.doubtful.Store(true)
	}
	return err
}

var errDoubtful = errors.New("an earlier sync has failed")

// secure makes whole what a failed sync has left in doubt, before anything is written after it. The writer's turn is held. After an error
// nobody knows whether a transaction is open.
func (w *writer) secure(ctx context.Context) error {
	if !w.doubtful.Load() {
		return nil
	}
	if err := w.begin(ctx); err != nil { // other processes write in its place else
		return fmt.Errorf("begin to repeat a failed sync: %w", w.kind.fault(err))
	}
	err := w.repeat()
	_, rerr := w.conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`)
	if err = errors.Join(err, rerr); err != nil {
		return fmt.Errorf("repeat a failed sync: %w", unavailable(err))
	}
	return nil
}

// repeat writes the log again and waits for the disk.
func (w *writer) repeat() error {
	l := w.wal
	if l == nil {
		return nil
	}
	for range l.files {
		f := <-l.free
		defer func() { l.free <- f }()
		_ = syncData(f) // what it has to tell is of before, and is known
	}
	if err := rewrite(l.files[0]); err != nil {
		return err
	}
	err := w.syncing(l.files[0])
	if err == nil {
		w.doubtful.Store(false)
	}
	return err
}

// rewrite writes a file over itself. After a sync that failed the kernel takes the pages that it could not write for
// written, and the next sync would say nothing of them: so they are made dirty again. Nobody else may write meanwhile.
func rewrite(f *os.File) error {
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := f.ReadAt(buf, at)
		if n > 0 {
			if _, err := f.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
