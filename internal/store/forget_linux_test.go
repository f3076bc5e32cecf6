package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// forgetful is set for the process whose disk forgets in TestCheckpointThatFails.
const forgetful = "OPENWAY_TEST_FORGETFUL"

// TestCheckpointThatFails: after it nothing is written. What earlier checkpoints took over and the disk has lost is found in the log by whoever serves next, also while a
// process that knows nothing of it has the file open.
func TestCheckpointThatFails(t *testing.T) {
	if dsn := os.Getenv(forgetful); dsn != "" {
		failToCheckpoint(t, dsn)
		return
	}
	db := storetest.New(t, store.SQLite)
	stale, err := os.ReadFile(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestCheckpointThatFails$")
	cmd.Env = append(os.Environ(), forgetful+"="+db.DSN)
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for said.Scan() && said.Text() != "failed" {
		t.Log(said.Text())
	}
	if said.Text() != "failed" {
		t.Fatalf("the other process ended: %v", cmd.Wait())
	}
	if err := os.WriteFile(db.DSN, stale, 0o600); err != nil { // the disk has lost what was taken over
		t.Fatal(err)
	}
	if err := store.ReadFromDisk(t.Context(), db.DSN); err != nil {
		t.Fatal(err)
	}
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	mustAppend(t, s, mustClaim(t, s), 1, batchOf(mustMark(t, s), "c"))
	if ids := requestIDs(t, s); ids != manyA+"bc" {
		t.Errorf("the events are %q, want 200 a, b and c", ids)
	}
	if err := errors.Join(in.Close(), s.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	var sound string
	if err := raw(t, db).QueryRow(`PRAGMA integrity_check`).Scan(&sound); err != nil || sound != "ok" {
		t.Errorf("the database is %q, %v", sound, err)
	}
}

// manyA are events on more pages than the next batch writes.
var manyA = strings.Repeat("a", 200)

func failToCheckpoint(t *testing.T, dsn string) {
	s, err := store.Open(t.Context(), store.Options{Database: dsn})
	if err != nil {
		t.Fatal(err)
	}
	store.RestUpkeep(s)
	lane, mark := mustClaim(t, s), mustMark(t, s)
	mustAppend(t, s, lane, 1, batchOf(mark, strings.Split(manyA, "")...))
	err = s.View(t.Context(), func(*store.Tx) error { // what comes after its begin is not taken over, and the log goes on
		mustAppend(t, s, lane, 2, batchOf(mark, "b"))
		_, err := store.CheckpointStep(t.Context(), s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	store.FailCheckpoint(s, syscall.EIO)
	if _, err := store.CheckpointStep(t.Context(), s); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a checkpoint that fails: %v, want EIO", err)
	}
	refuses(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("failed")
	if _, err := io.ReadAll(os.Stdin); err != nil { // the file stays open
		t.Fatal(err)
	}
}

// Whoever still reads when a store is closed keeps his lock on the file, without which another process would take itself for the last one and remove the log.
func TestCloseBesideAReader(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	mustAppend(t, s, mustClaim(t, s), 1, batchOf(mustMark(t, s), "a"))
	locked := func() bool {
		info, err := os.Stat(db.DSN)
		locks, lockErr := os.ReadFile("/proc/locks")
		if err := errors.Join(err, lockErr); err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(fmt.Sprintf(`POSIX .* %d \S+:%d `, os.Getpid(), info.Sys().(*syscall.Stat_t).Ino)).Match(locks)
	}
	err := s.View(t.Context(), func(*store.Tx) error {
		if err := s.Close(); err != nil || !locked() {
			t.Errorf("Close: %v; locked %v, want it to be", err, locked())
		}
		return nil
	})
	if err != nil || locked() {
		t.Errorf("View: %v; locked %v after all is over", err, locked())
	}
}
