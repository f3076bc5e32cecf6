package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); !so(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it does not come about that %s", what)
		}
	}
}

// The WAL stays short while events are appended without a pause, and becomes so again after a reader who kept it long.
func TestWALStaysShort(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	store.SetCheckpointPages(s, 256)
	g := &bustle{mark: mustMark(t, s)}
	lane, seq := mustClaim(t, s), int64(0)
	write := func(batches int) {
		for range batches {
			seq++
			mustAppend(t, s, lane, seq, g.batch(100))
		}
	}
	size := func() int64 {
		info, err := os.Stat(db.DSN + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	const mib = 1 << 20
	write(600)
	data, err := os.Stat(db.DSN)
	if err != nil || data.Size() < 8*mib {
		t.Fatalf("60,000 events take %d bytes (%v): this test proves little", data.Size(), err)
	}
	if n := size(); n > 6*mib {
		t.Errorf("the WAL of %d bytes of data is %d bytes long", data.Size(), n)
	}

	before := size()
	err = s.View(t.Context(), func(*store.Tx) error {
		write(200)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if size() < before+3*mib {
		t.Fatalf("a reader kept %d bytes in the WAL: this test proves little", size()-before)
	}
	kept := func() (n int) { // frames that are not taken over
		var busy, all, done int
		if err := raw(t, db).QueryRow(`PRAGMA wal_checkpoint(NOOP)`).Scan(&busy, &all, &done); err != nil {
			t.Fatal(err)
		}
		return all
	}
	eventually(t, "the WAL is begun anew after the reader has gone", func() bool { write(5); return kept() < 1000 })
}

// Nobody is held up while the disk is given what a checkpoint takes over; and when it fails then it has failed.
func TestCheckpointWaitsBesideTheWriter(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	mark := mustMark(t, s)
	var meanwhile atomic.Pointer[func() error] // is done instead of the next wait for the disk
	store.WatchSyncs(s, func(do func() error) error {
		if f := meanwhile.Swap(nil); f != nil {
			return (*f)()
		}
		return do()
	})
	lane := mustClaim(t, s)
	mustAppend(t, s, lane, 1, batchOf(mark, "a"))

	write := func() error {
		mustAppend(t, s, lane, 2, batchOf(mark, "b"))
		return nil
	}
	meanwhile.Store(&write)
	if worked, err := store.CheckpointStep(t.Context(), s); !worked || err != nil || meanwhile.Load() != nil {
		t.Errorf("a checkpoint: %v, %v; want it to have waited for the disk", worked, err)
	}
	if ids := requestIDs(t, s); ids != "ab" {
		t.Errorf("the events are %q, want one more", ids)
	}

	fail := func() error { return syscall.EIO }
	meanwhile.Store(&fail)
	if _, err := store.CheckpointStep(t.Context(), s); !errors.Is(err, store.ErrDiskFailed) {
		t.Errorf("a checkpoint: %v; want that the disk has failed", err)
	}
	refuses(t, s)
}

// Checkpoints go on when SQLite's number of the pages that were written, which has 31 bits, goes round.
func TestPagesGoRound(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	mark, lane := mustMark(t, s), mustClaim(t, s)
	mustAppend(t, s, lane, 1, batchOf(mark, "a"))
	const many = 2000 // more than were written so far
	before := store.WrotePages(s, many)
	mustAppend(t, s, lane, 2, batchOf(mark, "b"))
	if n := store.WrotePages(s, 0) - before; n < many || n > many+100 {
		t.Errorf("%d pages were counted for a batch, and %d before it that nobody had counted", n, many)
	}
}

// Where nobody takes checkpoints beside, as in a command, commits take them.
func TestWALOfACommandStaysShort(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	store.RestUpkeep(s)
	g := &bustle{mark: mustMark(t, s)}
	lane := mustClaim(t, s)
	for seq := range int64(300) {
		mustAppend(t, s, lane, seq+1, g.batch(200))
	}
	data, err := os.Stat(db.DSN)
	wal, walErr := os.Stat(db.DSN + "-wal")
	if err := errors.Join(err, walErr); err != nil {
		t.Fatal(err)
	}
	if data.Size() < 4<<20 || wal.Size() > 5<<20 {
		t.Errorf("the file is %d bytes long and its log %d: want it to be taken over each 4 MiB", data.Size(), wal.Size())
	}
}

// The index is made while events are appended, without anybody asking for it, and queries find the events all the time.
func TestUpkeepIndexes(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	g := &bustle{mark: mustMark(t, s)}
	lane := mustClaim(t, s)
	for seq := range int64(200) {
		b := g.batch(100)
		mustAppend(t, s, lane, seq+1, b)
		e := b.Events[99]
		got, err := s.Events(t.Context(), access.EventFilter{GateID: e.GateID, UserID: e.UserID, Limit: 1})
		if err != nil || len(got) != 1 || got[0].RequestID != e.RequestID {
			t.Fatalf("the event that was appended last is not the newest of its gate and user: %v, %v", got, err)
		}
	}
	eventually(t, "the events are indexed and nothing is left to merge", func() bool {
		var mark, work int64
		err := raw(t, db).QueryRow(`SELECT mark, (SELECT COUNT(*) FROM event_segment WHERE state <> 'live')
			+ (SELECT COUNT(*) FROM (SELECT 1 FROM event_segment GROUP BY level HAVING COUNT(*) >= 8)) FROM event_index`).Scan(&mark, &work)
		if err != nil {
			t.Fatal(err)
		}
		return mark > g.n-1024 && work == 0
	})
	// What is indexed is not looked at: events that are gone from the index alone are not found.
	mustExec(t, raw(t, db), `DELETE FROM event_chunk`)
	if got, err := s.Events(t.Context(), access.EventFilter{GateID: 1, Limit: store.All}); err != nil || len(got) > 50 {
		t.Errorf("without its index %d events of a gate are found (%v), want those of the last slice: the index was not asked", len(got), err)
	}
}

// killed is set for the process that TestEventIndexAfterKill kills.
const killed = "OPENWAY_TEST_KILLED"

// TestEventIndexAfterKill kills a process that appends, indexes and purges, again and again, and looks whether the index agrees with the events.
func TestEventIndexAfterKill(t *testing.T) {
	if dsn := os.Getenv(killed); dsn != "" {
		writeUntilKilled(t, dsn)
		return
	}
	db := storetest.New(t, store.SQLite)
	merged := func() (n int) {
		t.Helper()
		if err := raw(t, db).QueryRow(`SELECT COUNT(*) FROM event_segment WHERE level > 0`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for round := range 10 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestEventIndexAfterKill$")
		cmd.Env = append(os.Environ(), killed+"="+db.DSN)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		// Each line is a batch. From the middle on it is killed once segments were merged: on a slow machine the index comes late.
		for n := 0; n < 20+11*round || round >= 5 && merged() == 0; n++ {
			if !lines.Scan() {
				t.Fatalf("round %d: it ended by itself: %v", round, cmd.Wait())
			}
			if n == 2000 {
				t.Fatalf("round %d: no segments were merged while %d batches were appended", round, n)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("it was not killed")
		}
		s, err := store.Open(t.Context(), store.Options{Database: db.DSN})
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.Events(t.Context(), access.EventFilter{Limit: store.All})
		if err != nil || len(all) == 0 {
			t.Fatalf("round %d: %d events, %v", round, len(all), err)
		}
		for gate := int64(1); gate <= 100; gate += 33 {
			want := slices.DeleteFunc(slices.Clone(all), func(e access.Event) bool { return e.GateID != gate })
			got, err := s.Events(t.Context(), access.EventFilter{GateID: gate, Limit: store.All})
			if d := gocmp.Diff(want, got); d != "" || err != nil {
				t.Fatalf("round %d: gate %d (%v), want (-), got (+):\n%s", round, gate, err, d)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func writeUntilKilled(t *testing.T, dsn string) {
	ctx := context.Background() // there is no end to it
	s, err := store.Open(ctx, store.Options{Database: dsn})
	if err != nil {
		t.Fatal(err)
	}
	store.SetIndexSizes(s, 64, 3, 2000, 20, 1000) // more in a slice than in a batch: when they take turns the index follows
	newest, err := s.NewestEvent(ctx)
	if err != nil {
		t.Fatal(err)
	}
	g := &bustle{mark: mustMark(t, s)}
	if !newest.IsZero() {
		g.n = int64(newest.Sub(noon) / (20 * time.Millisecond))
	}
	lane := mustClaim(t, s)
	for seq := int64(1); ; seq++ {
		mustAppend(t, s, lane, seq, g.batch(20))
		if seq%10 == 0 {
			if _, _, err := s.PurgeEvents(ctx, noon.Add(time.Duration(g.n-3000)*20*time.Millisecond), 150); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Println(seq)
	}
}

// On a busy log the upkeep waits for a block of events, and not for ever: what has come when no more comes is indexed.
func TestUpkeepLosesPatience(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	store.SetIndexSizes(s, 4, 3, 60, 2, 1000)
	store.SetIndexPatience(s, 100*time.Millisecond)
	mark, lane := mustMark(t, s), mustClaim(t, s)
	for i, n := range []int{12, 6, 6, 6, 6, 6, 6, 6, 11} { // 5 blocks, a slice and an event, faster than 12 in 100 ms
		mustAppend(t, s, lane, int64(i+1), batchOf(mark, strings.Split(strings.Repeat("x", n), "")...))
	}
	eventually(t, "less than a slice is left", func() bool {
		var at int64
		if err := raw(t, db).QueryRow(`SELECT mark FROM event_index`).Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at > 65-4
	})
}
