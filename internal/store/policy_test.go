package store_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// policy is a sink that keeps what it is told, by id.
type policy struct {
	Settings    access.PolicySite
	Gates       map[int64]access.PolicyGate
	Users       map[int64]access.PolicyUser
	Permissions map[int64]access.PolicyPermission
	Credentials map[int64]access.PolicyCredential

	last           string // what it was told last, to hold the order
	disorder       string
	members        map[int64][]int64 // until join
	lastMember     int64
	memberDisorder string
}

func newPolicy() *policy {
	return &policy{
		Gates: map[int64]access.PolicyGate{}, Users: map[int64]access.PolicyUser{},
		Permissions: map[int64]access.PolicyPermission{}, Credentials: map[int64]access.PolicyCredential{},
		members: map[int64][]int64{},
	}
}

func (p *policy) told(what string) {
	order := []string{"", "site", "gate", "user", "permission", "credential"}
	if slices.Index(order, what) < slices.Index(order, p.last) {
		p.disorder = what + " after " + p.last
	}
	p.last = what
}

func (p *policy) Site(s access.PolicySite) { p.told("site"); p.Settings = s }
func (p *policy) Gate(g access.PolicyGate) { p.told("gate"); p.Gates[g.ID] = g }
func (p *policy) User(u access.PolicyUser) { p.told("user"); p.Users[u.ID] = u }
func (p *policy) Permission(x access.PolicyPermission) {
	p.told("permission")
	p.Permissions[x.ID] = x
}

func (p *policy) Credential(c access.PolicyCredential) {
	p.told("credential")
	p.Credentials[c.ID] = c
}

// Member may be told beside all else.
func (p *policy) Member(userID, groupID int64) {
	if userID < p.lastMember {
		p.memberDisorder = fmt.Sprintf("a group of user %d after one of user %d", userID, p.lastMember)
	}
	p.lastMember = userID
	p.members[userID] = append(p.members[userID], groupID)
}

// join gives each user the groups that were told. strays are those who were said to be in groups and are no users.
func (p *policy) join() (strays []int64, err error) {
	for id, groups := range p.members {
		u, ok := p.Users[id]
		if !ok {
			strays = append(strays, id)
			continue
		}
		slices.Sort(groups) // they are told in any order
		u.Groups = groups
		p.Users[id] = u
	}
	if p.disorder != "" || p.memberDisorder != "" {
		err = fmt.Errorf("disorder: %q, %q", p.disorder, p.memberDisorder)
	}
	p.last, p.lastMember, p.members = "", 0, nil
	return strays, err
}

// apply changes p as a replica would.
func (p *policy) apply(d access.PolicyDelta) {
	if d.Site != nil {
		p.Settings = *d.Site
	}
	put(p.Gates, d.Gates, d.GoneGates, func(g access.PolicyGate) int64 { return g.ID })
	put(p.Users, d.Users, d.GoneUsers, func(u access.PolicyUser) int64 { return u.ID })
	put(p.Permissions, d.Permissions, d.GonePermissions, func(x access.PolicyPermission) int64 { return x.ID })
	put(p.Credentials, d.Credentials, d.GoneCredentials, func(c access.PolicyCredential) int64 { return c.ID })
}

func put[T any](to map[int64]T, rows []T, gone []int64, id func(T) int64) {
	for _, r := range rows {
		to[id(r)] = r
	}
	for _, g := range gone {
		delete(to, g)
	}
}

func mustLoad(t *testing.T, s *store.Store) (*policy, access.PolicyMark) {
	t.Helper()
	p := newPolicy()
	mark, err := s.LoadPolicy(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.join(); err != nil {
		t.Fatalf("LoadPolicy: %v", err)
	}
	return p, mark
}

// edits makes random administrative changes, and remembers the ids that it made.
type edits struct {
	rnd                                              *rand.Rand
	n                                                int
	gates, users, groups, perms, devices, credential []int64
}

func (e *edits) pick(ids []int64) int64 { return ids[e.rnd.IntN(len(ids))] }

func (e *edits) name(prefix string) string { e.n++; return fmt.Sprint(prefix, e.n) }

func (e *edits) lookup() (l access.Lookup) {
	for i := range l {
		l[i] = byte(e.rnd.Uint32())
	}
	return l
}

// start makes a few of everything in one change.
func (e *edits) start(tx *store.Tx) error {
	for range 4 {
		for _, step := range []func(*store.Tx) error{e.newGate, e.newUser, e.newGroup} {
			if err := step(tx); err != nil {
				return err
			}
		}
	}
	return errors.Join(e.newDevice(tx), e.newCredential(tx), e.newPermission(tx))
}

func (e *edits) newGate(tx *store.Tx) error {
	g := access.Gate{Code: e.name("gate"), ReleaseMS: e.rnd.IntN(2) * 900}
	err := tx.InsertGate(&g)
	e.gates = append(e.gates, g.ID)
	return cmp.Or(err, tx.Record(access.ObjectGate, g.ID, "create", nil, nil))
}

func (e *edits) newUser(tx *store.Tx) error {
	u := access.User{Username: e.name("user"), Active: true}
	err := tx.InsertUser(&u, "!")
	e.users = append(e.users, u.ID)
	return cmp.Or(err, tx.Record(access.ObjectUser, u.ID, "create", nil, nil))
}

func (e *edits) newGroup(tx *store.Tx) error {
	g := access.Group{Name: e.name("group")}
	err := tx.InsertGroup(&g)
	e.groups = append(e.groups, g.ID)
	return cmp.Or(err, tx.Record(access.ObjectGroup, g.ID, "create", nil, nil))
}

func (e *edits) newPermission(tx *store.Tx) error {
	p := access.Permission{GateID: e.pick(e.gates), GroupID: e.pick(e.groups), Allow: e.rnd.IntN(2) == 0, ValidFrom: noon}
	err := tx.InsertPermission(&p)
	e.perms = append(e.perms, p.ID)
	return cmp.Or(err, tx.Record(access.ObjectPermission, p.ID, "create", nil, nil))
}

func (e *edits) newDevice(tx *store.Tx) error {
	d := access.Device{UserID: e.pick(e.users), Active: true}
	if err := tx.InsertDevice(&d); err != nil {
		return err
	}
	e.devices = append(e.devices, d.ID)
	c := access.Credential{UserID: d.UserID, DeviceID: d.ID, Kind: access.DeviceToken, Lookup: e.lookup(), Scheme: access.SchemeSHA256, State: access.CredentialActive}
	err := tx.InsertCredential(&c, func(int64) []byte { return nil })
	// Only the device is recorded: it stands for its credentials.
	return cmp.Or(err, tx.Record(access.ObjectDevice, d.ID, "create", nil, nil))
}

func (e *edits) newCredential(tx *store.Tx) error {
	c := access.Credential{
		UserID: e.pick(e.users), Kind: access.UserToken, Lookup: e.lookup(), Scheme: access.SchemeSHA256, State: access.CredentialActive,
		IdleExpires: true, LastUsedDay: 20000, ValidUntil: noon,
	}
	err := tx.InsertCredential(&c, func(int64) []byte { return nil })
	e.credential = append(e.credential, c.ID)
	return cmp.Or(err, tx.Record(access.ObjectCredential, c.ID, "create", nil, nil))
}

func (e *edits) member(tx *store.Tx) error {
	user, group := e.pick(e.users), e.pick(e.groups)
	added, err := tx.AddMember(group, user)
	if err == nil && !added {
		_, err = tx.RemoveMember(group, user)
	}
	return cmp.Or(err, tx.Record(access.ObjectMember, user, "change", nil, nil))
}

func (e *edits) change(tx *store.Tx) error {
	id := e.pick(e.users)
	u, err := tx.User(id)
	if err != nil {
		return err
	}
	u.Active = !u.Active
	return cmp.Or(tx.UpdateUser(&u), tx.Record(access.ObjectUser, id, "change", nil, nil))
}

func (e *edits) site(tx *store.Tx) error {
	s, err := tx.Site()
	if err != nil {
		return err
	}
	s.DefaultReleaseMS = 500 + e.rnd.IntN(100)
	return cmp.Or(tx.UpdateSite(&s), tx.Record(access.ObjectSite, 1, "change", nil, nil))
}

// bury deletes one of ids, unless that would leave none.
func (e *edits) bury(ids *[]int64, object string, del func(*store.Tx, int64) error) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		if len(*ids) < 2 {
			return tx.Record(access.ObjectEvents, 0, "export", nil, nil)
		}
		i := e.rnd.IntN(len(*ids))
		id := (*ids)[i]
		*ids = slices.Delete(*ids, i, i+1)
		return cmp.Or(del(tx, id), tx.Record(object, id, "delete", nil, nil))
	}
}

func (e *edits) step(tx *store.Tx) error {
	steps := []func(*store.Tx) error{
		e.newGate, e.newUser, e.newGroup, e.newPermission, e.newPermission, e.newDevice, e.newCredential, e.member, e.member, e.change, e.site,
		e.bury(&e.gates, access.ObjectGate, (*store.Tx).DeleteGate),
		e.bury(&e.users, access.ObjectUser, (*store.Tx).DeleteUser),
		e.bury(&e.perms, access.ObjectPermission, (*store.Tx).DeletePermission),
		e.bury(&e.credential, access.ObjectCredential, func(tx *store.Tx, id int64) error { return tx.EndCredential(id, "admin") }),
	}
	return steps[e.rnd.IntN(len(steps))](tx)
}

// What the feed tells, applied to an older policy, is what loading everything gives, however many changes lie between.
func TestPolicyChangesEqualLoading(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ storetest.Database, desk, replica *store.Store) {
		const seed = 11
		e := &edits{rnd: rand.New(rand.NewPCG(seed, seed))}
		mine, mark := mustLoad(t, replica)
		mustDo(t, desk, e.start)
		for round := range 50 {
			for range 1 + e.rnd.IntN(4) {
				mustDo(t, desk, e.step)
			}
			delta, err := replica.PolicyChanges(t.Context(), mark)
			if err != nil || delta.Rebuild {
				t.Fatalf("round %d: PolicyChanges since %v: rebuild %v, %v", round, mark, delta.Rebuild, err)
			}
			mine.apply(delta)
			mark = delta.Mark
			whole, now := mustLoad(t, replica)
			if now != mark {
				t.Fatalf("round %d: the feed's mark is %v, the policy's %v", round, mark, now)
			}
			if d := gocmp.Diff(whole, mine, gocmp.AllowUnexported(policy{})); d != "" {
				t.Fatalf("seed %d, round %d: loaded (-), by the feed (+):\n%s", seed, round, d)
			}
		}
		if delta, err := replica.PolicyChanges(t.Context(), mark); err != nil || gocmp.Diff(access.PolicyDelta{Mark: mark}, delta) != "" {
			t.Errorf("PolicyChanges since the newest mark = %+v, %v; want nothing", delta, err)
		}
	})
}

// Two connections read a policy: what they tell together is of one instant, whatever is committed meanwhile. Each change here makes a user who is in a group.
func TestLoadPolicyBesideChanges(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ storetest.Database, desk, replica *store.Store) {
		e := &edits{rnd: rand.New(rand.NewPCG(3, 3))}
		mustDo(t, desk, e.newGroup)
		users := 0
		more := func(tx *store.Tx) error {
			if err := e.newUser(tx); err != nil {
				return err
			}
			_, err := tx.AddMember(e.groups[0], e.users[users])
			users++
			return err
		}
		mustDo(t, desk, more)
		ctx, stop := context.WithCancel(t.Context())
		var changing sync.WaitGroup
		defer changing.Wait()
		defer stop()
		changing.Go(func() {
			defer stop()
			for ctx.Err() == nil {
				if _, _, err := desk.Change(t.Context(), anybody, more); err != nil {
					t.Errorf("Change: %v", err)
					return
				}
			}
		})
		for moved, last := 0, (access.PolicyMark{}); moved < 100 && ctx.Err() == nil; {
			p := newPolicy()
			mark, err := replica.LoadPolicy(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if strays, err := p.join(); err != nil || len(strays) > 0 {
				t.Fatalf("policy %d: %v are in groups and no users (%v)", mark.Version, strays, err)
			}
			if mark != last {
				moved, last = moved+1, mark
			}
			for id, u := range p.Users {
				if len(u.Groups) != 1 {
					t.Fatalf("policy %d: user %d is in groups %v, want one", mark.Version, id, u.Groups)
				}
			}
		}
	})
}

// meeting is a sink that waits with the site until it is told a membership.
type meeting struct {
	*policy
	met    chan struct{}
	once   sync.Once
	missed bool
	then   func() // what is done when both are there
}

func (m *meeting) Site(s access.PolicySite) {
	select {
	case <-m.met:
	case <-time.After(10 * time.Second):
		m.missed = true
	}
	m.policy.Site(s)
}

func (m *meeting) Member(userID, groupID int64) {
	m.once.Do(func() { m.then(); close(m.met) })
	m.policy.Member(userID, groupID)
}

// Two connections read at the same time; when the caller goes away both are given back.
func TestLoadPolicyByTwo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		e := &edits{rnd: rand.New(rand.NewPCG(5, 5))}
		mustDo(t, s, e.start)
		mustDo(t, s, func(tx *store.Tx) error {
			_, err := tx.AddMember(e.groups[0], e.users[0])
			return cmp.Or(err, tx.Record(access.ObjectGroup, e.groups[0], "change", nil, nil))
		})
		want, _ := mustLoad(t, s)
		load := func(ctx context.Context, then func()) (*meeting, error) {
			m := &meeting{policy: newPolicy(), met: make(chan struct{}), then: then}
			_, err := s.LoadPolicy(ctx, m)
			return m, err
		}
		for range 20 { // more often than there are connections
			ctx, cancel := context.WithCancel(t.Context())
			// database/sql may have ended the transaction by then, and says no more than that.
			if _, err := load(ctx, cancel); !errors.Is(err, context.Canceled) && !errors.Is(err, access.ErrUnavailable) {
				t.Fatalf("LoadPolicy for somebody who has gone: %v", err)
			}
		}
		m, err := load(t.Context(), func() {})
		if err != nil || m.missed {
			t.Fatalf("LoadPolicy: %v; one read after the other: %t", err, m.missed)
		}
		if _, err := m.join(); err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(want, m.policy, gocmp.AllowUnexported(policy{})); d != "" {
			t.Errorf("alone (-), by two (+):\n%s", d)
		}
	})
}

// Where all connections but one are in use, that one reads it all: a server does not wait for pages and backups to begin.
func TestLoadPolicyByOne(t *testing.T) {
	db := storetest.New(t, store.SQLite)
	s := storetest.OpenWith(t, store.Options{Database: db.DSN, Readers: 2})
	e := &edits{rnd: rand.New(rand.NewPCG(6, 6))}
	mark := mustDo(t, s, e.start)
	err := s.View(t.Context(), func(*store.Tx) error {
		if p, got := mustLoad(t, s); got != mark || len(p.Users) != 4 {
			t.Errorf("loaded policy %v with %d users, want %v and 4", got, len(p.Users), mark)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPolicyChangesThatNeedARebuild(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db storetest.Database, s, _ *store.Store) {
		first := mustMark(t, s)
		second := mustChange(t, s)
		third := mustChange(t, s)
		newest := mustChange(t, s)
		check := func(name string, since access.PolicyMark, want bool) {
			t.Helper()
			d, err := s.PolicyChanges(t.Context(), since)
			if err != nil || d.Rebuild != want || d.Mark != newest {
				t.Errorf("%s: PolicyChanges(%v) = rebuild %v, mark %v, %v; want %v, %v", name, since, d.Rebuild, d.Mark, err, want, newest)
			}
		}
		check("the first mark", first, false)
		check("a mark between", second, false)
		check("another stamp", access.PolicyMark{Version: second.Version, Stamp: second.Stamp ^ 2}, true)
		check("another stamp of the newest version", access.PolicyMark{Version: newest.Version, Stamp: newest.Stamp ^ 2}, true)
		check("a version to come", access.PolicyMark{Version: newest.Version + 1, Stamp: 5}, true)
		check("no mark", access.PolicyMark{}, true)
		mustExec(t, raw(t, db), `DELETE FROM change WHERE version = $1`, third.Version)
		check("a gap", second, true)
		check("behind the gap", newest, false)
		newest = mustDo(t, s, func(tx *store.Tx) error {
			for i := range 5001 {
				if err := tx.Record(access.ObjectUser, int64(i+1), "change", nil, nil); err != nil {
					return err
				}
			}
			return nil
		})
		check("too much", access.PolicyMark{Version: newest.Version - 1, Stamp: third.Stamp}, true)
		check("from here on", newest, false)
	})
}

func TestTouchOnlyRaises(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		e := &edits{rnd: rand.New(rand.NewPCG(1, 1))}
		mark := mustDo(t, s, e.start)
		id := e.credential[0]
		for _, tt := range []struct{ touch, want int }{{20001, 20001}, {19999, 20001}, {20001, 20001}, {20005, 20005}} {
			if err := s.TouchCredentials(t.Context(), tt.touch, []int64{id, 999999, id}); err != nil {
				t.Fatal(err)
			}
			if got, err := s.CredentialLastUsed(t.Context(), id); err != nil || got != tt.want {
				t.Errorf("after a touch on day %d the last use was day %d (%v), want %d", tt.touch, got, err, tt.want)
			}
		}
		if got := mustMark(t, s); got != mark {
			t.Errorf("a touch moved the policy from %v to %v", mark, got)
		}
		if _, err := s.CredentialLastUsed(t.Context(), 999999); !errors.Is(err, access.ErrNotFound) {
			t.Errorf("CredentialLastUsed of none: %v", err)
		}
	})
}
