package registry_test

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

var app = access.Actor{Kind: "api", Address: "192.0.2.9", RequestID: "req-9"}

const password = "StrongPass_123"

// django is a hash as Django writes it, of few rounds.
func django(t *testing.T, password string) string {
	t.Helper()
	key := must(pbkdf2.Key(sha256.New, password, []byte("saltsaltsaltsalt"), 1000, 32))(t)
	return "pbkdf2_sha256$1000$saltsaltsaltsalt$" + base64.StdEncoding.EncodeToString(key)
}

func TestLogin(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		u := must(d.CreateUser(ctx, clerk, access.User{Username: "Юрий", Active: true}, registry.Password{Hash: django(t, password)}))(t)
		d.audit()
		label := "  Приложение/1.0\x00\n" + strings.Repeat("я", 300)
		first, got, err := d.Login(ctx, app, "Юрий", password, label)
		if err != nil || got.ID != u.ID || len(first) != 40 || got.LastLoginAt.UnixMicro() != d.micros.Load() {
			t.Fatalf("login: got token %q of %+v, %v", first, got, err)
		}
		tokens := must(d.Tokens(ctx, registry.TokenFilter{UserID: u.ID}))(t)
		if len(tokens) != 1 || len([]rune(tokens[0].Label)) != 200 || !strings.HasPrefix(tokens[0].Label, "Приложение/1.0я") ||
			!tokens[0].IdleExpires || tokens[0].Scheme != access.SchemeSHA256 || tokens[0].Sealed != nil {
			t.Errorf("the token's row: got %+v", tokens)
		}
		lines := must(d.Changes(ctx, registry.ChangeFilter{Limit: 1}))(t)
		if len(lines) != 1 || lines[0].Action != "sign-in" || lines[0].ObjectID != tokens[0].ID ||
			lines[0].Actor != (access.Actor{Kind: "api", UserID: u.ID, Label: "Юрий", Address: app.Address, RequestID: app.RequestID}) {
			t.Errorf("audit: got %+v", lines)
		}
		if all := d.contents(); strings.Contains(all, "pbkdf2_sha256") || !strings.Contains(all, "$argon2id$") {
			t.Error("after the login Django's hash still stands in the database")
		}
		second, _, err := d.Login(ctx, app, "Юрий", password, "")
		if err != nil || second == first {
			t.Errorf("second login: got %q, %v; want another token", second, err)
		}
		for _, token := range []string{first, second} {
			if c, err := d.Authenticate(ctx, token); err != nil || c.User.ID != u.ID {
				t.Errorf("authenticate: got %+v, %v", c, err)
			}
		}
		d.follow("logins")
	})
}

func TestLoginRefused(t *testing.T) {
	const floor = 120 * time.Millisecond
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			d := open(t, storetest.New(t, engine), registry.Config{LoginFloor: floor})
			ctx := t.Context()
			must(d.CreateUser(ctx, clerk, access.User{Username: "ann", Active: true}, registry.Password{Plain: password}))(t)
			must(d.CreateUser(ctx, clerk, access.User{Username: "shut", Active: false}, registry.Password{Plain: password}))(t)
			must(d.CreateUser(ctx, clerk, access.User{Username: "none", Active: true}, registry.Password{}))(t)
			d.audit()
			for _, tc := range []struct{ name, username, password string }{
				{"wrong password", "ann", "x"},
				{"trailing space", "ann", password + " "},
				{"unknown user", "nobody", password},
				{"user name in another case", "Ann", password},
				{"inactive user", "shut", password},
				{"unusable password", "none", "!"},
				{"no password", "none", ""},
			} {
				begun := time.Now()
				token, user, err := d.Login(ctx, app, tc.username, tc.password, "")
				wantKind(t, tc.name, err, access.ErrBadLogin)
				if took := time.Since(begun); took < floor || token != "" || user.ID != 0 || err.Error() != "login: bad login" {
					t.Errorf("%s: got token %q, user %d, error %q after %v; want nothing, not before %v", tc.name, token, user.ID, err, took, floor)
				}
			}
			// One line for each name and address at once; a password typed for a user name must not stand anywhere.
			d.wantAudit("refused", "user 1 sign-in refused +count=1", "user 0 sign-in refused +count=1", "user 2 sign-in refused +count=1", "user 3 sign-in refused +count=1")
			d.advance(time.Minute)
			_, _, err := d.Login(ctx, app, "ann", "x", "")
			wantKind(t, "a minute later", err, access.ErrBadLogin)
			d.wantAudit("a minute later", "user 1 sign-in refused +count=2")
			if err := d.Close(ctx); err != nil {
				t.Error(err)
			}
			got := d.audit()
			if len(got) != 2 {
				t.Errorf("closed: got lines %q, want the two that waited", got)
			}
			d.follow("refused logins")
		})
	}
}

// TestLoginQueue: with one slot, of many that come at once some are sent away, and none wrongly.
func TestLoginQueue(t *testing.T) {
	d := open(t, storetest.New(t, store.SQLite), registry.Config{LoginSlots: 1})
	var wg sync.WaitGroup
	results := make(chan error, 40)
	for range cap(results) {
		wg.Go(func() {
			_, _, err := d.Login(t.Context(), app, "nobody", "x", "")
			results <- err
		})
	}
	wg.Wait()
	close(results)
	bad, away := 0, 0
	for err := range results {
		switch {
		case errors.Is(err, access.ErrBadLogin):
			bad++
		case errors.Is(err, access.ErrUnavailable):
			away++
		default:
			t.Errorf("got %v", err)
		}
	}
	if bad < 17 || away == 0 {
		t.Errorf("of 40 logins at once %d were refused and %d sent away; want at least 17 and 1", bad, away)
	}
}

func TestLoginGivenUp(t *testing.T) {
	d := open(t, storetest.New(t, store.SQLite), registry.Config{LoginFloor: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, _, err := d.Login(ctx, app, "nobody", "x", "")
	wantKind(t, "a caller who does not wait for the floor", err, access.ErrBadLogin)
	d.wantAudit("given up", "user 0 sign-in refused +count=1")
}

func TestAuthenticate(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		u := d.user("ann")
		must(d.CreateUser(ctx, clerk, access.User{Username: "bob", Active: true}, registry.Password{Plain: password}))(t)
		login := func() string {
			token, _, err := d.Login(ctx, app, "bob", password, "")
			return must(token, err)(t)
		}
		fixed := d.token(u, "ann-token")
		_, phone, err := d.CreateDevice(ctx, clerk, access.Device{UserID: u.ID, Active: true}, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct{ name, token string }{
			{"unknown", "unknown-token"}, {"empty", ""}, {"another case", "ANN-TOKEN"}, {"device token", phone},
		} {
			_, err := d.Authenticate(ctx, tc.token)
			wantKind(t, tc.name, err, access.ErrBadToken)
		}

		used, left := login(), login()
		d.advance(90 * 24 * time.Hour)
		if _, err := d.Authenticate(ctx, used); err != nil {
			t.Errorf("on its last day: %v", err)
		}
		d.advance(24 * time.Hour)
		if _, err := d.Authenticate(ctx, used); err != nil {
			t.Errorf("used yesterday: %v", err)
		}
		_, err = d.Authenticate(ctx, left)
		wantKind(t, "idle for 91 days", err, access.ErrBadToken)
		if _, err := d.Authenticate(ctx, "ann-token"); err != nil {
			t.Errorf("a fixed token, idle for 91 days: %v", err)
		}
		// The next login ends what idled out.
		d.audit()
		login()
		if lines := d.audit(); len(lines) != 2 || !strings.HasSuffix(lines[0], "+state=revoked +state_reason=idle") {
			t.Errorf("login after idling: audit %q; want the idle token's end and the sign-in", lines)
		}

		must(d.SetUserActive(ctx, clerk, u.ID, false))(t)
		_, err = d.Authenticate(ctx, "ann-token")
		wantKind(t, "inactive user", err, access.ErrInactive)
		must(d.SetUserActive(ctx, clerk, u.ID, true))(t)
		if err := d.RevokeToken(ctx, clerk, fixed.CredentialID); err != nil {
			t.Error(err)
		}
		_, err = d.Authenticate(ctx, "ann-token")
		wantKind(t, "revoked", err, access.ErrBadToken)
		wantKind(t, "revoke twice", d.RevokeToken(ctx, clerk, fixed.CredentialID), access.ErrNotFound)
		d.follow("tokens")
	})
}

func TestPasswordRules(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		u := must(d.CreateUser(ctx, clerk, access.User{Username: "margarita", Active: true}, registry.Password{Plain: "first Secret 1"}))(t)
		set := func(p registry.Password) error { return d.SetPassword(ctx, clerk, u.ID, p) }
		for _, tc := range []struct {
			name  string
			p     registry.Password
			field string
			code  access.Code
		}{
			{"none", registry.Password{}, "password", access.CodeRequired},
			{"short", registry.Password{Plain: "xK9$q"}, "password", access.CodePasswordShort},
			{"like the user name", registry.Password{Plain: "margaritaQ7"}, "password", access.CodePasswordAlike},
			{"NUL", registry.Password{Plain: "strong\x00Pass_123", SkipRules: true}, "password", access.CodeNUL},
			{"long", registry.Password{Plain: strings.Repeat("é", 1025)}, "password", access.CodeTooLong},
			{"the current one", registry.Password{Plain: "first Secret 1"}, "password", access.CodePasswordUsed},
			{"unknown hash", registry.Password{Hash: "md5$x$y"}, "password_hash", access.CodeOther},
			{"both", registry.Password{Plain: password, Hash: "!"}, "password", access.CodeOther},
		} {
			wantInvalid(t, tc.name, set(tc.p), tc.field, tc.code)
		}
		_, err := d.CreateUser(ctx, clerk, access.User{Username: "", Active: true}, registry.Password{Plain: "xK9$q"})
		var bad access.Invalid
		if !errors.As(err, &bad) || len(bad) != 2 {
			t.Errorf("a user with two faults: got %v, want both", err)
		}

		// Ready hashes count as used passwords too; the sixth back may be used again.
		for _, p := range []string{"second", "third", "fourth", "fifth"} {
			if err := set(registry.Password{Hash: django(t, p+" Secret 1")}); err != nil {
				t.Fatal(err)
			}
		}
		wantInvalid(t, "the fifth back", set(registry.Password{Plain: "first Secret 1"}), "password", access.CodePasswordUsed)
		if err := set(registry.Password{Plain: "fifth Secret 1", SkipRules: true}); err != nil {
			t.Errorf("a used one without rules: %v", err)
		}
		if err := set(registry.Password{Plain: "first Secret 1"}); err != nil {
			t.Errorf("the sixth back: %v", err)
		}
		if _, _, err := d.Login(ctx, app, "margarita", "first Secret 1", ""); err != nil {
			t.Errorf("login with the new password: %v", err)
		}
		wantKind(t, "unknown user", d.SetPassword(ctx, clerk, 99, registry.Password{Plain: password}), access.ErrNotFound)
		d.follow("passwords")
	})
}

// TestPasswordEndsSessions: tokens and sessions of the user end, and nobody else's.
func TestPasswordEndsSessions(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann, bob := d.user("ann"), d.user("bob")
		for i, u := range []access.User{ann, bob} {
			d.token(u, u.Username+"-token")
			d.session(u.ID, byte(i+1))
		}
		_, phone, err := d.CreateDevice(ctx, clerk, access.Device{UserID: ann.ID, Active: true}, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.SetPassword(ctx, clerk, ann.ID, registry.Password{Plain: password}); err != nil {
			t.Fatal(err)
		}
		_, err = d.Authenticate(ctx, "ann-token")
		wantKind(t, "her token", err, access.ErrBadToken)
		d.caller("bob-token")
		if a, b := d.sessions(ann.ID), d.sessions(bob.ID); a != 0 || b != 1 {
			t.Errorf("sessions: got %d and %d, want 0 and 1", a, b)
		}
		devices := must(d.DevicesOf(ctx, ann.ID))(t)
		if len(devices) != 1 || devices[0].TokenPreview != phone[:4]+"…"+phone[60:] {
			t.Errorf("her device: got %+v, want it with its token", devices)
		}
	})
}

// TestPasswordChangedMeanwhile: hashes are compared outside of the transaction, so what they were compared with may be history by then.
func TestPasswordChangedMeanwhile(t *testing.T) {
	const fresh = "Another_Pass_456"
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		u := must(d.CreateUser(ctx, clerk, access.User{Username: "ann", Active: true}, registry.Password{Hash: django(t, password)}))(t)
		// meanwhile sets the password in a transaction that ends only after fn, beside it, has begun to read.
		meanwhile := func(hash string, fn func() error) error {
			t.Helper()
			done := make(chan error, 1)
			_, _, err := d.s.Change(ctx, clerk, func(tx *store.Tx) error {
				if err := tx.SetPasswordHash(u.ID, hash, 5); err != nil {
					return err
				}
				select { // this transaction's own look
				case <-d.looked:
				default:
				}
				go func() { done <- fn() }()
				select {
				case <-d.looked:
				case <-ctx.Done():
				}
				return tx.Record(access.ObjectUser, u.ID, "password", nil, nil)
			})
			if err != nil {
				t.Fatal(err)
			}
			return <-done
		}
		err := meanwhile(django(t, fresh), func() error {
			_, _, err := d.Login(ctx, app, "ann", password, "")
			return err
		})
		wantKind(t, "login with the password that is being replaced", err, access.ErrBadLogin)
		err = meanwhile(django(t, "Third_Pass_789"), func() error {
			return d.SetPassword(ctx, clerk, u.ID, registry.Password{Plain: "Third_Pass_789"})
		})
		wantInvalid(t, "the same password set twice at once", err, "password", access.CodePasswordUsed)
		d.follow("passwords at once")
	})
}

func (d *desk) session(userID int64, n byte) {
	d.t.Helper()
	err := d.s.Note(d.t.Context(), clerk, func(tx *store.Tx) error {
		return tx.InsertSession(&store.Session{Lookup: access.Lookup{n}, UserID: userID, ExpiresAt: tx.Now.Add(time.Hour)})
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// sessions counts the sessions of a user.
func (d *desk) sessions(userID int64) (n int) {
	d.t.Helper()
	err := d.s.View(d.t.Context(), func(tx *store.Tx) error {
		for i := range 10 {
			s, err := tx.SessionByLookup(access.Lookup{byte(i)})
			if err == nil && s.UserID == userID {
				n++
			} else if err != nil && !errors.Is(err, access.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}
