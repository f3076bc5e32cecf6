package registry_test

import (
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// TestEveryChange makes every kind of change there is, one after the other. Each must leave exactly these audit lines, and a
// replica that follows the feed must come to the same policy as one that loads it whole; a change that changes nothing must leave nothing.
func TestEveryChange(t *testing.T) {
	const phone = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
		blank := ""
		for _, step := range []struct {
			name  string
			do    func() error
			audit []string // none: nothing changed
		}{
			{"site settings", func() error {
				s, err := d.Site(ctx)
				s.Name, s.DefaultReleaseMS = "Plant", 1500
				if err == nil {
					_, err = d.UpdateSite(ctx, clerk, s)
				}
				return err
			}, []string{"site 1 change -default_release_ms=800 -name= +default_release_ms=1500 +name=Plant"}},
			{"the same settings", func() error {
				s, err := d.Site(ctx)
				if err == nil {
					_, err = d.UpdateSite(ctx, clerk, s)
				}
				return err
			}, nil},

			{"create gates", func() error {
				_, err := d.CreateGate(ctx, clerk, access.Gate{Code: "hall", Name: "Hall"})
				if err == nil {
					_, err = d.CreateGate(ctx, clerk, access.Gate{Code: "yard", ReleaseMS: 900})
				}
				return err
			}, []string{"gate 1 create +code=hall +name=Hall", "gate 2 create +code=yard +release_ms=900"}},
			{"change a gate", func() error {
				_, err := d.UpdateGate(ctx, clerk, access.Gate{ID: 1, Code: "lobby", ReleaseMS: 700})
				return err
			}, []string{"gate 1 change -code=hall -name=Hall +code=lobby +release_ms=700"}},
			{"the same gate", func() error {
				_, err := d.UpdateGate(ctx, clerk, access.Gate{ID: 1, Code: "lobby", ReleaseMS: 700})
				return err
			}, nil},

			{"create users", func() error {
				_, err := d.CreateUser(ctx, clerk, access.User{Username: "root", Active: true, Superuser: true}, registry.Password{})
				if err == nil {
					_, err = d.CreateUser(ctx, clerk, access.User{
						Username: "ann", Email: "ann@example.com", Active: true,
						Roles: []access.RoleGrant{{Role: access.Viewer}},
					}, registry.Password{Plain: "StrongPass_123"})
				}
				if err == nil {
					_, err = d.CreateUser(ctx, clerk, access.User{Username: "bob", Active: true}, registry.Password{Hash: "!"})
				}
				return err
			}, []string{
				"user 1 create +active=true +staff=false +superuser=true +username=root",
				"user 2 create +active=true +email=ann@example.com +staff=false +superuser=false +username=ann",
				"role 2 create +role=viewer",
				"user 3 create +active=true +staff=false +superuser=false +username=bob",
			}},
			{"change a user", func() error {
				u, err := d.User(ctx, 3)
				u.FirstName, u.Staff = "Bob", true
				if err == nil {
					_, err = d.UpdateUser(ctx, clerk, u)
				}
				return err
			}, []string{"user 3 change -staff=false +first_name=Bob +staff=true"}},
			{"shut a user out", func() error { _, err := d.SetUserActive(ctx, clerk, 3, false); return err }, []string{"user 3 change -active=true +active=false"}},
			{"shut him out again", func() error { _, err := d.SetUserActive(ctx, clerk, 3, false); return err }, nil},
			{"let him in", func() error { _, err := d.SetUserActive(ctx, clerk, 3, true); return err }, []string{"user 3 change -active=false +active=true"}},
			{"raise a role", func() error { return d.GrantRole(ctx, clerk, 2, access.Manager, 0) }, []string{"role 2 change -role=viewer +role=manager"}},
			{"the same role", func() error { return d.GrantRole(ctx, clerk, 2, access.Manager, 0) }, nil},
			{"a role on a site", func() error { return d.GrantRole(ctx, clerk, 2, access.Owner, 1) }, []string{"role 2 create +role=owner +site_id=1"}},
			{"take it away", func() error { return d.RevokeRole(ctx, clerk, 2, 1) }, []string{"role 2 delete -role=owner -site_id=1"}},
			{"take away what is not there", func() error { return d.RevokeRole(ctx, clerk, 2, 1) }, nil},

			{"create groups", func() error {
				_, err := d.CreateGroup(ctx, clerk, access.Group{Name: "guards"})
				if err == nil {
					_, err = d.CreateGroup(ctx, clerk, access.Group{Name: "staff"})
				}
				return err
			}, []string{"group 1 create +name=guards", "group 2 create +name=staff"}},
			{"rename a group", func() error {
				_, err := d.UpdateGroup(ctx, clerk, access.Group{ID: 2, Name: "people"})
				return err
			}, []string{"group 2 change -name=staff +name=people"}},
			{"add a member", func() error { return d.AddMember(ctx, clerk, 1, 2) }, []string{"member 2 create +group_id=1"}},
			{"add him again", func() error { return d.AddMember(ctx, clerk, 1, 2) }, nil},
			{"add others", func() error {
				if err := d.AddMember(ctx, clerk, 1, 3); err != nil {
					return err
				}
				return d.AddMember(ctx, clerk, 2, 2)
			}, []string{"member 3 create +group_id=1", "member 2 create +group_id=2"}},
			{"remove a member", func() error { return d.RemoveMember(ctx, clerk, 1, 3) }, []string{"member 3 delete -group_id=1"}},

			{"grant", func() error {
				_, err := d.GrantPermission(ctx, clerk, access.Permission{GateID: 1, GroupID: 1})
				if err == nil {
					_, err = d.GrantPermission(ctx, clerk, access.Permission{GateID: 1, UserID: 2})
				}
				if err == nil {
					_, err = d.GrantPermission(ctx, clerk, access.Permission{GateID: 1, UserID: 2, ValidFrom: from})
				}
				return err
			}, []string{
				"permission 1 create +allow=true +gate_id=1 +group_id=1",
				"permission 2 create +allow=true +gate_id=1 +user_id=2",
				"permission 3 create +allow=true +gate_id=1 +user_id=2 +valid_from=2026-06-01T00:00:00Z",
			}},
			{"grant again", func() error {
				_, err := d.GrantPermission(ctx, clerk, access.Permission{GateID: 1, UserID: 2, ValidFrom: from})
				return err
			}, nil},
			{"suspend", func() error {
				_, err := d.SuspendPermission(ctx, clerk, access.Permission{GateID: 1, UserID: 2})
				return err
			}, []string{"permission 2 change -allow=true +allow=false"}},
			{"grant what was suspended", func() error {
				_, err := d.GrantPermission(ctx, clerk, access.Permission{GateID: 1, UserID: 2})
				return err
			}, []string{"permission 2 change -allow=false +allow=true"}},
			{"move a period", func() error {
				_, err := d.UpdatePermission(ctx, clerk, access.Permission{ID: 3, Allow: true, ValidFrom: from, ValidUntil: from.Add(time.Hour)})
				return err
			}, []string{"permission 3 change +valid_until=2026-06-01T01:00:00Z"}},
			{"revoke one", func() error { return d.RevokePermission(ctx, clerk, 2) }, []string{"permission 2 delete -allow=true -gate_id=1 -user_id=2"}},
			{"revoke all of a subject", func() error {
				_, err := d.RevokePermissions(ctx, clerk, 1, 2, 0)
				return err
			}, []string{"permission 3 delete -allow=true -gate_id=1 -user_id=2 -valid_from=2026-06-01T00:00:00Z -valid_until=2026-06-01T01:00:00Z"}},

			{"sign in", func() error {
				_, _, err := d.Login(ctx, access.Actor{Kind: "api"}, "ann", "StrongPass_123", "App/1")
				return err
			}, []string{"credential 1 sign-in +kind=user_token +label=App/1 +state=active +user_id=2"}},
			{"a token of people's", func() error {
				_, err := d.AddToken(ctx, clerk, 2, "ann-token", "card")
				return err
			}, []string{"credential 2 create +kind=user_token +label=card +state=active +user_id=2"}},
			{"the same token", func() error {
				_, err := d.AddToken(ctx, clerk, 2, "ann-token", "card")
				return err
			}, nil},
			{"register a phone", func() error {
				android := "a1"
				_, err := d.RegisterDevice(ctx, clerk, d.caller("ann-token"), registry.RegisterInput{Rotate: true, AndroidDeviceID: &android})
				return err
			}, []string{
				"device 1 create +active=true +android_device_id=a1 +name=Mobile device +user_id=2",
				"credential 3 create +device_id=1 +kind=device_token +state=active +user_id=2",
				"credential 2 change +device_id=1",
			}},
			{"register it again, keeping the token", func() error {
				_, err := d.RegisterDevice(ctx, clerk, d.caller("ann-token"), registry.RegisterInput{})
				return err
			}, nil},
			{"register it again, with another token and no id", func() error {
				_, err := d.RegisterDevice(ctx, clerk, d.caller("ann-token"), registry.RegisterInput{Rotate: true, AndroidDeviceID: &blank})
				return err
			}, []string{
				"device 1 change -android_device_id=a1",
				"credential 3 revoke -device_id=1 -kind=device_token -state=active -user_id=2 +state=revoked +state_reason=rotated",
				"credential 4 create +device_id=1 +kind=device_token +state=active +user_id=2",
			}},
			{"revoke the phone", func() error { _, err := d.RevokeDevice(ctx, clerk, 2, 1, ""); return err }, []string{
				"device 1 change -active=true +active=false", "credential 4 change -state=active +state=inactive +state_reason=device",
			}},
			{"revoke it again", func() error { _, err := d.RevokeDevice(ctx, clerk, 2, 1, ""); return err }, nil},
			{"take it back into service", func() error { _, err := d.SetDeviceActive(ctx, clerk, 1, true); return err }, []string{
				"device 1 change -active=false +active=true", "credential 4 change -state=inactive -state_reason=device +state=active",
			}},
			{"a device from the desk", func() error {
				_, _, err := d.CreateDevice(ctx, clerk, access.Device{UserID: 2, Name: "tag"}, phone)
				return err
			}, []string{
				"device 2 create +active=false +name=tag +user_id=2",
				"credential 5 create +device_id=2 +kind=device_token +state=inactive +state_reason=device +user_id=2",
			}},
			{"rename a device", func() error {
				_, err := d.UpdateDevice(ctx, clerk, access.Device{ID: 2, Name: "Tag", AndroidDeviceID: "x"})
				return err
			}, []string{"device 2 change -name=tag +android_device_id=x +name=Tag"}},
			{"the token it has", func() error { _, _, err := d.SetDeviceToken(ctx, clerk, 2, phone); return err }, nil},
			{"another token", func() error { _, _, err := d.SetDeviceToken(ctx, clerk, 2, "tag-0001"); return err }, []string{
				"credential 5 revoke -device_id=2 -kind=device_token -state=inactive -state_reason=device -user_id=2 +state=revoked +state_reason=rotated",
				"credential 6 create +device_id=2 +kind=device_token +state=inactive +state_reason=device +user_id=2",
			}},
			{"bind it to another user", func() error { _, err := d.BindDevice(ctx, clerk, 1, 3); return err }, []string{
				"device 1 change -user_id=2 +user_id=3", "credential 4 change -user_id=2 +user_id=3",
			}},
			{"bind it to him again", func() error { _, err := d.BindDevice(ctx, clerk, 1, 3); return err }, nil},
			{"lose it", func() error { _, err := d.LostDevice(ctx, clerk, 1, false); return err }, []string{
				"device 1 change -active=true +active=false",
				"credential 4 change -state=active +state=inactive +state_reason=lost",
				"credential 2 revoke -device_id=1 -kind=user_token -label=card -state=active -user_id=2 +state=revoked +state_reason=lost",
			}},
			{"revoke a token", func() error { return d.RevokeToken(ctx, clerk, 1) }, []string{
				"credential 1 revoke -kind=user_token -label=App/1 -state=active -user_id=2 +state=revoked +state_reason=admin",
			}},
			{"two more tokens, all revoked", func() error {
				for _, token := range []string{"ann-token-2", "ann-token-3"} {
					if _, err := d.AddToken(ctx, clerk, 2, token, ""); err != nil {
						return err
					}
				}
				_, err := d.RevokeTokens(ctx, clerk, 2)
				return err
			}, []string{
				"credential 7 create +kind=user_token +state=active +user_id=2",
				"credential 8 create +kind=user_token +state=active +user_id=2",
				"credential 7 revoke -kind=user_token -state=active -user_id=2 +state=revoked +state_reason=admin",
				"credential 8 revoke -kind=user_token -state=active -user_id=2 +state=revoked +state_reason=admin",
			}},
			{"a password ends tokens", func() error {
				if _, err := d.AddToken(ctx, clerk, 2, "ann-token-4", ""); err != nil {
					return err
				}
				return d.SetPassword(ctx, clerk, 2, registry.Password{Plain: "EvenStronger_456"})
			}, []string{
				"credential 9 create +kind=user_token +state=active +user_id=2",
				"user 2 password +usable=true",
				"credential 9 revoke -kind=user_token -state=active -user_id=2 +state=revoked +state_reason=password",
			}},
			{"delete a device", func() error { return d.DeleteDevice(ctx, clerk, 1) }, []string{
				"credential 4 revoke -device_id=1 -kind=device_token -state=inactive -state_reason=lost -user_id=3 +state=revoked +state_reason=deleted",
				"device 1 delete -active=false -name=Mobile device -user_id=3",
			}},

			{"delete a group", func() error { return d.DeleteGroup(ctx, clerk, 1, 0) }, []string{
				"member 2 delete -group_id=1", "permission 1 delete -allow=true -gate_id=1 -group_id=1", "group 1 delete -name=guards",
			}},
			{"delete a gate", func() error {
				if _, err := d.GrantPermission(ctx, clerk, access.Permission{GateID: 1, GroupID: 2}); err != nil {
					return err
				}
				return d.DeleteGate(ctx, clerk, 1, 0)
			}, []string{
				"permission 4 create +allow=true +gate_id=1 +group_id=2",
				"permission 4 delete -allow=true -gate_id=1 -group_id=2",
				"gate 1 delete -code=lobby -release_ms=700",
			}},
			{"delete a user with all that is his", func() error {
				if _, err := d.GrantPermission(ctx, clerk, access.Permission{GateID: 2, UserID: 2}); err != nil {
					return err
				}
				if _, err := d.AddToken(ctx, clerk, 2, "ann-token-5", ""); err != nil {
					return err
				}
				return d.DeleteUser(ctx, clerk, 2, 0)
			}, []string{
				"permission 5 create +allow=true +gate_id=2 +user_id=2",
				"credential 10 create +kind=user_token +state=active +user_id=2",
				"credential 6 revoke -device_id=2 -kind=device_token -state=inactive -state_reason=device -user_id=2 +state=revoked +state_reason=deleted",
				"device 2 delete -active=false -android_device_id=x -name=Tag -user_id=2",
				"credential 10 revoke -kind=user_token -state=active -user_id=2 +state=revoked +state_reason=deleted",
				"permission 5 delete -allow=true -gate_id=2 -user_id=2",
				"member 2 delete -group_id=2",
				"role 2 delete -role=manager",
				"user 2 delete -active=true -email=ann@example.com -staff=false -superuser=false -username=ann",
			}},
			{"erase a user", func() error {
				if _, err := d.AddToken(ctx, clerk, 3, "bob-token", ""); err != nil {
					return err
				}
				return d.EraseUser(ctx, clerk, 3)
			}, []string{"credential 11 create", "credential 11 revoke", "user 3 delete", "user 3 erase"}},
			{"erase him again", func() error { return d.EraseUser(ctx, clerk, 3) }, nil},
		} {
			announced, mark := d.announced.Load(), d.policy.Mark
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			d.follow(step.name)
			d.wantAudit(step.name, step.audit...)
			if moved := d.policy.Mark != mark; moved != (step.audit != nil) {
				t.Errorf("%s: the policy moved: got %t, want %t", step.name, moved, step.audit != nil)
			}
			if told := d.announced.Load() > announced; told != (step.audit != nil) {
				t.Errorf("%s: announced: got %t, want %t", step.name, told, step.audit != nil)
			}
		}
	})
}

func TestNotesLeaveThePolicyAlone(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		mark := d.policy.Mark
		if err := d.NotePurge(t.Context(), clerk, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), 12); err != nil {
			t.Error(err)
		}
		if _, err := d.Export(t.Context(), clerk); err != nil {
			t.Error(err)
		}
		d.wantAudit("purge and export", "events 0 purge +before=2026-01-02T00:00:00Z +deleted=12", "site 0 export")
		d.follow("purge and export")
		if d.policy.Mark != mark || d.announced.Load() != 0 {
			t.Errorf("the policy moved from %v to %v, announced %d times; want neither", mark, d.policy.Mark, d.announced.Load())
		}
	})
}

// TestActorInFull: every word of who did it stands in the audit.
func TestActorInFull(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		want := access.Actor{Kind: "user", UserID: 7, Label: "ann", Address: "192.0.2.7", RequestID: "req-1", SessionID: 9}
		g := must(d.CreateGate(t.Context(), want, access.Gate{Code: "g"}))(t)
		lines := must(d.Changes(t.Context(), registry.ChangeFilter{Object: access.ObjectGate, ObjectID: g.ID}))(t)
		if len(lines) != 1 || lines[0].Actor != want || lines[0].At.UnixMicro() != d.micros.Load() || lines[0].Mark.Version != g.Version {
			t.Errorf("audit line: got %+v, want actor %+v at the clock's time and version %d", lines, want, g.Version)
		}
	})
}
