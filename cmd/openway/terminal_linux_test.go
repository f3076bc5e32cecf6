package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal and returns the side of the person, and the name of the other.
func openTerminal(t *testing.T) (*os.File, string) {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return f, "/dev/pts/" + strconv.Itoa(n)
}

func openTTY(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A server at a terminal ends when that is closed: nobody would know that it runs on.
func TestHangupOfAClosedTerminal(t *testing.T) {
	in := install(t, "sqlite")
	terminal, name := openTerminal(t)
	tty := openTTY(t, name)
	c := in.command("serve", "--log-format=json")
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	var text bytes.Buffer
	buf := make([]byte, 4096)
	until := func(what string) {
		t.Helper()
		for !strings.Contains(text.String(), what) {
			n, err := terminal.Read(buf)
			text.Write(buf[:n])
			if err != nil {
				t.Fatalf("the terminal was closed: %v\n%s", err, text.String())
			}
		}
	}
	until(`"message":"listening"`)
	if err := c.Process.Signal(syscall.SIGHUP); err != nil { // while the terminal is there, it means reload
		t.Fatal(err)
	}
	until(`"message":"reloaded"`)
	terminal.Close() // the kernel sends SIGHUP
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("serve ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		_ = c.Process.Kill()
		t.Error("the server runs on without its terminal")
	}
}
