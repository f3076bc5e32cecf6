package webadmin

import (
	"context"
	"errors"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

// Two people edit the same thing: each form carries the version that it was made from (a hidden field, sentVersion), registry refuses a change made
// from an older one with ErrConflict, and the second editor gets the form back (part "conflict" of templates/_form.html): what they entered stands
// in the fields, what the other one changed stands above them, and the version is the new one, so that saving again is a decision.

// conflict is what somebody else changed while a form was open.
type conflict struct {
	Mine    bool // it was the visitor, in another window
	Who     string
	When    moment
	Changes []conflictLine
}

// conflictLine is one field that the other one changed.
type conflictLine struct {
	Label string
	Was   string // when the form was made
	Now   string
}

// overtaken reports whether err says that somebody else changed the object meanwhile (and not that it is needed as it is).
func overtaken(err error) bool {
	return errors.Is(err, access.ErrConflict) && !errors.Is(err, registry.ErrLastOwner)
}

// whatChanged tells from the audit what happened to an object after the version seen. fields are those of the form; they
// have the names that they have in the audit.
func (a *Admin) whatChanged(ctx context.Context, v *visit, object string, id, seen int64, fields ...*field) (*conflict, error) {
	lines, err := a.desk.Changes(ctx, registry.ChangeFilter{Object: object, ObjectID: id, Limit: 200})
	if err != nil {
		return nil, err
	}
	named, err := a.desk.ObjectsOfChanges(ctx, lines)
	if err != nil {
		return nil, err
	}
	c := &conflict{Mine: true}
	was, is := map[string]string{}, map[string]string{}
	for _, l := range lines { // newest first: the first value after is the present one, the last value before is the one that was seen
		if l.Mark.Version <= seen {
			break
		}
		if c.Who == "" {
			c.Who, c.When = l.Actor.Label, v.moment(l.At)
		}
		c.Mine = c.Mine && l.Actor.UserID == v.user.ID
		for name := range both(l.Before, l.After) {
			if _, known := is[name]; !known {
				is[name] = l.After[name]
			}
			was[name] = l.Before[name]
		}
	}
	for _, f := range fields {
		if now, changed := is[f.Name]; changed && now != was[f.Name] {
			c.Changes = append(c.Changes, conflictLine{Label: f.Label, Was: v.auditValue(f.Name, was[f.Name], named), Now: v.auditValue(f.Name, now, named)})
		}
	}
	return c, nil
}

// both yields the names on either side of a change.
func both(before, after access.Fields) map[string]bool {
	names := map[string]bool{}
	for n := range before {
		names[n] = true
	}
	for n := range after {
		names[n] = true
	}
	return names
}
