package registry_test

import (
	"errors"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/registry"
)

// Nobody raises themselves: only an owner gives roles, staff and superuser, and only an owner touches the account of an owner, also a deactivated one's.
func TestOnlyOwnersMakeOwners(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		boss, max, ann := d.admin("boss", access.Owner), d.admin("max", access.Manager), d.user("ann")
		former := d.admin("former", access.Owner)
		former = must(d.SetUserActive(ctx, clerk, former.ID, false))(t)
		super := must(d.CreateUser(ctx, clerk, access.User{Username: "super", Active: true, Superuser: true}, registry.Password{}))(t)
		with := func(u access.User, change func(u *access.User)) access.User {
			u.Version = 0
			change(&u)
			return u
		}
		long := registry.Password{Hash: must(credential.HashPassword("another long enough door"))(t)}
		acts := []struct {
			what string
			do   func(actor access.Actor) error
		}{
			{"make oneself staff", func(a access.Actor) error {
				_, err := d.UpdateUser(ctx, a, with(max, func(u *access.User) { u.Staff = true }))
				return err
			}},
			{"make oneself a superuser", func(a access.Actor) error {
				_, err := d.UpdateUser(ctx, a, with(max, func(u *access.User) { u.Superuser = true }))
				return err
			}},
			{"make oneself an owner", func(a access.Actor) error { return d.GrantRole(ctx, a, max.ID, access.Owner, 0) }},
			{"make somebody an owner with other changes", func(a access.Actor) error {
				_, err := d.UpdateUser(ctx, a, ann, access.RoleGrant{Role: access.Owner})
				return err
			}},
			{"make somebody a viewer", func(a access.Actor) error { return d.GrantRole(ctx, a, ann.ID, access.Viewer, 0) }},
			{"take a manager's role away", func(a access.Actor) error { return d.RevokeRole(ctx, a, max.ID, 0) }},
			{"enter somebody with a role", func(a access.Actor) error {
				_, err := d.CreateUser(ctx, a, access.User{Username: "new", Roles: []access.RoleGrant{{Role: access.Manager}}}, registry.Password{})
				return err
			}},
			{"enter a superuser", func(a access.Actor) error {
				_, err := d.CreateUser(ctx, a, access.User{Username: "new2", Superuser: true}, registry.Password{})
				return err
			}},
			{"set an owner's password", func(a access.Actor) error { return d.SetPassword(ctx, a, super.ID, long) }},
			{"set a former owner's password", func(a access.Actor) error { return d.SetPassword(ctx, a, former.ID, long) }},
			{"deactivate an owner", func(a access.Actor) error { _, err := d.SetUserActive(ctx, a, super.ID, false); return err }},
			{"activate a former owner", func(a access.Actor) error { _, err := d.SetUserActive(ctx, a, former.ID, true); return err }},
			{"change an owner's user name", func(a access.Actor) error {
				_, err := d.UpdateUser(ctx, a, with(must(d.User(ctx, super.ID))(t), func(u *access.User) { u.Username = "mine" }))
				return err
			}},
			{"delete an owner", func(a access.Actor) error { return d.DeleteUser(ctx, a, super.ID, 0) }},
			{"erase somebody", func(a access.Actor) error { return d.EraseUser(ctx, a, ann.ID) }},
		}
		for _, actor := range []access.Actor{{Kind: "user", UserID: max.ID, Label: "max"}, {Kind: "user", UserID: former.ID, Label: "former"}, {Kind: "user", UserID: 1_000_000, Label: "gone"}} {
			before := d.contents()
			for _, act := range acts {
				if err := act.do(actor); !errors.Is(err, access.ErrDenied) {
					t.Errorf("%s as %s: %v, want ErrDenied", act.what, actor.Label, err)
				}
			}
			if after := d.contents(); after != before {
				t.Errorf("as %s something was changed:\n%s\nwas:\n%s", actor.Label, after, before)
			}
			for _, action := range []registry.BulkAction{registry.BulkActivate, registry.BulkDeactivate} {
				lines := must(d.PreviewBulk(ctx, actor, registry.Bulk{Action: action, UserIDs: []int64{boss.ID, former.ID}}))(t)
				for _, l := range lines {
					if l.Outcome == registry.BulkChanges {
						t.Errorf("%s of %s as %s: it would be done", action, l.User.Username, actor.Label)
					}
				}
			}
		}
		asBoss := access.Actor{Kind: "user", UserID: boss.ID, Label: "boss"}
		for _, act := range acts {
			if err := act.do(asBoss); err != nil {
				t.Errorf("%s as an owner: %v", act.what, err)
			}
		}
	})
}

// What a manager may do to those who are no owners, and every one to themselves.
func TestWhatManagersMayDoToPeople(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		max, ann := d.admin("max", access.Manager), d.user("ann")
		actor := access.Actor{Kind: "user", UserID: max.ID, Label: "max"}
		ann.FirstName = "Ann"
		must(d.UpdateUser(ctx, actor, ann))(t)
		must(d.SetUserActive(ctx, actor, ann.ID, false))(t)
		must(d.CreateUser(ctx, actor, access.User{Username: "bob", Active: true}, registry.Password{}))(t)
		for what, err := range map[string]error{
			"a password": d.SetPassword(ctx, actor, ann.ID, registry.Password{Plain: "another long enough door"}), "a language": d.SetLanguage(ctx, actor, max.ID, "ru"),
			"a deletion": d.DeleteUser(ctx, actor, ann.ID, 0),
		} {
			if err != nil {
				t.Errorf("%s by a manager: %v", what, err)
			}
		}
	})
}
