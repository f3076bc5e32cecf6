package gatekeeper_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/throttle"
)

// town is a small site in memory, for tests on a synthetic clock: gates north and south, and users whose ids are those of their credentials.
type town struct {
	keyCheck string
	keys     *credential.Keyring

	mu        sync.Mutex
	mark      access.PolicyMark
	users     map[int64]bool    // active
	tokens    map[string]int64  // token -> user
	lastUsed  map[int64]int     // written day
	loadedDay map[int64]int     // what LoadPolicy tells instead, when set
	grants    map[[2]int64]bool // gate, user
	events    []access.Event
	writers   int64
	asked     int // CredentialLastUsed
	touched   [][]int64
	down      bool
	wait      chan struct{} // CredentialLastUsed waits for it, when set
	loading   chan struct{} // and LoadPolicy, when it has read all
	disk      chan struct{} // and AppendBatch
}

const (
	north = 1
	south = 2
)

// The tokens of ann, who may pass north, and of bob, who may not: one as phones have them, one as people choose them.
const (
	ann = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	bob = "bob's very own word"
)

func newTown(t testing.TB) *town {
	t.Helper()
	keys, err := credential.NewKeyring([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	today := access.Day(time.Now())
	return &town{
		keys: keys, mark: access.PolicyMark{Version: 1, Stamp: 11},
		users: map[int64]bool{1: true, 2: true}, tokens: map[string]int64{ann: 1, bob: 2},
		lastUsed: map[int64]int{1: today, 2: today}, loadedDay: map[int64]int{}, grants: map[[2]int64]bool{{north, 1}: true},
	}
}

var errDown = fmt.Errorf("the town is away: %w", access.ErrUnavailable)

// change edits the policy.
func (m *town) change(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
	m.mark.Version++
	m.mark.Stamp = m.mark.Stamp*31 + 7
}

// with looks at the town, or breaks it, without changing the policy.
func (m *town) with(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
}

func (m *town) PolicyMark(context.Context) (access.PolicyMark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return access.PolicyMark{}, errDown
	}
	return m.mark, nil
}

func (m *town) LoadPolicy(_ context.Context, sink access.PolicySink) (access.PolicyMark, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return access.PolicyMark{}, errDown
	}
	sink.Site(access.PolicySite{DefaultReleaseMS: 800, KeyCheck: m.keyCheck})
	sink.Gate(access.PolicyGate{ID: north, Code: "north", ReleaseMS: 1200})
	sink.Gate(access.PolicyGate{ID: south, Code: "south"})
	for id, active := range m.users {
		sink.User(access.PolicyUser{ID: id, Active: active})
	}
	n := int64(0)
	for g := range m.grants {
		n++
		sink.Permission(access.PolicyPermission{ID: 100*g[0] + g[1], GateID: g[0], UserID: g[1], Allow: true})
	}
	for token, id := range m.tokens {
		day, other := m.loadedDay[id]
		if !other {
			day = m.lastUsed[id]
		}
		sink.Credential(access.PolicyCredential{ID: id, UserID: id, Lookup: m.keys.Lookup(token, access.SchemeSHA256), IdleExpires: true, LastUsedDay: int32(day)})
	}
	mark := m.mark
	if wait := m.loading; wait != nil {
		m.mu.Unlock()
		<-wait
		m.mu.Lock()
	}
	return mark, nil
}

func (m *town) PolicyChanges(context.Context, access.PolicyMark) (access.PolicyDelta, error) {
	return access.PolicyDelta{Rebuild: true}, nil
}

func (m *town) CredentialLastUsed(ctx context.Context, id int64) (int, error) {
	m.mu.Lock()
	m.asked++
	wait := m.wait
	m.mu.Unlock()
	if wait != nil {
		<-wait
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return 0, errDown
	}
	return m.lastUsed[id], nil
}

func (m *town) TouchCredentials(_ context.Context, day int, ids []int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return errDown
	}
	m.touched = append(m.touched, append([]int64(nil), ids...))
	for _, id := range ids {
		m.lastUsed[id] = max(m.lastUsed[id], day)
	}
	return nil
}

func (m *town) ClaimWriter(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return 0, errDown
	}
	m.writers++
	return m.writers, nil
}

func (m *town) RetireWriter(context.Context, int64) error { return nil }

func (m *town) AppendBatch(_ context.Context, _, _ int64, b *access.EventBatch) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if wait := m.disk; wait != nil {
		m.mu.Unlock()
		<-wait
		m.mu.Lock()
	}
	if m.down {
		return false, errDown
	}
	if b.Policy != m.mark {
		return false, nil
	}
	for _, e := range b.Events {
		m.events = append(m.events, *e)
	}
	return true, nil
}

func (m *town) AppendBatchHeld(context.Context, int64, int64, func(context.Context, access.PolicyMark) (*access.EventBatch, error)) error {
	return errors.New("the town's policy does not move that fast")
}

func (m *town) FenceBatch(context.Context, int64, int64) (bool, int, error) { return false, 0, nil }

// recorded takes the events out that came since it was last called.
func (m *town) recorded() []access.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	events := m.events
	m.events = nil
	return events
}

// guard opens the town's gates. The caller closes it before the end of the test.
func (m *town) guard(t testing.TB, edit func(*gatekeeper.Config)) *gatekeeper.Gatekeeper {
	t.Helper()
	cfg := gatekeeper.Config{Source: m, Keys: m.keys, IdleDays: 90, Events: eventlog.Config{Appender: m}}
	if edit != nil {
		edit(&cfg)
	}
	g := gatekeeper.New(cfg)
	if err := g.Start(t.Context()); err != nil {
		t.Fatalf("start: %v", err)
	}
	return g
}

func leave(t testing.TB, g *gatekeeper.Gatekeeper) {
	t.Helper()
	if err := g.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// ask is a request that arrives now.
func ask(gate, token string) gatekeeper.Request {
	return gatekeeper.Request{Gate: gate, Token: token, Address: netip.MustParseAddr("192.0.2.7"), RequestID: "r"}
}

// pass lets time pass on the synthetic clock.
func pass(d time.Duration) { <-time.After(d) }

func perSecond(n int) throttle.Rate { return throttle.Rate{N: n, Per: time.Second} }
