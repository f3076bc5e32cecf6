package main

import (
	"os"
	"syscall"
	"time"
)

// endsWithUs makes a child end when this process does, however that ends.
func endsWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// flush puts what was written to f on the disk, as the engines do.
func flush(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// pause sleeps in the kernel: Go's timers wake with the milliseconds of epoll, as long as the answers that we measure. EINTR when a signal woke it.
func pause(d time.Duration) error {
	t := syscall.NsecToTimespec(int64(d))
	return syscall.Nanosleep(&t, nil)
}
