package registry_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/store"
)

// TestRegisterChoosesTheDevice reads as the contract's rules do. Each user has: an old active phone "a", a new active one "b", the
// newest one, "c", is revoked.
func TestRegisterChoosesTheDevice(t *testing.T) {
	text := func(s string) *string { return &s }
	cases := []struct {
		name    string
		in      registry.RegisterInput
		nth     int64 // device of the user; 4 = a new one
		kept    bool  // the token
		android string
	}{
		{"nothing said", registry.RegisterInput{}, 2, true, "b"},
		{"rotate", registry.RegisterInput{Rotate: true}, 2, false, "b"},
		{"rotate, blank id clears it", registry.RegisterInput{Rotate: true, AndroidDeviceID: text("")}, 2, false, ""},
		{"keep, blank id clears it", registry.RegisterInput{AndroidDeviceID: text("")}, 2, true, ""},
		{"keep, id of the older", registry.RegisterInput{AndroidDeviceID: text("a")}, 1, true, "a"},
		{"rotate, id of the older", registry.RegisterInput{Rotate: true, AndroidDeviceID: text("a")}, 1, false, "a"},
		{"keep, new id renames the newest active one", registry.RegisterInput{AndroidDeviceID: text("z")}, 2, true, "z"},
		{"rotate, new id: a new device", registry.RegisterInput{Rotate: true, AndroidDeviceID: text("z")}, 4, false, "z"},
		{"rotate, id in another case: a new device", registry.RegisterInput{Rotate: true, AndroidDeviceID: text("A")}, 4, false, "A"},
		{"rotate, id of the revoked one: a new device", registry.RegisterInput{Rotate: true, AndroidDeviceID: text("c")}, 4, false, "c"},
		{"keep, id of the revoked one renames the newest active one", registry.RegisterInput{AndroidDeviceID: text("c")}, 2, true, "c"},
	}
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		for n, tc := range cases {
			name := fmt.Sprintf("registrant-%d", n)
			caller := d.token(d.user(name), name)
			var first int64
			tokens := map[int64]string{}
			for i, android := range []string{"a", "b", "c"} {
				dev, token, err := d.CreateDevice(ctx, clerk, access.Device{UserID: caller.User.ID, AndroidDeviceID: android, Active: i < 2}, "")
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					first = dev.ID
				}
				tokens[dev.ID] = token
			}
			got, err := d.RegisterDevice(ctx, app, caller, tc.in)
			nth := got.ID - first + 1
			if err != nil || nth != tc.nth || got.AndroidDeviceID != tc.android || (got.Token == tokens[got.ID]) != tc.kept || len(got.Token) != 64 {
				t.Errorf("%s: got %+v (device no. %d), %v; want no. %d, android id %q, token kept: %t", tc.name, got, nth, err, tc.nth, tc.android, tc.kept)
			}
			for _, dev := range must(d.DevicesOf(ctx, caller.User.ID))(t) {
				if dev.ID == got.ID && dev.TokenPreview != got.Token[:4]+"…"+got.Token[60:] {
					t.Errorf("%s: preview: got %q of token %q", tc.name, dev.TokenPreview, got.Token)
				}
			}
			d.follow(tc.name)
		}
	})
}

func TestRegisterFirstDevice(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		caller := d.token(d.user("ann"), "ann-token")
		first := must(d.RegisterDevice(ctx, app, caller, registry.RegisterInput{}))(t)
		again := must(d.RegisterDevice(ctx, app, caller, registry.RegisterInput{}))(t)
		if d := cmp.Diff(first, again); d != "" || len(first.Token) != 64 {
			t.Errorf("registered twice: %s, token %q", d, first.Token)
		}
		dev := must(d.Device(ctx, first.ID))(t)
		if dev.Name != "Mobile device" || !dev.Active {
			t.Errorf("got %+v, want an active \"Mobile device\"", dev)
		}

		must(d.SetUserActive(ctx, clerk, caller.User.ID, false))(t)
		_, err := d.RegisterDevice(ctx, app, caller, registry.RegisterInput{Rotate: true})
		wantKind(t, "shut out after being recognised", err, access.ErrInactive)
		must(d.SetUserActive(ctx, clerk, caller.User.ID, true))(t)
		must(d.RevokeTokens(ctx, clerk, caller.User.ID))(t)
		_, err = d.RegisterDevice(ctx, app, caller, registry.RegisterInput{Rotate: true})
		wantKind(t, "token revoked after it was recognised", err, access.ErrBadToken)
	})
}

// A phone that was entered at the desk gets its token when it registers, or from whoever has it at hand.
func TestEnterDevice(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann, bob := d.user("ann"), d.user("bob")
		dev := must(d.EnterDevice(ctx, clerk, access.Device{UserID: ann.ID, Name: "Pixel", AndroidDeviceID: "a", Active: true}))(t)
		if tokens := must(d.Tokens(ctx, registry.TokenFilter{DeviceID: dev.ID}))(t); len(tokens) != 0 || dev.ID == 0 {
			t.Errorf("entered: %+v with %d tokens, want none", dev, len(tokens))
		}
		_, err := d.EnterDevice(ctx, clerk, access.Device{UserID: ann.ID, AndroidDeviceID: "a", Active: true})
		wantInvalid(t, "entered again", err, "android_device_id", access.CodeTaken)
		must(d.EnterDevice(ctx, clerk, access.Device{UserID: bob.ID, AndroidDeviceID: "a", Active: true}))(t)
		got := must(d.RegisterDevice(ctx, app, d.token(ann, "ann-token"), registry.RegisterInput{AndroidDeviceID: new("a")}))(t)
		if got.ID != dev.ID || len(got.Token) != 64 {
			t.Errorf("registered: %+v, want device %d with a token", got, dev.ID)
		}
		must(d.SetDeviceActive(ctx, clerk, dev.ID, false))(t)
		must(d.EnterDevice(ctx, clerk, access.Device{UserID: ann.ID, AndroidDeviceID: "a", Active: true}))(t)
		d.follow("phones entered")
	})
}

func TestRevokeChoosesTheDevice(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann, bob := d.user("ann"), d.user("bob")
		for _, dev := range []access.Device{
			{UserID: ann.ID, AndroidDeviceID: "same", Active: true},
			{UserID: ann.ID, AndroidDeviceID: "same", Active: true},
			{UserID: ann.ID, AndroidDeviceID: "same"},
			{UserID: ann.ID, Active: true},
			{UserID: bob.ID, AndroidDeviceID: "bobs", Active: true},
		} {
			if _, _, err := d.CreateDevice(ctx, clerk, dev, ""); err != nil {
				t.Fatal(err)
			}
		}
		for _, tc := range []struct {
			id      int64
			android string
			want    int64 // 0 = not found
		}{
			{0, "same", 2},
			{0, "same", 1},
			{0, "same", 3},
			{0, "same", 3},
			{0, "SAME", 0},
			{0, "bobs", 0},
			{0, "", 0},
			{5, "", 0},
			{99, "same", 0},
			{-1, "", 0},
			{1, "", 1},
			{4, "same", 4},
			{4, "", 4},
		} {
			got, err := d.RevokeDevice(ctx, app, ann.ID, tc.id, tc.android)
			if tc.want == 0 {
				wantKind(t, fmt.Sprintf("revoke %d %q", tc.id, tc.android), err, access.ErrNotFound)
			} else if err != nil || got.ID != tc.want || got.Active {
				t.Errorf("revoke %d %q: got %+v, %v; want %d, inactive", tc.id, tc.android, got, err, tc.want)
			}
		}
		if dev := must(d.Device(ctx, 5))(t); !dev.Active {
			t.Error("another user's device was revoked")
		}
		d.follow("revocations")
	})
}

// TestLostPhone: the device's token and the user tokens that came from it end; tokens of the same user from elsewhere do not, unless they belong to
// no living device and it is asked for. What the API revokes is the device alone.
func TestLostPhone(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann := d.user("ann")
		phone := d.token(ann, "from-the-phone")
		d.token(ann, "from-elsewhere")
		dev := must(d.RegisterDevice(ctx, app, phone, registry.RegisterInput{}))(t)
		must(d.RevokeDevice(ctx, app, ann.ID, dev.ID, ""))(t)
		d.caller("from-the-phone")
		other := must(d.RegisterDevice(ctx, app, d.token(ann, "from-another-phone"), registry.RegisterInput{Rotate: true, AndroidDeviceID: new("other")}))(t)
		gone := must(d.RegisterDevice(ctx, app, d.token(ann, "from-a-deleted-phone"), registry.RegisterInput{Rotate: true, AndroidDeviceID: new("gone")}))(t)
		if err := d.DeleteDevice(ctx, clerk, gone.ID); err != nil || other.ID == gone.ID {
			t.Fatal(err)
		}
		if got, err := d.LostDevice(ctx, clerk, dev.ID, false); err != nil || got.Ended != 1 || got.Loose != 2 || got.Device.Active {
			t.Errorf("lost: got %+v, %v; want inactive, 1 token ended and 2 loose", got, err)
		}
		_, err := d.Authenticate(ctx, "from-the-phone")
		wantKind(t, "a token from the lost phone", err, access.ErrBadToken)
		d.caller("from-elsewhere")
		d.follow("a loss")
		if got, err := d.LostDevice(ctx, clerk, dev.ID, true); err != nil || got.Ended != 2 || got.Loose != 0 {
			t.Errorf("lost, with what is loose: got %+v, %v; want 2 tokens ended and none loose", got, err)
		}
		for _, token := range []string{"from-elsewhere", "from-a-deleted-phone"} {
			_, err = d.Authenticate(ctx, token)
			wantKind(t, token, err, access.ErrBadToken)
		}
		d.caller("from-another-phone")
		d.follow("a loss of all that is loose")
		for _, c := range d.policy.Credentials {
			if c.DeviceID == dev.ID && !c.Inactive {
				t.Errorf("a credential of the lost phone still counts: %+v", c)
			}
		}
	})
}

// Names that were entered when more was allowed do not keep a phone or a person from being shut out; they cannot be entered anew.
func TestShutOutWhoeverHasAnOldName(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		const old, worse = "Pixel\u202e9", "\u200b"
		u := access.User{Username: old, Active: true}
		phone := access.Device{Name: old, Active: true}
		g := access.Gate{Code: "hall", Name: old}
		if _, _, err := d.s.Change(ctx, clerk, func(tx *store.Tx) error {
			if err := tx.InsertUser(&u, "!"); err != nil {
				return err
			}
			if err := tx.InsertGate(&g); err != nil {
				return err
			}
			phone.UserID = u.ID
			if err := tx.InsertDevice(&phone); err != nil {
				return err
			}
			return tx.Record(access.ObjectUser, u.ID, "create", nil, access.Fields{"username": old})
		}); err != nil {
			t.Fatal(err)
		}
		if lost, err := d.LostDevice(ctx, clerk, phone.ID, true); err != nil || lost.Device.Active {
			t.Errorf("lost: %+v, %v", lost, err)
		}
		if now, err := d.SetUserActive(ctx, clerk, u.ID, false); err != nil || now.Active || now.Username != old {
			t.Errorf("deactivated: %+v, %v", now, err)
		}
		g.Version, g.Location = 0, "Cellar"
		if now, err := d.UpdateGate(ctx, clerk, g); err != nil || now.Location != "Cellar" || now.Name != old {
			t.Errorf("moved: %+v, %v", now, err)
		}
		g.Name = worse
		_, err := d.UpdateGate(ctx, clerk, g)
		wantInvalid(t, "renamed", err, "name", access.CodeCharacters)
		u.Username, u.Version = worse, 0
		_, err = d.UpdateUser(ctx, clerk, u)
		wantInvalid(t, "renamed", err, "username", access.CodeCharacters)
		_, err = d.UpdateDevice(ctx, clerk, access.Device{ID: phone.ID, Name: worse})
		wantInvalid(t, "renamed", err, "name", access.CodeCharacters)
	})
}

func TestBindDevice(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann, bob := d.user("ann"), d.user("bob")
		dev := must(d.RegisterDevice(ctx, app, d.token(ann, "ann-token"), registry.RegisterInput{}))(t)
		must(d.BindDevice(ctx, clerk, dev.ID, bob.ID))(t)
		tokens := must(d.Tokens(ctx, registry.TokenFilter{DeviceID: dev.ID}))(t)
		owners := map[access.CredentialKind]int64{}
		for _, c := range tokens {
			owners[c.Kind] = c.UserID
		}
		if diff := cmp.Diff(map[access.CredentialKind]int64{access.UserToken: ann.ID, access.DeviceToken: bob.ID}, owners); diff != "" {
			t.Errorf("whose tokens: %s", diff)
		}
		if devices := must(d.DevicesOf(ctx, bob.ID))(t); len(devices) != 1 || devices[0].ID != dev.ID {
			t.Errorf("the new owner's devices: got %+v", devices)
		}
		wantInvalid(t, "to nobody", func() error { _, err := d.BindDevice(ctx, clerk, dev.ID, 99); return err }(), "user", access.CodeUnknown)
		// The binding holds for what the old owner asks as well.
		_, err := d.RevokeDevice(ctx, app, ann.ID, dev.ID, "")
		wantKind(t, "revoked by the old owner", err, access.ErrNotFound)
	})
}

func TestSetDeviceToken(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann := d.user("ann")
		caller := d.token(ann, "ann-token")
		dev := must(d.RegisterDevice(ctx, app, caller, registry.RegisterInput{}))(t)
		other, otherToken, err := d.CreateDevice(ctx, clerk, access.Device{UserID: ann.ID}, "")
		if err != nil {
			t.Fatal(err)
		}
		set := func(token string) (access.Device, string, error) { return d.SetDeviceToken(ctx, clerk, dev.ID, token) }
		for _, taken := range []string{"ann-token", otherToken} {
			_, _, err := set(taken)
			wantInvalid(t, "set a taken token", err, "token", access.CodeTaken)
		}
		// A minted token that people give again, in whatever way its digest was made before, is the same token.
		if got, token, err := set(dev.Token); err != nil || token != dev.Token || got.TokenPreview == "" {
			t.Errorf("the token it has: got %+v %q, %v", got, token, err)
		}
		if _, token, err := set("карта-0001"); err != nil || token != "карта-0001" {
			t.Errorf("a new one: got %q, %v", token, err)
		}
		if kept := must(d.RegisterDevice(ctx, app, caller, registry.RegisterInput{}))(t); kept.Token != "карта-0001" {
			t.Errorf("the phone that keeps its token: got %+v, want the one that was set", kept)
		}
		if _, token, err := set(""); err != nil || len(token) != 64 {
			t.Errorf("a minted one: got %q, %v", token, err)
		}
		// The replaced ones are free again.
		if _, _, err := d.SetDeviceToken(ctx, clerk, other.ID, "карта-0001"); err != nil {
			t.Errorf("a token that another device had: %v", err)
		}
		d.follow("tokens set")
	})
}
