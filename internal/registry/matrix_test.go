package registry_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

func TestMatrix(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		var groups []access.Group
		var gates []access.Gate
		for i := range 3 {
			groups = append(groups, must(d.CreateGroup(ctx, clerk, access.Group{Name: fmt.Sprint("group ", i)}))(t))
			gates = append(gates, must(d.CreateGate(ctx, clerk, access.Gate{Code: fmt.Sprint("gate-", i)}))(t))
		}
		from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
		must(d.GrantPermission(ctx, clerk, access.Permission{GateID: gates[1].ID, GroupID: groups[0].ID, ValidFrom: from}))(t)
		must(d.GrantPermission(ctx, clerk, access.Permission{GateID: gates[1].ID, UserID: d.user("ann").ID}))(t)
		d.follow("before")
		d.audit()
		cell := func(i, j int) registry.Cell {
			t.Helper()
			m := must(d.Matrix(ctx, registry.MatrixQuery{}))(t)
			if len(m.Groups.List) != 3 || len(m.Gates.List) != 3 {
				t.Fatalf("%d groups, %d gates; want 3, 3", len(m.Groups.List), len(m.Gates.List))
			}
			return m.Cell(groups[i].ID, gates[j].ID)
		}
		// Each state after each other, each with its audit line and felt by the gates.
		states := []registry.CellState{"none", "allowed", "suspended", "allowed", "none", "suspended", "none"}
		for i, from := range states[:6] {
			c := cell(0, 1)
			if c.State != from || c.Dated != 1 {
				t.Fatalf("step %d: %+v, want %s beside one with dates", i, c, from)
			}
			c.State = states[i+1]
			got := must(d.SetCell(ctx, clerk, c))(t)
			if now := cell(0, 1); got != now || got.State != states[i+1] || got.Dated != 1 {
				t.Errorf("step %d: SetCell returned %+v, the matrix says %+v; want %s", i, got, now, states[i+1])
			}
			d.follow(fmt.Sprint("step ", i))
			if lines := d.audit(); len(lines) != 1 {
				t.Errorf("step %d: audit %q, want a line", i, lines)
			}
			if again, err := d.SetCell(ctx, clerk, c); !errors.Is(err, access.ErrConflict) {
				t.Errorf("step %d: what another editor saw: %+v, %v; want a conflict", i, again, err)
			}
		}
		same := cell(2, 2)
		must(d.SetCell(ctx, clerk, same))(t)
		if lines := d.audit(); len(lines) != 0 {
			t.Errorf("nothing changed: audit %q", lines)
		}
		for _, c := range []registry.Cell{
			{GroupID: groups[0].ID, GateID: gates[0].ID, State: "mixed"},
			{GroupID: groups[0].ID, GateID: 99, State: registry.CellAllowed},
			{GroupID: 99, GateID: gates[0].ID, State: registry.CellAllowed},
			{GateID: gates[0].ID, State: registry.CellAllowed},
		} {
			if _, err := d.SetCell(ctx, clerk, c); !errors.As(err, new(access.Invalid)) {
				t.Errorf("SetCell(%+v): %v, want Invalid", c, err)
			}
		}
		m := must(d.Matrix(ctx, registry.MatrixQuery{Groups: registry.Search{Query: "p 1"}, Gates: registry.Search{Limit: 2}}))(t)
		if len(m.Groups.List) != 1 || len(m.Gates.List) != 2 || m.Groups.Next != "" || m.Gates.Next == "" {
			t.Errorf("a filtered page: %+v", m)
		}
	})
}

// Who passes a gate, and where somebody passes, are two views of the same: both are held against what the permissions say one by one.
func TestWhoPassesWhere(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		rnd := rand.New(rand.NewPCG(5, 6))
		now := time.UnixMicro(d.micros.Load())
		var users, groups, gates []int64
		for i := range 8 {
			users = append(users, d.user(fmt.Sprint("u", i)).ID)
			gates = append(gates, must(d.CreateGate(ctx, clerk, access.Gate{Code: fmt.Sprint("g", i)}))(t).ID)
			if i < 5 {
				groups = append(groups, must(d.CreateGroup(ctx, clerk, access.Group{Name: fmt.Sprint("p", i)}))(t).ID)
			}
		}
		members := map[int64][]int64{} // of users
		for _, u := range users {
			for _, g := range groups {
				if rnd.IntN(3) == 0 {
					members[u] = append(members[u], g)
					if err := d.AddMember(ctx, clerk, g, u); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if _, err := d.SetUserActive(ctx, clerk, users[0], false); err != nil {
			t.Fatal(err)
		}
		for range 90 {
			p := access.Permission{GateID: gates[rnd.IntN(8)]}
			if rnd.IntN(2) == 0 {
				p.UserID = users[rnd.IntN(8)]
			} else {
				p.GroupID = groups[rnd.IntN(5)]
			}
			switch rnd.IntN(4) {
			case 0:
				p.ValidUntil = now
			case 1:
				p.ValidFrom = now.Add(time.Hour)
			}
			p = must(d.GrantPermission(ctx, clerk, p))(t)
			switch rnd.IntN(5) {
			case 0:
				must(d.SuspendPermission(ctx, clerk, p))(t)
			case 1:
				if err := d.RevokePermission(ctx, clerk, p.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		all := must(d.Permissions(ctx, registry.PermissionFilter{Limit: 1000}))(t)
		holds := func(p access.Permission) bool {
			return p.Allow && (p.ValidFrom.IsZero() || !now.Before(p.ValidFrom)) && (p.ValidUntil.IsZero() || now.Before(p.ValidUntil))
		}
		for _, g := range gates {
			var want, got []int64
			for _, p := range all {
				if p.GateID == g {
					want = append(want, p.ID)
				}
			}
			var after *access.Permission
			seenUser := false
			for {
				page := must(d.GatePassers(ctx, g, after, 1+rnd.IntN(5)))(t)
				for _, p := range page.Passers {
					got = append(got, p.ID)
					seenUser = seenUser || p.UserID != 0
					if (p.UserID == 0) == (p.Group.ID == 0) || p.User.ID != p.UserID || p.Group.ID != p.GroupID || (p.GroupID != 0 && seenUser) {
						t.Errorf("gate %d: %+v: want a group before the users, or a user", g, p)
					}
					if (p.State == registry.GrantHolds) != holds(p.Permission) {
						t.Errorf("gate %d: %+v: state %s", g, p.Permission, p.State)
					}
				}
				if after = page.Next; after == nil {
					break
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("gate %d: permissions, want (-), got (+):\n%s", g, diff)
			}
		}
		for _, u := range users {
			want, got := map[int64]bool{}, map[int64]bool{}
			for _, p := range all {
				if p.UserID == u || slices.Contains(members[u], p.GroupID) {
					want[p.GateID] = want[p.GateID] || (holds(p) && u != users[0])
				}
			}
			for after := int64(-1); after != 0; {
				page := must(d.UserAccess(ctx, u, max(after, 0), 1+rnd.IntN(3)))(t)
				for _, g := range page.Gates {
					if _, twice := got[g.Gate.ID]; twice || len(g.Grants) == 0 {
						t.Errorf("user %d: gate %d twice, or without a reason", u, g.Gate.ID)
					}
					got[g.Gate.ID] = g.Passes
				}
				after = page.Next
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("user %d: gates and whether they pass, want (-), got (+):\n%s", u, diff)
			}
		}
	})
}
