package registry_test

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/registry"
)

// TestRekey changes the server's key as an operator does: the new one with the old one as a fallback, rekey, the new one alone.
func TestRekey(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		if err := d.CheckKey(ctx); err != nil {
			t.Fatalf("the first key a database sees: %v", err)
		}
		d.policy = d.load() // a server reads the policy after that
		ann := d.user("ann")
		caller := d.token(ann, "ann-token")
		dev := must(d.RegisterDevice(ctx, app, caller, registry.RegisterInput{}))(t)
		for i := range 3 {
			d.token(ann, fmt.Sprintf("ann-token-%d", i))
		}
		if err := d.RevokeToken(ctx, clerk, d.caller("ann-token-2").CredentialID); err != nil {
			t.Fatal(err)
		}

		alone := open(t, d.db, registry.Config{Keys: keys(t, newKey)})
		wantKind(t, "start with another key", alone.CheckKey(ctx), registry.ErrWrongKey)
		_, err := alone.Rekey(ctx, clerk)
		wantKind(t, "rekey without the old key", err, registry.ErrWrongKey)

		both := open(t, d.db, registry.Config{Keys: keys(t, newKey, oldKey)})
		if err := both.CheckKey(ctx); err != nil {
			t.Fatalf("start with the old key as a fallback: %v", err)
		}
		both.caller("ann-token")
		both.token(ann, "made-meanwhile")
		d.caller("made-meanwhile") // under the key that all have
		_, err = both.AddToken(ctx, clerk, d.user("bob").ID, "ann-token", "")
		wantInvalid(t, "a token that stands under the old key", err, "token", access.CodeTaken)
		d.follow("preparations")

		done, err := both.Rekey(ctx, clerk)
		if want := (registry.Rekeyed{Sealed: 5, Lookups: 4}); err != nil || done != want {
			t.Errorf("rekey: got %+v, %v; want %+v", done, err, want)
		}
		d.follow("rekey")
		done, err = both.Rekey(ctx, clerk)
		if want := (registry.Rekeyed{Already: 5}); err != nil || done != want {
			t.Errorf("rekey again: got %+v, %v; want %+v", done, err, want)
		}

		if err := alone.CheckKey(ctx); err != nil {
			t.Errorf("start with the new key alone: %v", err)
		}
		alone.caller("ann-token-1")
		if kept := must(alone.RegisterDevice(ctx, app, alone.caller("ann-token"), registry.RegisterInput{}))(t); kept.Token != dev.Token {
			t.Errorf("the phone's token: got %q, want %q", kept.Token, dev.Token)
		}
		wantKind(t, "start with the old key", d.CheckKey(ctx), registry.ErrWrongKey)

		// Who runs on with the old key alone makes nothing that nobody else could open, and takes nobody for a stranger.
		_, err = d.AddToken(ctx, clerk, ann.ID, "another-token", "")
		wantKind(t, "a token under the old key", err, credential.ErrOtherKey)
		_, err = d.RegisterDevice(ctx, app, caller, registry.RegisterInput{Rotate: true})
		wantKind(t, "a phone under the old key", err, access.ErrUnavailable)
		_, err = d.Authenticate(ctx, "ann-token")
		wantKind(t, "a good token", err, access.ErrUnavailable)
	})
}

// TestRekeyOfManyBatches goes over more tokens than one transaction takes.
func TestRekeyOfManyBatches(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		withTokens(t, d, 205)
		both := open(t, d.db, registry.Config{Keys: keys(t, newKey, oldKey)})
		done, err := both.Rekey(ctx, clerk)
		if want := (registry.Rekeyed{Sealed: 205, Lookups: 205}); err != nil || done != want {
			t.Errorf("rekey: got %+v, %v; want %+v", done, err, want)
		}
		open(t, d.db, registry.Config{Keys: keys(t, newKey)}).caller("ann-token-204")
	})
}

// withTokens gives ann so many tokens, kept under the desk's key.
func withTokens(t *testing.T, d *desk, n int) {
	t.Helper()
	if err := d.CheckKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	ann := d.user("ann")
	for i := range n {
		must(d.AddToken(t.Context(), clerk, ann.ID, fmt.Sprintf("ann-token-%d", i), ""))(t)
	}
}

// TestRekeysThatMeet: of two that run at once, to one key and back again, none leaves tokens under a key that the database does not name.
func TestRekeysThatMeet(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		withTokens(t, d, 405)
		there := open(t, d.db, registry.Config{Keys: keys(t, newKey, oldKey)})
		back := open(t, d.db, registry.Config{Keys: keys(t, oldKey, newKey)})
		for range 5 {
			var both sync.WaitGroup
			for _, desk := range []*registry.Registry{there.Registry, back.Registry} {
				both.Go(func() {
					if _, err := desk.Rekey(ctx, clerk); err != nil && !errors.Is(err, access.ErrConflict) {
						t.Error(err)
					}
				})
			}
			both.Wait()
			for _, key := range [][]byte{oldKey, newKey} {
				one := open(t, d.db, registry.Config{Keys: keys(t, key)})
				if one.CheckKey(ctx) != nil {
					continue // it is not the key that the database names, or one of two
				}
				if elsewhere := must(one.SealedElsewhere(ctx))(t); len(elsewhere) > 0 {
					t.Fatalf("the database names the key %s alone, and there are tokens under %v", keys(t, key).ID(), elsewhere)
				}
			}
		}
	})
}

// TestRekeyLeavesTheOldKeyWhileItIsNeeded: a token that no key opens keeps the check at the old key.
func TestRekeyLeavesTheOldKeyWhileItIsNeeded(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		strangeKey := []byte("strange strange strange strange ")
		strange := open(t, d.db, registry.Config{Keys: keys(t, strangeKey)})
		lost := strange.token(d.user("ann"), "strange-token")
		if err := d.CheckKey(ctx); err != nil {
			t.Fatal(err)
		}
		d.token(lost.User, "ann-token")
		both := open(t, d.db, registry.Config{Keys: keys(t, newKey, oldKey)})
		if done, err := both.Rekey(ctx, clerk); err == nil || done.Sealed != 1 {
			t.Errorf("rekey: got %+v, %v; want 1 sealed and an error", done, err)
		}
		sealed := must(d.SealedElsewhere(ctx))(t)
		if want := map[string]int64{keys(t, newKey).ID(): 1, keys(t, strangeKey).ID(): 1}; !maps.Equal(sealed, want) {
			t.Errorf("sealed under keys that are not here: got %v, want %v", sealed, want)
		}
		wantKind(t, "the new key alone", open(t, d.db, registry.Config{Keys: keys(t, newKey)}).CheckKey(ctx), registry.ErrWrongKey)
		if err := both.RevokeToken(ctx, clerk, lost.CredentialID); err != nil {
			t.Fatal(err)
		}
		if done, err := both.Rekey(ctx, clerk); err != nil || done.Already != 1 {
			t.Errorf("rekey after the token was revoked: got %+v, %v", done, err)
		}
	})
}
