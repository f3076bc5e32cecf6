package store

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// userTimeout is how long the kernel goes on sending to a peer that acknowledges nothing, milliseconds.
const userTimeout = 10_000

// endsWithPeer has a connection end when the machine at its other end has gone without a word, by power loss or a cut network: TCP alone would go on
// for a quarter of an hour, and whoever waits for an answer with it.
func endsWithPeer(network, _ string, c syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return nil
	}
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, userTimeout)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", failed)
}
