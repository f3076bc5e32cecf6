package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
)

const (
	// maxDelta is how many changed objects are worth reading one by one; beyond, loading everything is cheaper.
	maxDelta = 5000
	// idsPerQuery bounds the length of one statement that names ids.
	idsPerQuery = 500
)

// The policy as decisions see it: only the living, but for selectPolicyMembers. The order of columns is that of the scan functions below.
const (
	selectPolicySite   = `SELECT s.default_release_ms, i.key_check FROM site s, instance i WHERE s.id = 1 AND i.id = 1`
	selectPolicyGate   = `SELECT id, code, COALESCE(release_ms, 0) FROM gate WHERE deleted_at IS NULL`
	selectPolicyUser   = `SELECT id, is_active FROM users WHERE deleted_at IS NULL`
	selectPolicyMember = `SELECT m.user_id, m.group_id FROM membership m JOIN users u ON u.id = m.user_id WHERE u.deleted_at IS NULL`
	// A row for each user, not for each membership: handing rows over is what reading a great site is slow by. Those of deleted users are told as well: to
	// look at users here would take a third longer.
	selectPolicyMembers    = `SELECT user_id, string_agg(CAST(group_id AS TEXT), ' ') FROM membership GROUP BY user_id ORDER BY user_id`
	selectPolicyPermission = `SELECT id, gate_id, COALESCE(user_id, 0), COALESCE(group_id, 0), allow, COALESCE(valid_from, 0), COALESCE(valid_until, 0)
		FROM permission WHERE deleted_at IS NULL`
	selectPolicyCredential = `SELECT id, user_id, COALESCE(device_id, 0), lookup, state = 'inactive', idle_expires, last_used_day, COALESCE(valid_from, 0), COALESCE(valid_until, 0)
		FROM credential WHERE deleted_at IS NULL AND state <> 'revoked'`
)

// PolicyMark is the newest policy's mark.
func (s *Store) PolicyMark(ctx context.Context) (access.PolicyMark, error) {
	var m access.PolicyMark
	err := s.read.QueryRowContext(ctx, `SELECT version, stamp FROM policy WHERE id = 1`).Scan(&m.Version, &m.Stamp)
	if err != nil {
		return access.PolicyMark{}, fmt.Errorf("read the policy's mark: %w", s.kind.fault(err))
	}
	return m, nil
}

// secondReader is how long LoadPolicy waits for a second connection: all may be in use.
const secondReader = time.Second

// LoadPolicy tells sink the whole policy, as PolicySink names it, as of one instant, and returns the mark of that policy. After an error the sink holds
// a part only. A second connection reads the memberships, which are most of a great site, where one is to be had and sees the same policy.
func (s *Store) LoadPolicy(ctx context.Context, sink access.PolicySink) (mark access.PolicyMark, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		mark = tx.Mark
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		patience := time.AfterFunc(secondReader, stop)
		same := false
		err := s.View(ctx, func(beside *Tx) error {
			if same = patience.Stop() && beside.Mark == mark; !same {
				return nil
			}
			var members error
			var reading sync.WaitGroup
			reading.Go(func() { members = beside.policyAllMembers(sink.Member) })
			rest := tx.loadObjects(sink)
			if rest != nil {
				stop()
			}
			reading.Wait()
			return cmp.Or(rest, members)
		})
		if !same {
			return tx.LoadPolicy(sink)
		}
		return err
	})
	if err != nil {
		return access.PolicyMark{}, fmt.Errorf("load the policy: %w", err)
	}
	return mark, nil
}

// LoadPolicy is Store.LoadPolicy as this transaction sees the policy, with what it has written itself.
func (tx *Tx) LoadPolicy(sink access.PolicySink) error {
	if err := tx.loadObjects(sink); err != nil {
		return err
	}
	return tx.policyAllMembers(sink.Member)
}

// loadObjects tells all but the memberships.
func (tx *Tx) loadObjects(sink access.PolicySink) error {
	site, err := tx.policySite()
	if err != nil {
		return err
	}
	sink.Site(site)
	if err := tx.policyGates("", sink.Gate); err != nil {
		return err
	}
	if err := tx.policyUsers(" ORDER BY id", sink.User); err != nil {
		return err
	}
	if err := tx.policyPermissions("", sink.Permission); err != nil {
		return err
	}
	return tx.policyCredentials(" ORDER BY id", sink.Credential) // as they lie on the disk: SQLite would go by an index otherwise, and fetch each row
}

// PolicyChanges returns the objects that changed after since, as they are now, with the newest mark, from one consistent
// snapshot. Rebuild says that since is no state that this database was ever in, that the audit of the time since is not
// whole any more, or that too much changed: load everything again.
func (s *Store) PolicyChanges(ctx context.Context, since access.PolicyMark) (delta access.PolicyDelta, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		delta = access.PolicyDelta{Mark: tx.Mark}
		if tx.Mark == since {
			return nil
		}
		whole, err := tx.feedIsWhole(since)
		if err != nil {
			return err
		}
		if !whole {
			delta.Rebuild = true
			return nil
		}
		changed, enough, err := tx.changedObjects(since)
		if err != nil {
			return err
		}
		if !enough {
			delta.Rebuild = true
			return nil
		}
		return tx.readChanged(changed, &delta)
	})
	if err != nil {
		return access.PolicyDelta{}, fmt.Errorf("read the policy's changes since version %d: %w", since.Version, err)
	}
	return delta, nil
}

// feedIsWhole reports whether the audit holds the mark since and every version after it. Each change leaves at least one line,
// and the making of the database left one with the first mark.
func (tx *Tx) feedIsWhole(since access.PolicyMark) (bool, error) {
	if since.Version >= tx.Mark.Version {
		return false, nil
	}
	var known int
	if err := tx.queryRow(`SELECT COUNT(*) FROM (SELECT 1 FROM change WHERE version = $1 AND stamp = $2 LIMIT 1) known`, since.Version, since.Stamp).Scan(&known); err != nil {
		return false, err
	}
	var versions int64
	if err := tx.queryRow(`SELECT COUNT(DISTINCT version) FROM change WHERE version > $1`, since.Version).Scan(&versions); err != nil {
		return false, err
	}
	return known > 0 && versions == tx.Mark.Version-since.Version, nil
}

// changedObjects lists, by kind, the ids of what changed after since. enough is false when there are too many.
func (tx *Tx) changedObjects(since access.PolicyMark) (changed map[string][]int64, enough bool, err error) {
	changed = make(map[string][]int64)
	n := 0
	err = tx.each(`SELECT DISTINCT object, object_id FROM change WHERE version > $1 ORDER BY object, object_id LIMIT $2`,
		[]any{since.Version, maxDelta + 1}, func(row scanner) error {
			var object string
			var id int64
			err := row.Scan(&object, &id)
			changed[object] = append(changed[object], id)
			n++
			return err
		})
	return changed, n <= maxDelta, err
}

// readChanged fills delta with the objects as they are now. A device counts through its credentials, a member as its user.
func (tx *Tx) readChanged(changed map[string][]int64, delta *access.PolicyDelta) error {
	if len(changed[access.ObjectSite]) > 0 {
		site, err := tx.policySite()
		if err != nil {
			return err
		}
		delta.Site = &site
	}
	err := inChunks(changed[access.ObjectGate], &delta.GoneGates, func(in string) error {
		return tx.policyGates(" AND id IN "+in, func(g access.PolicyGate) { delta.Gates = append(delta.Gates, g) })
	}, func() []int64 { return idsOf(delta.Gates, func(g access.PolicyGate) int64 { return g.ID }) })
	if err != nil {
		return err
	}
	users := sortedSet(changed[access.ObjectUser], changed[access.ObjectMember])
	err = inChunks(users, &delta.GoneUsers, func(in string) error {
		first := len(delta.Users)
		if err := tx.policyUsers(" AND id IN "+in+" ORDER BY id", func(u access.PolicyUser) { delta.Users = append(delta.Users, u) }); err != nil {
			return err
		}
		chunk := delta.Users[first:]
		return tx.policyMembers(" AND m.user_id IN "+in+" ORDER BY m.user_id, m.group_id", func(userID, groupID int64) {
			for chunk[0].ID != userID {
				chunk = chunk[1:]
			}
			chunk[0].Groups = append(chunk[0].Groups, groupID)
		})
	}, func() []int64 { return idsOf(delta.Users, func(u access.PolicyUser) int64 { return u.ID }) })
	if err != nil {
		return err
	}
	err = inChunks(changed[access.ObjectPermission], &delta.GonePermissions, func(in string) error {
		return tx.policyPermissions(" AND id IN "+in, func(p access.PolicyPermission) { delta.Permissions = append(delta.Permissions, p) })
	}, func() []int64 {
		return idsOf(delta.Permissions, func(p access.PolicyPermission) int64 { return p.ID })
	})
	if err != nil {
		return err
	}
	credentials := changed[access.ObjectCredential]
	err = inChunks(changed[access.ObjectDevice], nil, func(in string) error {
		return tx.each(`SELECT id FROM credential WHERE device_id IN `+in, nil, func(row scanner) error {
			var id int64
			err := row.Scan(&id)
			credentials = append(credentials, id)
			return err
		})
	}, nil)
	if err != nil {
		return err
	}
	return inChunks(sortedSet(credentials), &delta.GoneCredentials, func(in string) error {
		return tx.policyCredentials(" AND id IN "+in, func(c access.PolicyCredential) { delta.Credentials = append(delta.Credentials, c) })
	}, func() []int64 {
		return idsOf(delta.Credentials, func(c access.PolicyCredential) int64 { return c.ID })
	})
}

// inChunks calls read with "(1,2,…)" for ids, some at a time, and then lists in gone those of ids that were not found. The
// numbers are ours, not input, and stand in the text: neither engine likes hundreds of parameters, and only one knows arrays.
func inChunks(ids []int64, gone *[]int64, read func(in string) error, found func() []int64) error {
	for chunk := range slices.Chunk(ids, idsPerQuery) {
		if err := read(idList(chunk)); err != nil {
			return err
		}
	}
	if gone == nil || len(ids) == 0 {
		return nil
	}
	there := found()
	slices.Sort(there)
	for _, id := range ids {
		if _, ok := slices.BinarySearch(there, id); !ok {
			*gone = append(*gone, id)
		}
	}
	return nil
}

func idList(ids []int64) string {
	var b strings.Builder
	for i, id := range ids {
		b.WriteByte("(,"[min(i, 1)])
		b.WriteString(strconv.FormatInt(id, 10))
	}
	b.WriteByte(')')
	return b.String()
}

func sortedSet(lists ...[]int64) []int64 {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

func idsOf[T any](rows []T, id func(T) int64) []int64 {
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i] = id(r)
	}
	return ids
}

func (tx *Tx) policySite() (site access.PolicySite, err error) {
	if err := tx.queryRow(selectPolicySite).Scan(&site.DefaultReleaseMS, &site.KeyCheck); err != nil {
		return site, fmt.Errorf("read the site: %w", err)
	}
	return site, nil
}

func (tx *Tx) policyGates(rest string, tell func(access.PolicyGate)) error {
	return tx.each(selectPolicyGate+rest, nil, func(row scanner) error {
		var g access.PolicyGate
		if err := row.Scan(&g.ID, &g.Code, &g.ReleaseMS); err != nil {
			return err
		}
		tell(g)
		return nil
	})
}

func (tx *Tx) policyUsers(rest string, tell func(access.PolicyUser)) error {
	return tx.each(selectPolicyUser+rest, nil, func(row scanner) error {
		var u access.PolicyUser
		if err := row.Scan(&u.ID, &u.Active); err != nil {
			return err
		}
		tell(u)
		return nil
	})
}

func (tx *Tx) policyMembers(rest string, tell func(userID, groupID int64)) error {
	return tx.each(selectPolicyMember+rest, nil, func(row scanner) error {
		var user, group int64
		if err := row.Scan(&user, &group); err != nil {
			return err
		}
		tell(user, group)
		return nil
	})
}

// policyAllMembers tells every membership, also of deleted users, ordered by user.
func (tx *Tx) policyAllMembers(tell func(userID, groupID int64)) error {
	return tx.each(selectPolicyMembers, nil, func(row scanner) error {
		var user int64
		var list sql.RawBytes
		if err := row.Scan(&user, &list); err != nil {
			return err
		}
		group := int64(0)
		for _, c := range list {
			if c == ' ' {
				tell(user, group)
				group = 0
				continue
			}
			group = 10*group + int64(c-'0')
		}
		tell(user, group)
		return nil
	})
}

func (tx *Tx) policyPermissions(rest string, tell func(access.PolicyPermission)) error {
	return tx.each(selectPolicyPermission+rest, nil, func(row scanner) error {
		var p access.PolicyPermission
		if err := row.Scan(&p.ID, &p.GateID, &p.UserID, &p.GroupID, &p.Allow, &p.ValidFrom, &p.ValidUntil); err != nil {
			return err
		}
		tell(p)
		return nil
	})
}

func (tx *Tx) policyCredentials(rest string, tell func(access.PolicyCredential)) error {
	return tx.each(selectPolicyCredential+rest, nil, func(row scanner) error {
		var c access.PolicyCredential
		var lookup sql.RawBytes
		if err := row.Scan(&c.ID, &c.UserID, &c.DeviceID, &lookup, &c.Inactive, &c.IdleExpires, &c.LastUsedDay, &c.ValidFrom, &c.ValidUntil); err != nil {
			return err
		}
		if len(lookup) != len(c.Lookup) {
			return fmt.Errorf("credential %d has a digest of %d bytes, want %d", c.ID, len(lookup), len(c.Lookup))
		}
		copy(c.Lookup[:], lookup)
		tell(c)
		return nil
	})
}

// CredentialLastUsed is the day (days since 1970-01-01 UTC) of a credential's last use.
func (s *Store) CredentialLastUsed(ctx context.Context, id int64) (day int, err error) {
	err = s.kind.fault(s.read.QueryRowContext(ctx, `SELECT last_used_day FROM credential WHERE id = $1`, id).Scan(&day))
	if err != nil {
		return 0, fmt.Errorf("read the last use of credential %d: %w", id, err)
	}
	return day, nil
}

// TouchCredentials notes that credentials were used on a day. It only ever raises the day, moves no version, and takes
// small transactions; after an error some may have been noted.
//
// It waits for a Change under way, and a Change for it: both take the policy's row first, so that neither holds credentials that the
// other waits for. Of two processes that note uses at once, each takes the credentials in order of their ids.
func (s *Store) TouchCredentials(ctx context.Context, day int, ids []int64) error {
	for chunk := range slices.Chunk(sortedSet(ids), idsPerQuery) {
		err := s.atDesk(ctx, func(tx *Tx) (bool, error) {
			var version int64
			if err := tx.queryRow(`SELECT version FROM policy WHERE id = 1` + s.kind.forShare()).Scan(&version); err != nil {
				return false, err
			}
			n, err := tx.exec(`UPDATE credential SET last_used_day = $1 WHERE id IN
				(SELECT id FROM credential WHERE last_used_day < $1 AND id IN `+idList(chunk)+` ORDER BY id`+s.kind.forUpdate()+`)`, day)
			return n > 0, err
		})
		if err != nil {
			return fmt.Errorf("note the use of %d credentials: %w", len(chunk), err)
		}
	}
	return nil
}
