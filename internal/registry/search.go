package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// Search asks for objects that hold every word of Query somewhere in their names, in any case, in any script, ё being е. Those that begin with
// the first word come first, then those in which a word begins with it, then the others, each by id.
type Search struct {
	Query string // "" = all, by id
	After string // Next of the page before; "" = the first page
	Limit int    // 1..1000; 0 = 50
}

// UserSearch looks in user name, first and last name, and e-mail.
type UserSearch struct {
	Search
	GroupID  int64 // only members of this group
	Active   bool  // only active ones
	Inactive bool  // only inactive ones
}

// Found is a page of what was found.
type Found[T any] struct {
	List []T
	Next string // where the next page begins; "" = there is none
}

// FoundAnywhere is what the search from every page finds.
type FoundAnywhere struct {
	Users  []access.User
	Gates  []access.Gate
	Groups []access.Group
}

// SearchAnywhere returns the best few (limit of each, 1..100) users, gates and groups. An empty query finds nothing. It costs a look at
// the policy's version, a walk through memory (about a millisecond for 100,000 names) and three queries by ids.
func (r *Registry) SearchAnywhere(ctx context.Context, query string, limit int) (found FoundAnywhere, err error) {
	if len(foldedWords(query)) == 0 {
		return found, nil
	}
	s := Search{Query: query, Limit: min(max(limit, 1), 100)}
	users, err := r.FindUsers(ctx, UserSearch{Search: s})
	if err != nil {
		return found, err
	}
	gates, err := r.FindGates(ctx, s)
	if err != nil {
		return found, err
	}
	groups, err := r.FindGroups(ctx, s)
	return FoundAnywhere{users.List, gates.List, groups.List}, err
}

// FindUsers returns a page of users. With a group it reads the ids of the group's members as well.
func (r *Registry) FindUsers(ctx context.Context, s UserSearch) (Found[access.User], error) {
	wanted := func(int64) bool { return true }
	if s.GroupID != 0 {
		members, err := reading(ctx, r, func(tx *store.Tx) ([]int64, error) { return tx.MemberIDs(s.GroupID) })
		if err != nil {
			return Found[access.User]{}, fmt.Errorf("search users: %w", err)
		}
		wanted = func(id int64) bool { _, in := slices.BinarySearch(members, id); return in }
	}
	keep := func(id int64, off bool) bool { return (!s.Active || !off) && (!s.Inactive || off) && wanted(id) }
	return find(ctx, r, access.ObjectUser, s.Search, keep, (*store.Tx).ListUsers)
}

// FindGates returns a page of gates, by code, name and location.
func (r *Registry) FindGates(ctx context.Context, s Search) (Found[access.Gate], error) {
	return find(ctx, r, access.ObjectGate, s, nil, (*store.Tx).ListGates)
}

// FindGroups returns a page of groups, by name.
func (r *Registry) FindGroups(ctx context.Context, s Search) (Found[access.Group], error) {
	return find(ctx, r, access.ObjectGroup, s, nil, (*store.Tx).ListGroups)
}

// find looks up a page of ids in the directory and reads their rows. A row that was deleted in between is missing on its page.
func find[T any](ctx context.Context, r *Registry, kind string, s Search, keep func(id int64, off bool) bool, read func(*store.Tx, []int64) ([]T, error)) (page Found[T], err error) {
	after, err := parsePlace(s.After)
	if err != nil {
		return page, err
	}
	n, err := r.names(ctx)
	if err != nil {
		return page, fmt.Errorf("search %ss: %w", kind, err)
	}
	limit := s.Limit
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 1000)
	var ids []int64
	last := place{}
	n.kinds[kind].search(s.Query, after, func(p place, off bool) bool {
		if keep != nil && !keep(p.id, off) {
			return true
		}
		if len(ids) == limit {
			page.Next = last.String()
			return false
		}
		ids, last = append(ids, p.id), p
		return true
	})
	if len(ids) == 0 {
		return page, nil
	}
	page.List, err = reading(ctx, r, func(tx *store.Tx) ([]T, error) { return read(tx, ids) })
	if err != nil {
		return Found[T]{}, fmt.Errorf("search %ss: %w", kind, err)
	}
	return page, nil
}
