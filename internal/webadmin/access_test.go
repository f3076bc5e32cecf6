package webadmin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
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
			if got, now := b.cell(staff.ID, 1000, 0, "allowed"); got.status != http.StatusNotFound || !strings.Contains(now.Text, "this gate is deleted") {
				t.Errorf("a gate that is gone: %d %+v", got.status, now)
			}
			if got, now := x.as("viewer").cell(staff.ID, g.ID, 0, "allowed"); got.status != http.StatusForbidden || !strings.Contains(now.Text, "Your role does not allow it") {
				t.Errorf("by somebody who may not: %d %+v", got.status, now)
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

// In the browser: by the pointer and by the keyboard, undone, and told when somebody else was faster.
func TestMatrixInChromium(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	var gates []access.Gate
	for _, name := range []string{"North", "East", "South"} {
		gates = append(gates, x.gate(strings.ToLower(name), name))
	}
	staff, crew := x.group("Staff"), x.group("Crew")
	x.grant(access.Permission{GroupID: crew.ID, GateID: gates[2].ID, ValidUntil: time.Now().Add(time.Hour)})
	stateOf := func(group access.Group, gate access.Gate) registry.CellState {
		m := must(x.desk.Matrix(t.Context(), registry.MatrixQuery{GroupID: group.ID, GateID: gate.ID}))(t)
		return m.Cell(group.ID, gate.ID).State
	}
	w := openTab(t, openChromium(t))
	w.keep(t, x, x.as("manager"))
	// until waits for a condition of the page.
	until := func(what, condition string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
		defer cancel()
		if err := chromedp.Do(ctx, func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
			_, err := chromedp.Poll[bool](condition)(ctx, target)
			return chromedp.Void{}, err
		}); err != nil {
			t.Fatalf("%s: %s never came true: %v; the bar says %q", what, condition, err, ask(t, w, chromedp.TextContent(chromedp.CSS(".matrix-bar p"))))
		}
	}
	says := func(text string) string {
		return fmt.Sprintf(`document.querySelector(".matrix-bar p").textContent.includes(%q)`, text)
	}
	at := func(row, column int) string {
		return fmt.Sprintf(`document.activeElement === document.querySelector("tbody tr:nth-child(%d) td:nth-child(%d)")`, row, column+1)
	}
	w.run(t, chromedp.Navigate(x.url+"/admin/access/"), chromedp.Click(chromedp.CSS("tbody tr:nth-child(1) td:nth-child(2)")))
	until("a click", says("Saved: Staff may pass North."))
	if s := stateOf(staff, gates[0]); s != registry.CellAllowed {
		t.Errorf("saved as %s", s)
	}
	w.run(t, chromedp.Click(chromedp.CSS(".matrix-bar button")))
	until("undo", says("Staff has no permission at North."))
	if s := stateOf(staff, gates[0]); s != registry.CellNone {
		t.Errorf("undone to %s", s)
	}
	until("the focus after undoing", at(1, 1))
	for _, step := range []struct {
		key         string
		row, column int
	}{{kb.ArrowRight, 1, 2}, {kb.ArrowDown, 2, 2}, {kb.ArrowDown, 2, 2}, {kb.Home, 2, 1}, {kb.ArrowLeft, 2, 1}, {kb.End, 2, 3}, {kb.ArrowUp, 1, 3}, {kb.ArrowRight, 1, 3}} {
		w.run(t, chromedp.KeyEvent(step.key))
		until("the key "+strconv.Quote(step.key), at(step.row, step.column))
	}
	w.run(t, chromedp.KeyEvent(" "))
	until("the space bar", says("Saved: Staff may pass South."))
	w.run(t, chromedp.KeyEvent(" "))
	until("the space bar again", says("Saved: Staff is suspended at South."))
	if s := stateOf(staff, gates[2]); s != registry.CellSuspended {
		t.Errorf("saved as %s", s)
	}
	if n := ask(t, w, chromedp.Evaluate[int](`document.querySelectorAll("tbody [tabindex='0']").length`)); n != 1 {
		t.Errorf("%d cells are reached by Tab, want 1", n)
	}

	// Permissions with dates are not changed in passing.
	w.run(t, chromedp.Click(chromedp.CSS("td.mixed")))
	until("a mixed cell", says("mixed"))
	if s := stateOf(crew, gates[2]); s != registry.CellNone {
		t.Errorf("a mixed cell became %s", s)
	}

	// Somebody else is faster.
	x.grant(access.Permission{GroupID: crew.ID, GateID: gates[1].ID})
	w.run(t, chromedp.Click(chromedp.CSS("tbody tr:nth-child(2) td:nth-child(3)")))
	until("somebody else was faster", says("Not saved: somebody else changed Crew at East"))
	until("the cell as it is", `document.querySelector("tbody tr:nth-child(2) td:nth-child(3)").classList.contains("allowed")`)
	w.run(t, chromedp.Click(chromedp.CSS("tbody tr:nth-child(2) td:nth-child(3)")))
	until("after having seen it", says("Saved: Crew is suspended at East."))
	// What was deleted elsewhere, and a session that is over, are not blamed on the connection.
	if err := x.desk.DeleteGroup(t.Context(), setup, staff.ID, 0); err != nil {
		t.Fatal(err)
	}
	w.run(t, chromedp.Click(chromedp.CSS("tbody tr:nth-child(1) td:nth-child(2)")))
	until("a group that is gone", says("this group or this gate is deleted"))
	for _, s := range w.gone() {
		if !strings.Contains(s, "409") && !strings.Contains(s, "404") {
			t.Errorf("the browser says: %s", s)
		}
	}

	// "/" goes to the search of the frame.
	w.run(t, chromedp.KeyEvent("/"))
	until("the key /", `document.activeElement.hasAttribute("data-search")`)

	must(x.desk.SignOutEverywhere(t.Context(), setup, must(x.desk.UserByName(t.Context(), "manager"))(t).ID))(t)
	w.run(t, chromedp.Click(chromedp.CSS("tbody tr:nth-child(2) td:nth-child(2)")), chromedp.WaitVisible(chromedp.CSS(".alone .notice")))
	if text := ask(t, w, chromedp.Evaluate[string](`location.search + document.querySelector("main").innerText`)); !strings.Contains(text, "was not saved") || !strings.Contains(text, url.QueryEscape("/admin/access/")) {
		t.Errorf("after the session:\n%s", text)
	}
}

// A menu closes when the focus leaves it, and a form that was not answered can be sent again.
func TestKeyboardInChromium(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	w := openTab(t, openChromium(t))
	w.keep(t, x, x.as("owner"))
	w.run(t, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(x.url+"/admin/gates/new/"), evaluate(`document.querySelector(".me").focus()`), chromedp.KeyEvent(" "))
	for range 6 { // its items, and out
		w.run(t, chromedp.KeyEvent(kb.Tab))
	}
	if still := ask(t, w, chromedp.Evaluate[bool](`document.querySelector(".top .menu").open`)); still {
		t.Error("the menu stays open when the focus has left it")
	}
	again := ask(t, w, chromedp.Evaluate[[]bool](`(() => {
		const form = document.querySelector("form.form"), real = Date.now;
		const press = () => {
			const e = new SubmitEvent("submit", { bubbles: true, cancelable: true });
			form.dispatchEvent(e);
			return !e.defaultPrevented;
		};
		const sent = [press(), press()];
		Date.now = () => real() + 6000;
		return [...sent, press()];
	})()`))
	if want := []bool{true, false, true}; !slices.Equal(again, want) {
		t.Errorf("pressed, pressed again, and again seconds later: sent %v, want %v", again, want)
	}
}

// Of a matrix that is scrolled the cell with the focus is seen, and nothing lies over the corner.
func TestMatrixScrolledInChromium(t *testing.T) {
	const n = 30
	x := newSite(t, store.SQLite, nil)
	for i := range n {
		x.group(fmt.Sprintf("Group %02d", i))
		x.gate(fmt.Sprintf("gate-%02d", i), fmt.Sprintf("Corridor %02d, east wing", i))
	}
	w := openTab(t, openChromium(t))
	w.keep(t, x, x.as("manager"))
	w.run(t, chromedp.EmulateViewport(1000, 700), chromedp.Navigate(x.url+"/admin/access/"), evaluate(`document.querySelector("tbody td").focus()`))
	keys := slices.Concat([]string{kb.End, kb.PageDown, kb.PageDown, kb.PageDown}, slices.Repeat([]string{kb.ArrowLeft}, n), []string{kb.End}, slices.Repeat([]string{kb.ArrowUp}, n))
	for i, key := range keys {
		w.run(t, chromedp.KeyEvent(key))
		covered := ask(t, w, chromedp.Evaluate[string](`(() => {
			const cell = document.activeElement, box = cell.getBoundingClientRect(), x = (box.left + box.right) / 2, y = (box.top + box.bottom) / 2;
			for (const [dx, dy] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) {
				const top = document.elementFromPoint(x + dx * (box.width / 2 - 2), y + dy * (box.height / 2 - 2));
				if (top !== cell) return "row " + cell.parentNode.rowIndex + ", column " + cell.cellIndex + " lies under " + (top ? top.outerHTML.slice(0, 100) : "the edge");
			}
			return "";
		})()`))
		if covered != "" {
			t.Fatalf("after %d keys: the cell with the focus is not seen: %s", i+1, covered)
		}
	}
	over := ask(t, w, chromedp.Evaluate[string](`(() => {
		const corner = document.querySelector(".matrix thead td"), box = corner.getBoundingClientRect();
		for (let x = box.left + 2; x < box.right - 2; x += 6) for (let y = box.top + 2; y < box.bottom - 2; y += 6) {
			const top = document.elementFromPoint(x, y);
			if (top !== corner) return top.outerHTML.slice(0, 100);
		}
		return "";
	})()`))
	if over != "" {
		t.Errorf("over the corner lies %s", over)
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
