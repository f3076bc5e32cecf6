package main

import (
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
			var exe string
			if exe, err = os.Executable(); err == nil {
				err = syscall.Exec(exe, os.Args, a.environ) //nolint:gosec // this program, as it was started
			}
		}
		log.Error("the server cannot start itself anew, and ends", slog.Any("error", err))
		logs.Close(logPatience)
		os.Exit(1) // what is served here is not to be trusted
	}()
	return ended
}
