package webadmin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// cell asks for a change as static/matrix.js does.
func (b *browser) cell(group, gate, seen int64, state string) (answer, cellAnswer) {
	b.x.t.Helper()
	b.header.Set("Accept", "application/json")
	defer b.header.Del("Accept")
	got := b.post("/admin/access/cell/", "group", fmt.Sprint(group), "gate", fmt.Sprint(gate), "seen", fmt.Sprint(seen), "state", state)
	var c cellAnswer
	if strings.HasPrefix(got.header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal([]byte(got.body), &c); err != nil {
			b.x.t.Fatalf("%v in %s", err, got.body)
		}
	}
	return got, c
}

func TestCellsInPlace(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			x := newSite(t, engine, nil)
			g, staff := x.gate("front", "Front door"), x.group("Staff")
			b := x.as("manager")
			got, c := b.cell(staff.ID, g.ID, 0, "allowed")
			if got.status != http.StatusOK || c.State != "allowed" || c.Seen == 0 || c.Word != "allowed" || c.Text != "Saved: Staff may pass Front door." {
				t.Fatalf("allow: %d %+v", got.status, c)
			}
			if page := b.get("/admin/access/"); !page.shows(fmt.Sprintf(`<td class="allowed" data-v="%d">allowed</td>`, c.Seen)) {
				t.Errorf("the matrix does not show it:\n%s", page.body)
			}
			if got, now := b.cell(staff.ID, g.ID, 0, "suspended"); got.status != http.StatusConflict || now.State != "allowed" || now.Seen != c.Seen || !strings.Contains(now.Text, "somebody else changed") {
				t.Errorf("changed by somebody who saw it empty: %d %+v, want 409 and the cell as it is", got.status, now)
			}
			if got, now := b.cell(staff.ID, g.ID, c.Seen, "suspended"); got.status != http.StatusOK || now.State != "suspended" {
				t.Errorf("suspend: %d %+v", got.status, now)
			} else if got, now = b.cell(staff.ID, g.ID, now.Seen, "none"); got.status != http.StatusOK || now.State != "none" || now.Seen != 0 {
				t.Errorf("take away: %d %+v", got.status, now)
			}
			dated := x.grant(access.Permission{GateID: g.ID, GroupID: staff.ID, ValidUntil: time.Now().Add(time.Hour)})
			if got, now := b.cell(staff.ID, g.ID, 0, "allowed"); got.status != http.StatusOK || now.Dated != 1 || now.Word != "mixed: allowed" {
				t.Errorf("beside one with dates: %d %+v", got.status, now)
			}
			if p := must(x.desk.Permission(t.Context(), dated.ID))(t); p != dated {
				t.Errorf("the permission with dates was changed: %+v, was %+v", p, dated)
			}
			for _, form := range []string{"group=1", "group=1&gate=x&seen=0&state=none", fmt.Sprintf("group=%d&gate=%d&seen=0&state=open", staff.ID, g.ID)} {
				b.do(http.MethodPost, "/admin/access/cell/", strings.NewReader(form)).want(t, form, http.StatusBadRequest)
			}
			if got, _ := b.cell(staff.ID, 1000, 0, "allowed"); got.status != http.StatusNotFound {
				t.Errorf("a gate that is gone: %d", got.status)
			}
		})
	}
}

// Without JavaScript, and on a phone, one group or gate is a list of forms.
func TestCellsByForm(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	g, staff := x.gate("front", "Front door"), x.group("Staff")
	b := x.as("manager")
	matrix := b.get("/admin/access/").want(t, "the matrix", http.StatusOK)
	for _, path := range []string{accessPath("group", staff.ID), accessPath("gate", g.ID)} {
		if !matrix.shows(`href="` + path + `"`) {
			t.Errorf("the matrix does not lead to %s", path)
		}
	}
	list := accessPath("gate", g.ID)
	form := []string{"group", fmt.Sprint(staff.ID), "gate", fmt.Sprint(g.ID), "seen", "0", "state", "allowed", "next", list}
	for name := range map[string]bool{"group": true, "gate": true, "seen": true, "next": true} {
		if page := b.get(list); !page.shows(`name="` + name + `"`) {
			t.Errorf("the form does not send %s:\n%s", name, page.body)
		}
	}
	if to := b.post("/admin/access/cell/", form...).want(t, "allow", http.StatusSeeOther).location; to != list {
		t.Errorf("sent to %s, want %s", to, list)
	}
	if page := b.get(list); !page.shows("Saved: Staff may pass Front door.") || !page.shows(`class="allowed" aria-pressed="true"`) {
		t.Errorf("not told or not shown:\n%s", page.body)
	}
	if page := b.get(b.post("/admin/access/cell/", form...).location); !page.shows("Not saved: somebody else changed Staff at Front door meanwhile. It is allowed now.") {
		t.Errorf("a form from before the change is not refused:\n%s", page.body)
	}
	b.get(accessPath("gate", 1000)).want(t, "a gate that is not there", http.StatusNotFound)
	if viewer := x.as("viewer").get(list); viewer.shows("<form method=\"post\" action=\"/admin/access/cell/\"") {
		t.Error("a viewer is shown the forms")
	}
}

func TestMatrixIsFilteredOnBothAxes(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	for _, name := range []string{"North", "South"} {
		x.gate(strings.ToLower(name), name+" door")
		x.group(name + " team")
	}
	b := x.as("viewer")
	page := b.get("/admin/access/?groups=NOR&gates=outh")
	for text, want := range map[string]bool{"North team": true, "South team": false, "South door": true, "North door": false, "matrix.js": false} {
		if page.shows(text) != want {
			t.Errorf("%q shown: %t, want %t\n%s", text, !want, want, page.body)
		}
	}
	if page := b.get("/admin/access/?groups=west"); !page.shows("Nothing matches") {
		t.Errorf("nothing matches:\n%s", page.body)
	}
}

// The largest page there is stays small enough to be quick.
func TestLargestMatrix(t *testing.T) {
	const n = 200
	x := newSite(t, store.SQLite, nil)
	var groups, gates []int64
	for i := range n + 1 {
		groups = append(groups, x.group(fmt.Sprintf("Group %03d of the east wing", i)).ID)
		gates = append(gates, x.gate(fmt.Sprintf("gate-%03d", i), fmt.Sprintf("Corridor %03d, east wing", i)).ID)
	}
	for i, group := range groups {
		for j := range 3 {
			x.grant(access.Permission{GroupID: group, GateID: gates[(i+j*17)%n]})
		}
	}
	b := x.as("manager")
	begun := time.Now()
	page := b.get("/admin/access/").want(t, "the matrix", http.StatusOK)
	t.Logf("%d × %d: %d bytes in %v", n, n, len(page.body), time.Since(begun))
	if cells := strings.Count(page.body, "<td"); cells != n*n+1 {
		t.Errorf("%d cells", cells)
	}
	if len(page.body) > 1<<20 {
		t.Errorf("%d bytes are more than a page should be", len(page.body))
	}
	_, rest, _ := strings.Cut(page.body, `after_gate=`)
	next, _, _ := strings.Cut(rest, `"`)
	if second := b.get("/admin/access/?after_gate=" + next); !second.shows("Corridor 200") || second.shows("Corridor 199") || !second.shows("Group 199") {
		t.Errorf("the next gates are not on the next page")
	}
}
