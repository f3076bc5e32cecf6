package gatekeeper

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/decide"
	"github.com/openway-access/openway/internal/eventlog"
	"github.com/openway-access/openway/internal/throttle"
)

// Config says what a Gatekeeper works with. Zero values of numbers and times stand for the defaults.
type Config struct {
	Source PolicySource
	Keys   *credential.Keyring
	// Events is how decisions are recorded. Policies, Now and Logger are filled in by New.
	Events eventlog.Config

	VerifyRate throttle.Rate // per client address; zero = no limit
	IdleDays   int           // after how many days without use tokens end; 0 = never
	Poll       time.Duration // how often the policy's version is looked at. Default 250 ms; below 0 = never
	TouchEvery time.Duration // how often days of last use are written. Default 5 s

	Now    func() time.Time // nil = time.Now
	Logger *slog.Logger     // nil = discarded
}

// RetryAfter is what a client is told to wait after an answer UNAVAILABLE.
const RetryAfter = 2 * time.Second

// Gatekeeper answers at the gates. Its methods may be called from many goroutines.
type Gatekeeper struct {
	cfg      Config
	policy   policy
	log      *eventlog.Log
	limiter  *throttle.Limiter[netip.Prefix]
	denials  *folds // INVALID_REQUEST, UNKNOWN_GATE, TOKEN_INVALID
	limited  *folds // RATE_LIMIT
	uses     uses
	tally    tally
	calls    sync.Pool // of *call
	stop     context.CancelFunc
	loops    sync.WaitGroup // what works with the database
	folding  sync.WaitGroup
	closing  sync.Once
	closeErr error
}

// New makes a Gatekeeper that answers nothing but UNAVAILABLE until Start.
func New(cfg Config) *Gatekeeper {
	if cfg.Poll == 0 {
		cfg.Poll = 250 * time.Millisecond
	}
	if cfg.TouchEvery <= 0 {
		cfg.TouchEvery = 5 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gatekeeper{
		cfg:     cfg,
		policy:  newPolicy(cfg.Source, cfg.Keys, cfg.IdleDays, cfg.Logger),
		limiter: throttle.New[netip.Prefix](cfg.VerifyRate, maxAddresses, cfg.Now),
		denials: newFolds(time.Second, maxSingle, maxAddresses),
		limited: newFolds(time.Minute, 0, maxAddresses),
		stop:    func() {},
	}
	cfg.Events.Policies, cfg.Events.Now, cfg.Events.Logger = &g.policy, cfg.Now, cfg.Logger
	g.log = eventlog.New(cfg.Events)
	g.uses.init(cfg.Source, &g.policy, cfg.Logger)
	g.calls.New = func() any {
		c := &call{keeper: g}
		c.again = c.redecide
		return c
	}
	return g
}

// Start loads the policy and begins to answer. It fails when the database cannot be reached.
func (g *Gatekeeper) Start(ctx context.Context) error {
	if err := g.policy.CatchUp(ctx); err != nil {
		return fmt.Errorf("gatekeeper: load the policy: %w", err)
	}
	if err := g.log.Start(ctx); err != nil {
		return fmt.Errorf("gatekeeper: %w", err)
	}
	run, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.loops.Go(func() { g.policy.follow(run, g.cfg.Poll) })
	g.folding.Go(func() { g.writeFolds(run) })
	g.loops.Go(func() { g.uses.write(run, g.cfg.TouchEvery) })
	return nil
}

// Close answers UNAVAILABLE from now on, writes what was folded, and returns when every decision that was accepted is recorded or
// answered, and then the days of last use are written. When ctx ends first, the error says what was lost. Stop listening before.
func (g *Gatekeeper) Close(ctx context.Context) error {
	g.closing.Do(func() {
		g.stop()
		g.folding.Wait()
		g.postFolds(true)
		g.closeErr = g.log.Close(ctx)
		settled := make(chan struct{})
		go func() {
			defer close(settled)
			g.loops.Wait()
			g.uses.flush(ctx)
		}()
		select {
		case <-settled:
		case <-ctx.Done(): // a disk that hangs does not look at contexts
		}
	})
	return g.closeErr
}

// Changed tells that the policy has changed: catch up now rather than at the next poll.
func (g *Gatekeeper) Changed() { g.policy.Changed() }

// Ready reports why nothing can be decided here for as long as the process has the keys that it has; nil = nothing of the kind.
func (g *Gatekeeper) Ready() error {
	if g.policy.keyless.Load() {
		return credential.ErrOtherKey
	}
	return nil
}

// Policy is what the snapshot holds at hand, for metrics.
func (g *Gatekeeper) Policy() (access.PolicyMark, decide.Stats) {
	s := g.policy.current.Load()
	if s == nil {
		return access.PolicyMark{}, decide.Stats{}
	}
	return s.Mark(), s.Stats()
}

// Events counts what the event log did, for metrics.
func (g *Gatekeeper) Events() eventlog.Stats { return g.log.Stats() }

// Request is one question of a gate. Its strings must stay as they are after Verify has returned.
type Request struct {
	Gate      string     // the gate's code, trimmed
	Token     string     // trimmed
	Malformed bool       // the body could not be read as a request: INVALID_REQUEST. Gate and Token do not matter then
	Presented string     // with Malformed: the gate's code as far as it could be read, "" = not
	Address   netip.Addr // of the client
	RequestID string
	At        time.Time // when the request was accepted; zero = now
}

// Answer is what the gate is told.
type Answer struct {
	Outcome    access.Outcome
	Reason     access.Reason
	ReleaseMS  int           // how long the lock opens, milliseconds; 0 unless ALLOW
	RetryAfter time.Duration // with RATE_LIMIT and UNAVAILABLE; else 0
	UserID     int64         // whose token it was, for the server's log; 0 = unknown
	Gate       string        // the gate's code as the server's log may show it
}

// Verify decides, has the decision recorded, and answers. Call Admit first, before the body is read.
func (g *Gatekeeper) Verify(ctx context.Context, r Request) Answer {
	snapshot := g.policy.current.Load()
	if snapshot == nil {
		return g.unavailable(access.ShownGate(r.Gate))
	}
	if r.At.IsZero() {
		r.At = g.cfg.Now()
	}
	c := g.calls.Get().(*call)
	c.begin(r)
	c.decide(snapshot)
	if g.policy.keyless.Load() {
		return g.refuse(c)
	}
	if c.decision.IdleEnded {
		asked := time.Now()
		day, err := g.uses.confirm(ctx, c.decision.CredentialID)
		if err != nil {
			return g.refuse(c)
		}
		c.lastUsed = day
		c.entry.Waited = time.Since(asked)
		c.decide(snapshot)
	}
	if g.foldDenial(c, r.Address) {
		answer := c.answer()
		g.calls.Put(c)
		return answer
	}
	shown := c.shown
	if err := g.log.Append(ctx, &c.entry); err != nil {
		return g.unavailable(shown) // c belongs to the log now
	}
	if c.decision.Touch {
		g.uses.touch(c.decision.CredentialID, c.day())
	}
	answer := c.answer()
	g.calls.Put(c)
	return answer
}

// refuse answers a call that is not to be decided.
func (g *Gatekeeper) refuse(c *call) Answer {
	g.log.Refuse(&c.entry.Event)
	shown := c.shown
	g.calls.Put(c)
	return g.unavailable(shown)
}

func (g *Gatekeeper) unavailable(gate string) Answer {
	g.tally.add("", access.Unavailable) // which gate it was is not known in every case
	return Answer{Outcome: access.Deny, Reason: access.Unavailable, RetryAfter: RetryAfter, Gate: gate}
}

// call is one request on its way. Calls are used again and again.
type call struct {
	keeper    *Gatekeeper
	entry     eventlog.Entry
	again     func(*eventlog.Entry) bool // redecide, bound once
	presented credential.Presented
	gate      string
	shown     string // the gate's code for logs and events
	at        int64  // Unix microseconds
	lastUsed  int    // day of the credential's last use as the database knows it; 0 = go by the snapshot
	malformed bool
	decision  decide.Decision
}

// begin fills in what does not depend on the policy.
func (c *call) begin(r Request) {
	at := r.At.UTC().Truncate(time.Microsecond)
	c.gate, c.malformed, c.lastUsed, c.at = r.Gate, r.Malformed, 0, at.UnixMicro()
	c.entry.Waited = 0
	c.entry.Redecide = c.again
	c.entry.Event = access.Event{
		Kind: access.DecisionEvent, At: at, Count: 1, Address: addressText(r.Address), RequestID: r.RequestID,
	}
	if r.Malformed {
		c.gate, c.presented.N = r.Presented, 0
		c.entry.Redecide = nil
		return
	}
	c.keeper.cfg.Keys.Present(r.Token, &c.presented)
	c.entry.Event.Fingerprint = string(c.presented.Fingerprint[:])
}

// decide fills in what the policy says.
func (c *call) decide(s *decide.Snapshot) {
	d := s.Decide(decide.Request{Gate: c.gate, Lookups: c.presented.Lookups[:c.presented.N], At: c.at, LastUsedDay: c.lastUsed})
	if c.malformed {
		d = decide.Decision{Outcome: access.Deny, Reason: access.InvalidRequest, GateID: d.GateID}
	}
	c.decision, c.entry.Mark = d, s.Mark()
	ev := &c.entry.Event
	ev.PolicyVersion = s.Mark().Version
	ev.Decision, ev.Reason = d.Outcome, d.Reason
	ev.GateID, ev.UserID, ev.CredentialID, ev.DeviceID, ev.PermissionID = d.GateID, d.UserID, d.CredentialID, d.DeviceID, d.PermissionID
	ev.PresentedGate, c.shown = "", c.gate
	if d.GateID == 0 && c.gate != "" {
		c.shown = c.covered(s)
		ev.PresentedGate = c.shown
	}
}

// covered is the code of an unknown gate as logs and events may show it: a client that swaps the two fields presents its token as a gate.
func (c *call) covered(s *decide.Snapshot) string {
	var swapped credential.Presented
	c.keeper.cfg.Keys.Present(c.gate, &swapped)
	if s.Knows(swapped.Lookups[:swapped.N]) {
		return credential.Preview(c.gate)
	}
	return access.ShownGate(c.gate)
}

// redecide decides again, by the policy at hand. An idle end that only now shows itself is not confirmed: the lane must not wait for the database.
func (c *call) redecide(*eventlog.Entry) bool {
	s := c.keeper.policy.current.Load()
	if c.keeper.policy.keyless.Load() {
		return false
	}
	c.decide(s)
	return true
}

func (c *call) answer() Answer {
	known := ""
	if c.decision.GateID != 0 {
		known = c.gate
	}
	c.keeper.tally.add(known, c.decision.Reason)
	return Answer{Outcome: c.decision.Outcome, Reason: c.decision.Reason, ReleaseMS: c.decision.ReleaseMS, UserID: c.decision.UserID, Gate: c.shown}
}

func (c *call) day() int { return int(c.at / access.MicrosPerDay) }

// addressText is the address as events show it: without a zone, IPv4 as such.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().WithZone("").String()
}
