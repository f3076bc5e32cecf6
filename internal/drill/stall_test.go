package drill

import (
	"context"
	"database/sql"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
)

// The queue bounds latency: nobody waits longer than eventlog.DefaultMaxWait, but for what a busy machine adds.
const slack = 2 * time.Second

// endure lets the load go on through a stall, and wants everybody answered 503 in time meanwhile, and served by itself afterwards.
func (d *drill) endure(stall time.Duration, stop, goOn func() error) {
	d.t.Helper()
	d.some(3)
	if err := stop(); err != nil {
		d.t.Fatal(err)
	}
	rest(stall)
	began := time.Since(d.clock)
	if err := goOn(); err != nil {
		d.t.Fatal(err)
	}
	d.recovers(0, 20*time.Second)
	d.t.Logf("stalled for %v; answers again %v after", stall, (time.Since(d.clock) - began).Round(time.Millisecond))
}

// bounded checks what clients met during a stall.
func (d *drill) bounded(f figures) {
	d.t.Helper()
	if f.refused == 0 || f.broken > 0 {
		d.t.Errorf("%d answered 503 and %d without an answer during a stall; want some and none", f.refused, f.broken)
	}
	if limit := eventlog.DefaultMaxWait + slack; f.slowest > limit {
		d.t.Errorf("somebody was answered after %v; want at most %v", f.slowest, limit)
	}
}

// TestStalled stops what writes, in the middle of the load, and lets it go on later. SQLite: another process keeps the file locked. PostgreSQL: the processes
// that serve connections are stopped. (./scripts/drill.sh stalls the disk itself, under both.)
func TestStalled(t *testing.T) {
	t.Parallel()
	t.Run("sqlite, locked by another", func(t *testing.T) {
		t.Parallel()
		database := empty(t, store.SQLite)
		d := serveOne(t, database, 1000)
		db, err := sql.Open("sqlite", "file:"+database+"?_pragma=busy_timeout(20000)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		other, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		on := func(statement string) func() error {
			return func() error {
				_, err := other.ExecContext(context.Background(), statement)
				return err
			}
		}
		d.endure(long(5*time.Second, 15*time.Second), on(`BEGIN IMMEDIATE`), on(`ROLLBACK`))
		d.some(3)
		d.finish()
		d.settled()
		d.bounded(d.check(true))
	})
	t.Run("postgres, stopped", func(t *testing.T) {
		t.Parallel()
		p := processtest.NewPostgres(t, "")
		d := serveOne(t, p.URL(), 1000)
		var stopped []int
		each := func(s syscall.Signal) (err error) {
			for _, pid := range stopped {
				if e := syscall.Kill(pid, s); !errors.Is(e, syscall.ESRCH) {
					err = errors.Join(err, e)
				}
			}
			return err
		}
		d.endure(long(5*time.Second, 15*time.Second), func() (err error) {
			if stopped, err = p.Children("127.0.0.1"); err != nil {
				return err
			}
			writer, err := p.Children("walwriter")
			stopped = append(stopped, writer...)
			return errors.Join(err, each(syscall.SIGSTOP))
		}, func() error { return each(syscall.SIGCONT) })
		d.some(3)
		d.finish()
		d.settled()
		d.bounded(d.check(true))
	})
}

// serveOne starts a server on a fresh database and the load on it.
func serveOne(t *testing.T, database string, n int) *drill {
	t.Helper()
	list := people(t, database, n)
	p := processtest.Serve(t, processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true})
	return startDrill(t, database, list, 40*time.Millisecond, p.Address)
}
