package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// Taking over: what a restored database gets from the one that it replaces. A backup is of the past, and people have lost their rights since
// then: what ended in the replaced database ends in the restored one too, by the ids, which are the same in both because no id is ever given
// twice. Rights and people that came since the backup do not come along. What the log and the audit say of the time since does.

// Carried says what a restored database got from the one that it replaced.
type Carried struct {
	Mark access.PolicyMark // the restored database's new one
	// Ended counts, by words such as "users deactivated", what ended in the restored database because it had ended in the replaced one.
	// After Replacement.BringBack it is what would have, and is in force again.
	Ended map[string]int64
	// Returned are the user names of people who are active again, or regained something, after Replacement.BringBack; the first 50.
	Returned []string
	// Lost counts, by table, what the replaced database had and the restored one has not: it was made since the backup.
	Lost map[string]int64
	// Events and AuditLines are those of the time since the backup.
	Events, AuditLines int64
	// Unread are the tables of the replaced database that could not be read: what they said of the time since the backup is unknown.
	Unread []string
	// Stranger: there was no database, or another installation's, and nothing was taken over.
	Stranger bool
	// Damaged is where an SQLite file that could not be opened is kept.
	Damaged string
	// NoOwner: no active owner is left.
	NoOwner bool
}

// ending is a way to lose a right. In its statement "@" stands before the replaced database's tables, {version} for the new version and {now} for the time.
type ending struct {
	words  string
	table  string
	others []string // tables that it reads besides
	sql    string
}

const roleRank = `CASE %s.role WHEN 'owner' THEN 3 WHEN 'manager' THEN 2 WHEN 'viewer' THEN 1 ELSE 0 END`

// endings are in an order: a password is compared before the rows get their new version, tombstones come before what is narrowed.
func endings() []ending {
	same := func(table, more string) string {
		return `EXISTS (SELECT 1 FROM @` + table + ` o WHERE o.id = ` + table + `.id AND ` + more + `)`
	}
	end := func(words, table, set, unless, when string) ending {
		return ending{words, table, nil, `UPDATE ` + table + ` SET ` + set + `, version = {version} WHERE deleted_at IS NULL AND ` + unless + ` AND ` + same(table, when)}
	}
	of := func(table, column string) string {
		return `(SELECT o.` + column + ` FROM @` + table + ` o WHERE o.id = ` + table + `.id)`
	}
	list := []ending{
		end("passwords replaced", "users", `password = `+of("users", "password"), `TRUE`, `o.deleted_at IS NULL AND o.version > users.version AND o.password <> users.password`),
	}
	for _, t := range [][2]string{
		{"users", "users deleted"}, {"user_group", "groups deleted"}, {"gate", "gates deleted"}, {"permission", "permissions deleted"}, {"device", "devices deleted"}, {"credential", "credentials deleted"},
	} {
		list = append(list, end(t[1], t[0], `deleted_at = `+of(t[0], "deleted_at"), `TRUE`, `o.deleted_at IS NOT NULL`))
	}
	role, was := fmt.Sprintf(roleRank, "role_grant"), fmt.Sprintf(roleRank, "o")
	sameRole := `o.user_id = role_grant.user_id AND COALESCE(o.site_id, 0) = COALESCE(role_grant.site_id, 0)`
	return append(list,
		end("users deactivated", "users", `is_active = FALSE`, `is_active`, `NOT o.is_active`),
		end("superusers demoted", "users", `is_superuser = FALSE`, `is_superuser`, `NOT o.is_superuser`),
		end("staff demoted", "users", `is_staff = FALSE`, `is_staff`, `NOT o.is_staff`),
		end("permissions suspended", "permission", `allow = FALSE`, `allow`, `NOT o.allow`),
		end("permissions ended", "permission", `deleted_at = {now}`, `TRUE`, `(o.valid_until <= permission.valid_from OR o.valid_from >= permission.valid_until)`),
		end("permissions shortened", "permission", `valid_until = `+of("permission", "valid_until"), `TRUE`, `(o.valid_until < permission.valid_until OR o.valid_until IS NOT NULL AND permission.valid_until IS NULL)`),
		end("permissions put off", "permission", `valid_from = `+of("permission", "valid_from"), `TRUE`, `(o.valid_from > permission.valid_from OR o.valid_from IS NOT NULL AND permission.valid_from IS NULL)`),
		end("devices revoked", "device", `is_active = FALSE`, `is_active`, `NOT o.is_active`),
		end("credentials revoked", "credential", `state = `+of("credential", "state")+`, state_reason = `+of("credential", "state_reason"), `state <> 'revoked'`,
			`(o.state = 'revoked' OR o.state = 'inactive' AND credential.state = 'active')`),
		end("credentials shortened", "credential", `valid_until = `+of("credential", "valid_until"), `TRUE`, `(o.valid_until < credential.valid_until OR o.valid_until IS NOT NULL AND credential.valid_until IS NULL)`),
		ending{"memberships ended", "membership", []string{"users", "user_group"}, `DELETE FROM membership WHERE EXISTS (SELECT 1 FROM @users o WHERE o.id = membership.user_id)
			AND EXISTS (SELECT 1 FROM @user_group o WHERE o.id = membership.group_id)
			AND NOT EXISTS (SELECT 1 FROM @membership o WHERE o.user_id = membership.user_id AND o.group_id = membership.group_id)`},
		ending{"roles ended", "role_grant", []string{"users"}, `DELETE FROM role_grant WHERE EXISTS (SELECT 1 FROM @users o WHERE o.id = role_grant.user_id)
			AND NOT EXISTS (SELECT 1 FROM @role_grant o WHERE ` + sameRole + `)`},
		ending{"roles lowered", "role_grant", nil, `UPDATE role_grant SET role = (SELECT o.role FROM @role_grant o WHERE ` + sameRole + `)
			WHERE EXISTS (SELECT 1 FROM @role_grant o WHERE ` + sameRole + ` AND ` + was + ` < ` + role + `)`},
	)
}

// takeOver makes a restored database ready to replace another one, whose tables are in the schema replaced ("" = there is none). mine is the
// schema of the restored one.
func (tx *Tx) takeOver(replaced, mine string, r Replacement) (Carried, error) {
	if err := tx.readMark(); err != nil {
		return Carried{}, err
	}
	stamp, err := freshStamp()
	if err != nil {
		return Carried{}, err
	}
	t := &taking{tx: tx, c: Carried{Ended: map[string]int64{}, Lost: map[string]int64{}}, schema: replaced, mine: mine, from: quoteName(replaced) + "."}
	if err := t.survey(); err != nil {
		return Carried{}, err
	}
	// Two versions on, so that there is a gap in the feed of changes: every server loads the whole policy again.
	tx.Was, tx.Mark = tx.Mark, access.PolicyMark{Version: max(tx.Mark.Version, t.version) + 2, Stamp: stamp}
	steps := []func() error{t.countLost, t.end, t.erase, t.log, t.moveIDs, func() error { return t.finish(r) }}
	if r.BringBack {
		steps[1] = t.bringBack
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return Carried{}, fmt.Errorf("take over what the replaced database knows: %w", err)
		}
	}
	slices.Sort(t.c.Unread)
	t.c.Unread = slices.Compact(t.c.Unread)
	t.c.Mark = tx.Mark
	return t.c, nil
}

// taking is one takeOver.
type taking struct {
	tx      *Tx
	c       Carried
	schema  string
	mine    string
	from    string          // stands before names of the replaced database's tables
	there   map[string]bool // the tables of the replaced database; empty = nothing is taken from it
	version int64           // the replaced database's policy
}

// survey finds out what of the replaced database there is, and whether it is the same installation.
func (t *taking) survey() error {
	t.there = map[string]bool{}
	if t.schema == "" {
		t.c.Stranger = true
		return nil
	}
	tables, err := t.tx.tables(t.schema)
	if err != nil {
		return err
	}
	if len(tables) == 0 {
		t.c.Stranger = true
		return nil
	}
	for _, name := range tables {
		t.there[name] = true
	}
	var same int
	err = t.read("instance", func() error {
		return t.tx.queryRow(t.sql(`SELECT COUNT(*) FROM instance i JOIN @instance o ON o.uuid = i.uuid`)).Scan(&same)
	})
	if err == nil && len(t.c.Unread) == 0 && same > 0 {
		err = t.read("policy", func() error { return t.tx.queryRow(t.sql(`SELECT version FROM @policy WHERE id = 1`)).Scan(&t.version) })
	}
	if err != nil {
		return err
	}
	if same == 0 {
		t.c.Stranger = len(t.c.Unread) == 0
		if !t.c.Stranger { // nobody knows whose the tables are
			t.c.Unread = tables
		}
		t.there = map[string]bool{}
	}
	return nil
}

func (t *taking) sql(text string) string {
	return strings.NewReplacer("@", t.from, "{version}", strconv.FormatInt(t.tx.Mark.Version, 10), "{now}", strconv.FormatInt(micros(t.tx.Now), 10)).Replace(text)
}

// read runs fn, which reads a table of the replaced database. When that cannot be read, what fn did is undone and the table is noted.
func (t *taking) read(table string, fn func() error) error {
	if t.c.Stranger {
		return nil
	}
	if !t.there[table] {
		t.c.Unread = append(t.c.Unread, table)
		return nil
	}
	if _, err := t.tx.exec(`SAVEPOINT taking`); err != nil {
		return err
	}
	failed := fn()
	if failed != nil {
		if !t.tx.s.kind.unreadable(failed) && !errors.Is(failed, access.ErrNotFound) {
			return failed
		}
		t.c.Unread = append(t.c.Unread, table)
		if _, err := t.tx.exec(`ROLLBACK TO SAVEPOINT taking`); err != nil {
			return err
		}
	}
	_, err := t.tx.exec(`RELEASE SAVEPOINT taking`)
	return err
}

// living are the tables whose rows are tombstoned when they end.
var living = []string{"users", "user_group", "gate", "permission", "device", "credential"}

func (t *taking) countLost() error {
	for _, table := range living {
		err := t.read(table, func() error {
			var n int64
			err := t.tx.queryRow(t.sql(`SELECT COUNT(*) FROM @` + table + ` o WHERE o.deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM ` + table + ` m WHERE m.id = o.id)`)).Scan(&n)
			if n > 0 {
				t.c.Lost[table] = n
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// end carries over what ended.
func (t *taking) end() error {
	for _, e := range endings() {
		missing := false
		for _, other := range e.others {
			missing = missing || !t.there[other]
		}
		if missing {
			continue
		}
		err := t.read(e.table, func() error {
			n, err := t.tx.exec(t.sql(e.sql))
			if n > 0 {
				t.c.Ended[e.words] = n
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", e.words, err)
		}
	}
	for _, q := range []string{
		`UPDATE users SET password = '!', is_active = FALSE WHERE deleted_at IS NOT NULL AND password <> '!'`,
		`DELETE FROM password_history WHERE user_id IN (SELECT id FROM users WHERE deleted_at IS NOT NULL)`,
	} {
		if _, err := t.tx.exec(q); err != nil {
			return err
		}
	}
	return nil
}

// maxReturned is how many people are named who come back.
const maxReturned = 50

// bringBack finds out what would have ended, and leaves it as it is.
func (t *taking) bringBack() error {
	// Of memberships and roles that end no row is left to tell by.
	weigh := func() (map[string]int64, error) {
		return t.tx.numbers(`SELECT u.username, SUM(h.weight) FROM users u JOIN (SELECT user_id, 1 AS weight FROM membership UNION ALL SELECT user_id, 1000 * (` +
			fmt.Sprintf(roleRank, "role_grant") + `) FROM role_grant) h ON h.user_id = u.id GROUP BY u.id, u.username`)
	}
	if _, err := t.tx.exec(`SAVEPOINT bringing`); err != nil {
		return err
	}
	before, err := weigh()
	if err != nil {
		return err
	}
	if err := t.end(); err != nil {
		return err
	}
	names, err := t.tx.names(t.sql(`SELECT username FROM users WHERE id IN (SELECT id FROM users WHERE version = {version} UNION SELECT user_id FROM credential WHERE version = {version}
		UNION SELECT user_id FROM device WHERE version = {version} UNION SELECT user_id FROM permission WHERE version = {version})`))
	if err != nil {
		return err
	}
	after, err := weigh()
	if err != nil {
		return err
	}
	for name, weight := range before {
		if after[name] < weight {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	t.c.Returned = names[:min(len(names), maxReturned)]
	for _, q := range []string{`ROLLBACK TO SAVEPOINT bringing`, `RELEASE SAVEPOINT bringing`} {
		if _, err := t.tx.exec(q); err != nil {
			return err
		}
	}
	return nil
}

// erase blanks again who was erased since the backup.
func (t *taking) erase() error {
	var ids []int64
	err := t.read("users", func() error {
		ids = ids[:0]
		return t.tx.each(t.sql(`SELECT o.id FROM @users o JOIN users m ON m.id = o.id WHERE o.erased_at IS NOT NULL AND m.erased_at IS NULL ORDER BY o.id`), nil, func(row scanner) error {
			var id int64
			err := row.Scan(&id)
			ids = append(ids, id)
			return err
		})
	})
	for _, id := range ids {
		if err == nil { // brought back or not: nobody gets erased text back
			_, err = t.tx.exec(t.sql(`UPDATE users SET deleted_at = {now}, is_active = FALSE, version = {version} WHERE deleted_at IS NULL AND id = ` + strconv.FormatInt(id, 10)))
		}
		if err == nil {
			_, err = t.tx.EraseUser(id)
		}
	}
	if err == nil && len(ids) > 0 {
		t.c.Ended["people erased"] = int64(len(ids))
	}
	return err
}

// log takes over the events and the audit of the time since the backup. Events go by their batches: one that is not in the backup was
// written later, whatever its ids.
func (t *taking) log() error {
	const missing = `NOT EXISTS (SELECT 1 FROM event_batch b WHERE b.writer_id = o.writer_id AND b.seq = o.seq)`
	err := t.read("event_batch", func() error {
		var since int64
		if err := t.tx.queryRow(t.sql(`SELECT COALESCE(MIN(o.recorded_at), 0) FROM @event_batch o WHERE ` + missing)).Scan(&since); err != nil {
			return err
		}
		if since == 0 {
			return nil
		}
		var top int64
		if err := t.tx.queryRow(`SELECT COALESCE(MAX(id), 0) FROM events`).Scan(&top); err != nil {
			return err
		}
		err := t.read("events", func() (err error) {
			t.c.Events, err = t.copyRows("events", `o.recorded_at >= `+strconv.FormatInt(since, 10)+` AND `+missing+` AND NOT EXISTS (SELECT 1 FROM events m WHERE m.id = o.id)`)
			return err
		})
		if err != nil {
			return err
		}
		var above int64
		if err := t.tx.queryRow(`SELECT COUNT(*) FROM events WHERE id > $1`, top).Scan(&above); err != nil {
			return err
		}
		if above != t.c.Events {
			if err := t.tx.ForgetEventIndex(); err != nil {
				return err
			}
		}
		_, err = t.copyRows("event_batch", missing)
		return err
	})
	if err != nil {
		return err
	}
	err = t.read("writer", func() error {
		// Only what tells who it was: what else stands there was counted by the replaced database for itself.
		_, err := t.tx.exec(t.sql(`INSERT INTO writer (id, host, pid, started_at, retired_at) SELECT o.id, o.host, o.pid, o.started_at, o.retired_at FROM @writer o
			WHERE NOT EXISTS (SELECT 1 FROM writer m WHERE m.id = o.id)`))
		return err
	})
	if err != nil {
		return err
	}
	return t.read("change", func() (err error) {
		t.c.AuditLines, err = t.copyRows("change", `NOT EXISTS (SELECT 1 FROM change m WHERE m.id = o.id)`)
		return err
	})
}

// copyRows copies rows of the replaced database, in the columns that both have.
func (t *taking) copyRows(table, where string) (int64, error) {
	mine, err := t.tx.columns(t.mine, table)
	if err != nil {
		return 0, err
	}
	theirs, err := t.tx.columns(t.schema, table)
	if err != nil {
		return 0, err
	}
	var columns []string
	for _, c := range mine {
		if slices.Contains(theirs, c) {
			columns = append(columns, quoteName(c))
		}
	}
	list := strings.Join(columns, ", ")
	return t.tx.exec(t.sql(`INSERT INTO ` + table + ` (` + list + `) SELECT ` + list + ` FROM @` + table + ` o WHERE ` + where))
}

// leap is how far ids move on when nobody knows which ones were given since the backup.
const leap = 1_000_000

// moveIDs sees to it that no id is given twice: not one that the replaced database gave since the backup.
func (t *taking) moveIDs() error {
	mine, err := t.tx.s.kind.lastIDs(t.tx, t.mine)
	if err != nil {
		return err
	}
	theirs := map[string]int64{}
	known := !t.c.Stranger && len(t.there) > 0
	if known {
		if theirs, err = t.tx.s.kind.lastIDs(t.tx, t.schema); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		to := max(mine[name], theirs[name])
		if _, ok := theirs[name]; !ok && !known {
			to = mine[name] + leap
		}
		if to == mine[name] {
			continue
		}
		if err := t.tx.s.kind.setLastID(t.tx, t.mine, name, to); err != nil {
			return fmt.Errorf("move the ids of %s: %w", name, err)
		}
	}
	return nil
}

// finish ends the sessions, sets the mark, and leaves the line in the audit.
func (t *taking) finish(r Replacement) error {
	if _, err := t.tx.exec(`DELETE FROM session`); err != nil {
		return fmt.Errorf("end the sessions: %w", err)
	}
	if _, err := t.tx.exec(`UPDATE policy SET version = $1, stamp = $2, changed_at = $3 WHERE id = 1`, t.tx.Mark.Version, t.tx.Mark.Stamp, micros(t.tx.Now)); err != nil {
		return fmt.Errorf("set the policy's mark: %w", err)
	}
	detail := maps.Clone(r.Detail)
	if detail == nil {
		detail = access.Fields{}
	}
	for words, n := range t.c.Ended {
		if r.BringBack && words != "people erased" {
			words = "brought back: " + words
		}
		detail[words] = strconv.FormatInt(n, 10)
	}
	detail["events carried over"] = strconv.FormatInt(t.c.Events, 10)
	if len(t.c.Unread) > 0 || t.c.Stranger {
		detail["unknown since the backup"] = "yes"
	}
	if err := t.tx.Record(access.ObjectRestore, 0, access.ActionRestore, nil, detail); err != nil {
		return err
	}
	owned, err := t.tx.HasOwner()
	t.c.NoOwner = !owned
	return err
}
