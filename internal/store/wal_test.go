package store_test

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// TestCommitWaitsForTheDisk: no commit returns before a sync that began after it, a change neither. Meanwhile others write.
func TestCommitWaitsForTheDisk(t *testing.T) {
	s := storetest.Open(t, store.SQLite)
	one, two := mustClaim(t, s), mustClaim(t, s)
	mark := mustMark(t, s)
	var syncs atomic.Int64
	goOn := make(chan struct{})
	store.WatchSyncs(s, func(do func() error) error {
		syncs.Add(1)
		<-goOn
		return do()
	})
	ended := make(chan error, 3)
	for i, writer := range []int64{one, two} {
		go func() {
			landed, err := s.AppendBatch(t.Context(), writer, 1, batchOf(mark, string(rune('a'+i))))
			if !landed && err == nil {
				err = errors.New("it did not land")
			}
			ended <- err
		}()
	}
	eventually(t, "others see both batches", func() bool { return len(requestIDs(t, s)) == 2 })
	go func() {
		_, err := tryWrite(t, s, func(*store.Tx) error { return nil })
		ended <- err
	}()
	eventually(t, "others see the change", func() bool { return mustMark(t, s) != mark })
	select {
	case err := <-ended:
		t.Fatalf("a commit returned (%v) before the disk had it", err)
	default:
	}
	close(goOn)
	for range 3 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if n := syncs.Load(); n != 3 {
		t.Errorf("%d syncs, want one for each commit", n)
	}
}

// TestSyncThatFails: nobody knows what became of that batch, and nothing is written after it. Whoever opens the file next finds all of it.
func TestSyncThatFails(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	lane := mustClaim(t, s)
	mark := mustMark(t, s)
	mustAppend(t, s, lane, 1, batchOf(mark, "a"))

	var syncs atomic.Int64
	store.WatchSyncs(s, func(do func() error) error {
		if syncs.Add(1) == 1 {
			return syscall.EIO
		}
		return do()
	})
	landed, err := s.AppendBatch(t.Context(), lane, 2, batchOf(mark, "b"))
	if landed || !errors.Is(err, access.ErrOutcomeUnknown) || !errors.Is(err, store.ErrDiskFailed) || !errors.Is(err, syscall.EIO) {
		t.Fatalf("AppendBatch = %v, %v; want an unknown outcome, because of EIO", landed, err)
	}
	refuses(t, s)
	if n := syncs.Load(); n != 1 {
		t.Errorf("%d syncs, want none after the one that failed", n)
	}
	release, err := s.LockForServing()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), store.Options{Database: db.DSN}); !errors.Is(err, store.ErrDiskFailed) || !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("a command beside a server that has not started anew: %v; want it to be refused", err)
	}
	release()
	again := reopened(t, s, db)
	if landed, count, err := again.FenceBatch(t.Context(), lane, 2); !landed || count != 1 || err != nil {
		t.Errorf("FenceBatch = %v, %d, %v; want the one event to have landed", landed, count, err)
	}
	if ids := requestIDs(t, again); ids != "ab" {
		t.Errorf("the events are %q, want a and b", ids)
	}
}

// refuses asserts that nothing is written any more, and that what can be read still is.
func refuses(t *testing.T, s *store.Store) {
	t.Helper()
	select {
	case <-s.Failed():
	default:
		t.Fatal("nobody is told that the disk has failed")
	}
	if id, err := s.ClaimWriter(t.Context()); id != 0 || !errors.Is(err, access.ErrUnavailable) || !errors.Is(err, store.ErrDiskFailed) {
		t.Errorf("ClaimWriter = %d, %v; want it to be unavailable, because the disk has failed", id, err)
	}
	if _, err := tryWrite(t, s, func(*store.Tx) error { return nil }); !errors.Is(err, store.ErrDiskFailed) {
		t.Errorf("a change: %v; want that the disk has failed", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, access.ErrUnavailable) || !errors.Is(s.FailedBy(), syscall.EIO) {
		t.Errorf("Ping: %v; want it to be unavailable, because of EIO and not %v", err, s.FailedBy())
	}
	mustMark(t, s)
}

// reopened closes a store whose disk has failed, which leaves the file to whoever comes next, and opens it again.
func reopened(t *testing.T, s *store.Store, db storetest.Database) *store.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(db.DSN + "-wal"); err != nil || info.Size() == 0 {
		t.Fatalf("the log of a file whose disk has failed is gone (%v)", err)
	}
	return storetest.OpenWith(t, store.Options{Database: db.DSN})
}

// TestGivenUpMeanwhile: that the writer's connection is given up, on a full disk for instance, while somebody waits for the disk, is no failure of the disk.
func TestGivenUpMeanwhile(t *testing.T) {
	s := storetest.Open(t, store.SQLite)
	lane, mark := mustClaim(t, s), mustMark(t, s)
	waiting, goOn := make(chan struct{}), make(chan struct{})
	store.WatchSyncs(s, func(do func() error) error {
		waiting <- struct{}{}
		<-goOn
		return do()
	})
	ended := make(chan error, 1)
	go func() {
		_, err := s.AppendBatch(t.Context(), lane, 1, batchOf(mark, "a"))
		ended <- err
	}()
	<-waiting
	store.GiveUpWriter(t.Context(), s)
	close(goOn)
	if err := <-ended; !errors.Is(err, access.ErrOutcomeUnknown) || errors.Is(err, store.ErrDiskFailed) {
		t.Errorf("AppendBatch: %v, want an unknown outcome and no failure of the disk", err)
	}
	store.WatchSyncs(s, func(do func() error) error { return do() })
	if landed, _, err := s.FenceBatch(t.Context(), lane, 1); !landed || err != nil {
		t.Errorf("FenceBatch = %v, %v; want it to have landed", landed, err)
	}
}

// TestSyncsThatOverlap: whoever comes to wait after another's sync has failed is not told that he is safe because his own succeeds.
func TestSyncsThatOverlap(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	one, two := mustClaim(t, s), mustClaim(t, s)
	mark := mustMark(t, s)
	var syncs atomic.Int64
	waiting, outcome := make(chan struct{}), make(chan error)
	var descriptors sync.Map
	store.WatchSyncsOf(s, func(f *os.File, do func() error) error {
		if _, taken := descriptors.Swap(f, true); taken {
			t.Error("two wait by one descriptor, and the kernel would tell but one of them that the disk has failed")
		}
		syncs.Add(1)
		waiting <- struct{}{}
		return errors.Join(do(), <-outcome)
	})
	ended := make(chan error, 3)
	for i, writer := range []int64{one, two} {
		go func() {
			_, err := s.AppendBatch(t.Context(), writer, 1, batchOf(mark, string(rune('a'+i))))
			ended <- err
		}()
		<-waiting
	}
	go func() {
		_, err := tryWrite(t, s, func(*store.Tx) error { return nil })
		ended <- err
	}()
	eventually(t, "the change is written", func() bool { return mustMark(t, s) != mark })
	outcome <- syscall.EIO
	for range 2 { // one of the batches, and the change, which finds its place free
		if err := <-ended; !errors.Is(err, access.ErrOutcomeUnknown) {
			t.Errorf("ended with %v, want an unknown outcome", err)
		}
	}
	outcome <- nil // its own descriptor would have told it
	if err := <-ended; err != nil {
		t.Errorf("the other batch: %v", err)
	}
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d syncs, want none after the one that failed", n)
	}
	again := reopened(t, s, db)
	for _, writer := range []int64{one, two} {
		if landed, _, err := again.FenceBatch(t.Context(), writer, 1); !landed || err != nil {
			t.Errorf("FenceBatch = %v, %v; want it to have landed", landed, err)
		}
	}
}

// TestNothingToDoIsDurable: who finds done what he came for is told so when the disk has it, and never when it was lost.
func TestNothingToDoIsDurable(t *testing.T) {
	s := storetest.Open(t, store.SQLite)
	lane, mark := mustClaim(t, s), mustMark(t, s)
	waiting, goOn := make(chan struct{}, 2), make(chan struct{})
	store.WatchSyncs(s, func(func() error) error {
		waiting <- struct{}{}
		<-goOn
		return syscall.EIO
	})
	ended := make(chan error, 1)
	go func() {
		_, err := s.AppendBatch(t.Context(), lane, 1, batchOf(mark, "a"))
		ended <- err
	}()
	<-waiting
	_, _, err := s.Change(t.Context(), access.Actor{}, func(*store.Tx) error {
		close(goOn)
		return nil
	})
	if !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("Change: %v, want it to be unavailable: nothing was changed, and what was read may be lost", err)
	}
	if err := <-ended; !errors.Is(err, access.ErrOutcomeUnknown) {
		t.Errorf("AppendBatch: %v, want an unknown outcome", err)
	}
}
