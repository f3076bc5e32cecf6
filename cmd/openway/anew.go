package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"syscall"

	"github.com/openway-access/openway/internal/server"
	"github.com/openway-access/openway/internal/store"
)

// beginAnewWhenFailed makes of this process a new one of the same number when the disk under an SQLite file has failed and works again: what this one sees of the disk is not
// to be trusted any more (ADR 19). Until then gates are told UNAVAILABLE. done is closed when the process is to end.
func (a *app) beginAnewWhenFailed(st *store.Store, log *slog.Logger, logs *server.LogWriter) (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-st.Failed():
		case <-a.ctx.Done():
			return
		}
		const failed = "the disk has failed to keep what was written: gates are told UNAVAILABLE; "
		if runtime.GOOS != "linux" { // its kernel would go on as it is
			log.Error(failed+"start this machine anew", slog.Any("error", st.FailedBy()))
			<-a.ctx.Done()
			return
		}
		log.Error(failed+"the server starts anew when the disk works", slog.Any("error", st.FailedBy()))
		err := st.LeaveFile(a.ctx)
		if a.ctx.Err() != nil { // whoever starts it next begins so
			return
		}
		if err == nil {
			log.Warn("the disk works again: starting anew from what it has")
			logs.Close(logPatience)
			err = syscall.Exec(thisProgram(), os.Args, a.environ) //nolint:gosec // as it was started
		}
		a.complain(fmt.Sprintf("the server cannot start itself anew, and ends: %v", err))
		os.Exit(1) // what is served here is not to be trusted
	}()
	return ended
}

// thisProgram is the path of the program that runs, also when another one stands in its place by now.
func thisProgram() string {
	const running = "/proc/self/exe"
	path, err := os.Executable()
	if err != nil {
		return running
	}
	there, err := os.Stat(path)
	here, hereErr := os.Stat(running)
	if err != nil || hereErr != nil || !os.SameFile(there, here) {
		return running
	}
	return path
}
