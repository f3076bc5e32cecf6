package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/openway-access/openway/internal/access"
)

// Import is the transaction of an import: rows come whole, with their ids, in bulk.
type Import struct {
	*Tx
	// pg is the transaction's connection on PostgreSQL, for COPY.
	pg *sql.Conn
}

// ImportedVersion is the version and the stamp that audit lines bear which tell of the time before the import: no policy of ours ever has it.
const ImportedVersion = 0

// Import runs fn in one write transaction that replaces the whole policy. It commits when fn returns nil; the version moves so that every
// snapshot of the policy is loaded anew. access.ErrOutcomeUnknown means that the commit's fate is unknown.
func (s *Store) Import(ctx context.Context, actor access.Actor, fn func(*Import) error) (mark access.PolicyMark, err error) {
	run := func(on conn, pg *sql.Conn) (bool, error) {
		tx := &Tx{Now: s.now(), ctx: ctx, s: s, on: on}
		mark, _, err = tx.change(actor, 2, func(tx *Tx) error { return fn(&Import{tx, pg}) })
		return err == nil, err
	}
	if s.write != nil {
		err = s.write.do(ctx, durable, func(c *sql.Conn) (bool, error) { return run(prepared{c, s.write}, nil) })
		return mark, err
	}
	c, err := s.read.Conn(ctx)
	if err != nil {
		return mark, fmt.Errorf("connect: %w", s.kind.fault(err))
	}
	defer c.Close()
	err = s.inTransaction(ctx, c, durable, func(on conn) (bool, error) { return run(on, c) })
	return mark, err
}

// Holdings says what a database holds that an import would stand beside or replace.
type Holdings struct {
	// Rows counts the rows of each table that has any, tombstones included.
	Rows map[string]int64
	// Imported is the version that the last import made; 0 = there was none.
	Imported int64
	// Since counts the objects of each kind that were made, changed or deleted by others than an import since then.
	Since map[string]int64
}

// Empty reports whether there is nothing that could be in an import's way.
func (h Holdings) Empty() bool { return len(h.Rows) == 0 }

// wiped are the tables that an import fills, children first.
var wiped = []string{
	"session", "credential", "device", "permission", "membership", "role_grant", "password_history", "user_group", "users", "gate", "events",
}

// counted are the tables of what is counted from the events; the imported ones are counted anew.
var counted = []string{"event_hour", "user_day", "people_day", "gate_seen", "event_count_part"}

// Holdings looks at what there is.
func (tx *Tx) Holdings() (Holdings, error) {
	h := Holdings{Rows: map[string]int64{}, Since: map[string]int64{}}
	for _, table := range wiped {
		var n int64
		if err := tx.queryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n); err != nil {
			return h, fmt.Errorf("count the rows of %s: %w", table, err)
		}
		if n > 0 {
			h.Rows[table] = n
		}
	}
	if err := tx.queryRow(`SELECT COALESCE(MAX(version), 0) FROM change WHERE object = $1 AND action = $2`, access.ObjectSite, access.ActionImport).Scan(&h.Imported); err != nil {
		return h, fmt.Errorf("look for an earlier import: %w", err)
	}
	err := tx.each(`SELECT object, COUNT(DISTINCT object_id) FROM change WHERE version > $1 AND action NOT IN ($2, $3) GROUP BY object`,
		[]any{h.Imported, access.ActionSignInRefused, access.ActionImport}, func(row scanner) error {
			var object string
			var n int64
			err := row.Scan(&object, &n)
			h.Since[object] = n
			return err
		})
	if err != nil {
		return h, fmt.Errorf("look for what was made since the import: %w", err)
	}
	return h, nil
}

// HoldingsNow is Tx.Holdings in a transaction of its own. A PostgreSQL database without any table is empty.
func (s *Store) HoldingsNow(ctx context.Context) (h Holdings, err error) {
	if there, err := s.tableExists(ctx, "instance"); err != nil || !there {
		return h, err
	}
	if err := s.CheckSchema(ctx); err != nil {
		return h, err
	}
	err = s.View(ctx, func(tx *Tx) error {
		h, err = tx.Holdings()
		return err
	})
	return h, err
}

// Wipe deletes every person, right and event, for good, and the audit lines of the time before an earlier import. Our own audit stays.
func (im *Import) Wipe() error {
	if err := im.holdIndex(); err != nil { // before events, as a purge does
		return fmt.Errorf("wipe: %w", err)
	}
	for _, table := range slices.Concat(wiped, counted) {
		if _, err := im.exec(`DELETE FROM ` + table); err != nil {
			return fmt.Errorf("wipe %s: %w", table, err)
		}
	}
	// Whoever is counting what was there just now, in a server, is not to write it down after this.
	if _, err := im.exec(`UPDATE event_counter SET round = round + 1`); err != nil {
		return fmt.Errorf("begin to count anew: %w", err)
	}
	if _, err := im.exec(`DELETE FROM change WHERE version = $1`, ImportedVersion); err != nil {
		return fmt.Errorf("wipe the audit of an earlier import: %w", err)
	}
	return im.ForgetEventIndex()
}

// NextID is the first id of a table that was never given.
func (im *Import) NextID(table string) (int64, error) {
	n, err := im.s.kind.lastID(im.Tx, table)
	if err != nil {
		return 0, fmt.Errorf("read the sequence of %s: %w", table, err)
	}
	return n + 1, nil
}

// KeepIDs sees to it that the next id of a table is above last and above all in it.
func (im *Import) KeepIDs(table string, last int64) error {
	if err := im.s.kind.keepIDs(im.Tx, table, last); err != nil {
		return fmt.Errorf("move the sequence of %s: %w", table, err)
	}
	return nil
}

// ReserveEventIDs makes what running servers log from now on have ids above last, so that imported events can keep theirs. It is no part of a
// transaction: unused ids are no harm. On SQLite nobody logs during an import.
func (s *Store) ReserveEventIDs(ctx context.Context, last int64) error {
	if s.write != nil {
		return nil
	}
	err := s.inWrite(ctx, func(tx *Tx) (bool, error) {
		return true, s.kind.keepIDs(tx, "events", last)
	})
	if err == nil {
		// Whoever drew an id before has committed when this lock is had.
		err = s.inWrite(ctx, func(tx *Tx) (bool, error) {
			_, err := tx.exec(`LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE`)
			return true, err
		})
	}
	if err != nil {
		return fmt.Errorf("reserve the ids of events: %w", err)
	}
	return nil
}

// Gates writes gates of the only site.
func (im *Import) Gates(list []access.Gate) error {
	return bulk(im, "gate", []string{"id", "site_id", "code", "name", "location", "version", "created_at"}, list, func(g *access.Gate) []any {
		return []any{g.ID, int64(OnlySite), g.Code, g.Name, g.Location, im.Mark.Version, micros(im.Now)}
	})
}

// Users writes users with their encoded password hashes, which stand in the same order.
func (im *Import) Users(list []access.User, passwords []string) error {
	i := -1
	return bulk(im, "users", []string{
		"id", "username", "first_name", "last_name", "email", "language", "password", "is_active", "is_staff", "is_superuser", "last_login_at", "version", "created_at",
	}, list, func(u *access.User) []any {
		i++
		return []any{
			u.ID, u.Username, u.FirstName, u.LastName, u.Email, u.Language, passwords[i], u.Active, u.Staff, u.Superuser, instantOrNull(u.LastLoginAt),
			im.Mark.Version, micros(u.CreatedAt),
		}
	})
}

// PasswordHash is an entry of a user's password history.
type PasswordHash struct {
	UserID    int64
	Hash      string
	CreatedAt int64 // Unix microseconds
}

// Passwords writes the history, oldest first.
func (im *Import) Passwords(list []PasswordHash) error {
	return bulk(im, "password_history", []string{"user_id", "password", "created_at"}, list, func(p *PasswordHash) []any {
		return []any{p.UserID, p.Hash, p.CreatedAt}
	})
}

// Groups writes groups.
func (im *Import) Groups(list []access.Group) error {
	return bulk(im, "user_group", []string{"id", "name", "version", "created_at"}, list, func(g *access.Group) []any {
		return []any{g.ID, g.Name, im.Mark.Version, micros(im.Now)}
	})
}

// Member says that a user is in a group.
type Member struct{ UserID, GroupID int64 }

// Members writes memberships.
func (im *Import) Members(list []Member) error {
	return bulk(im, "membership", []string{"user_id", "group_id"}, list, func(m *Member) []any { return []any{m.UserID, m.GroupID} })
}

// Permissions writes permissions that hold at all times.
func (im *Import) Permissions(list []access.Permission) error {
	return bulk(im, "permission", []string{"id", "gate_id", "user_id", "group_id", "allow", "version", "created_at"}, list, func(p *access.Permission) []any {
		return []any{p.ID, p.GateID, orNull(p.UserID), orNull(p.GroupID), p.Allow, im.Mark.Version, micros(im.Now)}
	})
}

// Devices writes devices; their tokens are credentials.
func (im *Import) Devices(list []access.Device) error {
	return bulk(im, "device", []string{"id", "user_id", "name", "android_device_id", "is_active", "version", "created_at"}, list, func(d *access.Device) []any {
		return []any{d.ID, d.UserID, d.Name, d.AndroidDeviceID, d.Active, im.Mark.Version, micros(d.CreatedAt)}
	})
}

// Credentials writes credentials.
func (im *Import) Credentials(list []access.Credential) error {
	return bulk(im, "credential", []string{
		"id", "user_id", "device_id", "kind", "lookup", "lookup_scheme", "sealed", "preview", "label", "state", "state_reason", "valid_until", "idle_expires",
		"created_at", "last_used_day", "version",
	}, list, func(c *access.Credential) []any {
		return []any{
			c.ID, c.UserID, orNull(c.DeviceID), string(c.Kind), c.Lookup[:], int64(c.Scheme), bytesOrNull(c.Sealed), c.Preview, c.Label, string(c.State),
			c.StateReason, instantOrNull(c.ValidUntil), c.IdleExpires, micros(c.CreatedAt), int64(c.LastUsedDay), im.Mark.Version,
		}
	})
}

// importBatch is how many imported events make a batch.
const importBatch = 1000

// Events writes events with their ids, as batches of a lane of their own, and returns how many there were. They count as recorded when they
// occurred, and the lane as retired when the first of them did, so that nobody takes them for news. next returns nil after the last one; the
// event that it returns is its own again at the next call.
func (im *Import) Events(first time.Time, next func() (*access.Event, error)) (n int64, err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	var writer int64
	err = im.queryRow(`INSERT INTO writer (host, pid, started_at, retired_at) VALUES ($1, $2, $3, $3) RETURNING id`, host, os.Getpid(), micros(first)).Scan(&writer)
	if err != nil {
		return 0, fmt.Errorf("claim a writer: %w", err)
	}
	type batch struct{ count, first, oldest, newest int64 }
	var batches []batch
	row := make([]any, 0, 1+eventColumnCount)
	n, err = im.copy("events", eventColumnNames(), func() ([]any, error) {
		e, err := next()
		if e == nil || err != nil {
			return nil, err
		}
		at := micros(e.At)
		if len(batches) == 0 || batches[len(batches)-1].count == importBatch {
			batches = append(batches, batch{first: e.ID, oldest: at})
		}
		b := &batches[len(batches)-1]
		b.count++
		b.first, b.oldest, b.newest = min(b.first, e.ID), min(b.oldest, at), max(b.newest, at)
		row = append(row[:0], e.ID, string(access.DecisionEvent), at, at, writer, int64(len(batches)), orNull(e.GateID), textOrNull(e.PresentedGate), orNull(e.UserID),
			orNull(e.CredentialID), orNull(e.DeviceID), nil, nil, int64(ImportedVersion), string(e.Decision), string(e.Reason), countOf(e), nil,
			e.Address, e.RequestID, e.Fingerprint)
		return row, nil
	})
	if err != nil {
		return n, fmt.Errorf("write the events: %w", err)
	}
	for i, b := range batches {
		_, err := im.exec(`INSERT INTO event_batch (writer_id, seq, policy_version, count, oldest_at, recorded_at, first_id) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			writer, i+1, ImportedVersion, b.count, b.oldest, b.newest, b.first)
		if err != nil {
			return n, fmt.Errorf("write batch %d of the events: %w", i+1, err)
		}
	}
	return n, nil
}

// PastChanges writes audit lines of the time before the import: their policy is none of ours.
func (im *Import) PastChanges(next func() (*access.Change, error)) (int64, error) {
	columns := []string{
		"version", "stamp", "at", "actor_kind", "actor_user_id", "actor_label", "address", "request_id", "session_id", "object", "object_id", "action", "detail",
	}
	n, err := im.copy("change", columns, func() ([]any, error) {
		c, err := next()
		if c == nil || err != nil {
			return nil, err
		}
		detail, err := detailOf(c.Before, c.After)
		return []any{
			int64(ImportedVersion), int64(ImportedVersion), micros(c.At), c.Actor.Kind, orNull(c.Actor.UserID), c.Actor.Label, "", "", nil,
			c.Object, c.ObjectID, c.Action, detail,
		}, err
	})
	if err != nil {
		return n, fmt.Errorf("write the audit: %w", err)
	}
	return n, nil
}

// bulk writes the rows of a list.
func bulk[T any](im *Import, table string, columns []string, list []T, row func(*T) []any) error {
	i := 0
	_, err := im.copy(table, columns, func() ([]any, error) {
		if i == len(list) {
			return nil, nil
		}
		i++
		return row(&list[i-1]), nil
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	return nil
}

// eventColumnNames are the columns of an imported event.
func eventColumnNames() []string {
	names := []string{"id"}
	for name := range strings.SplitSeq(eventInsertColumns, ",") {
		names = append(names, strings.TrimSpace(name))
	}
	return names
}

// copy writes rows until next returns none, and returns how many there were.
func (im *Import) copy(table string, columns []string, next func() ([]any, error)) (n int64, err error) {
	if im.pg != nil {
		return im.copyPostgres(table, columns, next)
	}
	marks := strings.Repeat(", ?", len(columns))[2:]
	s, err := im.on.(prepared).PrepareContext(im.ctx, `INSERT INTO `+table+` (`+strings.Join(columns, ", ")+`) VALUES (`+marks+`)`)
	if err != nil {
		return 0, im.s.kind.fault(err)
	}
	defer s.Close()
	for {
		row, err := next()
		if row == nil || err != nil {
			return n, err
		}
		// Without the context, which would cost a goroutine for each row: next looks at it.
		if _, err := s.Exec(row...); err != nil {
			return n, im.s.kind.fault(err)
		}
		n++
	}
}

func (im *Import) copyPostgres(table string, columns []string, next func() ([]any, error)) (n int64, err error) {
	var failed error // the server repeats an error of next in words alone
	err = im.pg.Raw(func(dc any) error {
		c, ok := dc.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the driver's connection is a %T", dc)
		}
		n, err = c.Conn().CopyFrom(im.ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
			row, err := next()
			failed = err
			return row, err
		}))
		return err
	})
	if failed != nil {
		return n, failed
	}
	return n, im.s.kind.fault(err)
}
