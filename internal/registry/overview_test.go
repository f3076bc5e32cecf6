package registry_test

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
	"github.com/openway-access/openway/internal/table"
)

// count brings the sums up to date.
func (d *door) count() {
	d.t.Helper()
	for more := true; more; {
		var err error
		if _, more, err = d.s.CountEvents(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
	}
}

func TestOverview(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		x := newDoor(t, d)
		site := must(d.Site(ctx))(t)
		site.Zone = "Asia/Kolkata" // half an hour off; the desk's clock, 10:00 UTC, is 15:30 there
		must(d.UpdateSite(ctx, clerk, site))(t)
		empty := must(d.Overview(ctx, 5))(t)
		if empty.Day != (registry.Sum{}) || len(empty.Hours) != 16 || len(empty.Denials)+len(empty.Recent)+len(empty.Silent) != 0 || empty.People != 0 {
			t.Errorf("before anything happened: %+v", empty)
		}
		gate := must(d.CreateGate(ctx, clerk, access.Gate{Code: "hall"}))(t)
		yard := must(d.CreateGate(ctx, clerk, access.Gate{Code: "yard"}))(t)
		ann := d.user("ann")
		must(d.AddToken(ctx, clerk, ann.ID, "ann-token-1", ""))(t)
		must(d.GrantPermission(ctx, clerk, access.Permission{GateID: gate.ID, UserID: ann.ID}))(t)
		d.advance(-48 * time.Hour)
		x.ask("yard", "ann-token-1")
		d.advance(48*time.Hour - 31*time.Minute) // 14:59
		x.ask("hall", "ann-token-1")
		d.advance(31 * time.Minute)
		x.ask("hall", "ann-token-1")
		x.ask("hall", "never-was-one")
		x.ask("hall", "never-was-one")
		x.ask("nowhere", "ann-token-1")
		x.count()
		o := must(d.Overview(ctx, 5))(t)
		if o.Day != (registry.Sum{Allowed: 2, Denied: 3}) || o.Week != (registry.Sum{Allowed: 2, Denied: 4}) || o.People != 1 {
			t.Errorf("today %+v, the week %+v, %d people; want 2 and 3, 2 and 4, 1", o.Day, o.Week, o.People)
		}
		if o.Hours[14].Sum != (registry.Sum{Allowed: 1}) || o.Hours[15].Sum != (registry.Sum{Allowed: 1, Denied: 3}) || o.Hours[15].Begins.Format("15:04") != "15:00" {
			t.Errorf("the hours are %+v", o.Hours[14:])
		}
		if diff := cmp.Diff([]registry.ReasonCount{{Reason: "TOKEN_INVALID", Count: 2}, {Reason: "NO_PERMISSION", Count: 1}, {Reason: "UNKNOWN_GATE", Count: 1}}, o.Denials); diff != "" {
			t.Errorf("denials, want (-), got (+):\n%s", diff)
		}
		if len(o.Recent) != 2 || o.Recent[0].GateID != gate.ID || o.Recent[0].Reason != access.TokenInvalid || len(o.Silent) != 2 || o.Silent[0].GateID != yard.ID {
			t.Errorf("recent %+v, silent %+v", o.Recent, o.Silent)
		}
		g := must(d.GateOverview(ctx, yard.ID))(t)
		if g.Day != (registry.Sum{}) || g.Week != (registry.Sum{Denied: 1}) {
			t.Errorf("one gate: %+v", g)
		}
		if seen := must(d.GatesSeen(ctx, []int64{yard.ID, 99}))(t); len(seen) != 1 || seen[yard.ID].Reason != access.NoPermission {
			t.Errorf("gates seen: %+v", seen)
		}
		h := must(d.Health(ctx))(t)
		if h.Engine != d.db.Engine || h.Bytes < 10_000 || !h.NewestEvent.Equal(time.UnixMicro(d.micros.Load())) || h.NewestEvent.Sub(h.OldestEvent) != 48*time.Hour || !h.Uncounted.IsZero() || h.CountedAt.IsZero() || !h.LastBackup.At.IsZero() {
			t.Errorf("health: %+v", h)
		}
		// Passes are counted by the hour, people by the day: those of another zone's day are not those of today.
		site = must(d.Site(ctx))(t)
		site.Zone = "Europe/Berlin"
		must(d.UpdateSite(ctx, clerk, site))(t)
		if o := must(d.Overview(ctx, 5))(t); o.Day.Allowed != 2 || o.People != -1 {
			t.Errorf("in another zone: %+v and %d people, want 2 let in and nobody knows how many", o.Day, o.People)
		}
		x.ask("hall", "ann-token-1")
		if h := must(d.Health(ctx))(t); h.Uncounted.IsZero() || h.Uncounted.After(time.UnixMicro(d.micros.Load())) {
			t.Errorf("an event waits to be counted, and health says %v", h.Uncounted)
		}
	})
}

func TestWriteEventsAndChanges(t *testing.T) {
	each(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		x := newDoor(t, d)
		must(d.CreateGate(ctx, clerk, access.Gate{Code: "=hall"}))(t)
		u := d.user("ann")
		must(d.AddToken(ctx, clerk, u.ID, "ann-token-1", ""))(t)
		for range 3 {
			x.ask("=hall", "ann-token-1")
		}
		x.ask("@nowhere", "ann-token-1")
		if err := d.DeleteUser(ctx, clerk, u.ID, 0); err != nil {
			t.Fatal(err)
		}
		d.audit()
		var out strings.Builder
		if n := must(d.WriteEvents(ctx, clerk, access.EventFilter{}, &out, table.CSV))(t); n != 4 {
			t.Errorf("%d events were written, want 4", n)
		}
		rows := must(csv.NewReader(strings.NewReader(out.String())).ReadAll())(t)
		if len(rows) != 5 || rows[1][4] != "'@nowhere" || rows[2][4] != "'=hall" || rows[2][6] != "ann" || rows[2][14] != "NO_PERMISSION" {
			t.Errorf("CSV:\n%s", out.String())
		}
		out.Reset()
		if n := must(d.WriteEvents(ctx, clerk, access.EventFilter{Reason: access.UnknownGate}, &out, table.NDJSON))(t); n != 1 {
			t.Errorf("%d events were written, want 1", n)
		}
		var one map[string]any
		if err := json.Unmarshal([]byte(out.String()), &one); err != nil || one["gate"] != "@nowhere" || one["user"] != nil {
			t.Errorf("NDJSON: %v\n%s", err, out.String())
		}
		d.wantAudit("the exports", "events 0 export +format=csv", "events 0 export +format=ndjson")
		out.Reset()
		n := must(d.WriteChanges(ctx, clerk, registry.ChangeFilter{Object: access.ObjectUser}, &out, table.NDJSON))(t)
		if n != 2 || !strings.Contains(out.String(), `"object_name":"ann","action":"delete","before":{"active":"true"`) {
			t.Errorf("%d lines of the audit:\n%s", n, out.String())
		}
		if _, err := d.WriteEvents(ctx, clerk, access.EventFilter{}, &out, "xlsx"); err == nil {
			t.Error("an unknown format was taken")
		}
		changes := must(d.Changes(ctx, registry.ChangeFilter{Action: "delete"}))(t)
		named := must(d.ObjectsOfChanges(ctx, changes))(t)
		if len(changes) == 0 || named.Users[u.ID].DeletedAt.IsZero() || registry.NameOf(named, changes[0]) != "ann" {
			t.Errorf("deletions: %+v, named %+v", changes, named)
		}
	})
}
