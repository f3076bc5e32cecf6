package store_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

func TestLockForServing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, first, second *store.Store) {
		release, err := first.LockForServing()
		if err != nil {
			t.Fatal(err)
		}
		releaseSecond, err := second.LockForServing()
		if db.Engine == store.Postgres {
			if err != nil {
				t.Errorf("a second server on PostgreSQL: %v; want none", err)
			}
			return
		}
		if err == nil {
			releaseSecond()
			t.Fatal("two processes may serve one SQLite file")
		}
		if pid := strconv.Itoa(os.Getpid()); !strings.Contains(err.Error(), pid) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the refusal is %q; want one line that names process %s", err, pid)
		}
		mustChange(t, second) // commands go on
		release()
		release, err = second.LockForServing()
		if err != nil {
			t.Fatalf("LockForServing after the first one ended: %v", err)
		}
		release()
	})
}

// lockHolder names the database that the test binary is to lock, when it is run again as another process.
const lockHolder = "OPENWAY_TEST_LOCK_HOLDER"

func TestLockForServingEndsWithItsProcess(t *testing.T) {
	if path := os.Getenv(lockHolder); path != "" {
		s := storetest.OpenWith(t, store.Options{Database: path})
		if _, err := s.LockForServing(); err != nil {
			t.Fatal(err)
		}
		fmt.Println("locked")
		select {} // until it is killed
	}
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN})
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockForServingEndsWithItsProcess$")
	child.Env = append(os.Environ(), lockHolder+"="+db.DSN)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	if _, err := s.LockForServing(); err == nil || !strings.Contains(err.Error(), strconv.Itoa(child.Process.Pid)) {
		t.Errorf("LockForServing beside process %d: %v; want a refusal that names it", child.Process.Pid, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	release, err := s.LockForServing()
	if err != nil {
		t.Fatalf("LockForServing after the other process was killed: %v", err)
	}
	release()
}
