package server

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

// logBacklog is how many bytes of log lines may wait for a slow reader before lines are dropped: several seconds of a busy site.
const logBacklog = 4 << 20

// logGather is how long lines that follow upon others wait to be written together: on a busy site a system call for each, and the switch
// to the goroutine that makes it, would cost more than the lines.
const logGather = 5 * time.Millisecond

// LogWriter stands between the log and a pipe that somebody may have stopped reading: a stalled log must not stall the gates.
// Write copies the line and returns at once; one goroutine writes in the background: the first line at once, and what comes within
// the next few milliseconds together. When the backlog is full, lines are dropped and counted, and the count is reported when the
// reader comes back.
type LogWriter struct {
	out    io.Writer
	format LogFormat // of the report of dropped lines
	most   int

	mu      sync.Mutex
	pending []byte
	spare   []byte
	dropped int64 // since the last report
	total   int64
	closed  bool
	awake   bool // the goroutine will look at pending without being told

	wake chan struct{} // something is pending, or closed
	done chan struct{} // the goroutine has ended
}

// NewLogWriter starts a writer in front of out. Close ends it.
func NewLogWriter(out io.Writer, format LogFormat) *LogWriter {
	return newLogWriter(out, format, logBacklog)
}

func newLogWriter(out io.Writer, format LogFormat, most int) *LogWriter {
	w := &LogWriter{out: out, format: format, most: most, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// Write takes one line. It never blocks and never fails; after Close lines are dropped.
func (w *LogWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.closed || len(w.pending)+len(p) > w.most {
		w.total++
		if !w.closed {
			w.dropped++
		}
		w.mu.Unlock()
		return len(p), nil
	}
	w.pending = append(w.pending, p...)
	asleep := !w.awake
	w.awake = true
	w.mu.Unlock()
	if asleep {
		w.signal()
	}
	return len(p), nil
}

func (w *LogWriter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Dropped is how many lines were dropped so far.
func (w *LogWriter) Dropped() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// Close writes what is pending and ends the writer. It waits at most the given time: a reader that is gone for good must not
// keep the process alive. It reports whether everything was written.
func (w *LogWriter) Close(wait time.Duration) bool {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.done:
		return true
	case <-timer.C:
		return false
	}
}

func (w *LogWriter) run() {
	defer close(w.done)
	gather := time.NewTimer(logGather)
	defer gather.Stop()
	for range w.wake {
		for w.writePending() {
			gather.Reset(logGather)
			select {
			case <-gather.C:
			case <-w.wake: // closed
			}
		}
		w.mu.Lock()
		ended := w.closed && len(w.pending) == 0 && w.dropped == 0
		w.mu.Unlock()
		if ended {
			return
		}
	}
}

// writePending writes what is pending. It reports whether there was something; if not, the next line wakes the goroutine.
func (w *LogWriter) writePending() bool {
	w.mu.Lock()
	lines, dropped := w.pending, w.dropped
	if len(lines) == 0 && dropped == 0 {
		w.awake = false
		w.mu.Unlock()
		return false
	}
	w.pending, w.spare = w.spare[:0], nil
	w.dropped = 0
	w.mu.Unlock()
	if len(lines) > 0 {
		_, _ = w.out.Write(lines) // nowhere to complain
	}
	w.giveBack(lines)
	if dropped > 0 {
		w.report(dropped)
	}
	return true
}

// giveBack keeps the larger of the two buffers for the next turn.
func (w *LogWriter) giveBack(lines []byte) {
	w.mu.Lock()
	if cap(lines) > cap(w.spare) && cap(lines) <= 1<<20 {
		w.spare = lines[:0]
	}
	w.mu.Unlock()
}

func (w *LogWriter) report(dropped int64) {
	slog.New(NewLogHandler(w.out, w.format, slog.LevelWarn)).Warn("log lines were dropped: nobody read them in time", "dropped", dropped)
}
