//go:build !linux

package store

import "os"

// syncsAtOnce is how many may wait for the disk at a time. Only Linux is known to tell all of a failure.
const syncsAtOnce = 1

// syncData waits until what was written to a file is on the disk.
func syncData(f *os.File) error { return f.Sync() }
