package gatekeeper

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/decide"
)

// PolicySource is what the database knows of the policy. store.Store is one.
type PolicySource interface {
	PolicyMark(ctx context.Context) (access.PolicyMark, error)
	// LoadPolicy tells the whole policy, as of one instant, and its mark.
	LoadPolicy(ctx context.Context, sink access.PolicySink) (access.PolicyMark, error)
	// PolicyChanges is what changed since a mark, up to the newest committed policy.
	PolicyChanges(ctx context.Context, since access.PolicyMark) (access.PolicyDelta, error)
	// CredentialLastUsed is the day of the last use that is written, days since 1970-01-01 UTC.
	CredentialLastUsed(ctx context.Context, id int64) (day int, err error)
	// TouchCredentials writes that the credentials were used on that day, if the day that is written is earlier.
	TouchCredentials(ctx context.Context, day int, ids []int64) error
}

// policy is the newest snapshot known here. It satisfies eventlog.Policies.
type policy struct {
	source   PolicySource
	keys     *credential.Keyring
	idleDays int
	logger   *slog.Logger
	current  atomic.Pointer[decide.Snapshot] // nil until loaded
	turn     chan struct{}                   // holds a token while somebody moves current
	changed  chan struct{}
	seen     atomic.Int64 // when current was last known to be the newest, Unix nanoseconds
	keyless  atomic.Bool  // current has tokens whose key is not here: who presents one would be taken for a stranger. Set before current, cleared after
}

func newPolicy(source PolicySource, keys *credential.Keyring, idleDays int, logger *slog.Logger) policy {
	return policy{source: source, keys: keys, idleDays: idleDays, logger: logger, turn: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

// Mark is the policy that decides now.
func (p *policy) Mark() access.PolicyMark {
	if s := p.current.Load(); s != nil {
		return s.Mark()
	}
	return access.PolicyMark{}
}

// Changed asks for catching up soon.
func (p *policy) Changed() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// CatchUp moves to the newest policy that was committed when it was called, or to a newer one.
func (p *policy) CatchUp(ctx context.Context) (err error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for another to catch up with the policy: %w", ctx.Err())
	}
	defer func() {
		if err == nil {
			p.seen.Store(time.Now().UnixNano())
		}
		<-p.turn
	}()
	old := p.current.Load()
	if old == nil {
		return p.load(ctx)
	}
	short, cancel := context.WithTimeout(ctx, lookTimeout)
	delta, err := p.source.PolicyChanges(short, old.Mark())
	cancel()
	switch {
	case err != nil:
		return fmt.Errorf("read what changed since policy %d: %w", old.Mark().Version, err)
	case delta.Rebuild:
		return p.load(ctx)
	case delta.Mark != old.Mark():
		p.move(old.With(delta), delta.Site)
	}
	return nil
}

// load compiles the whole policy. The turn is held.
func (p *policy) load(ctx context.Context) error {
	began := time.Now()
	b := siteReader{Builder: decide.NewBuilder(p.idleDays)}
	mark, err := p.source.LoadPolicy(ctx, &b)
	if err != nil {
		return fmt.Errorf("load the policy: %w", err)
	}
	p.move(b.Snapshot(mark), &b.site)
	p.logger.Info("gatekeeper: policy loaded", "version", mark.Version, "took_ms", time.Since(began).Milliseconds())
	return nil
}

// move makes a snapshot the current one. site is what it says of the site; nil = what the one before it says. The turn is held.
func (p *policy) move(to *decide.Snapshot, site *access.PolicySite) {
	was := p.keyless.Load()
	keyless := was
	if site != nil {
		_, err := p.keys.Under(site.KeyCheck)
		keyless = err != nil
	}
	if keyless && !was {
		p.logger.Error("gatekeeper: nothing can be decided; gates are told UNAVAILABLE", "error", credential.ErrOtherKey)
		p.keyless.Store(true)
	}
	p.current.Store(to)
	if was && !keyless {
		p.keyless.Store(false)
		p.logger.Info("gatekeeper: the keys of all tokens are known again")
	}
}

// siteReader keeps what the policy says of the site.
type siteReader struct {
	*decide.Builder
	site access.PolicySite
}

func (r *siteReader) Site(site access.PolicySite) {
	r.site = site
	r.Builder.Site(site)
}

// use tells the snapshot that credentials were used on a day. The policy's mark stays.
func (p *policy) use(ctx context.Context, day int, ids []int64) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-p.turn }()
	if s := p.current.Load(); s != nil {
		p.current.Store(s.WithUse(day, ids))
	}
}

// follow keeps the snapshot fresh: it looks at the policy's mark every so often (never, if poll < 0), and when told. Freshness only saves
// the event log a second round: a decision on an older policy is not recorded in any case.
func (p *policy) follow(ctx context.Context, poll time.Duration) {
	var tick <-chan time.Time
	if poll > 0 {
		t := time.NewTicker(poll)
		defer t.Stop()
		tick = t.C
	}
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		case <-tick:
		}
		err := p.refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			p.logger.Error("gatekeeper: the policy cannot be read; trying again", "error", err)
		case err == nil && failing:
			p.logger.Info("gatekeeper: the policy is read again")
		}
		failing = err != nil
	}
}

const (
	lookTimeout = 5 * time.Second // of a look at the policy's mark, or at what changed: a connection that died meanwhile is to be told soon
	loadTimeout = 5 * time.Minute // of loading it all: a great site on a small board takes its time, and is shut until it is done
)

func (p *policy) refresh(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, lookTimeout)
	mark, err := p.source.PolicyMark(short)
	cancel()
	if err != nil {
		return err
	}
	if mark == p.Mark() {
		p.seen.Store(time.Now().UnixNano())
		return nil
	}
	ctx, cancel = context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	return p.CatchUp(ctx)
}
