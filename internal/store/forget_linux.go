package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ReadFromDisk makes the kernel, and SQLite in every process, forget what they hold of an SQLite file that was not closed (one that was has no log), so that whoever reads it next sees what the disk
// has: pages that could not be written stay in memory as if they had been, and what is written over them later may be as little on the disk as they are. It is for
// whoever is about to serve, and fails as LockForServing does where somebody serves. On PostgreSQL it does nothing. No store of this process may have the file open: its locks would be lost.
func ReadFromDisk(ctx context.Context, database string) error {
	if isPostgres(database) {
		return nil
	}
	path, err := filepath.EvalSymlinks(database)
	if errors.Is(err, os.ErrNotExist) || err == nil && !exists(path+"-wal") && !exists(failedMark(database)) {
		return nil
	}
	if err != nil {
		return err
	}
	release, err := lockServing(database)
	if err != nil {
		return err
	}
	defer release()
	files, err := forget(ctx, database)
	for _, f := range files {
		f.Close() //nolint:errcheck // nothing was written to it that matters
	}
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// forget does the work of ReadFromDisk, and returns the files: whoever closes them gives up the lock on the index of the log, and SQLite's own on them.
func forget(ctx context.Context, database string) (files []*os.File, err error) {
	path, err := filepath.EvalSymlinks(database)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("have %s read from the disk: %w", path, err)
		}
	}()
	for _, part := range []string{"-shm", "-wal", ""} {
		f, err := os.OpenFile(path+part, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return files, err
		}
		files = append(files, f)
		if part == "-shm" {
			if err := forgetIndex(ctx, f); err != nil {
				return files, err
			}
			continue
		}
		_ = syncData(f) // what this fails to write is not on the disk, and is to be seen so
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return files, os.NewSyscallError("fadvise", err)
		}
	}
	if err := os.Remove(failedMark(database)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return files, err
	}
	return files, nil
}

// The index of a write-ahead log (the file "-shm"), which all processes share: https://sqlite.org/walformat.html.
const (
	walIndexHeader = 96  // bytes; when they are not sound, whoever comes next makes the index anew from the log
	walIndexLocks  = 120 // where the bytes lie that are locked: by who writes, who takes a checkpoint, and who makes the index anew
)

// forgetIndex makes SQLite read the log from its beginning again, also where another process has it open, and take nothing of it for taken over into the
// database file. It leaves the index locked.
func forgetIndex(ctx context.Context, index *os.File) error {
	all := unix.Flock_t{Type: unix.F_WRLCK, Start: walIndexLocks, Len: 3}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		switch err := unix.FcntlFlock(index.Fd(), unix.F_SETLK, &all); {
		case err == nil:
			_, err := index.WriteAt(make([]byte, walIndexHeader), 0)
			return err
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES):
			return os.NewSyscallError("fcntl", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Since(begun) > busyPatience:
			return unavailable(errors.New("another process is writing to it"))
		}
	}
}
