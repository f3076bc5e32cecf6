package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/decide"
	"github.com/openway-access/openway/internal/store"
)

// crowd is the site of the memory targets: every user has a token and is in some of the groups, and permissions at random gates name a
// random user or group each.
type crowd struct {
	Users, Groups, GroupsEach, Gates, Permissions int
}

func aMillion(users int) crowd {
	return crowd{Users: users, Groups: 200, GroupsEach: 10, Gates: 1000, Permissions: 100_000}
}

func (c crowd) token(user int) string { return siteDef{}.token(user) }

func (c crowd) gate(gate int) string { return fmt.Sprintf("gate-%04d", gate) }

// fill writes the crowd into a new SQLite database.
func (c crowd) fill(ctx context.Context, path string) (err error) {
	s, err := store.Open(ctx, store.Options{Database: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := s.Migrate(ctx); err != nil {
		return err
	}
	change := func(what string, from, to int, one func(*store.Tx, int) error) error {
		_, _, err := s.Change(ctx, access.Actor{Kind: "system", Label: "bench"}, func(tx *store.Tx) error {
			for i := from; i < to; i++ {
				if err := one(tx, i); err != nil {
					return err
				}
			}
			return tx.Record(access.ObjectSite, 1, access.ActionChange, nil, nil)
		})
		if err != nil {
			return fmt.Errorf("fill %s %d..%d: %w", what, from, to, err)
		}
		return nil
	}
	inPieces := func(what string, n int, one func(*store.Tx, int) error) error {
		const piece = 20_000
		for from := 0; from < n; from += piece {
			if err := change(what, from, min(n, from+piece), one); err != nil {
				return err
			}
		}
		return nil
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	today := access.Day(time.Now())
	return errors.Join(
		inPieces("groups", c.Groups, func(tx *store.Tx, i int) error {
			return tx.InsertGroup(&access.Group{Name: fmt.Sprintf("group-%d", i)})
		}),
		inPieces("gates", c.Gates, func(tx *store.Tx, i int) error {
			return tx.InsertGate(&access.Gate{Code: c.gate(i), Name: c.gate(i)})
		}),
		inPieces("users", c.Users, func(tx *store.Tx, i int) error {
			u := access.User{Username: fmt.Sprintf("user-%d", i), Active: true}
			if err := tx.InsertUser(&u, "!"); err != nil {
				return err
			}
			for range c.GroupsEach {
				if _, err := tx.AddMember(int64(1+rnd.IntN(c.Groups)), u.ID); err != nil {
					return err
				}
			}
			return tx.InsertCredential(&access.Credential{
				UserID: u.ID, Kind: access.UserToken, Lookup: sha256.Sum256([]byte(c.token(i))), Scheme: access.SchemeSHA256,
				State: access.CredentialActive, IdleExpires: true, LastUsedDay: today,
			}, nil)
		}),
		inPieces("permissions", c.Permissions, func(tx *store.Tx, i int) error {
			p := access.Permission{GateID: int64(1 + i%c.Gates), Allow: true}
			if i%100 < 2 { // two groups of 200 at a gate: one user in ten passes through them
				p.GroupID = int64(1 + (i/c.Gates*7+i)%c.Groups)
			} else {
				p.UserID = int64(1 + rnd.IntN(c.Users))
			}
			err := tx.InsertPermission(&p)
			if errors.As(err, new(access.Invalid)) { // drawn twice
				return nil
			}
			return err
		}),
	)
}

// crowdResult is what was measured with the crowd's policy in the measuring process itself.
type crowdResult struct {
	Users, Permissions         int
	BytesUser, BytesPermission float64
	HeapMB                     float64 // of the whole snapshot, by the runtime's count
	DecideNanos                float64 // processor time of one
	Allocations                float64 // in a decision
	AppliedMillis              float64 // one permission changed: from its commit to the new snapshot; median
	AppliedMaxMillis           float64
	LoadSeconds                float64 // the whole policy from the database
	Admitted                   int     // a user who may pass the first gate
}

// snapshotMain loads the database that is named by the first argument and measures the snapshot.
func snapshotMain() error {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{Database: os.Args[2]})
	if err != nil {
		return err
	}
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	begun := time.Now()
	b := decide.NewBuilder(90)
	mark, err := s.LoadPolicy(ctx, b)
	if err != nil {
		return err
	}
	snapshot := b.Snapshot(mark)
	var r crowdResult
	r.LoadSeconds = time.Since(begun).Seconds()
	r.HeapMB = (heap() - before) / 1e6
	st := snapshot.Stats()
	r.Users, r.Permissions = st.Users, st.Permissions
	r.BytesUser = float64(st.UserBytes+st.CredentialBytes) / float64(st.Users)
	r.BytesPermission = float64(st.PermissionBytes) / float64(st.Permissions)

	rnd := rand.New(rand.NewPCG(3, 4))
	r.DecideNanos, r.Allocations, err = decisions(snapshot, aMillion(st.Users), rnd)
	if err != nil {
		return err
	}

	var took []float64
	for range 50 {
		_, _, err := s.Change(ctx, access.Actor{Kind: "system", Label: "bench"}, func(tx *store.Tx) error {
			p, err := tx.Permission(int64(1 + rnd.IntN(st.Permissions)))
			if err != nil {
				return err
			}
			p.Allow = !p.Allow
			if err := tx.UpdatePermission(&p); err != nil {
				return err
			}
			return tx.Record(access.ObjectPermission, p.ID, access.ActionChange, nil, nil)
		})
		if err != nil {
			return err
		}
		begun := time.Now()
		delta, err := s.PolicyChanges(ctx, snapshot.Mark())
		if err != nil {
			return err
		}
		if delta.Rebuild {
			return errors.New("the feed asks for a rebuild after one change")
		}
		snapshot = snapshot.With(delta)
		took = append(took, time.Since(begun).Seconds()*1000)
	}
	gate := aMillion(st.Users).gate(0)
	for ; r.Admitted < st.Users; r.Admitted++ {
		lookup := access.Lookup(sha256.Sum256([]byte(aMillion(st.Users).token(r.Admitted))))
		if snapshot.Decide(decide.Request{Gate: gate, Lookups: []access.Lookup{lookup}, At: time.Now().UnixMicro()}).Outcome == access.Allow {
			break
		}
	}
	r.AppliedMillis, r.AppliedMaxMillis = middle(took), slices.Max(took)
	return errors.Join(json.NewEncoder(os.Stdout).Encode(r), s.Close())
}

// processorTime is what this process has used of the processors so far: it does not count what others take.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// decisions measures what a decision takes of a processor: the median of some passes over random users at random gates, and the allocations of each. A request
// is at hand, as it is when a gate asks and its token has just been digested; what the policy says of it is anywhere in memory.
func decisions(snapshot *decide.Snapshot, c crowd, rnd *rand.Rand) (nanos, allocations float64, err error) {
	const asked, atOnce, passes = 1 << 18, 1 << 10, 9
	type question struct {
		gate   int
		lookup access.Lookup
	}
	questions, gates := make([]question, asked), make([]string, c.Gates)
	for i := range questions {
		questions[i] = question{rnd.IntN(c.Gates), sha256.Sum256([]byte(c.token(rnd.IntN(c.Users))))}
	}
	for i := range gates {
		gates[i] = c.gate(i)
	}
	at := time.Now().UnixMicro()
	took := make([]float64, 0, passes)
	hand := make([]access.Lookup, atOnce)
	requests := make([]decide.Request, atOnce)
	known := 0
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	for range passes {
		var pass time.Duration
		for from := 0; from < asked; from += atOnce {
			for i, q := range questions[from : from+atOnce] {
				hand[i] = q.lookup
				requests[i] = decide.Request{Gate: gates[q.gate], Lookups: hand[i : i+1], At: at}
			}
			begun := processorTime()
			for i := range requests {
				if snapshot.Decide(requests[i]).UserID != 0 {
					known++
				}
			}
			pass += processorTime() - begun
		}
		took = append(took, float64(pass.Nanoseconds())/asked)
	}
	runtime.ReadMemStats(&is)
	if known != passes*asked {
		return 0, 0, fmt.Errorf("%d of %d decisions found their user", known, passes*asked)
	}
	return middle(took), float64((is.Mallocs - was.Mallocs) / uint64(known)), nil // whole ones: the collector makes a few
}

// millionResult is what --million measures.
type millionResult struct {
	crowdResult
	Empty, Small, Great started
}

// started is a server after its start.
type started struct {
	Seconds float64 // from the start of the process to its first answer
	MB      float64 // resident then
	LaterMB float64 // and after some load
}

// million fills a database and measures it. It is one of SQLite: the snapshot knows no engine.
func million(ctx context.Context, o options, dir, binary string) (r millionResult, err error) {
	c := aMillion(o.Crowd)
	path := filepath.Join(dir, "million.db")
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	begun := time.Now()
	if err := c.fill(ctx, path); err != nil {
		return r, err
	}
	fmt.Fprintf(os.Stderr, "%d users were written in %.0f s\n", c.Users, time.Since(begun).Seconds())

	cmd := exec.CommandContext(ctx, self, "snapshot", path)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("measuring the snapshot: %w", err)
	}
	if err := json.Unmarshal(out, &r.crowdResult); err != nil {
		return r, err
	}
	if r.Great, err = startAndAsk(ctx, binary, path, c.token(r.Admitted), c.gate(0), `"ALLOW"`); err != nil {
		return r, err
	}
	little := siteDef{Users: 100, Gates: 6, Groups: 12}
	file, small := filepath.Join(dir, "small.yaml"), filepath.Join(dir, "small.db")
	if err := os.WriteFile(file, little.yaml(), 0o600); err != nil {
		return r, err
	}
	apply := exec.CommandContext(ctx, binary, "apply", "-f", file)
	apply.Env = benchEnv(small)
	if out, err := apply.CombinedOutput(); err != nil {
		return r, fmt.Errorf("openway apply: %w\n%s", err, out)
	}
	if r.Small, err = startAndAsk(ctx, binary, small, little.token(1), little.gate(2), `"ALLOW"`); err != nil {
		return r, err
	}
	r.Empty, err = startAndAsk(ctx, binary, filepath.Join(dir, "empty.db"), "no token of anybody", "no gate", `"DENY"`)
	return r, err
}

// startAndAsk starts a server, asks until it is answered, which must be with a word, and looks at its memory.
func startAndAsk(ctx context.Context, binary, database, token, gate, want string) (r started, err error) {
	serve := exec.CommandContext(ctx, binary, "serve")
	serve.Env = benchEnv(database)
	begun := time.Now()
	t, err := child("openway", serve)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	ask := fixedAsk(gate, token)
	if err := askOnce(t.addr, ask, want); err != nil {
		return r, err
	}
	r.Seconds, r.MB = time.Since(begun).Seconds(), residentMB(t.pid)
	for range 2000 {
		if err := askOnce(t.addr, ask, want); err != nil {
			return r, err
		}
	}
	r.LaterMB = residentMB(t.pid)
	return r, nil
}
