package server

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// noInterface is the number of a network interface that does not exist.
const noInterface = 1<<31 - 1

// refuseNew makes the kernel refuse new connections to l, but lets those come through whose handshake has begun: the listening socket is bound to
// a network interface that does not exist, so that it matches no segment that would begin a connection. Linux 5.7 and newer allow that to everybody.
func refuseNew(l net.Listener) error {
	s, ok := l.(syscall.Conn)
	if !ok {
		return errors.New("not a socket")
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return fmt.Errorf("reach the socket: %w", err)
	}
	var bound error
	if err := raw.Control(func(fd uintptr) {
		bound = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, noInterface)
	}); err != nil {
		return fmt.Errorf("reach the socket: %w", err)
	}
	if bound != nil {
		return fmt.Errorf("bind to no interface: %w", bound)
	}
	return nil
}
