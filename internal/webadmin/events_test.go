package webadmin

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/gatekeeper"
	"github.com/openway-access/openway/internal/store"
)

// The events of what was deleted are found by its number, and the chip says what it was called.
func TestEventsOfWhatIsGone(t *testing.T) {
	x, ctx := newSite(t, store.SQLite, nil), t.Context()
	g, other, ann, staff := x.gate("front", "Front door"), x.gate("yard", "Yard"), x.user("ann"), x.group("Staff")
	const token = "the phone of ann, 0123456789"
	must(x.desk.AddToken(ctx, setup, ann.ID, token, "Pixel"))(t)
	for _, code := range []string{g.Code, other.Code} {
		x.keeper.Verify(ctx, gatekeeper.Request{Gate: code, Token: token})
	}
	page := must(x.desk.EventPage(ctx, access.EventFilter{GateID: g.ID, Limit: 1}))(t)
	event := eventPath(page.Events[0].ID)
	b := x.as("viewer")
	if page := b.get(event); !page.shows(`href="/admin/events/?user=ann"`) || !page.shows(`href="/admin/events/?gate=front"`) {
		t.Errorf("the event does not lead to those of its person and gate:\n%s", page.body)
	}
	for _, err := range []error{
		x.desk.DeleteGate(ctx, setup, g.ID, g.Version), x.desk.DeleteUser(ctx, setup, ann.ID, must(x.desk.User(ctx, ann.ID))(t).Version),
		x.desk.DeleteGroup(ctx, setup, staff.ID, staff.Version),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.get("/admin/events/?gate=front").want(t, "a code that no gate has", http.StatusUnprocessableEntity)
	byGate, byUser := fmt.Sprintf("/admin/events/?gate_id=%d", g.ID), fmt.Sprintf("/admin/events/?user_id=%d", ann.ID)
	if page := b.get(event); !page.shows(`href="`+byGate+`"`) || !page.shows(`href="`+byUser+`"`) {
		t.Errorf("the event does not lead by number to those of what is gone:\n%s", page.body)
	}
	for path, want := range map[string]struct {
		chip   string
		events int
	}{
		byGate:                  {"Gate: Front door (deleted)", 1},
		byUser:                  {": ann (deleted)", 2},
		byUser + "&gate=yard":   {": ann (deleted)", 1},
		byUser + "&user=viewer": {": viewer", 0},
		fmt.Sprintf("/admin/events/?group_id=%d", staff.ID): {"Group: Staff (deleted)", 0},
	} {
		page := b.get(path).want(t, path, http.StatusOK)
		if n := strings.Count(page.body, `class="row-link"`); n != want.events || !page.shows(want.chip) {
			t.Errorf("%s: %d events, want %d, with the chip %q:\n%s", path, n, want.events, want.chip, page.body)
		}
	}
	if page := b.get(byUser + "&user=viewer"); strings.Contains(page.body, `class="chip" href="/admin/events/?user_id`) {
		t.Error("without the name, the number that it stood for comes back")
	}
	for _, q := range []string{"gate_id=999", "user_id=x", "group_id=-1"} {
		b.get("/admin/events/?"+q).want(t, q, http.StatusUnprocessableEntity)
	}
}

// An event of another day says which, in the log and in the feed, on every screen.
func TestDaysOfEvents(t *testing.T) {
	x := newSite(t, store.SQLite, nil)
	at := time.Date(2026, 3, 1, 10, 20, 30, 0, time.UTC)
	x.keeper.Verify(t.Context(), gatekeeper.Request{Gate: "nowhere", Token: "of nobody", At: at})
	b := x.as("viewer")
	for now, want := range map[time.Time]string{
		at.Add(13 * time.Hour): `>10:20:30</time>`,
		at.Add(14 * time.Hour): `><span class="day">1 Mar</span> 10:20:30</time>`,
		at.AddDate(1, 0, 0):    `><span class="day">1 Mar 2026</span> 10:20:30</time>`,
	} {
		x.admin.now = func() time.Time { return now }
		want = strings.NewReplacer("1 Mar 2026", "1\u00a0Mar\u00a02026", "1 Mar", "1\u00a0Mar").Replace(`<time datetime="2026-03-01T10:20:30Z" title="1 Mar 2026, 10:20:30 &#43;00:00"` + want)
		for _, path := range []string{"/admin/", "/admin/events/"} {
			if page := b.get(path).want(t, path, http.StatusOK); !page.shows(want) {
				t.Errorf("%s on %s does not show %s:\n%s", path, now, want, page.body)
			}
		}
	}
}

func TestNumbersWithTheirWords(t *testing.T) {
	for _, x := range []struct {
		lang language
		took time.Duration
		n    int64
		want [2]string
	}{
		{english, 1239 * time.Microsecond, 1, [2]string{"1.24 ms", "person"}},
		{english, 2500 * time.Millisecond, 0, [2]string{"2.50 s", "people"}},
		{russian, 1239 * time.Microsecond, 21, [2]string{"1,24 мс", "человек"}},
		{russian, 0, 3, [2]string{"0,00 мс", "человека"}},
	} {
		v := &visit{lang: x.lang}
		page := &overviewPage{frame: frame{visit: v}}
		if got := [2]string{v.took(x.took), page.Word("day.people", x.n)}; got != x.want {
			t.Errorf("%s, %v and %d: %q, want %q", x.lang, x.took, x.n, got, x.want)
		}
	}
}

// A day ends where the next one begins, also when clocks are put forward at midnight.
func TestDaysOfAFilter(t *testing.T) {
	for _, x := range []struct {
		zone, day   string
		begins, end string
	}{
		{"America/Havana", "2026-03-07", "2026-03-07T05:00:00Z", "2026-03-08T05:00:00Z"},
		{"America/Havana", "2026-03-08", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},
		{"America/Santiago", "2026-09-05", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"},
		{"America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"},
		{"UTC", "2026-02-28", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"},
	} {
		zone := must(time.LoadLocation(x.zone))(t)
		v := &visit{zone: zone}
		for end, want := range map[bool]string{false: x.begins, true: x.end} {
			if got, ok := v.instant(x.day, end); !ok || got.UTC().Format(time.RFC3339) != want {
				t.Errorf("%s in %s, end %t: %v, want %s", x.day, x.zone, end, got, want)
			}
		}
	}
}
