package registry_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// Two desks on one database, as two replicas or a server and the command line are.

// together runs fn on both desks several times at once and returns the errors.
func together(t *testing.T, a *desk, times int, fn func(d *desk, n int) error) []error {
	t.Helper()
	desks := []*desk{a, open(t, a.db, registry.Config{})}
	errs := make([]error, times)
	var wg sync.WaitGroup
	for n := range times {
		wg.Go(func() { errs[n] = fn(desks[n%2], n) })
	}
	wg.Wait()
	return errs
}

// wantOne expects that all but one failed, each with an error that lost likes.
func wantOne(t *testing.T, what string, errs []error, lost func(error) bool) {
	t.Helper()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !lost(err):
			t.Errorf("%s: unexpected error: %v", what, err)
		}
	}
	if won != 1 {
		t.Errorf("%s: %d of %d won, want 1", what, won, len(errs))
	}
}

func conflict(err error) bool { return errors.Is(err, access.ErrConflict) }

func taken(err error) bool {
	var bad access.Invalid
	return errors.As(err, &bad) && len(bad) == 1 && bad[0].Code == access.CodeTaken
}

func TestTogether(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		g := must(d.CreateGate(ctx, clerk, access.Gate{Code: "g"}))(t)
		wantOne(t, "editors of one gate", together(t, d, 8, func(d *desk, n int) error {
			g := g
			g.ReleaseMS = n + 1
			_, err := d.UpdateGate(ctx, clerk, g)
			return err
		}), conflict)
		wantOne(t, "users of one name", together(t, d, 8, func(d *desk, _ int) error {
			_, err := d.CreateUser(ctx, clerk, access.User{Username: "same", Active: true}, registry.Password{})
			return err
		}), taken)
		users := []access.User{d.user("u0"), d.user("u1")}
		wantOne(t, "users of one token", together(t, d, 2, func(d *desk, n int) error {
			_, err := d.AddToken(ctx, clerk, users[n].ID, "one-token", "")
			return err
		}), taken)
		for n := range users {
			if err := d.GrantRole(ctx, clerk, users[n].ID, access.Owner, 0); err != nil {
				t.Fatal(err)
			}
		}
		wantOne(t, "the last two owners demoted at once", together(t, d, 2, func(d *desk, n int) error {
			return d.RevokeRole(ctx, clerk, users[n].ID, 0)
		}), func(err error) bool { return errors.Is(err, registry.ErrLastOwner) })

		for _, err := range together(t, d, 8, func(d *desk, n int) error {
			_, err := d.GrantPermission(ctx, clerk, access.Permission{GateID: g.ID, UserID: users[n%2].ID})
			return err
		}) {
			if err != nil {
				t.Errorf("grants at once: %v", err)
			}
		}
		if list := must(d.Permissions(ctx, registry.PermissionFilter{}))(t); len(list) != 2 {
			t.Errorf("grants at once: got %d rows, want 2", len(list))
		}
		d.follow("changes at once")
	})
}

// TestRegisterTogether: a phone that asks many times at once has one device with one token, the last that was given.
func TestRegisterTogether(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		caller := d.token(d.user("ann"), "ann-token")
		android := "a"
		got := make([]registry.RegisteredDevice, 16)
		for _, err := range together(t, d, len(got), func(d *desk, n int) (err error) {
			got[n], err = d.RegisterDevice(ctx, app, caller, registry.RegisterInput{Rotate: n%3 > 0, AndroidDeviceID: &android})
			return err
		}) {
			if err != nil {
				t.Errorf("register: %v", err)
			}
		}
		tokens := must(d.Tokens(ctx, registry.TokenFilter{Kind: access.DeviceToken}))(t)
		devices := must(d.DevicesOf(ctx, caller.User.ID))(t)
		if len(devices) != 1 || len(tokens) != 1 || tokens[0].DeviceID != devices[0].ID {
			t.Fatalf("got devices %+v with tokens %+v, want one of each", devices, tokens)
		}
		last := must(d.RegisterDevice(ctx, app, caller, registry.RegisterInput{}))(t)
		known := fmt.Sprint(got)
		for _, r := range got {
			if r.ID == last.ID && r.Token == last.Token {
				d.follow("registrations at once")
				return
			}
		}
		t.Errorf("the token in force, %+v, is none of those given: %s", last, known)
	})
}
