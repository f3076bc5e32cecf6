package main

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestASignalSentTwiceIsOne(t *testing.T) {
	for _, tt := range []struct {
		name   string
		after  []time.Duration // of the signals that follow the first, since the one before
		second bool
	}{
		{"alone", nil, false},
		{"at the same time", []time.Duration{0}, false},
		{"just within the second", []time.Duration{oneAct - 1}, false},
		{"three within the second", []time.Duration{oneAct / 2, oneAct/2 - 1}, false},
		{"a second later", []time.Duration{oneAct}, true},
		{"sent twice, then meant", []time.Duration{0, oneAct}, true},
		{"hours later", []time.Duration{5 * time.Hour}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals, stop := make(chan os.Signal), make(chan struct{})
				first, second := 0, 0
				done := make(chan struct{})
				go func() {
					defer close(done)
					onSignals(signals, stop, func() { first++ }, func(os.Signal) { second++ })
				}()
				signals <- syscall.SIGTERM
				for _, d := range tt.after {
					<-time.After(d)
					signals <- syscall.SIGINT
				}
				synctest.Wait()
				if want := map[bool]int{true: 1}[tt.second]; first != 1 || second != want {
					t.Errorf("signals after %v: ended %d times gently and %d times at once, want 1 and %d", tt.after, first, second, want)
				}
				close(stop)
				<-done
			})
		})
	}
}

func TestAnErrorIsOneLine(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"one", "one"},
		{"one\ntwo\r\n\nthree\n", "one; two; three"},
		{"failed to connect:\n\tfirst\n\tsecond", "failed to connect: first; second"},
		{"pg_dump: error:\tno\trights", "pg_dump: error: no rights"},
		{"red \x1b[31m", "red \ufffd[31m"},
	} {
		if got := oneLine(tt.in); got != tt.want {
			t.Errorf("oneLine(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
