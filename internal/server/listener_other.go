//go:build !linux

package server

import (
	"errors"
	"net"
)

// refuseNew is for Linux alone.
func refuseNew(net.Listener) error { return errors.ErrUnsupported }
