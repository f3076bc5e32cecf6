package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncsAtOnce is how many may wait for the disk at a time: one for each lane of events.
const syncsAtOnce = 2

// syncData waits until what was written to a file is on the disk: its data, and its length, but not its times.
func syncData(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = c.Control(func(fd uintptr) {
		for failed = unix.EINTR; failed == unix.EINTR; { //nolint:errorlint // an Errno as it comes
			failed = unix.Fdatasync(int(fd))
		}
	})
	if err != nil {
		return errors.Join(os.ErrClosed, err) // what else Control ends with
	}
	return os.NewSyscallError("fdatasync", failed)
}
