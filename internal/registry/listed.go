package registry

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// ListedState says what a line of a pasted list came to.
type ListedState string

// The states.
const (
	ListedFound     ListedState = "found"     // one user, who is not in the group yet
	ListedMember    ListedState = "member"    // one user, who is in the group already
	ListedTwice     ListedState = "twice"     // a user whom a line above names
	ListedUnknown   ListedState = "unknown"   // nobody
	ListedAmbiguous ListedState = "ambiguous" // several users
)

// ListedLine is a line of a pasted list.
type ListedLine struct {
	Number int    // of the line, from 1
	Text   string // as pasted, without outer white space
	State  ListedState
	Users  []access.User // the one; with ListedAmbiguous some of the several
}

// maxAmbiguous is how many users of an ambiguous line are returned.
const maxAmbiguous = 5

// ResolveMembers reads a pasted list of people, one a line (or separated by ; or ,): user names, e-mail addresses ("Ann <ann@example.org>" as well) or full names,
// in any case. It changes nothing: apply what was found with BulkJoin. Empty lines are left out. More than MaxBulk lines are access.Invalid. It costs a walk
// through the directory of names.
func (r *Registry) ResolveMembers(ctx context.Context, groupID int64, pasted string) ([]ListedLine, error) {
	lines := splitList(pasted)
	if len(lines) > MaxBulk {
		return nil, access.Invalid{{Field: "list", Code: access.CodeOther, Text: fmt.Sprintf("has %d lines; paste at most %d at a time", len(lines), MaxBulk)}}
	}
	n, err := r.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("resolve a list of members: %w", err)
	}
	wanted := make(map[string][]int64, len(lines))
	for _, l := range lines {
		wanted[listKey(l.Text)] = nil
	}
	n.kinds[access.ObjectUser].exact(wanted)
	var ids []int64
	for _, found := range wanted {
		ids = append(ids, found...)
	}
	users, members := map[int64]access.User{}, []int64(nil)
	_, err = reading(ctx, r, func(tx *store.Tx) (none struct{}, err error) {
		if _, err := tx.Group(groupID); err != nil {
			return none, refers(err, "group")
		}
		list, err := tx.ListUsers(ids)
		if err != nil {
			return none, err
		}
		for _, u := range list {
			users[u.ID] = u
		}
		members, err = tx.MembersAmong(groupID, ids)
		return none, err
	})
	if err != nil {
		return nil, fmt.Errorf("resolve a list of members: %w", err)
	}
	seen := map[int64]bool{}
	for i := range lines {
		l := &lines[i]
		l.Users = meant(l.Text, wanted[listKey(l.Text)], users)
		switch {
		case len(l.Users) == 0:
			l.State = ListedUnknown
		case len(l.Users) > 1:
			l.State = ListedAmbiguous
		case seen[l.Users[0].ID]:
			l.State = ListedTwice
		case slices.Contains(members, l.Users[0].ID):
			l.State = ListedMember
		default:
			l.State = ListedFound
		}
		if len(l.Users) == 1 {
			seen[l.Users[0].ID] = true
		}
		l.Users = l.Users[:min(len(l.Users), maxAmbiguous)]
	}
	return lines, nil
}

func splitList(pasted string) (lines []ListedLine) {
	number := 0
	for line := range strings.Lines(pasted) {
		number++
		for _, part := range strings.FieldsFunc(line, func(r rune) bool { return r == ';' || r == ',' || r == '\n' || r == '\r' }) {
			if part = strings.TrimSpace(part); part != "" {
				lines = append(lines, ListedLine{Number: number, Text: part})
			}
		}
	}
	return lines
}

// listKey is what a line is looked up by: without case, and of "Ann <ann@example.org>" the address alone.
func listKey(text string) string {
	if from, to := strings.LastIndexByte(text, '<'), strings.LastIndexByte(text, '>'); from >= 0 && to > from+1 {
		text = text[from+1 : to]
	}
	return access.Fold(strings.TrimSpace(text))
}

// meant are the users whom a text may mean: the one with exactly this user name, else the one with this user name in another case, else all.
func meant(text string, ids []int64, users map[int64]access.User) (all []access.User) {
	for _, id := range ids {
		if u, ok := users[id]; ok {
			all = append(all, u)
		}
	}
	for _, same := range []func(u access.User) bool{
		func(u access.User) bool { return u.Username == text },
		func(u access.User) bool { return access.Fold(u.Username) == access.Fold(text) },
	} {
		if i := slices.IndexFunc(all, same); i >= 0 && !slices.ContainsFunc(all[i+1:], same) {
			return all[i : i+1]
		}
	}
	return all
}

// exact adds to each of wanted the ids of those who have it as one of their texts.
func (t nameTable) exact(wanted map[string][]int64) {
	for _, b := range t {
		for i := range b.ids {
			entry := b.entry(i)
			for text := range bytes.SplitSeq(entry[1:len(entry)-1], []byte{'\n'}) {
				if found, ok := wanted[string(text)]; ok && !slices.Contains(found, b.ids[i]) {
					wanted[string(text)] = append(found, b.ids[i])
				}
			}
		}
	}
}
