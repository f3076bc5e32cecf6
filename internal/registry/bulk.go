package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// BulkAction is what is done to a selection of users.
type BulkAction string

// The actions.
const (
	BulkActivate   BulkAction = "activate"
	BulkDeactivate BulkAction = "deactivate"
	BulkJoin       BulkAction = "join"  // add to a group
	BulkLeave      BulkAction = "leave" // remove from a group
)

// MaxBulk is how many users one action may name: it is one transaction, and gates wait for it on SQLite.
const MaxBulk = 1000

// Bulk is an action on a selection of users.
type Bulk struct {
	Action  BulkAction
	UserIDs []int64 // 1..MaxBulk; repeated ones count once
	GroupID int64   // with BulkJoin and BulkLeave
}

// BulkOutcome says what an action does to one user.
type BulkOutcome string

// The outcomes.
const (
	BulkChanges   BulkOutcome = "changes"
	BulkSame      BulkOutcome = "same"       // they are so already
	BulkGone      BulkOutcome = "gone"       // the user was deleted
	BulkSelf      BulkOutcome = "self"       // nobody shuts themselves out in passing
	BulkOwner     BulkOutcome = "owner"      // an owner's account is for owners to activate and deactivate
	BulkLastOwner BulkOutcome = "last_owner" // of the owners selected this one stays, for no other would be left
)

// BulkLine is what an action does, or did, to one user.
type BulkLine struct {
	UserID  int64
	User    access.User // zero when gone
	Outcome BulkOutcome
}

// PreviewBulk says what ApplyBulk would do now, in order of the selection. Nothing is changed.
func (r *Registry) PreviewBulk(ctx context.Context, actor access.Actor, b Bulk) ([]BulkLine, error) {
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("preview %s: %w", b.Action, err)
	}
	lines, err := reading(ctx, r, func(tx *store.Tx) ([]BulkLine, error) { return planBulk(tx, actor, b) })
	if err != nil {
		return nil, fmt.Errorf("preview %s of %d users: %w", b.Action, len(b.UserIDs), err)
	}
	return lines, nil
}

// ApplyBulk does it, in one transaction with an audit line for each change, and says what it did. Those whose Outcome is not BulkChanges
// stay as they are; what a preview showed may have changed since.
func (r *Registry) ApplyBulk(ctx context.Context, actor access.Actor, b Bulk) ([]BulkLine, error) {
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", b.Action, err)
	}
	return changing(ctx, r, actor, fmt.Sprintf("%s %d users", b.Action, len(b.UserIDs)), func(c *change) ([]BulkLine, error) {
		lines, err := planBulk(c.Tx, actor, b)
		if err != nil {
			return nil, err
		}
		for i := range lines {
			if lines[i].Outcome != BulkChanges {
				continue
			}
			if err := c.bulk(b, &lines[i]); err != nil {
				return nil, fmt.Errorf("user %q: %w", lines[i].User.Username, err)
			}
		}
		return lines, nil
	})
}

func (b Bulk) validate() error {
	var bad access.Invalid
	switch b.Action {
	case BulkActivate, BulkDeactivate:
	case BulkJoin, BulkLeave:
		if b.GroupID == 0 {
			bad.Add("group", access.CodeRequired)
		}
	default:
		bad.Add("action", access.CodeUnknown)
	}
	switch n := len(b.UserIDs); {
	case n == 0:
		bad.Add("users", access.CodeRequired)
	case n > MaxBulk:
		bad = append(bad, access.FieldError{Field: "users", Code: access.CodeOther, Text: fmt.Sprintf("select at most %d at a time", MaxBulk)})
	}
	return bad.OrNil()
}

// planBulk judges each user of the selection.
func planBulk(tx *store.Tx, actor access.Actor, b Bulk) ([]BulkLine, error) {
	members := map[int64]bool{}
	if b.GroupID != 0 {
		if _, err := tx.Group(b.GroupID); err != nil {
			return nil, refers(err, "group")
		}
		in, err := tx.MembersAmong(b.GroupID, b.UserIDs)
		if err != nil {
			return nil, err
		}
		for _, id := range in {
			members[id] = true
		}
	}
	users, err := tx.ListUsers(b.UserIDs)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]access.User, len(users))
	for _, u := range users {
		byID[u.ID] = u
	}
	owns, err := actsAsOwner(tx.User, actor)
	if err != nil {
		return nil, err
	}
	var lines []BulkLine
	seen := map[int64]bool{}
	for _, id := range b.UserIDs {
		if seen[id] {
			continue
		}
		seen[id] = true
		u, there := byID[id]
		l := BulkLine{id, u, BulkChanges}
		switch {
		case !there:
			l.Outcome = BulkGone
		case b.Action == BulkActivate && u.Active, b.Action == BulkDeactivate && !u.Active, b.Action == BulkJoin && members[id], b.Action == BulkLeave && !members[id]:
			l.Outcome = BulkSame
		case b.Action == BulkDeactivate && id == actor.UserID:
			l.Outcome = BulkSelf
		case (b.Action == BulkActivate || b.Action == BulkDeactivate) && u.Role() == access.Owner && !owns:
			l.Outcome = BulkOwner
		}
		lines = append(lines, l)
	}
	if b.Action == BulkDeactivate {
		return lines, spareAnOwner(tx, lines)
	}
	return lines, nil
}

// spareAnOwner sees to it that not all owners are shut out: if no other is left, the first of those selected stays.
func spareAnOwner(tx *store.Tx, lines []BulkLine) error {
	first := slices.IndexFunc(lines, func(l BulkLine) bool { return l.Outcome == BulkChanges && owner(l.User) })
	if first < 0 {
		return nil
	}
	owners, err := tx.ActiveOwners()
	if err != nil {
		return err
	}
	for _, id := range owners {
		if !slices.ContainsFunc(lines, func(l BulkLine) bool { return l.UserID == id && l.Outcome == BulkChanges }) {
			return nil
		}
	}
	lines[first].Outcome = BulkLastOwner
	return nil
}

func (c *change) bulk(b Bulk, l *BulkLine) (err error) {
	switch b.Action {
	case BulkActivate, BulkDeactivate:
		l.User.Active = b.Action == BulkActivate
		l.User, err = c.updateUser(l.User)
	case BulkJoin:
		err = c.addMember(b.GroupID, l.UserID)
	case BulkLeave:
		err = c.removeMember(b.GroupID, l.UserID)
	}
	return err
}
