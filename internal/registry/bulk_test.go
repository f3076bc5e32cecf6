package registry_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

func outcomes(lines []registry.BulkLine) (out []string) {
	for _, l := range lines {
		out = append(out, fmt.Sprint(l.User.Username, " ", l.Outcome))
	}
	return out
}

func TestBulk(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		boss := must(d.CreateUser(ctx, clerk, access.User{Username: "boss", Active: true, Superuser: true}, registry.Password{}))(t)
		chief := must(d.CreateUser(ctx, clerk, access.User{Username: "chief", Active: true, Roles: []access.RoleGrant{{Role: access.Owner}}}, registry.Password{}))(t)
		ann, bob, cat := d.user("ann"), d.user("bob"), d.user("cat")
		if err := d.DeleteUser(ctx, clerk, cat.ID, 0); err != nil {
			t.Fatal(err)
		}
		group := must(d.CreateGroup(ctx, clerk, access.Group{Name: "staff"}))(t)
		if err := d.AddMember(ctx, clerk, group.ID, bob.ID); err != nil {
			t.Fatal(err)
		}
		d.follow("before")
		d.audit()
		actor := access.Actor{Kind: "cli", UserID: ann.ID, Label: "ann"}
		for _, step := range []struct {
			do    registry.Bulk
			want  []string
			audit int
		}{
			{registry.Bulk{Action: registry.BulkJoin, GroupID: group.ID, UserIDs: []int64{ann.ID, bob.ID, cat.ID, ann.ID}}, []string{"ann changes", "bob same", " gone"}, 1},
			{registry.Bulk{Action: registry.BulkLeave, GroupID: group.ID, UserIDs: []int64{bob.ID, boss.ID}}, []string{"bob changes", "boss same"}, 1},
			{registry.Bulk{Action: registry.BulkDeactivate, UserIDs: []int64{ann.ID, bob.ID, boss.ID, chief.ID}}, []string{"ann self", "bob changes", "boss last_owner", "chief changes"}, 2},
			{registry.Bulk{Action: registry.BulkDeactivate, UserIDs: []int64{boss.ID}}, []string{"boss last_owner"}, 0},
			{registry.Bulk{Action: registry.BulkActivate, UserIDs: []int64{bob.ID, chief.ID, ann.ID}}, []string{"bob changes", "chief changes", "ann same"}, 2},
			{registry.Bulk{Action: registry.BulkDeactivate, UserIDs: []int64{boss.ID}}, []string{"boss changes"}, 1},
		} {
			preview := must(d.PreviewBulk(ctx, actor, step.do))(t)
			if lines := d.audit(); len(lines) != 0 {
				t.Errorf("%+v: the preview left %q", step.do, lines)
			}
			if diff := cmp.Diff(step.want, outcomes(preview)); diff != "" {
				t.Errorf("%+v: preview, want (-), got (+):\n%s", step.do, diff)
			}
			done := must(d.ApplyBulk(ctx, actor, step.do))(t)
			if diff := cmp.Diff(step.want, outcomes(done)); diff != "" {
				t.Errorf("%+v: done, want (-), got (+):\n%s", step.do, diff)
			}
			if lines := d.audit(); len(lines) != step.audit {
				t.Errorf("%+v: audit %q, want %d lines", step.do, lines, step.audit)
			}
			d.follow(fmt.Sprint(step.do))
		}
		for _, b := range []registry.Bulk{
			{Action: "promote", UserIDs: []int64{1}},
			{Action: registry.BulkActivate},
			{Action: registry.BulkActivate, UserIDs: make([]int64, registry.MaxBulk+1)},
			{Action: registry.BulkJoin, UserIDs: []int64{ann.ID}},
			{Action: registry.BulkJoin, GroupID: 99, UserIDs: []int64{ann.ID}},
		} {
			if _, err := d.PreviewBulk(ctx, actor, b); !errors.As(err, new(access.Invalid)) {
				t.Errorf("preview of %s %d %d: %v, want Invalid", b.Action, b.GroupID, len(b.UserIDs), err)
			}
			if _, err := d.ApplyBulk(ctx, actor, b); !errors.As(err, new(access.Invalid)) {
				t.Errorf("%s %d %d: %v, want Invalid", b.Action, b.GroupID, len(b.UserIDs), err)
			}
		}
	})
}

func TestResolveMembers(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		group := must(d.CreateGroup(ctx, clerk, access.Group{Name: "staff"}))(t)
		for _, u := range []access.User{
			{Username: "ann", FirstName: "Ann", LastName: "Lee", Email: "ann@example.org"},
			{Username: "Ann", Email: "both@example.org"},
			{Username: "bob", FirstName: "Боб", LastName: "Фёдоров", Email: "both@example.org"},
			{Username: "in", Email: "in@example.org"},
		} {
			must(d.CreateUser(ctx, clerk, u, registry.Password{}, map[bool][]int64{true: {group.ID}}[u.Username == "in"]...))(t)
		}
		lines := must(d.ResolveMembers(ctx, group.ID, "ann\n\n  Ann  \r\nANN\nANN@example.org\nnobody\nboth@EXAMPLE.org\nBob <both@example.org>; боб федоров, in\nbob\nNew <>"))(t)
		var got []string
		for _, l := range lines {
			var who []string
			for _, u := range l.Users {
				who = append(who, u.Username)
			}
			slices.Sort(who)
			got = append(got, fmt.Sprint(l.Number, " ", l.Text, ": ", l.State, " ", strings.Join(who, "+")))
		}
		want := []string{
			"1 ann: found ann", "3 Ann: found Ann", "4 ANN: ambiguous Ann+ann", "5 ANN@example.org: twice ann", "6 nobody: unknown ", "7 both@EXAMPLE.org: ambiguous Ann+bob",
			"8 Bob <both@example.org>: ambiguous Ann+bob", "8 боб федоров: found bob", "8 in: member in", "9 bob: twice bob", "10 New <>: unknown ",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("want (-), got (+):\n%s", diff)
		}
		if _, err := d.ResolveMembers(ctx, group.ID, strings.Repeat("x\n", registry.MaxBulk+1)); !errors.As(err, new(access.Invalid)) {
			t.Errorf("too long a list: %v, want Invalid", err)
		}
		if _, err := d.ResolveMembers(ctx, 99, "ann"); !errors.As(err, new(access.Invalid)) {
			t.Errorf("no such group: %v, want Invalid", err)
		}
	})
}
