//go:build unix

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// LockForServing makes this process the only one that serves an SQLite file, until release or its end, however it ends. A
// second one is refused in one line. On PostgreSQL several may serve, and it does nothing.
//
// The lock is on a file of its own beside the database: see the package's comment.
func (s *Store) LockForServing() (release func(), err error) {
	if s.write == nil {
		return func() {}, nil
	}
	return lockServing(s.opt.Database)
}

// lockServing takes the lock of LockForServing without opening the database.
func lockServing(database string) (release func(), err error) {
	path := database + ".lock"
	release, err = fileLock(path)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s is served by another process already%s: stop it first", database, holder(path))
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s for serving: %w", database, err)
	}
	return release, nil
}

// LockFile takes a lock on a file of its own, which it makes and leaves, until release or the end of this process. busy says that
// another process has it, and which.
func LockFile(path string) (release func(), busy string, err error) {
	release, err = fileLock(path)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, "another process" + holder(path), nil
	}
	return release, "", err
}

// holder names the process that wrote its number into a lock file.
func holder(path string) string {
	b, err := os.ReadFile(path)
	pid := strings.TrimSpace(string(b))
	if err != nil || pid == "" {
		return ""
	}
	return " (process " + pid + ")"
}

// fileLock takes the lock at path or fails with EWOULDBLOCK. The file stays: removing it would let two processes hold
// locks on two files of one name.
func fileLock(path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		// Closing would not do while a process that is being started still has a copy of the descriptor.
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		f.Close() //nolint:errcheck // nothing was written that matters
	}, nil
}

func writeAt(w io.WriterAt, text string) error {
	_, err := w.WriteAt([]byte(text), 0)
	return err
}

// waitForFileLock takes the lock at path as soon as nobody else holds it.
func waitForFileLock(ctx context.Context, path string) (release func(), err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		release, err := fileLock(path)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return release, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, unavailable(fmt.Errorf("wait for another process that migrates%s: %w", holder(path), ctx.Err()))
		}
	}
}
