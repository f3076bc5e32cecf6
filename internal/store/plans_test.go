package store_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// fill makes a site that is large enough for an engine to prefer an index where there is one.
func fill(t *testing.T, db storetest.Database) {
	t.Helper()
	r := raw(t, db)
	n := func(rows string, insert string) {
		t.Helper()
		mustExec(t, r, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < `+rows+`) `+insert)
	}
	n("10000", `INSERT INTO users (id, username, first_name, last_name, email, language, password, is_active, is_staff, is_superuser, version, created_at)
		SELECT i, 'u' || i, '', '', '', '', '!', TRUE, FALSE, i % 5000 = 0, 1, 1 FROM n`)
	n("400", `INSERT INTO gate (id, site_id, code, name, location, version, created_at) SELECT i, 1, 'g' || i, '', '', 1, 1 FROM n`)
	n("400", `INSERT INTO user_group (id, name, version, created_at) SELECT i, 'p' || i, 1, 1 FROM n`)
	n("15000", `INSERT INTO membership (user_id, group_id) SELECT i % 10000 + 1, i % 397 + 1 FROM n WHERE TRUE ON CONFLICT DO NOTHING`)
	n("15000", `INSERT INTO permission (gate_id, user_id, allow, version, created_at) SELECT i % 400 + 1, i % 9973 + 1, TRUE, 1, 1 FROM n`)
	n("15000", `INSERT INTO permission (gate_id, group_id, allow, version, created_at) SELECT i % 400 + 1, i % 397 + 1, TRUE, 1, 1 FROM n`)
	n("20000", `INSERT INTO change (version, stamp, at, actor_kind, actor_user_id, actor_label, address, request_id, object, object_id, action, detail)
		SELECT i + 1, 1, i, 'user', i % 50 + 1, '', '', '', CASE WHEN i % 100 = 0 THEN 'gate' ELSE 'user' END, i % 1000 + 1, CASE WHEN i % 200 = 0 THEN 'delete' ELSE 'change' END, '' FROM n`)
	mustExec(t, r, `INSERT INTO writer (host, pid, started_at) VALUES ('h', 1, 1), ('h', 2, 1)`)
	n("20000", `INSERT INTO event_batch (writer_id, seq, policy_version, count, oldest_at, recorded_at) SELECT 1, i, 1, 1, i * 1000, i * 1000 FROM n`)
	n("20000", `INSERT INTO events (kind, occurred_at, recorded_at, writer_id, seq, gate_id, user_id, policy_version, decision, reason, count, address, request_id, fingerprint)
		SELECT 'decision', i * 1000, i * 1000, 1, i, i % 400 + 1, i % 10000 + 1, 1, 'ALLOW', 'OK', 1, '', '', '' FROM n`)
	mustExec(t, r, `UPDATE writer SET counted_seq = 10000`)
	n("10000", `INSERT INTO event_hour (gate_id, hour, decision, reason, count) SELECT i % 401, i / 401, 'DENY', 'NO_PERMISSION', 1 FROM n`)
	n("400", `INSERT INTO gate_seen (gate_id, at, decision, reason, event_id) SELECT i, i, 'ALLOW', 'OK', 1 FROM n`)
	if db.Engine == store.Postgres {
		mustExec(t, r, `ANALYZE`)
	}
}

// walks tells a walk through one of the large tables.
var walks = map[string]*regexp.Regexp{
	store.SQLite:   regexp.MustCompile(`(?m)^SCAN (users|u|permission|p|membership|m|change|event_batch|b|events|event_hour|h)( USING (COVERING )?INDEX (\w*_pkey|sqlite_\w+|\w+_(gate|user|group|kind|action|actor|at|version|object|recorded)))?$`),
	store.Postgres: regexp.MustCompile(`Seq Scan on (users|permission|membership|change|event_batch|events|event_hour)\b`),
}

// sorts tells that rows are sorted: a page of a long list must come in the order of an index.
var sorts = map[string]*regexp.Regexp{store.SQLite: regexp.MustCompile(`TEMP B-TREE FOR ORDER BY`), store.Postgres: regexp.MustCompile(`(?m)Sort Key`)}

// No query of a page walks through a large table, or sorts what it did not ask for.
func TestNoPageScans(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			db := storetest.New(t, engine)
			fill(t, db)
			s := storetest.OpenWith(t, store.Options{Database: db.DSN})
			if err := s.IndexEvents(t.Context()); err != nil {
				t.Fatal(err)
			}
			many := make([]int64, 200)
			for i := range many {
				many[i] = int64(i + 1)
			}
			pages := map[string]func(tx *store.Tx) error{
				"lanes with old batches": func(tx *store.Tx) error { return store.LanesWithOld(tx) },
				"matrix":                 func(tx *store.Tx) error { _, err := tx.GroupPermissions(many[:100], many[:100]); return err },
				"who passes":             func(tx *store.Tx) error { _, err := tx.PermissionsAtGate(7, nil, 50); return err },
				"who passes, next": func(tx *store.Tx) error {
					_, err := tx.PermissionsAtGate(7, &access.Permission{ID: 5, UserID: 9}, 50)
					return err
				},
				"count at a gate":  func(tx *store.Tx) error { _, err := tx.CountAtGate(7, 1001); return err },
				"count of a group": func(tx *store.Tx) error { _, _, err := tx.CountOfGroup(7, 1001); return err },
				"groups of a user": func(tx *store.Tx) error { _, err := tx.GroupIDs(7); return err },
				"ways at a gate":   func(tx *store.Tx) error { _, err := tx.PermissionsOf(7, many[:10], many[:1]); return err },
				"gates":            func(tx *store.Tx) error { _, err := tx.ListGates(many[:50]); return err },
				"groups":           func(tx *store.Tx) error { _, err := tx.ListGroups(many[:50]); return err },
				"where":            func(tx *store.Tx) error { _, err := tx.GatesOf(7, many[:10], 3, 50); return err },
				"and why":          func(tx *store.Tx) error { _, err := tx.PermissionsOf(7, many[:10], many[:50]); return err },
				"ever":             func(tx *store.Tx) error { _, err := tx.PermissionsEver(7, 8, many[:10], 50); return err },
				"hours of the site": func(tx *store.Tx) error {
					_, err := tx.HourCounts(0, time.UnixMicro(10), time.UnixMicro(40))
					return err
				},
				"hours of a gate": func(tx *store.Tx) error {
					_, err := tx.HourCounts(9, time.UnixMicro(10), time.UnixMicro(40))
					return err
				},
				"people":        func(tx *store.Tx) error { _, _, err := tx.PeopleOn(tx.Now, time.UTC); return err },
				"gates seen":    func(tx *store.Tx) error { _, err := tx.GatesSeen(many[:50]); return err },
				"members among": func(tx *store.Tx) error { _, err := tx.MembersAmong(3, many); return err },
				"owners":        func(tx *store.Tx) error { _, err := tx.ActiveOwners(); return err },
				"users":         func(tx *store.Tx) error { _, err := tx.ListUsers(many[:50]); return err },
				"an event":      func(tx *store.Tx) error { _, err := tx.Event(500); return err },
				"names": func(tx *store.Tx) error {
					_, err := tx.Objects(store.ObjectIDs{Users: many[:50], Gates: many[:50], Permissions: many[:50]})
					return err
				},
			}
			err := s.View(t.Context(), func(tx *store.Tx) error {
				for name := range store.Inside(tx) {
					pages[name] = func(tx *store.Tx) error { return store.Inside(tx)[name]() }
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for name, page := range pages {
				plans, err := store.Plans(t.Context(), s, page)
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if len(plans) == 0 {
					t.Errorf("%s: no query was seen", name)
				}
				for _, p := range plans {
					bad := walks[engine].FindString(p.How)
					if strings.HasPrefix(name, "audit") || engine == store.SQLite && strings.HasPrefix(name, "who passes") {
						bad += sorts[engine].FindString(p.How)
					}
					if bad != "" && name != "all audit" || strings.Contains(p.How, "no plan") {
						t.Errorf("%s: %s\n%s\n%s", name, bad, p.Query, p.How)
					}
				}
			}
		})
	}
}
