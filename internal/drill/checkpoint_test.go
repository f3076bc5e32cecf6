package drill

import (
	"database/sql"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
)

// TestCheckpointBesideVerify: that the database takes its log over into its files moves the slowest hundredth of the answers at most to the double.
func TestCheckpointBesideVerify(t *testing.T) {
	measuring(t)
	ask := push{conns: 64, rate: 1000}
	// The upkeep takes a step at each 32 MiB, every few seconds here. All answers are held against those that met no step.
	t.Run("sqlite", func(t *testing.T) {
		database := onDisk(t, store.SQLite)
		ask := ask
		ask.people, ask.keep, ask.lasts = people(t, database, 50), true, long(time.Second, 30*time.Second)
		ask.address = processtest.Serve(t, processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true}).Address
		stop := make(chan struct{})
		var steps []moment
		var watching sync.WaitGroup
		watching.Go(func() { steps = writes(t, database, stop) })
		got := ask.run(t)
		close(stop)
		watching.Wait()
		var met, apart []time.Duration
		for _, m := range got.when {
			const sync = 250 * time.Millisecond // the file is waited for when all is written
			meets := func(s moment) bool {
				return m.began.Before(s.began.Add(s.took+sync)) && s.began.Before(m.began.Add(m.took))
			}
			if slices.ContainsFunc(steps, meets) {
				met = append(met, m.took)
			} else {
				apart = append(apart, m.took)
			}
		}
		slices.Sort(met)
		slices.Sort(apart)
		ratio := float64(at(got.accepted, 0.99)) / float64(at(apart, 0.99))
		t.Logf("%d steps; p99 of verify at 1,000/s: %v, of the %d that met no step %v (%.1f x); half of the %d that met one took %v", len(steps), at(got.accepted, 0.99), len(apart), at(apart, 0.99), ratio, len(met), at(met, 0.5))
		got.allAccepted(t)
		if long(false, true) && (len(steps) < 5 || len(apart) == 0 || ratio > 2) {
			t.Errorf("%d steps moved p99 by %.1f; want several, and at most 2", len(steps), ratio)
		}
	})
	// A backup, or whoever reads long, keeps the pages of all that time in the log. When it ends they are taken over beside the gates.
	t.Run("sqlite, after a long read", func(t *testing.T) {
		database := onDisk(t, store.SQLite)
		ask := ask
		ask.people, ask.lasts = people(t, database, 50), long(time.Second, 10*time.Second)
		ask.address = processtest.Serve(t, processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true}).Address
		quiet := []pushed{ask.run(t)}
		db, err := sql.Open("sqlite", database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		reading, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := reading.QueryRowContext(t.Context(), `SELECT count(*) FROM users`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		fill := ask // as much as a busy site writes in some minutes
		fill.rate, fill.lasts = 0, long(time.Second, 20*time.Second)
		filled := fill.run(t)
		wal, err := os.Stat(database + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		if err := reading.Rollback(); err != nil {
			t.Fatal(err)
		}
		after := ask.run(t)
		quiet = append(quiet, ask.run(t))
		middle := middleP99(quiet)
		t.Logf("%d MiB were kept in the log; p99 of verify at 1,000/s: %v else, %v when they are taken over (%.1f x), the slowest %v",
			wal.Size()>>20, middle, at(after.accepted, 0.99), float64(at(after.accepted, 0.99))/float64(middle), at(after.accepted, 1))
		for _, got := range append(quiet, filled, after) {
			got.allAccepted(t)
		}
		if long(false, true) && (wal.Size() < 128<<20 || at(after.accepted, 0.99) > 2*middle) {
			t.Errorf("%d MiB kept in the log moved p99 from %v to %v; want many, and at most the double", wal.Size()>>20, middle, at(after.accepted, 0.99))
		}
	})
	t.Run("postgres", func(t *testing.T) {
		server := processtest.NewPostgres(t, "")
		database := server.URL()
		ask := ask
		ask.people, ask.lasts = people(t, database, 50), long(time.Second, 10*time.Second)
		ask.address = processtest.Serve(t, processtest.Options{Database: database, Env: processtest.ThrottlesOff(), Brief: true}).Address
		db, err := sql.Open("pgx", database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		quiet := []pushed{ask.run(t), ask.run(t)}
		stop := make(chan struct{})
		var forcing sync.WaitGroup
		forced := 0
		forcing.Go(func() {
			for {
				if _, err := db.ExecContext(t.Context(), `CHECKPOINT`); err != nil {
					t.Error(err)
					return
				}
				forced++
				select {
				case <-stop:
					return
				case <-time.After(3 * time.Second):
				}
			}
		})
		during := ask.run(t)
		close(stop)
		forcing.Wait()
		quiet = append(quiet, ask.run(t))
		middle := middleP99(quiet)
		ratio := float64(at(during.accepted, 0.99)) / float64(middle)
		t.Logf("p99 of verify at 1,000/s: %v, with %d checkpoints at once %v (%.1f x)", middle, forced, at(during.accepted, 0.99), ratio)
		for _, got := range append(quiet, during) {
			got.allAccepted(t)
		}
		if long(false, true) && ratio > 2 {
			t.Errorf("checkpoints moved p99 by %.1f; want at most 2", ratio)
		}
	})
}

// middleP99 is the median of the slowest hundredths of some runs.
func middleP99(runs []pushed) time.Duration {
	var p99 []time.Duration
	for _, r := range runs {
		p99 = append(p99, at(r.accepted, 0.99))
	}
	slices.Sort(p99)
	return at(p99, 0.5)
}

// writes watches a file until told to stop, and returns when it was written to: writes that follow within 50 ms are one.
func writes(t *testing.T, path string, stop <-chan struct{}) (all []moment) {
	var last time.Time // of the file
	for first := true; ; first = false {
		select {
		case <-stop:
			return all
		default:
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
			return all
		}
		now := time.Now()
		if written := info.ModTime(); !written.Equal(last) {
			last = written
			if n := len(all); n > 0 && now.Sub(all[n-1].began.Add(all[n-1].took)) < 50*time.Millisecond {
				all[n-1].took = now.Sub(all[n-1].began)
			} else if !first {
				all = append(all, moment{began: now.Add(-5 * time.Millisecond), took: 5 * time.Millisecond}) // a file's time goes in steps of 4 ms
			}
		}
		rest(time.Millisecond)
	}
}
