package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/openway-access/openway/internal/access"
)

// wal is the write-ahead log of an SQLite file, opened a second time: so a commit waits for the disk when its writer's turn has ended already,
// and the next one is written meanwhile (ADR 18). Within COMMIT, as synchronous=FULL does it, the writer would idle as long.
//
// A second descriptor is harmless here: SQLite's locks are on the database file and on the -shm, not on this one. The file stays the same one
// for as long as a connection is open, and the writer's connection outlives its wal.
type wal struct{ file *os.File }

// openWAL opens the log of a database that somebody has open.
func openWAL(database string) (*wal, error) {
	path, err := filepath.EvalSymlinks(database) // SQLite keeps the log beside the file itself
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: SQLite keeps no such log on this file system; put the database on a local one", err)
	}
	if err != nil {
		return nil, err
	}
	return &wal{f}, nil
}

// sync returns when all that was committed before the call is on the disk.
func (l *wal) sync() error {
	if l == nil {
		return nil
	}
	return syncData(l.file)
}

func (l *wal) close() {
	if l != nil {
		l.file.Close() //nolint:errcheck // what is committed was synced, or nobody was told so
	}
}

// rewrite writes the whole log over itself. After a sync that failed the kernel takes the pages that it could not write for
// written, and the next sync would say nothing of them: so they are made dirty again. Nobody else may write meanwhile.
func (l *wal) rewrite() error {
	if l == nil {
		return nil
	}
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := l.file.ReadAt(buf, at)
		if n > 0 {
			if _, err := l.file.WriteAt(buf[:n], at); err != nil {
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

// settle waits until a commit is on the disk. The writer's turn has ended.
func (w *writer) settle(l *wal) error {
	err := w.syncing(l)
	if err == nil {
		return nil
	}
	w.doubtful.Store(true)
	return fmt.Errorf("commit: %w: sync: %w", access.ErrOutcomeUnknown, err)
}

// secure makes whole what a failed sync has left in doubt, before anything is written after it. The writer's turn is held.
func (w *writer) secure(ctx context.Context) error {
	if !w.doubtful.Load() {
		return nil
	}
	apart := context.WithoutCancel(ctx)
	if err := w.begin(ctx); err != nil { // other processes write in its place else
		return fmt.Errorf("begin to repeat a failed sync: %w", w.kind.fault(err))
	}
	err := w.wal.rewrite()
	if err == nil {
		err = w.syncing(w.wal)
	}
	_, rerr := w.conn.ExecContext(apart, `ROLLBACK`)
	if err = errors.Join(err, rerr); err != nil {
		return fmt.Errorf("repeat a failed sync: %w", unavailable(err))
	}
	w.doubtful.Store(false)
	return nil
}
