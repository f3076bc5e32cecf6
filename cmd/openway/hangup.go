package main

import (
	"log/slog"
	"os"
)

// onHangups does what onHangup was given at each SIGHUP, and passes it on as a signal to end when nothing was, or when the terminal that there was is gone.
func (a *app) onHangups(atTerminal bool, hangups <-chan os.Signal, end chan<- os.Signal, stop <-chan struct{}) {
	for {
		select {
		case s := <-hangups:
			do := a.hangup.Load()
			// A terminal that was closed is none any more: whoever started the server there has gone.
			if do == nil || atTerminal && !isTerminal(a.out) && !isTerminal(a.in) {
				end <- s
				continue
			}
			(*do)()
		case <-stop:
			return
		}
	}
}

// onHangup says what SIGHUP does from now on, until the returned function is called.
func (a *app) onHangup(do func()) (undo func()) {
	a.hangup.Store(&do)
	return func() { a.hangup.Store(nil) }
}

// reload takes up what may change while the server runs: the log's level, as the file of settings has it now, and the certificate. What was
// given on the command line or in the real environment stays.
func (a *app) reload(log *slog.Logger, level *slog.LevelVar, h https) {
	was := level.Level()
	if err := a.rereadLevel(level); err != nil {
		log.Warn("the log level stays as it was", slog.String("error", err.Error()))
	}
	if now := level.Level(); now != was {
		log.Warn("the log level has changed", slog.String("from", was.String()), slog.String("to", now.String())) // a warning, so that it is seen at any level but one
	}
	if h.pair != nil {
		h.pair.Reload()
	}
	log.Info("reloaded")
}

func (a *app) rereadLevel(level *slog.LevelVar) error {
	if _, given := flagOf(a.args, "--log-level"); given {
		return nil
	}
	value, free, err := a.env.reread("OPENWAY_LOG_LEVEL")
	if err != nil || !free {
		return err
	}
	s := settings{LogLevel: value}
	l, err := s.level()
	if err == nil {
		level.Set(l)
	}
	return err
}
