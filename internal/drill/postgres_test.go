package drill

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
)

// twoServers starts two servers on a database.
func twoServers(t *testing.T, database string) []string {
	t.Helper()
	o := processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true}
	return []string{processtest.Serve(t, o).Address, processtest.Serve(t, o).Address}
}

// TestPostgresKilled crashes PostgreSQL under two servers, in every way it can end, while clients ask and rights are taken away: whatever was
// answered stands in the log, once, and the servers go on by themselves.
func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	p := processtest.NewPostgres(t, "")
	list := people(t, p.URL(), long(300, 3000))
	d := startDrill(t, p.URL(), list, 25*time.Millisecond, twoServers(t, p.URL())...)
	one := func(children []int, err error) {
		t.Helper()
		if err != nil || len(children) == 0 {
			t.Errorf("no process of PostgreSQL's to kill: %v", err)
			return
		}
		if err := syscall.Kill(children[rand.IntN(len(children))], syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			t.Errorf("kill a process of PostgreSQL's: %v", err)
		}
	}
	blows := []struct {
		name  string
		blow  func()
		start bool
	}{
		{"a process that serves a connection is killed", func() { one(p.Children("127.0.0.1")) }, false},
		{"connections are ended by the server", func() {
			query[int](t, p.URL(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'openway'`)
		}, false},
		{"stopped at once (pg_ctl stop -m immediate)", func() {
			if err := p.Stop("immediate"); err != nil {
				t.Error(err)
			}
		}, true},
		{"its first process and all others are killed", func() {
			if err := p.Crash(); err != nil {
				t.Error(err)
			}
		}, true},
		{"the process that writes its log ahead is killed", func() { one(p.Children("walwriter")) }, false},
		{"restarted in order (pg_ctl stop -m fast)", func() {
			if err := p.Stop("fast"); err != nil {
				t.Error(err)
			}
		}, true},
	}
	rounds := long(1, 8)
	for range rounds {
		for _, b := range blows {
			d.more(between * 4)
			b.blow()
			if b.start {
				if err := p.Start(); err != nil {
					t.Fatalf("%s: %v", b.name, err)
				}
			}
			for server := range d.servers {
				took := d.recovers(server, 20*time.Second)
				t.Logf("%s: server %d answers again after %v", b.name, server, took.Round(time.Millisecond))
			}
		}
	}
	d.more(between)
	d.finish()
	d.settled()
	d.check(true)
	if long(false, true) {
		soundPostgres(t, p)
	}
}

// TestCommitCut cuts the connections between two servers and PostgreSQL in the middle of a commit, before it arrives, within it, and after it was
// made but before the answer, while rights are taken away over a wire that is cut as well. What nobody knows is never tried again, never
// answered ALLOW, and never recorded twice.
func TestCommitCut(t *testing.T) {
	t.Parallel()
	database := empty(t, "postgres")
	list := people(t, database, long(300, 2000))
	events, through := processtest.NewWire(t, database)
	changes, desk := processtest.NewWire(t, database)
	d := startDrill(t, desk, list, 15*time.Millisecond, twoServers(t, through)...)
	isBatch := func(sent []byte) bool { return bytes.Contains(sent, []byte("drill-")) }
	// A change's transaction ends in a COMMIT of its own; a batch's held one too.
	isCommit := func(sent []byte) bool { return bytes.Contains(bytes.ToLower(sent), []byte("commit\x00")) }
	cuts := 0
	for range long(2, 60) {
		for _, c := range []processtest.Cut{processtest.BeforeSend, processtest.MidSend, processtest.BeforeBack} {
			d.more(between)
			made := []<-chan struct{}{events.CutAt(c, rand.IntN(5), isBatch), changes.CutAt(c, 0, isCommit)}
			for _, m := range made {
				select {
				case <-m:
					cuts++
				case <-time.After(20 * time.Second):
					t.Fatal("nothing was sent that could be cut")
				}
			}
		}
	}
	d.more(between)
	d.finish()
	d.settled()
	f := d.check(true)
	t.Logf("%d cuts", cuts)
	if f.refused == 0 || f.late == 0 || f.unsure == 0 {
		t.Errorf("%v: no commit was cut in the middle", f)
	}
}
