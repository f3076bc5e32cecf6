package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/storetest"
)

// newestBackup is where the link to the latest backup leads.
func (in installed) newestBackup() string {
	in.t.Helper()
	links, err := filepath.Glob(filepath.Join(in.dir, "ops/backups/latest.*"))
	if err != nil || len(links) != 1 {
		in.t.Fatalf("links to the latest backup: %v, %v", links, err)
	}
	return links[0]
}

// asking verifies as controllers do until stop, from several connections, and notes the request ids of what was allowed. refused is told other answers.
type asking struct {
	address string
	gate    string
	allowed sync.Map // request id -> true, once the answer is there
	count   atomic.Int64
	refused func(status int, body string)
}

func (a *asking) run(stop <-chan struct{}) {
	var all sync.WaitGroup
	for c := range 4 {
		all.Go(func() {
			client := http.Client{Timeout: 10 * time.Second}
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("ask-%d-%d", c, n)
				req, err := http.NewRequest("POST", "http://"+a.address+"/api/v1/access/verify", strings.NewReader(`{"gate_id":"`+a.gate+`","token":"token-of-anna"}`))
				if err != nil {
					panic(err)
				}
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("X-Request-ID", id)
				resp, err := client.Do(req)
				if err != nil {
					a.refused(0, err.Error())
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil && bytes.Contains(body, []byte(`"decision":"ALLOW"`)) {
					a.allowed.Store(id, true)
					a.count.Add(1)
				} else {
					a.refused(resp.StatusCode, string(body))
				}
			}
		})
	}
	all.Wait()
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after a minute: %s", what)
		}
	}
}

func installWithAnna(t *testing.T, engine string) installed {
	in := install(t, engine)
	in.must("", "gate", "create", "front")
	in.must("", "user", "create", "anna")
	in.must("", "permission", "grant", "front", "--user", "anna")
	in.must("token-of-anna", "device", "create", "anna", "--token-stdin")
	in.env = append(in.env, "ACCESS_VERIFY_RATE=off", "OPENWAY_LOG_LEVEL=info")
	return in
}

// Backups under load, and the database is destroyed: whatever was answered before the last backup began is there after the restore, and the doors work.
func TestDrillBackupUnderLoad(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			in := installWithAnna(t, engine)
			p := in.serve()
			a := &asking{address: p.address, gate: "front", refused: func(status int, body string) { t.Errorf("verify was answered %d %s", status, body) }}
			stop, done := make(chan struct{}), make(chan struct{})
			go func() { defer close(done); a.run(stop) }()
			var answered []string
			for range 3 {
				seen := a.count.Load()
				until(t, "nobody is let in", func() bool { return a.count.Load() > seen+100 })
				answered = answered[:0]
				a.allowed.Range(func(id, _ any) bool { answered = append(answered, id.(string)); return true })
				in.must("", "backup")
			}
			close(stop)
			<-done
			p.signal(t, syscall.SIGKILL)
			<-p.ended
			in.destroy(engine)
			out := in.must("", "restore", "--yes", in.newestBackup())
			if !strings.Contains(out, "Restored") {
				t.Errorf("restore printed %q", out)
			}
			events := in.must("", "events", "list", "--json", "--limit", "1000000")
			for _, id := range answered {
				if !strings.Contains(events, `"request_id":"`+id+`"`) {
					t.Fatalf("%s was answered before the backup began and is not in it (%d such)", id, len(answered))
				}
			}
			t.Logf("%d answers before the last backup began, %d in all", len(answered), a.count.Load())
			p = in.serve()
			again := &asking{address: p.address, gate: "front", refused: a.refused}
			stop = make(chan struct{})
			go func() {
				until(t, "the restored server lets nobody in", func() bool { return again.count.Load() > 10 })
				close(stop)
			}()
			again.run(stop)
		})
	}
}

// destroy leaves nothing of the database.
func (in installed) destroy(engine string) {
	in.t.Helper()
	if engine == "sqlite" {
		if err := os.RemoveAll(filepath.Join(in.dir, "data")); err != nil {
			in.t.Fatal(err)
		}
		return
	}
	in.psql(`DROP SCHEMA public CASCADE; CREATE SCHEMA public`)
}

func (in installed) database() string {
	for _, kv := range in.env {
		if v, ok := strings.CutPrefix(kv, "OPENWAY_DATABASE="); ok {
			return v
		}
	}
	return ""
}

func (in installed) psql(sql string) {
	in.t.Helper()
	if out, err := exec.Command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", in.database(), "-c", sql).CombinedOutput(); err != nil {
		in.t.Fatalf("psql: %v: %s", err, out)
	}
}

// On PostgreSQL servers run on: once the restore has returned nobody passes whom the backup does not let pass, and before it nobody is kept out.
func TestRestoreUnderARunningServer(t *testing.T) {
	in := installWithAnna(t, "postgres")
	in.must("", "gate", "create", "back")
	in.must("", "backup")
	without := in.newestBackup()
	without, err := filepath.EvalSymlinks(without)
	if err != nil {
		t.Fatal(err)
	}
	in.must("", "permission", "grant", "back", "--user", "anna")
	p := in.serve()
	var late, early atomic.Int64
	a := &asking{address: p.address, gate: "back", refused: func(status int, body string) {
		switch {
		case strings.Contains(body, `"reason":"NO_PERMISSION"`):
			late.Add(1)
		case status == http.StatusServiceUnavailable: // while the tables are replaced
			early.Add(1)
		default:
			t.Errorf("verify was answered %d %s", status, body)
		}
	}}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { defer close(done); a.run(stop) }()
	until(t, "nobody is let in", func() bool { return a.count.Load() > 50 })
	in.must("", "restore", "--yes", without)
	// A request that begins now.
	resp, err := http.Post("http://"+p.address+"/api/v1/access/verify", "application/json", strings.NewReader(`{"gate_id":"back","token":"token-of-anna"}`))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || !strings.Contains(string(body), `"reason":"NO_PERMISSION"`) {
		t.Errorf("right after the restore verify is answered %s (%v), want NO_PERMISSION", body, err)
	}
	until(t, "nobody is refused after the restore", func() bool { return late.Load() > 20 })
	close(stop)
	<-done
	events := in.must("", "events", "list", "--json", "--limit", "1000000")
	missing := 0
	a.allowed.Range(func(id, _ any) bool {
		if !strings.Contains(events, `"request_id":"`+id.(string)+`"`) {
			missing++
		}
		return true
	})
	if missing > 0 {
		t.Errorf("%d of %d answers are not in the log after the restore", missing, a.count.Load())
	}
	t.Logf("%d allowed, %d refused afterwards, %d unavailable meanwhile", a.count.Load(), late.Load(), early.Load())
}

// A restore that is killed at any moment leaves the old state or the new one, never half of it.
func TestDrillKillsOfRestore(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			in := install(t, engine)
			in.must("", "gate", "create", "in-the-backup")
			in.must("", "backup")
			file, err := filepath.EvalSymlinks(in.newestBackup())
			if err != nil {
				t.Fatal(err)
			}
			in.must("", "gate", "create", "since-then")
			began := time.Now()
			in.must("", "restore", "--yes", file)
			whole := time.Since(began)
			outcomes := map[string]int{}
			for round := range 8 {
				if gates := in.must("", "gate", "list"); !strings.Contains(gates, "since-then") {
					in.must("", "gate", "create", "since-then")
				}
				cmd := in.command("restore", "--yes", file)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				// Late rather than early: what comes before the tables are replaced is of less interest.
				kill := time.AfterFunc(time.Duration((0.3+rand.Float64())*float64(whole)), func() { _ = cmd.Process.Kill() })
				_ = cmd.Wait()
				kill.Stop()
				gates := in.must("", "gate", "list")
				if !strings.Contains(gates, "in-the-backup") {
					t.Fatalf("round %d: after a restore that was killed the gates are\n%s", round, gates)
				}
				outcomes[map[bool]string{true: "old", false: "new"}[strings.Contains(gates, "since-then")]]++
				in.must("", "backup", "--keep", "20")
			}
			in.must("", "restore", "--yes", file)
			if gates := in.must("", "gate", "list"); strings.Contains(gates, "since-then") {
				t.Errorf("the last restore, which nobody killed, left\n%s", gates)
			}
			t.Logf("a whole restore takes %v; killed: %v", whole.Round(time.Millisecond), outcomes)
		})
	}
}

// A disk that is full leaves the backups that are there, and nothing else. Where no small disk can be mounted, files that may not grow stand for it.
func TestBackupToAFullDisk(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			in := install(t, engine)
			in.must("", "gate", "create", "front")
			dir := filepath.Join(in.dir, "disk")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() == 0 {
				if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
					t.Fatalf("mount a small disk: %v", err)
				}
				defer func() {
					if err := syscall.Unmount(dir, 0); err != nil {
						t.Error(err)
					}
				}()
			}
			in.must("", "backup", "--to", dir)
			before := directory(t, dir)
			refused := func(what string, out []byte, err error) {
				t.Helper()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 1 || bytes.Count(bytes.TrimSpace(out), []byte("\n")) != 0 || !bytes.HasPrefix(out, []byte("openway: back up: ")) {
					t.Errorf("%s: %v: %s; want one line and exit status 1", what, err, out)
				}
				if after := directory(t, dir); after != before {
					t.Errorf("%s: the directory was\n%s\nand is\n%s", what, before, after)
				}
			}
			if os.Geteuid() == 0 {
				filler := filepath.Join(dir, ".filler")
				if err := fill(filler); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("filling the disk ended with %v", err)
				}
				out, err := in.command("backup", "--to", dir, "--keep", "1").CombinedOutput()
				if err := os.Remove(filler); err != nil {
					t.Fatal(err)
				}
				refused("a full disk", out, err)
			}
			// SQLite's shared memory needs 32 KiB.
			most := map[string]string{"sqlite": "200", "postgres": "8"}[engine] // blocks of 512 bytes
			c := exec.Command("sh", "-c", "ulimit -f "+most+" && exec openway backup --keep 1 --to "+dir)
			c.Dir, c.Env = in.dir, in.env
			out, err := c.CombinedOutput()
			refused("files that may not grow", out, err)
			in.must("", "backup", "--to", dir, "--keep", "1")
		})
	}
}

// fill writes a file until there is no more room.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return errors.Join(err, f.Close())
}

// directory is what is in a directory, with sizes and links.
func directory(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		st, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		link, _ := os.Readlink(filepath.Join(dir, f.Name())) // only links have one
		if strings.HasSuffix(f.Name(), "-lock") {
			continue
		}
		fmt.Fprintln(&all, f.Name(), st.Size(), st.ModTime().UnixNano(), link)
	}
	return all.String()
}
