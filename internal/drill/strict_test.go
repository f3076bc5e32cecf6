package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/processtest"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// The model: each subject is a register that one administrator writes and the gates read. A run is right when every answer of a gate can be put
// at an instant between its question and its arrival, and every command at one between its call and its return, so that each answer is
// what the rules of API v1 say of the state at its instant.

// rights is all that decides about one subject.
type rights struct {
	active bool
	device bool     // its phone is in service
	own    [2]grant // at each gate
	member bool     // of a group that may pass gate 1
}

type grant byte

const (
	none grant = iota
	allowed
	suspended
)

// question is what a gate is asked about a subject.
type question struct {
	gate  int
	phone bool // the phone's token is presented, else the user's
}

// answer is what the rules say.
func (r rights) answer(q question) access.Reason {
	switch {
	case !r.active:
		return access.TokenInvalid
	case q.phone && !r.device:
		return access.DeviceInactive
	case r.own[q.gate] == allowed, q.gate == 1 && r.member:
		return access.OK
	}
	return access.NoPermission
}

// strictModel is the register. An operation's input is a question, or the rights that a command sets.
var strictModel = porcupine.Model{
	Init: func() any { return atFirst },
	Step: func(state, input, output any) (bool, any) {
		switch in := input.(type) {
		case rights:
			return true, in
		case question:
			return state.(rights).answer(in) == output.(access.Reason), state
		}
		return false, state
	},
}

var atFirst = rights{active: true, device: true, own: [2]grant{allowed, none}, member: true}

// subject is somebody who is asked about and changed.
type subject struct {
	name, token, phone, team string
	user, device, group      int64
	rights                   rights // as its one administrator has left them

	mu      sync.Mutex
	history []porcupine.Operation
}

func (s *subject) note(op porcupine.Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history = append(s.history, op)
}

var strictGates = [2]string{door, "yard"}

// subjects makes the site.
func subjects(t *testing.T, database string, n int) []*subject {
	t.Helper()
	list := people(t, database, n)
	d := openDesk(t, database)
	defer d.close(t)
	ctx := t.Context()
	yard, err := d.registry.CreateGate(ctx, actor, access.Gate{Code: strictGates[1]})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*subject, n)
	for i, p := range list {
		s := &subject{name: p.name, token: p.token, user: p.id, team: fmt.Sprint("team ", i), rights: atFirst}
		device, token, err := d.registry.CreateDevice(ctx, actor, access.Device{UserID: p.id, Active: true}, "")
		if err != nil {
			t.Fatal(err)
		}
		group, err := d.registry.CreateGroup(ctx, actor, access.Group{Name: s.team})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.registry.GrantPermission(ctx, actor, access.Permission{GateID: yard.ID, GroupID: group.ID})
		if err := errors.Join(err, d.registry.AddMember(ctx, actor, group.ID, p.id)); err != nil {
			t.Fatal(err)
		}
		s.device, s.phone, s.group = device.ID, token, group.ID
		all[i] = s
	}
	return all
}

// command is one change of a subject, as the registry takes it and as people type it.
type command struct {
	to  rights
	run func(ctx context.Context, d *desk) error
	cli []string
}

// draw draws a command that changes something.
func (s *subject) draw(gates [2]int64) command {
	r := s.rights
	switch rand.IntN(5) {
	case 0:
		r.active = !r.active
		verb := map[bool]string{true: "activate", false: "deactivate"}[r.active]
		return command{r, func(ctx context.Context, d *desk) error {
			_, err := d.registry.SetUserActive(ctx, actor, s.user, r.active)
			return err
		}, []string{"user", verb, s.name}}
	case 1:
		r.device = !r.device
		verb := map[bool]string{true: "activate", false: "revoke"}[r.device]
		return command{r, func(ctx context.Context, d *desk) error {
			_, err := d.registry.SetDeviceActive(ctx, actor, s.device, r.device)
			return err
		}, []string{"device", verb, strconv.FormatInt(s.device, 10)}}
	case 2:
		r.member = !r.member
		verb := map[bool]string{true: "add", false: "remove"}[r.member]
		return command{r, func(ctx context.Context, d *desk) error {
			if r.member {
				return d.registry.AddMember(ctx, actor, s.group, s.user)
			}
			return d.registry.RemoveMember(ctx, actor, s.group, s.user)
		}, []string{"group", verb, s.team, s.name}}
	}
	g := rand.IntN(2)
	p := access.Permission{GateID: gates[g], UserID: s.user}
	to := allowed
	if r.own[g] == allowed {
		to = []grant{none, suspended}[rand.IntN(2)]
	}
	r.own[g] = to
	verb := map[grant]string{allowed: "grant", none: "revoke", suspended: "suspend"}[to]
	return command{r, func(ctx context.Context, d *desk) error {
		var err error
		switch to {
		case allowed:
			_, err = d.registry.GrantPermission(ctx, actor, p)
		case suspended:
			_, err = d.registry.SuspendPermission(ctx, actor, p)
		default:
			_, err = d.registry.RevokePermissions(ctx, actor, p.GateID, p.UserID, 0)
		}
		return err
	}, []string{"permission", verb, strictGates[g], "--user", s.name}}
}

// What is altered in the source, so that a binary shows what would be without it.
var (
	noCheck = []processtest.Edit{
		{File: "internal/store/events_postgres.go", Old: "AND version = $6::bigint AND stamp = $7::bigint", New: "AND (true OR version = $6::bigint AND stamp = $7::bigint)"},
		{File: "internal/store/events_sqlite.go", Old: "AND version = ? AND stamp = ?", New: "AND (true OR version = ? AND stamp = ?)"},
	}
	noPoll = []processtest.Edit{{File: "internal/gatekeeper/gatekeeper.go", Old: "cfg.Poll = 250 * time.Millisecond", New: "cfg.Poll = -1"}}
)

// TestStrictRevocation lets administrators give and take rights of many kinds, through the registry in this process and through the command line,
// while clients ask two servers on one PostgreSQL, or one on SQLite. Every answer must fit the model: no ALLOW for a request that began after the
// command that forbids it had returned. The same with a binary whose poll of the policy's version is stopped; and a binary whose check
// at the commit is cut out of the source must fail, or this test would prove nothing.
func TestStrictRevocation(t *testing.T) {
	for _, engine := range storetest.Engines() {
		for _, c := range []struct {
			name  string
			edits []processtest.Edit
			wrong bool
		}{{"as it is", nil, false}, {"no poll", noPoll, false}, {"control, no check", noCheck, true}} {
			t.Run(engine+"/"+c.name, func(t *testing.T) {
				path, err := processtest.Build(c.edits...)
				if err != nil {
					t.Fatal(err)
				}
				changes := long(60, 3000)
				if c.wrong {
					changes = long(60, 500)
				}
				stale, illegal := strictness(t, engine, path, changes)
				if !c.wrong && stale+illegal > 0 {
					t.Errorf("%d answers that were certain to be wrong, %d subjects whose history no order explains; want none", stale, illegal)
				}
				if c.wrong && (stale == 0 || illegal == 0) {
					t.Errorf("without the check at the commit %d answers were wrong, and %d histories: this test proves nothing", stale, illegal)
				}
			})
		}
	}
}

// strictness counts ALLOWs that began after what forbids them had returned, and subjects whose history fits no order.
func strictness(t *testing.T, engine, binary string, changes int) (stale, illegal int) {
	t.Helper()
	database := empty(t, engine)
	list := subjects(t, database, 32)
	options := processtest.Options{Binary: binary, Database: database, Env: append(processtest.ThrottlesOff(), "OPENWAY_TRUSTED_PROXIES=127.0.0.0/8"), Brief: true}
	servers := []*processtest.Process{processtest.Serve(t, options)}
	desks := 1
	if engine == store.Postgres {
		servers, desks = append(servers, processtest.Serve(t, options)), 2
	}
	clock := time.Now()
	now := func() int64 { return int64(time.Since(clock)) }

	ctx, stop := context.WithCancel(t.Context())
	var asking, changing sync.WaitGroup
	var serial atomic.Uint32
	var requests, unavailable, broken atomic.Int64
	for n := range 8 {
		asking.Go(func() {
			c := newClient(clock)
			defer c.close()
			for ctx.Err() == nil {
				if engine == store.SQLite { // whose lock has no line: beside a server that writes without a pause another process waits long
					rest(rand.N(3 * time.Millisecond))
				}
				s := list[rand.IntN(len(list))]
				q := question{gate: rand.IntN(2), phone: rand.IntN(2) == 0}
				token := s.token
				if q.phone {
					token = s.phone
				}
				i := serial.Add(1) // a new address each time: nothing is folded
				from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
				a := c.ask(servers[rand.IntN(len(servers))].Address, strictGates[q.gate], token, fmt.Sprint("strict-", i), "X-Forwarded-For", from.String())
				requests.Add(1)
				switch {
				case a.status == 0:
					broken.Add(1)
				case a.reason == access.Unavailable:
					unavailable.Add(1)
				default:
					s.note(porcupine.Operation{ClientId: n, Input: q, Call: int64(a.began), Output: a.reason, Return: int64(a.ended)})
				}
			}
		})
	}
	var made, typed atomic.Int64
	for n := range desks {
		d := openDesk(t, database)
		defer d.close(t)
		gates, err := d.registry.Gates(t.Context(), store.GateFilter{})
		if err != nil {
			t.Fatal(err)
		}
		ids := [2]int64{gates[0].ID, gates[1].ID}
		changing.Go(func() {
			for made.Add(1) <= int64(changes) && !t.Failed() {
				s := list[rand.IntN(len(list)/desks)*desks+n]
				cmd := s.draw(ids)
				called := now()
				var err error
				if rand.IntN(10) == 0 {
					typed.Add(1)
					_, err = processtest.Try(database, cmd.cli...)
				} else {
					err = cmd.run(t.Context(), d)
				}
				returned := now()
				if err != nil {
					t.Errorf("%v: %v", cmd.cli, err)
					return
				}
				s.rights = cmd.to
				s.note(porcupine.Operation{ClientId: 100 + n, Input: cmd.to, Call: called, Output: nil, Return: returned})
				// Some requests begin between this change and the next.
				for from := requests.Load(); requests.Load() < from+4 && !t.Failed(); {
					rest(200 * time.Microsecond)
				}
			}
		})
	}
	changing.Wait()
	stop()
	asking.Wait()

	certain := 0
	for _, s := range list {
		c, w := s.certain()
		certain, stale = certain+c, stale+w
		switch porcupine.CheckOperationsTimeout(strictModel, s.history, time.Minute) {
		case porcupine.Illegal:
			illegal++
		case porcupine.Unknown:
			t.Errorf("the history of %s, %d operations, could not be checked within a minute", s.name, len(s.history))
		}
	}
	t.Logf("%s: %d changes (%d by the command line), %d requests to %d servers, %d of them certain; %d ALLOW begun after what forbids them had returned; "+
		"%d of %d histories fit no order; %d unavailable, %d broken", engine, changes, typed.Load(), requests.Load(), len(servers), certain, stale, illegal, len(list), unavailable.Load(), broken.Load())
	// A gate that is told UNAVAILABLE stays shut, which is never wrong; on a machine that does much else beside, some are.
	if certain < changes || broken.Load() > 0 || unavailable.Load() > requests.Load()/20 {
		t.Errorf("%d certain requests for %d changes, %d of %d unavailable, %d broken; want more certain ones, nothing broken, and few that are not answered",
			certain, changes, unavailable.Load(), requests.Load(), broken.Load())
	}
	return stale, illegal
}

// certain counts the questions during which nothing was being changed, and those of them that were answered ALLOW against the rules.
func (s *subject) certain() (certain, stale int) {
	type write struct {
		porcupine.Operation
		to rights
	}
	writes := []write{{to: atFirst}}
	for _, op := range s.history { // one administrator: its commands stand in their order
		if to, ok := op.Input.(rights); ok {
			writes = append(writes, write{op, to})
		}
	}
	for _, op := range s.history {
		q, ok := op.Input.(question)
		if !ok {
			continue
		}
		last := 0
		for last+1 < len(writes) && writes[last+1].Return < op.Call {
			last++
		}
		if last+1 < len(writes) && writes[last+1].Call <= op.Return {
			continue // may be either
		}
		certain++
		if op.Output == access.OK && writes[last].to.answer(q) != access.OK {
			stale++
		}
	}
	return certain, stale
}
