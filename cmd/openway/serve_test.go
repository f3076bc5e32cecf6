package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// installed is a directory with a database in it, for processes of the real binary.
type installed struct {
	t   *testing.T
	dir string
	env []string
}

func install(t *testing.T, engine string) installed {
	t.Helper()
	dir := t.TempDir()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "OPENWAY_LISTEN=127.0.0.1:0", "OPENWAY_SECRET_KEY=" + testKey, raceEndsAtOnce}
	if engine == "postgres" {
		env = append(env, "OPENWAY_DATABASE="+storetest.Empty(t, engine).DSN)
	}
	return installed{t, dir, env}
}

func (in installed) command(args ...string) *exec.Cmd {
	c := exec.Command("openway", args...)
	c.Dir, c.Env = in.dir, in.env
	return c
}

// must runs a command that has to succeed and returns what it prints.
func (in installed) must(stdin string, args ...string) string {
	in.t.Helper()
	c := in.command(args...)
	c.Stdin = strings.NewReader(stdin)
	out, err := c.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		in.t.Fatalf("openway %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// process is a running server.
type process struct {
	cmd     *exec.Cmd
	address string
	log     *journal // complete when ended is closed
	ended   chan struct{}
}

// journal is a log that is being written.
type journal struct {
	mu    sync.Mutex
	text  strings.Builder
	more  chan struct{} // closed when a line comes, then made anew
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.WriteString(line)
	j.lines = append(j.lines, line)
	close(j.more)
	j.more = make(chan struct{})
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// await returns the first line that holds all the texts, from line number from on, and the number of the line after it.
func (j *journal) await(t *testing.T, from int, texts ...string) (line string, next int) {
	t.Helper()
	return j.awaitFor(t, 30*time.Second, from, texts...)
}

// awaitFor is await for what takes longer than 30 s.
func (j *journal) awaitFor(t *testing.T, most time.Duration, from int, texts ...string) (line string, next int) {
	t.Helper()
	patience := time.After(most)
	for {
		j.mu.Lock()
		lines, more := j.lines, j.more
		j.mu.Unlock()
	next:
		for ; from < len(lines); from++ {
			for _, text := range texts {
				if !strings.Contains(lines[from], text) {
					continue next
				}
			}
			return lines[from], from + 1
		}
		select {
		case <-more:
		case <-patience:
			t.Fatalf("the log does not say %q within %v:\n%s", texts, most, j)
		}
	}
}

// listens is the address of the listener whose line in the log says this.
func (p *process) listens(t *testing.T, message string) string {
	t.Helper()
	line, _ := p.log.await(t, 0, `"message":"`+message+`","address":"`)
	_, after, _ := strings.Cut(line, `"address":"`)
	address, _, _ := strings.Cut(after, `"`)
	return address
}

func (in installed) serve(args ...string) *process {
	in.t.Helper()
	p := &process{cmd: in.command(append([]string{"serve"}, args...)...), log: &journal{more: make(chan struct{})}, ended: make(chan struct{})}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		in.t.Fatal(err)
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := p.cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		_ = p.cmd.Wait()
	})
	address := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			p.log.add(line)
			if _, after, ok := strings.Cut(line, `"message":"listening","address":"`); ok {
				a, _, _ := strings.Cut(after, `"`)
				address <- a
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case p.address = <-address:
	case <-p.ended:
		in.t.Fatalf("serve ended before it listened:\n%s", p.log)
	case <-time.After(30 * time.Second):
		in.t.Fatal("serve does not listen after 30 s")
	}
	return p
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wait returns how the process ended.
func (p *process) wait(t *testing.T) error {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not end after 30 s")
	}
	return p.cmd.Wait()
}

// SIGTERM while controllers ask all the time, each with a new connection as the firmware does: every connection that was made is answered, and every
// answer is in the log.
func TestServeDrainsUnderLoad(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			in := install(t, engine)
			in.must("", "gate", "create", "front")
			in.must("", "user", "create", "anna")
			in.must("", "permission", "grant", "front", "--user", "anna")
			in.must("token-of-anna", "device", "create", "anna", "--token-stdin")
			in.env = append(in.env, "ACCESS_VERIFY_RATE=off", "OPENWAY_LOG_LEVEL=warn")
			p := in.serve("--log-level=info")

			var allowed atomic.Int64
			var clients sync.WaitGroup
			for range 8 {
				clients.Go(func() {
					client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
					for {
						resp, err := client.Post("http://"+p.address+"/api/v1/access/verify", "application/json", strings.NewReader(`{"gate_id":"front","token":"token-of-anna"}`))
						if errors.Is(err, syscall.ECONNREFUSED) {
							return
						}
						if err != nil {
							t.Errorf("a request was cut: %v", err)
							return
						}
						body, err := io.ReadAll(resp.Body)
						resp.Body.Close()
						if err != nil || !strings.Contains(string(body), `"decision":"ALLOW"`) {
							t.Errorf("the answer is %q, %v", body, err)
							return
						}
						if allowed.Add(1) == 200 {
							p.signal(t, syscall.SIGTERM)
						}
					}
				})
			}
			clients.Wait()
			if err := p.wait(t); err != nil {
				t.Errorf("serve ended with %v:\n%s", err, p.log)
			}
			events := in.must("", "events", "list", "--json", "--limit", "1000000")
			if got, want := int64(strings.Count(events, `"decision":"ALLOW"`)), allowed.Load(); got != want {
				t.Errorf("%d events for %d answers", got, want)
			}
			if !strings.Contains(p.log.String(), `"message":"stopped"`) {
				t.Errorf("the log does not say that it stopped:\n%.2000s", p.log)
			}
		})
	}
}

// Denials that were folded, and not written yet, are written at the end.
func TestServeWritesFoldedEventsAtTheEnd(t *testing.T) {
	in := install(t, "sqlite")
	in.env = append(in.env, "ACCESS_VERIFY_RATE=off")
	p := in.serve()
	const requests = 40
	for range requests {
		resp, err := http.Post("http://"+p.address+"/api/v1/access/verify", "application/json", strings.NewReader("garbage"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err != nil {
		t.Fatalf("serve ended with %v", err)
	}
	sum, lines := 0, 0
	for line := range strings.Lines(in.must("", "events", "list", "--json", "--reason", "INVALID_REQUEST")) {
		var e struct{ Count int }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		sum, lines = sum+e.Count, lines+1
	}
	if sum != requests || lines >= requests {
		t.Errorf("%d requests are %d in the log, on %d lines", requests, sum, lines)
	}
}

// Events older than the site keeps them go without a command.
func TestServeDeletesOldEvents(t *testing.T) {
	in := install(t, "sqlite")
	in.must("", "gate", "create", "front", "--retention-days=30")
	ctx := context.Background()
	st, err := store.Open(ctx, store.Options{Database: filepath.Join(in.dir, "data", "openway.db")})
	if err != nil {
		t.Fatal(err)
	}
	writer, err := st.ClaimWriter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mark, err := st.PolicyMark(ctx)
	if err != nil {
		t.Fatal(err)
	}
	batch := &access.EventBatch{Policy: mark}
	for _, age := range []int{100, 31, 29, 0} {
		batch.Events = append(batch.Events, &access.Event{
			Kind: access.DecisionEvent, At: time.Now().AddDate(0, 0, -age), Decision: access.Deny, Reason: access.InvalidRequest, Count: 1, RequestID: fmt.Sprint("age-", age),
		})
	}
	if landed, err := st.AppendBatch(ctx, writer, 1, batch); err != nil || !landed {
		t.Fatal(landed, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	in.serve()
	deadline := time.Now().Add(20 * time.Second)
	for {
		events := in.must("", "events", "list", "--json")
		if !strings.Contains(events, "age-100") && !strings.Contains(events, "age-31") {
			if strings.Count(events, `"id":`) != 2 {
				t.Errorf("the events left are\n%s", events)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("old events are still there:\n%s", events)
		}
	}
}

// The lanes of a server that was killed do not stay open for ever.
func TestServeRetiresTheLanesOfAKilledOne(t *testing.T) {
	in := install(t, "sqlite")
	in.must("", "gate", "create", "front")
	st, err := store.Open(t.Context(), store.Options{Database: filepath.Join(in.dir, "data", "openway.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	open := func() (ids []int64) {
		t.Helper()
		lanes, err := st.Lanes(t.Context(), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lanes {
			ids = append(ids, l.ID)
		}
		return ids
	}
	killed := in.serve()
	was := open()
	if len(was) == 0 {
		t.Fatal("a server that listens has no lane")
	}
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.wait(t) // killed
	if got := open(); !slices.Equal(got, was) {
		t.Fatalf("open lanes after the kill: %v, want %v", got, was)
	}
	in.serve()
	for _, id := range open() {
		if slices.Contains(was, id) {
			t.Errorf("lane %d of the killed server is still open", id)
		}
	}
}

// A login that hangs in the middle of its body does not keep the process for ever; a second signal ends it at once.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	in := install(t, "sqlite")
	p := in.serve()
	slow, feed := io.Pipe()
	defer feed.Close()
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		_, _ = feed.Write([]byte(`{"username":`))
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+p.address+"/api/v1/auth/token", slow)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-begun
	p.signal(t, syscall.SIGTERM)
	p.signal(t, syscall.SIGTERM) // as timeout(1) does: one act
	select {
	case <-p.ended:
		t.Fatalf("the request under way was not waited for:\n%s", p.log)
	case <-time.After(oneAct):
	}
	for ended, tries := false, 0; !ended && tries < 40; tries++ { // when the first arrived is not known
		p.signal(t, syscall.SIGTERM)
		select {
		case <-p.ended:
			ended = true
		case <-time.After(oneAct / 4):
		}
	}
	err = p.wait(t)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("ended with %v, want exit status %d", err, 128+int(syscall.SIGTERM))
	}
	if !strings.Contains(p.log.String(), "ended at once by a second signal") {
		t.Errorf("it does not say why it ended:\n%s", p.log)
	}
}

// Somebody stops reading the log: the gates go on, and the end does not wait for ever.
func TestStalledLogDoesNotStallTheGates(t *testing.T) {
	in := install(t, "sqlite")
	in.env = append(in.env, "ACCESS_VERIFY_RATE=off")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd := in.command("serve")
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	var address string
	for lines := bufio.NewScanner(read); address == "" && lines.Scan(); {
		if _, after, ok := strings.Cut(lines.Text(), `"message":"listening","address":"`); ok {
			address, _, _ = strings.Cut(after, `"`)
		}
	}
	// From here on nobody reads. A pipe holds 64 KiB: some 200 lines.
	client := http.Client{Timeout: 5 * time.Second}
	path := "/" + strings.Repeat("x", 400)
	for i := range 400 {
		resp, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("serve ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("serve does not end while nobody reads its log")
	}
}

// A log reader that is gone altogether must not take the server with it (SIGPIPE).
func TestClosedLogDoesNotEndTheServer(t *testing.T) {
	in := install(t, "sqlite")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := in.command("serve")
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	var address string
	for lines := bufio.NewScanner(read); address == "" && lines.Scan(); {
		if _, after, ok := strings.Cut(lines.Text(), `"message":"listening","address":"`); ok {
			address, _, _ = strings.Cut(after, `"`)
		}
	}
	read.Close()
	for range 20 {
		resp, err := http.Get("http://" + address + "/schema/")
		if err != nil {
			t.Fatalf("after its log reader went away: %v", err)
		}
		resp.Body.Close()
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// Several processes come upon a new database at once: all get through, one set of rows, one key.
func TestProcessesRaceToMigrate(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			in := install(t, engine)
			if engine == "sqlite" {
				in.env = in.env[:len(in.env)-1] // no OPENWAY_SECRET_KEY: the key file is part of the race
			}
			var all sync.WaitGroup
			for i := range 4 {
				all.Go(func() {
					if out, err := in.command("gate", "create", fmt.Sprintf("g%d", i)).CombinedOutput(); err != nil {
						t.Errorf("process %d: %v: %s", i, err, out)
					}
				})
			}
			all.Wait()
			if list := in.must("", "gate", "list", "--json"); strings.Count(list, `"id":`) != 4 {
				t.Errorf("the gates are\n%s", list)
			}
			if engine == "sqlite" {
				left, err := filepath.Glob(filepath.Join(in.dir, "data", ".openway-key-*"))
				if err != nil || len(left) > 0 {
					t.Errorf("left over: %v %v", left, err)
				}
			}
		})
	}
}

func TestExitStatus(t *testing.T) {
	in := install(t, "sqlite")
	for _, tt := range []struct {
		args []string
		want int
	}{
		{[]string{"version"}, 0},
		{[]string{"serve", "--help"}, 0},
		{[]string{"gate", "show", "nothing"}, 1},
		{[]string{"serve", "--user-rate=x"}, 1},
		{[]string{"healthcheck", "--listen=127.0.0.1:1"}, 1},
		{[]string{"nonsense"}, 2},
		{[]string{"gate", "create"}, 2},
		{[]string{"gate", "list", "--nonsense"}, 2},
		{[]string{"events", "purge", "--days=-1"}, 2},
		{[]string{"createsuperuser"}, 2},
	} {
		err := in.command(tt.args...).Run()
		var exit *exec.ExitError
		got := 0
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if got != tt.want {
			t.Errorf("openway %v: exit status %d, want %d", tt.args, got, tt.want)
		}
	}
}

// A change of the CLI beside a running server holds for the next request, on both engines, also for a second server on PostgreSQL.
func TestReplicasSeeChangesAtOnce(t *testing.T) {
	in := install(t, "postgres")
	in.must("", "gate", "create", "front")
	in.must("", "user", "create", "anna")
	in.must("token-of-anna", "device", "create", "anna", "--token-stdin")
	in.env = append(in.env, "ACCESS_VERIFY_RATE=off")
	servers := []*process{in.serve(), in.serve()}
	for i := range 6 {
		command, want := "grant", `"ALLOW"`
		if i%2 == 1 {
			command, want = "suspend", `"NO_PERMISSION"`
		}
		in.must("", "permission", command, "front", "--user", "anna")
		for n, p := range servers {
			resp, err := http.Post("http://"+p.address+"/api/v1/access/verify", "application/json", strings.NewReader(`{"gate_id":"front","token":"token-of-anna"}`))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if !strings.Contains(string(body), want) {
				t.Errorf("after %s %d server %d says %s, want %s", command, i, n, body, want)
			}
		}
	}
}

// The database goes away under a running server: it lives, is not ready, lets nobody in, and ends when it is told.
func TestServeWithoutItsDatabase(t *testing.T) {
	in := install(t, "postgres")
	p := in.serve()
	get := func(path string) int {
		resp, err := http.Get("http://" + p.address + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := get("/readyz"); got != 200 {
		t.Fatalf("/readyz: %d before", got)
	}
	var dsn string
	for _, kv := range in.env {
		if v, ok := strings.CutPrefix(kv, "OPENWAY_DATABASE="); ok {
			dsn = v
		}
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("pgx", os.Getenv(storetest.Variable))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Exec("DROP DATABASE " + strings.TrimPrefix(u.Path, "/") + " WITH (FORCE)"); err != nil {
		t.Fatal(err)
	}
	if got := get("/readyz"); got != 503 {
		t.Errorf("/readyz: %d without a database, want 503", got)
	}
	if got := get("/healthz"); got != 200 {
		t.Errorf("/healthz: %d without a database, want 200", got)
	}
	resp, err := http.Post("http://"+p.address+"/api/v1/access/verify", "application/json", strings.NewReader(`{"gate_id":"front","token":"token-of-anna"}`))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 503 || !strings.Contains(string(body), `"decision":"DENY","reason":"UNAVAILABLE"`) {
		t.Errorf("verify without a database: %d %s", resp.StatusCode, body)
	}
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(t); err == nil {
		t.Error("serve ended well although it could not write what it owed the log")
	}
	if !strings.Contains(p.log.String(), `"message":"not ready"`) {
		t.Errorf("the log does not say that it was not ready:\n%.3000s", p.log)
	}
}
