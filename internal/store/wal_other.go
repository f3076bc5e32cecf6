//go:build !linux

package store

import (
	"context"
	"os"
)

// syncsAtOnce is how many may wait for the disk at a time. Only Linux is known to tell all of a failure.
const syncsAtOnce = 1

// syncData waits until what was written to a file is on the disk.
func syncData(f *os.File) error { return f.Sync() }

// ReadFromDisk does nothing: elsewhere than on Linux a kernel cannot be asked to forget a file.
func ReadFromDisk(context.Context, string) error { return nil }

func forgetPages(context.Context, string) ([]*os.File, error) { return nil, nil }
