package drill

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestPurgeBesideVerify lets a server delete old events while the gates ask, and compares how long they wait with before and after.
func TestPurgeBesideVerify(t *testing.T) {
	measuring(t)
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			database := onDisk(t, engine)
			list := people(t, database, 50)
			n := long(5_000, 1_000_000)
			cutoff := time.Now().AddDate(0, 0, -30)
			old(t, database, n, cutoff)
			if engine == store.Postgres { // as autovacuum has long done with what is old: its first pass writes every page
				vacuum(t, database)
			}
			p := processtest.Serve(t, processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true})
			load := push{people: list, conns: 64, rate: 1000, lasts: long(time.Second, 10*time.Second)}
			load.address = p.Address
			quiet := []pushed{load.run(t), load.run(t)}
			p.Stop(t)

			d := openDesk(t, database)
			defer d.close(t)
			site, err := d.registry.Site(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			site.RetentionDays = 29
			if _, err := d.registry.UpdateSite(t.Context(), actor, site); err != nil {
				t.Fatal(err)
			}
			p = processtest.Serve(t, processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true})
			load.address = p.Address
			began := time.Now()
			var during pushed
			var asking sync.WaitGroup
			asking.Go(func() { during = load.run(t) })
			left := func() bool {
				events, err := d.store.Events(t.Context(), access.EventFilter{To: cutoff, Limit: 1})
				if err != nil {
					t.Fatal(err)
				}
				return len(events) > 0
			}
			asking.Wait()
			underWay := left()
			until(t, 15*time.Minute, "the old events are deleted", func() bool { return !left() })
			took := time.Since(began)
			quiet = append(quiet, load.run(t))
			middle := middleP99(quiet)
			ratio := float64(at(during.accepted, 0.99)) / float64(middle)
			t.Logf("%s: %d events deleted in at most %v; p99 of verify at 1,000/s: %v before and after, %v meanwhile (%.1f x)", engine, n, took.Round(time.Second), middle, at(during.accepted, 0.99), ratio)
			for _, got := range append(quiet, during) {
				got.allAccepted(t)
			}
			if long(false, true) && (!underWay || ratio > 2) {
				t.Errorf("the purge lasted beyond the measurement: %v; it moved p99 by %.1f; want yes, and at most 2", underWay, ratio)
			}
		})
	}
}

func vacuum(t *testing.T, url string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{`VACUUM (ANALYZE) events`, `CHECKPOINT`} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// old fills the log with events of a year before the cutoff, and counts and indexes them: that a server does so meanwhile is not to be measured.
func old(t *testing.T, database string, n int, cutoff time.Time) {
	t.Helper()
	s := storetest.OpenWith(t, store.Options{Database: database})
	writer, err := s.ClaimWriter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mark, err := s.PolicyMark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const size = 1000
	step := 364 * 24 * time.Hour / time.Duration(n)
	for seq := int64(1); int(seq-1)*size < n; seq++ {
		batch := &access.EventBatch{Policy: mark}
		for i := range min(size, n-int(seq-1)*size) {
			k := int(seq-1)*size + i
			batch.Events = append(batch.Events, &access.Event{
				Kind: access.DecisionEvent, At: cutoff.Add(-time.Duration(n-k) * step), Decision: access.Deny, Reason: access.NoPermission, GateID: 1, UserID: int64(1 + k%50),
				Count: 1, Address: "10.1.2.3", RequestID: fmt.Sprintf("0197b6a2-7f9c-7a10-old-%012x", k), Fingerprint: "0123456789ab",
			})
		}
		if landed, err := s.AppendBatch(t.Context(), writer, seq, batch); err != nil || !landed {
			t.Fatal(landed, err)
		}
	}
	for more := true; more; {
		if _, more, err = s.CountEvents(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.IndexEvents(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// onDisk is a fresh database: at length on a real disk, with the durability that people have.
func onDisk(t *testing.T, engine string) string {
	t.Helper()
	if long(true, false) {
		return empty(t, engine)
	}
	var database string
	if engine == store.Postgres {
		database = processtest.NewPostgres(t, "", "max_wal_size = '4GB'").URL()
	} else {
		database = filepath.Join(processDir(t), "openway.db")
	}
	processtest.Run(t, database, "migrate")
	return database
}

// processDir is a directory on the disk, not in memory, whatever the tests' is.
func processDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "openway-drill")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
