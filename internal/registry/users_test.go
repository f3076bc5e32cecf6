package registry_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

func TestLastOwner(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		none := registry.Password{}
		plain := d.user("plain")
		if err := d.DeleteUser(ctx, clerk, plain.ID, 0); err != nil {
			t.Errorf("delete a user of a site that has no owner yet: %v", err)
		}
		root := must(d.CreateUser(ctx, clerk, access.User{Username: "root", Active: true, Superuser: true}, none))(t)
		other := must(d.CreateUser(ctx, clerk, access.User{Username: "other", Active: true}, none))(t)
		must(d.CreateUser(ctx, clerk, access.User{Username: "shut", Superuser: true}, none))(t) // an inactive owner does not count
		demoted := root
		demoted.Superuser = false
		ways := []struct {
			name string
			do   func() error
		}{
			{"delete", func() error { return d.DeleteUser(ctx, clerk, root.ID, 0) }},
			{"deactivate", func() error { _, err := d.SetUserActive(ctx, clerk, root.ID, false); return err }},
			{"demote", func() error { _, err := d.UpdateUser(ctx, clerk, demoted); return err }},
			{"erase", func() error { return d.EraseUser(ctx, clerk, root.ID) }},
		}
		d.audit()
		for _, w := range ways {
			err := w.do()
			wantKind(t, w.name+" the last owner", err, access.ErrConflict)
			wantKind(t, w.name+" the last owner", err, registry.ErrLastOwner)
		}
		d.wantAudit("refused")
		if err := d.GrantRole(ctx, clerk, other.ID, access.Owner, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := d.UpdateUser(ctx, clerk, demoted); err != nil {
			t.Errorf("demote one of two owners: %v", err)
		}
		wantKind(t, "revoke the last owner's role", d.RevokeRole(ctx, clerk, other.ID, 0), registry.ErrLastOwner)
		wantKind(t, "lower the last owner's role", d.GrantRole(ctx, clerk, other.ID, access.Manager, 0), registry.ErrLastOwner)
		d.follow("owners")
	})
}

func TestRoleLostEndsSessions(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann := must(d.CreateUser(ctx, clerk, access.User{Username: "ann", Active: true, Roles: []access.RoleGrant{{Role: access.Viewer}}}, registry.Password{}))(t)
		d.session(ann.ID, 1)
		for _, step := range []struct {
			name string
			do   func() error
			want int
		}{
			{"a higher role", func() error { return d.GrantRole(ctx, clerk, ann.ID, access.Manager, 0) }, 1},
			{"another name", func() error {
				u := must(d.User(ctx, ann.ID))(t)
				u.LastName = "X"
				_, err := d.UpdateUser(ctx, clerk, u)
				return err
			}, 1},
			{"a lower role", func() error { return d.GrantRole(ctx, clerk, ann.ID, access.Viewer, 0) }, 0},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if got := d.sessions(ann.ID); got != step.want {
				t.Errorf("after %s: got %d sessions, want %d", step.name, got, step.want)
			}
		}
		d.session(ann.ID, 2)
		must(d.SetUserActive(ctx, clerk, ann.ID, false))(t)
		if got := d.sessions(ann.ID); got != 0 {
			t.Errorf("deactivated: got %d sessions, want 0", got)
		}
	})
}

func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		ann := d.user("ann")
		g := must(d.CreateGate(ctx, clerk, access.Gate{Code: "g"}))(t)
		d.token(ann, "ann-token")
		d.audit()
		for _, tc := range []struct {
			name  string
			do    func() error
			field string
			code  access.Code
		}{
			{"gate without a code", func() error { _, err := d.CreateGate(ctx, clerk, access.Gate{}); return err }, "code", access.CodeBlank},
			{"gate code taken", func() error { _, err := d.CreateGate(ctx, clerk, access.Gate{Code: "g"}); return err }, "code", access.CodeTaken},
			{"user name taken", func() error {
				_, err := d.CreateUser(ctx, clerk, access.User{Username: "ann"}, registry.Password{})
				return err
			}, "username", access.CodeTaken},
			{"group without a name", func() error { _, err := d.CreateGroup(ctx, clerk, access.Group{}); return err }, "name", access.CodeBlank},
			{"unknown group's member", func() error { return d.AddMember(ctx, clerk, 9, ann.ID) }, "group", access.CodeUnknown},
			{"permission at an unknown gate", func() error {
				_, err := d.GrantPermission(ctx, clerk, access.Permission{GateID: 9, UserID: ann.ID})
				return err
			}, "gate", access.CodeUnknown},
			{"permission of an unknown group", func() error {
				_, err := d.GrantPermission(ctx, clerk, access.Permission{GateID: g.ID, GroupID: 9})
				return err
			}, "group", access.CodeUnknown},
			{"permission of nobody", func() error {
				_, err := d.GrantPermission(ctx, clerk, access.Permission{GateID: g.ID})
				return err
			}, "", access.CodeOther},
			{"device of an unknown user", func() error {
				_, _, err := d.CreateDevice(ctx, clerk, access.Device{UserID: 9}, "")
				return err
			}, "user", access.CodeUnknown},
			{"short token", func() error { _, err := d.AddToken(ctx, clerk, ann.ID, "1234567", ""); return err }, "token", access.CodeTooShort},
			{"long token", func() error {
				_, err := d.AddToken(ctx, clerk, ann.ID, strings.Repeat("x", 129), "")
				return err
			}, "token", access.CodeTooLong},
			{"token with outer space", func() error { _, err := d.AddToken(ctx, clerk, ann.ID, "12345678 ", ""); return err }, "token", access.CodeOther},
			{"a user token as a device's", func() error {
				_, _, err := d.CreateDevice(ctx, clerk, access.Device{UserID: ann.ID}, "ann-token")
				return err
			}, "token", access.CodeTaken},
			{"unknown role", func() error { return d.GrantRole(ctx, clerk, ann.ID, "king", 0) }, "role", access.CodeUnknown},
			{"role on an unknown site", func() error { return d.GrantRole(ctx, clerk, ann.ID, access.Viewer, 2) }, "site", access.CodeUnknown},
			{"zone that is none", func() error {
				s := must(d.Site(ctx))(t)
				s.Zone = "Mars/Olympus"
				_, err := d.UpdateSite(ctx, clerk, s)
				return err
			}, "zone", access.CodeZone},
		} {
			wantInvalid(t, tc.name, tc.do(), tc.field, tc.code)
		}
		for _, tc := range []struct {
			name string
			do   func() error
		}{
			{"unknown gate", func() error { return d.DeleteGate(ctx, clerk, 9, 0) }},
			{"unknown user", func() error { return d.DeleteUser(ctx, clerk, 9, 0) }},
			{"unknown group", func() error { return d.DeleteGroup(ctx, clerk, 9, 0) }},
			{"unknown permission", func() error { return d.RevokePermission(ctx, clerk, 9) }},
			{"no permission to revoke", func() error { _, err := d.RevokePermissions(ctx, clerk, g.ID, ann.ID, 0); return err }},
			{"no permission to suspend", func() error {
				_, err := d.SuspendPermission(ctx, clerk, access.Permission{GateID: g.ID, UserID: ann.ID})
				return err
			}},
			{"unknown device", func() error { return d.DeleteDevice(ctx, clerk, 9) }},
			{"unknown token", func() error { return d.RevokeToken(ctx, clerk, 9) }},
			{"nobody to erase", func() error { return d.EraseUser(ctx, clerk, 9) }},
			{"nobody to give a role", func() error { return d.GrantRole(ctx, clerk, 9, access.Viewer, 0) }},
		} {
			wantKind(t, tc.name, tc.do(), access.ErrNotFound)
		}
		d.wantAudit("refused")
		d.follow("refusals")
	})
}

// TestErase: no personal word about an erased user is left anywhere in the database.
func TestErase(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		words := []string{"yury.private", "Юрий", "Секретов", "private@example.com", "Private-Agent", "Private phone", "private-android", "Private tag", "198.51.100.77", "198.51.100.78"}
		u := must(d.CreateUser(ctx, clerk, access.User{Username: words[0], Active: true}, registry.Password{Plain: password}))(t)
		u.FirstName, u.LastName, u.Email = words[1], words[2], words[3]
		must(d.UpdateUser(ctx, clerk, u))(t)
		from := app
		from.Address = words[8]
		token, _, err := d.Login(ctx, from, words[0], password, words[4])
		if err != nil {
			t.Fatal(err)
		}
		from.Address = words[9]
		_, _, err = d.Login(ctx, from, words[0], "not his password", "")
		wantKind(t, "a login that fails", err, access.ErrBadLogin)
		self := access.Actor{Kind: "api", UserID: u.ID, Label: words[0], Address: words[8]}
		phone := must(d.RegisterDevice(ctx, self, d.caller(token), registry.RegisterInput{AndroidDeviceID: &words[6]}))(t)
		must(d.UpdateDevice(ctx, self, access.Device{ID: phone.ID, Name: words[5], AndroidDeviceID: words[6]}))(t)
		gone, _, err := d.CreateDevice(ctx, clerk, access.Device{UserID: u.ID, Name: words[7]}, "")
		if err == nil {
			err = d.DeleteDevice(ctx, clerk, gone.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		bystander := d.user("bystander")
		before := d.contents()
		for _, w := range words {
			if !strings.Contains(before, w) {
				t.Fatalf("the test has nothing to erase: %q is nowhere", w)
			}
		}
		// Users ask for it themselves.
		if err := d.EraseUser(ctx, self, u.ID); err != nil {
			t.Fatal(err)
		}
		after := d.contents()
		for _, w := range words {
			for line := range strings.SplitSeq(after, "\n") {
				if strings.Contains(line, w) {
					t.Errorf("%q is still in: %s", w, line)
				}
			}
		}
		if !strings.Contains(after, "erased-1") || !strings.Contains(after, "bystander") {
			t.Error("the erased name or the bystander is missing")
		}
		_, err = d.Authenticate(ctx, token)
		wantKind(t, "his token", err, access.ErrBadToken)
		must(d.User(ctx, bystander.ID))(t)
		lines := must(d.Changes(ctx, registry.ChangeFilter{Limit: 1}))(t)
		if len(lines) != 1 || lines[0].Action != "erase" || lines[0].ObjectID != u.ID || lines[0].Actor.UserID != u.ID {
			t.Errorf("audit: got %+v, want the erasure", lines)
		}
		d.follow("an erasure")
	})
}

// TestNoSecretIsStored looks through all tables for every token and password that went through the desk.
func TestNoSecretIsStored(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		secrets := []string{password, "Another_Pass_456", "ann-fixed-token", "device-fixed-token"}
		u := must(d.CreateUser(ctx, clerk, access.User{Username: "ann", Active: true}, registry.Password{Plain: secrets[0]}))(t)
		token, _, err := d.Login(ctx, app, "ann", secrets[0], "App/1")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Login(ctx, app, secrets[0], "typed the other way round", "")
		wantKind(t, "password in the place of the user name", err, access.ErrBadLogin)
		phone := must(d.RegisterDevice(ctx, app, d.caller(token), registry.RegisterInput{Rotate: true}))(t)
		must(d.AddToken(ctx, clerk, u.ID, secrets[2], "card"))(t)
		if _, _, err := d.SetDeviceToken(ctx, clerk, phone.ID, secrets[3]); err != nil {
			t.Fatal(err)
		}
		rotated := must(d.RegisterDevice(ctx, app, d.caller(token), registry.RegisterInput{Rotate: true}))(t)
		if err := d.SetPassword(ctx, clerk, u.ID, registry.Password{Plain: secrets[1]}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.LostDevice(ctx, clerk, phone.ID, false); err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, token, phone.Token, rotated.Token)
		all := d.contents()
		for _, secret := range secrets {
			for line := range strings.SplitSeq(all, "\n") {
				if strings.Contains(line, secret) {
					t.Errorf("%q stands in: %s", secret, line)
				}
			}
		}
	})
}

func TestVersions(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		u, g := d.user("ann"), must(d.CreateGate(ctx, clerk, access.Gate{Code: "g"}))(t)
		group := must(d.CreateGroup(ctx, clerk, access.Group{Name: "g"}))(t)
		p := must(d.GrantPermission(ctx, clerk, access.Permission{GateID: g.ID, UserID: u.ID}))(t)
		dev, _, err := d.CreateDevice(ctx, clerk, access.Device{UserID: u.ID, Name: "a"}, "")
		if err != nil {
			t.Fatal(err)
		}
		site := must(d.Site(ctx))(t)
		for _, tc := range []struct {
			name string
			edit func(n int, stale bool) error // writes something new, as seen at first or whatever there is
		}{
			{"gate", func(n int, stale bool) error {
				g := g
				g.ReleaseMS, g.Version = n, version(g.Version, stale)
				_, err := d.UpdateGate(ctx, clerk, g)
				return err
			}},
			{"user", func(n int, stale bool) error {
				u := u
				u.LastName, u.Version = strings.Repeat("x", n), version(u.Version, stale)
				_, err := d.UpdateUser(ctx, clerk, u)
				return err
			}},
			{"group", func(n int, stale bool) error {
				group := group
				group.Name, group.Version = strings.Repeat("x", n), version(group.Version, stale)
				_, err := d.UpdateGroup(ctx, clerk, group)
				return err
			}},
			{"permission", func(n int, stale bool) error {
				p := p
				p.Allow, p.Version = n%2 == 0, version(p.Version, stale)
				_, err := d.UpdatePermission(ctx, clerk, p)
				return err
			}},
			{"device", func(n int, stale bool) error {
				dev := dev
				dev.Name, dev.Version = strings.Repeat("x", n), version(dev.Version, stale)
				_, err := d.UpdateDevice(ctx, clerk, dev)
				return err
			}},
			{"site", func(n int, stale bool) error {
				site := site
				site.RetentionDays, site.Version = n, version(site.Version, stale)
				_, err := d.UpdateSite(ctx, clerk, site)
				return err
			}},
		} {
			if err := tc.edit(1, tc.name != "site"); err != nil {
				t.Errorf("%s, first editor: %v", tc.name, err)
			}
			if tc.name == "site" { // a new site has version 0, which stands for any
				site = must(d.Site(ctx))(t)
				if err := tc.edit(2, true); err != nil {
					t.Errorf("site, first editor: %v", err)
				}
			}
			wantKind(t, tc.name+", second editor", tc.edit(3, true), access.ErrConflict)
			if err := tc.edit(4, false); err != nil {
				t.Errorf("%s, any version: %v", tc.name, err)
			}
		}
		for name, err := range map[string]error{
			"gate":  d.DeleteGate(ctx, clerk, g.ID, g.Version),
			"user":  d.DeleteUser(ctx, clerk, u.ID, u.Version),
			"group": d.DeleteGroup(ctx, clerk, group.ID, group.Version),
		} {
			wantKind(t, "delete a "+name+" from an old version", err, access.ErrConflict)
		}
		if errors.Is(d.DeleteGate(ctx, clerk, g.ID, 0), access.ErrConflict) {
			t.Error("delete any version: refused")
		}
	})
}

// version is what an editor claims to have seen.
func version(seen int64, stale bool) int64 {
	if stale {
		return seen
	}
	return 0
}

// A user with roles and groups is one change: entered or changed whole, or not at all.
func TestUserWithRolesAndGroupsIsOneChange(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		none := registry.Password{}
		staff := must(d.CreateGroup(ctx, clerk, access.Group{Name: "staff"}))(t)
		guards := must(d.CreateGroup(ctx, clerk, access.Group{Name: "guards"}))(t)
		d.follow("groups")
		d.audit()
		version := d.policy.Mark.Version
		step := func(what string, versions int64, lines ...string) {
			t.Helper()
			d.wantAudit(what, lines...)
			d.follow(what)
			if got := d.policy.Mark.Version - version; got != versions {
				t.Errorf("%s: got %d versions of the policy, want %d", what, got, versions)
			}
			version = d.policy.Mark.Version
		}

		owner := access.User{Username: "root", Active: true, Roles: []access.RoleGrant{{Role: access.Owner}}}
		root := must(d.CreateUser(ctx, clerk, owner, none, staff.ID, guards.ID))(t)
		step("create", 1, "user 1 create +active=true +staff=false +superuser=false +username=root", "role 1 create +role=owner",
			"member 1 create +group_id=1", "member 1 create +group_id=2")

		_, err := d.CreateUser(ctx, clerk, access.User{Username: "ann", Active: true}, none, staff.ID, 99)
		wantInvalid(t, "create in a group that is gone", err, "group", access.CodeUnknown)
		step("create in a group that is gone", 0)
		_, err = d.UserByName(ctx, "ann")
		wantKind(t, "who was to be in a group that is gone", err, access.ErrNotFound)

		root.LastName, root.Superuser = "Root", true
		root = must(d.UpdateUser(ctx, clerk, root, access.RoleGrant{Role: access.Viewer}))(t)
		if root.LastName != "Root" || root.Role() != access.Owner || len(root.Roles) != 1 || root.Roles[0].Role != access.Viewer {
			t.Errorf("changed to a superuser and viewer: got %+v", root)
		}
		step("change", 1, "user 1 change -superuser=false +last_name=Root +superuser=true", "role 1 change -role=owner +role=viewer")

		// There is an owner before and after.
		root.Superuser = false
		root = must(d.UpdateUser(ctx, clerk, root, access.RoleGrant{Role: access.Owner}))(t)
		step("one ownership for the other", 1, "user 1 change -superuser=true +superuser=false", "role 1 change -role=viewer +role=owner")

		root.LastName = "Nobody"
		_, err = d.UpdateUser(ctx, clerk, root, access.RoleGrant{})
		wantKind(t, "rename the last owner and take the role away", err, registry.ErrLastOwner)
		_, err = d.UpdateUser(ctx, clerk, root, access.RoleGrant{Role: "king"})
		wantInvalid(t, "rename and give an unknown role", err, "role", access.CodeUnknown)
		step("refused", 0)
	})
}
