//go:build unix && !linux

package main

import (
	"os"
	"syscall"
	"time"
)

// endsWithUs would make a child end when this process is killed; only Linux can. An orderly end stops the children all the same.
func endsWithUs() *syscall.SysProcAttr { return nil }

// flush puts what was written to f on the disk.
func flush(f *os.File) error { return f.Sync() }

// pause sleeps, as exactly as Go's timers wake.
func pause(d time.Duration) error {
	time.Sleep(d)
	return nil
}
