package drill

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
)

// TestFailover kills a primary under two servers that know both hosts, and promotes its streaming standby. With synchronous_commit to the standby
// nothing that was answered is lost, and no right that was taken away comes back. Without, what the standby had not received is lost: the
// drill counts it, and docs/guarantees.md says it.
func TestFailover(t *testing.T) {
	t.Parallel()
	for _, synchronous := range []bool{true, false} {
		t.Run(fmt.Sprint("synchronous=", synchronous), func(t *testing.T) {
			t.Parallel()
			rounds := long(1, 5)
			for range rounds {
				failOver(t, synchronous)
			}
		})
	}
}

func failOver(t *testing.T, synchronous bool) {
	t.Helper()
	primary := processtest.NewPostgres(t, "", "wal_level = replica", "max_wal_senders = 5")
	standby := primary.NewStandby(t, "standby")
	mode := "async"
	if synchronous {
		set(t, primary, "synchronous_standby_names", "standby")
		mode = "sync"
	}
	until(t, 30*time.Second, "the standby streams, "+mode, func() bool {
		return query[int](t, primary.URL(), `SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '`+mode+`'`) == 1
	})
	both := fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable&target_session_attrs=read-write", primary.Port, standby.Port)
	list := people(t, both, 200)
	d := startDrill(t, both, list, 15*time.Millisecond, twoServers(t, both)...)
	d.some(10)
	d.more(between * 10)
	// From here on the standby receives nothing: what is answered without waiting for it will be lost.
	set(t, standby, "primary_conninfo", "")
	until(t, 30*time.Second, "the standby receives nothing", func() bool {
		return query[int](t, standby.URL(), `SELECT count(*) FROM pg_stat_wal_receiver`) == 0
	})
	rest(500 * time.Millisecond)
	if err := primary.Crash(); err != nil { // it does not come back: that is the fence
		t.Fatal(err)
	}
	crashed := time.Since(d.clock)
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	for server := range d.servers {
		d.recovers(server, 30*time.Second)
	}
	t.Logf("%s: the servers answer again %v after the primary's end", mode, (time.Since(d.clock) - crashed).Round(time.Millisecond))
	d.some(3)
	d.more(between)
	d.finish()
	if synchronous {
		d.settled()
		d.check(true)
		return
	}
	d.database = standby.URL()
	book := readBook(t, d.database)
	answered, lost := 0, 0
	for _, a := range d.all {
		if a.status != http.StatusOK {
			continue
		}
		answered++
		switch n := len(book.decisions[a.id]); {
		case n > 1:
			t.Errorf("%s stands in the log %d times", a.id, n)
		case n == 0:
			lost++
			if a.began > crashed {
				t.Errorf("%s was answered after the failover and is not in the log", a.id)
			}
		}
	}
	if lost == 0 {
		t.Error("nothing was lost without synchronous_commit to the standby: this drill proves nothing")
	}
	t.Logf("without synchronous_commit to the standby: %d of %d answers are not in the new primary's log", lost, answered)
}

// set changes a setting of a running server.
func set(t *testing.T, p *processtest.Postgres, name, value string) {
	t.Helper()
	for _, statement := range []string{fmt.Sprintf(`ALTER SYSTEM SET %s = '%s'`, name, value), `SELECT pg_reload_conf()`} {
		if err := p.Do("psql", "-h", "127.0.0.1", "-p", text(p.Port), "-U", "postgres", "-c", statement); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSeveralHosts: the URL may name several servers of which one takes writes.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	p := processtest.NewPostgres(t, "")
	url := strings.Replace(p.URL(), "@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:", 1) + "&target_session_attrs=read-write"
	processtest.Run(t, url, "migrate")
	out, err := processtest.Try(strings.Replace(url, ":1,", ":x1,", 1), "migrate")
	if err == nil || strings.Count(string(out), "\n") != 1 {
		t.Errorf("a port that is none: %v, %q; want one line", err, out)
	}
}
