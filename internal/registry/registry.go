// Package registry is the desk: every administrative change passes here, whoever asks for it (HTTP API, command line, admin pages).
// A change is validated, made in one transaction together with its audit line and a new policy version, and announced
// once it is committed, so that it holds at every gate from the next request on.
//
// It imports store, credential, sitefile, table and access. It promises that a method which returned nil has been recorded and is
// in force, that a method which returned an error has changed nothing (but for access.ErrOutcomeUnknown), and that no
// password and no token ever reaches the audit.
//
// Errors are of the kinds of package access: Invalid with the fields that are wrong, ErrNotFound, ErrConflict (somebody else
// changed the object meanwhile, or it is needed as it is), ErrDenied, ErrUnavailable.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// Config holds what a Registry needs. Store and Keys must be given.
type Config struct {
	Store      *store.Store
	Keys       *credential.Keyring
	Changed    func()           // told after each committed change of the policy; nil = nobody
	Now        func() time.Time // nil = time.Now
	Logger     *slog.Logger     // nil = slog.Default
	IdleDays   int              // user tokens made at a login end after so many days without use; 0 = never
	LoginSlots int              // password hashes computed at the same time; 0 = max(1, cores-1)
	LoginFloor time.Duration    // no login fails in less than this; 0 = 400 ms
}

// Registry is the desk. Its methods may be called at the same time.
type Registry struct {
	store    *store.Store
	keys     *credential.Keyring
	changed  func()
	now      func() time.Time
	logger   *slog.Logger
	idleDays int
	floor    time.Duration
	slots    *slots
	kind     prevailing
	failures failures
	logins   logins

	directory directory
}

// New makes the desk of a site. Close it to have the last refused logins written.
func New(c Config) *Registry {
	r := &Registry{
		store: c.Store, keys: c.Keys, changed: c.Changed, now: c.Now, logger: c.Logger,
		idleDays: c.IdleDays, floor: c.LoginFloor,
	}
	if r.changed == nil {
		r.changed = func() {}
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.logger == nil {
		r.logger = slog.Default()
	}
	if r.floor == 0 {
		r.floor = 400 * time.Millisecond
	}
	n := c.LoginSlots
	if n <= 0 {
		n = max(1, runtime.NumCPU()-1)
	}
	r.slots = newSlots(n)
	return r
}

// change is the desk's part of one transaction. Its methods validate, write and record; exported methods of Registry are thin
// wrappers that open the transaction, and a plan of many changes calls several of them in one.
//
// They never compute a password hash and never wait for anything but the database: whoever opens the transaction does that before.
type change struct {
	*store.Tx
	r         *Registry
	ownerLost bool // an owner was removed, demoted or shut out: finish sees to it that another one is left
	sealing   *credential.Keyring
}

// ErrLastOwner refuses to take away the only active owner: nobody could give the role back.
var ErrLastOwner = fmt.Errorf("this is the last active owner; make somebody else an owner first: %w", access.ErrConflict)

// change runs fn in one transaction of the desk and announces the new policy after the commit.
func (r *Registry) change(ctx context.Context, actor access.Actor, fn func(*change) error) error {
	_, changed, err := r.store.Change(ctx, actor, func(tx *store.Tx) error {
		c := &change{Tx: tx, r: r}
		if err := fn(c); err != nil {
			return err
		}
		return c.finish()
	})
	if changed || errors.Is(err, access.ErrOutcomeUnknown) {
		r.changed()
	}
	return err
}

// finish checks what must hold at the end of a transaction, whatever it was made of.
func (c *change) finish() error {
	if !c.ownerLost {
		return nil
	}
	has, err := c.HasOwner()
	if err != nil {
		return err
	}
	if !has {
		return ErrLastOwner
	}
	return nil
}

// changing runs fn in a transaction of the desk and returns what it made. what names the change in errors.
func changing[T any](ctx context.Context, r *Registry, actor access.Actor, what string, fn func(*change) (T, error)) (T, error) {
	var made T
	err := r.change(ctx, actor, func(c *change) (err error) {
		made, err = fn(c)
		return err
	})
	if err != nil {
		var none T
		return none, fmt.Errorf("%s: %w", what, err)
	}
	return made, nil
}

// reading runs fn in a read-only snapshot and returns what it found.
func reading[T any](ctx context.Context, r *Registry, fn func(*store.Tx) (T, error)) (T, error) {
	var found T
	err := r.store.View(ctx, func(tx *store.Tx) (err error) {
		found, err = fn(tx)
		return err
	})
	return found, err
}

// unlessKept drops what is wrong with fields that stay as they were: what was entered under laxer rules must not keep anybody from being shut out.
func unlessKept(err error, was, is access.Fields) error {
	var bad access.Invalid
	if !errors.As(err, &bad) {
		return err
	}
	return slices.DeleteFunc(bad, func(e access.FieldError) bool {
		before, had := was[e.Field]
		return had && before == is[e.Field]
	}).OrNil()
}

// fresh reports an object that is not of the version that its editor saw (0 = any).
func fresh(what string, seen, now int64) error {
	if seen == 0 || seen == now {
		return nil
	}
	return fmt.Errorf("%s was changed meanwhile (version %d, seen %d): %w", what, now, seen, access.ErrConflict)
}

// refers turns the absence of something that a field names into a fault of that field.
func refers(err error, field string) error {
	if errors.Is(err, access.ErrNotFound) {
		return access.Invalid{{Field: field, Code: access.CodeUnknown}}
	}
	return err
}
