package registry

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/sitefile"
	"github.com/openway-access/openway/internal/store"
)

// ApplyOptions say how a site file is applied.
type ApplyOptions struct {
	DryRun        bool                  // make the plan, change nothing
	Prune         bool                  // delete what is not in the file
	WeakPasswords bool                  // take passwords that break the rules
	Confirm       func(*Plan) bool      // asked when there is something to do, before it is done; nil = yes
	Progress      func(done, total int) // told after each password that was hashed or compared; nil = nobody
}

// ErrDeclined is returned when Confirm said no. Nothing was changed.
var ErrDeclined = errors.New("nothing was changed")

// Apply makes the site what a file declares, in one transaction, through the same methods as every other change: each thing is validated,
// audited and in force at once. It is idempotent. The error is a *sitefile.Mistakes when the file does not fit the
// site (unknown names, weak passwords, tokens of somebody else), and access.ErrConflict when the site was changed
// between the plan and the transaction so that the plan would be another one.
//
// Passwords are hashed before the transaction; a declared password that matches the stored hash is unchanged. New objects get their ids
// in the file's order, beginning after the last id used.
func (r *Registry) Apply(ctx context.Context, actor access.Actor, site *sitefile.Site, opts ApplyOptions) (*Plan, error) {
	now, err := reading(ctx, r, func(tx *store.Tx) (*siteState, error) { return readSite(tx, site, r.keys) })
	if err != nil {
		return nil, fmt.Errorf("apply %s: %w", site.File, err)
	}
	bad := &sitefile.Mistakes{File: site.File}
	hidden, err := r.compareSecrets(ctx, site, now, opts, bad)
	if err != nil {
		return nil, err
	}
	p := newPlanner(site, now, r.keys, hidden, opts.Prune, bad)
	if err := p.make(); err != nil {
		return nil, err
	}
	if opts.DryRun {
		return p.plan, nil
	}
	if p.plan.Empty() { // it is so already: as surely as if it had been done now
		if err := r.store.Settle(ctx); err != nil {
			return nil, fmt.Errorf("apply %s: %w", site.File, err)
		}
		return p.plan, nil
	}
	if opts.Confirm != nil && !opts.Confirm(p.plan) {
		return p.plan, ErrDeclined
	}
	if err := r.hashSecrets(ctx, site, hidden, opts); err != nil {
		return nil, err
	}
	err = r.change(ctx, actor, func(c *change) error { return c.apply(site, p, hidden) })
	if err != nil {
		return nil, fmt.Errorf("apply %s: %w", site.File, err)
	}
	return p.plan, nil
}

// apply carries the plan out that was shown. If anything was changed since, it first makes the plan again on what is there now, and sees that
// it is the same: with a great site that takes long, and the gates wait meanwhile.
func (c *change) apply(site *sitefile.Site, shown *planner, hidden secrets) error {
	p := shown
	if c.Was != shown.now.mark {
		var err error
		if p, err = c.planAgain(site, shown, hidden); err != nil {
			return err
		}
	}
	for _, do := range p.work {
		if err := do(c); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) planAgain(site *sitefile.Site, shown *planner, hidden secrets) (*planner, error) {
	now, err := readSite(c.Tx, site, c.r.keys)
	if err != nil {
		return nil, err
	}
	p := newPlanner(site, now, c.r.keys, hidden, shown.prune, &sitefile.Mistakes{File: site.File})
	if err := p.make(); err != nil {
		return nil, fmt.Errorf("the site was changed meanwhile (%w): %w", err, access.ErrConflict)
	}
	for name, s := range hidden {
		if s.userID != 0 && now.hashes[s.userID] != s.seen {
			return nil, fmt.Errorf("the password of user %s was changed meanwhile: apply again: %w", name, access.ErrConflict)
		}
	}
	if !p.plan.same(shown.plan) {
		return nil, fmt.Errorf("the site was changed meanwhile, and the plan with it: apply again: %w", access.ErrConflict)
	}
	return p, nil
}

// secret is what becomes of one user's password.
type secret struct {
	userID  int64  // 0 = the user is new
	seen    string // the hash that was stored when it was compared
	set     bool   // a new one is to be stored
	hash    string // the new one, once it has been computed
	renewed bool   // an old hash was declared, a newer one of perhaps the same password is there
	about   access.User
	earlier []string
}

// secrets are the users of a file whose password or password_hash it declares, by user name.
type secrets map[string]*secret

// of returns the hash that was seen and the one to store; "!" for a user without a password.
func (s secrets) of(u sitefile.User) (seen, hash string) {
	if x, ok := s[u.Username]; ok {
		return x.seen, x.hash
	}
	return "", unusable
}

// compareSecrets finds out which declared passwords are already in force and holds the others against the rules, noting in bad what breaks them.
func (r *Registry) compareSecrets(ctx context.Context, site *sitefile.Site, now *siteState, opts ApplyOptions, bad *sitefile.Mistakes) (secrets, error) {
	all := secrets{}
	var compare []func() error
	for _, u := range site.Users {
		if u.Password == "" && u.PasswordHash == "" {
			continue
		}
		s := &secret{set: true, about: access.User{Username: u.Username, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email}}
		all[u.Username] = s
		if found, _, _ := declared(u.Username, u.Was, now.users); found != nil {
			s.userID, s.seen = found.ID, now.hashes[found.ID]
		}
		switch {
		case u.PasswordHash != "":
			s.compareHash(u.PasswordHash)
		case s.seen != "":
			compare = append(compare, func() error {
				same, _ := credential.VerifyPassword(s.seen, u.Password)
				s.set = !same
				return nil
			})
		}
	}
	if err := inParallel(ctx, compare, opts.Progress); err != nil {
		return nil, err
	}
	for _, u := range site.Users {
		if u.PasswordHash != "" && !strings.HasPrefix(u.PasswordHash, unusable) && !credential.ReadableHash(u.PasswordHash) {
			bad.Add(u.Place, "password_hash", "is neither argon2id nor pbkdf2_sha256 at a sane cost")
		}
		if s, ok := all[u.Username]; ok && s.set && u.Password != "" {
			noteInvalid(bad, u, rules(Password{Plain: u.Password, SkipRules: opts.WeakPasswords}, s.about))
		}
	}
	if len(bad.List) > 0 {
		return all, nil // enough to say; hashing takes long
	}
	return all, r.refuseEarlier(ctx, site, all, opts, bad)
}

// compareHash decides about a declared hash without knowing the password. An argon2id hash that is stored is not replaced by one of another
// kind or cost: logins renew old hashes, and applying the same file again must not undo that.
func (s *secret) compareHash(hash string) {
	switch {
	case strings.HasPrefix(hash, unusable):
		s.set = s.seen != "" && !strings.HasPrefix(s.seen, unusable)
		if s.userID == 0 {
			s.set = true
		}
	case s.seen == hash:
		s.set = false
	case argon(s.seen) != "" && argon(hash) != argon(s.seen):
		s.set, s.renewed = false, true
	}
}

// argon is kind and cost of an argon2id hash: its first four fields; "" for others.
func argon(hash string) string {
	parts := strings.SplitN(hash, "$", 5)
	if len(parts) < 5 || parts[1] != "argon2id" {
		return ""
	}
	return strings.Join(parts[:4], "$")
}

func noteInvalid(bad *sitefile.Mistakes, u sitefile.User, invalid access.Invalid) {
	for _, f := range invalid {
		more := ""
		switch f.Code {
		case access.CodePasswordShort, access.CodePasswordKnown, access.CodePasswordDigit, access.CodePasswordAlike:
			more = " (--weak-passwords takes it)"
		case access.CodePasswordUsed:
			more = ": leave the line out to keep the password that the user has now"
		}
		field := f.Field
		f.Field = ""
		bad.Add(u.Place, field, "%s%s", f.Error(), more)
	}
}

// refuseEarlier holds new passwords of users who are there against their last five. It computes their hashes as well.
func (r *Registry) refuseEarlier(ctx context.Context, site *sitefile.Site, all secrets, opts ApplyOptions, bad *sitefile.Mistakes) error {
	err := r.store.View(ctx, func(tx *store.Tx) (err error) {
		for name, s := range all {
			if s.userID == 0 || !s.set {
				continue
			}
			if s.earlier, err = tx.PasswordHashes(s.userID, credential.HistoryLength); err != nil {
				return fmt.Errorf("earlier passwords of %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.hashWhere(ctx, site, all, opts, bad, func(s *secret) bool { return s.userID != 0 })
}

// hashSecrets computes the hashes that are still missing: those of new users.
func (r *Registry) hashSecrets(ctx context.Context, site *sitefile.Site, all secrets, opts ApplyOptions) error {
	bad := &sitefile.Mistakes{File: site.File}
	if err := r.hashWhere(ctx, site, all, opts, bad, func(s *secret) bool { return s.userID == 0 }); err != nil {
		return err
	}
	return bad.OrNil()
}

func (r *Registry) hashWhere(ctx context.Context, site *sitefile.Site, all secrets, opts ApplyOptions, bad *sitefile.Mistakes, which func(*secret) bool) error {
	var mu sync.Mutex
	var work []func() error
	for _, u := range site.Users {
		s, ok := all[u.Username]
		if !ok || !s.set || !which(s) {
			continue
		}
		work = append(work, func() error {
			hash, err := r.hash(ctx, Password{Plain: u.Password, Hash: u.PasswordHash, SkipRules: opts.WeakPasswords}, s.about, s.earlier)
			found, err := invalid(err)
			mu.Lock()
			noteInvalid(bad, u, found)
			mu.Unlock()
			s.hash = hash
			return err
		})
	}
	if err := inParallel(ctx, work, opts.Progress); err != nil {
		return fmt.Errorf("hash passwords of %s: %w", site.File, err)
	}
	return nil
}

// inParallel does heavy work on all cores. It returns the first error.
func inParallel(ctx context.Context, work []func() error, progress func(done, total int)) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	next, done := 0, 0
	var failed error
	for range min(len(work), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= len(work) || failed != nil || ctx.Err() != nil
				mu.Unlock()
				if stop {
					return
				}
				err := work[i]()
				mu.Lock()
				if err != nil && failed == nil {
					failed = err
				}
				if done++; progress != nil {
					progress(done, len(work))
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	return failed
}
