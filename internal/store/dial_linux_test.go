package store

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestConnectionsEndWithTheirPeer: connections to PostgreSQL have the kernel's time-out for a peer that acknowledges nothing. (That it does what it says is the kernel's.)
func TestConnectionsEndWithTheirPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := dialer().DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	var failed error
	if err := raw.Control(func(fd uintptr) { got, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if got != userTimeout {
		t.Errorf("the time-out is %d ms, want %d", got, userTimeout)
	}
}
