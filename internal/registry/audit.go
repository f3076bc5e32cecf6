package registry

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// ChangeFilter selects audit lines.
type ChangeFilter = store.ChangeFilter

// Changes lists audit lines, newest first.
func (r *Registry) Changes(ctx context.Context, f ChangeFilter) ([]access.Change, error) {
	return r.store.Changes(ctx, f)
}

// NotePurge leaves the audit line of a purge of events: those from before an instant, n of them.
func (r *Registry) NotePurge(ctx context.Context, actor access.Actor, before time.Time, n int) error {
	return r.note(ctx, actor, access.ObjectEvents, access.ActionPurge, access.Fields{"before": stamp(before), "deleted": strconv.Itoa(n)})
}

// note leaves an audit line that does not change the policy.
func (r *Registry) note(ctx context.Context, actor access.Actor, object, action string, after access.Fields) error {
	err := r.store.Note(ctx, actor, func(tx *store.Tx) error { return tx.Record(object, 0, action, nil, after) })
	if err != nil {
		return fmt.Errorf("note %s of %s: %w", action, object, err)
	}
	return nil
}

// differ keeps of two sides of a change what differs. Empty values are left out: a missing one means the same.
func differ(before, after access.Fields) (was, is access.Fields) {
	was, is = maps.Clone(before), maps.Clone(after)
	same := func(name, _ string) bool { return before[name] == after[name] }
	maps.DeleteFunc(was, same)
	maps.DeleteFunc(is, same)
	return was, is
}

// recordChange records what differs and reports whether anything does.
func (c *change) recordChange(object string, id int64, before, after access.Fields) error {
	was, is := differ(before, after)
	return c.Record(object, id, access.ActionChange, was, is)
}

// yes is a flag as it stands in the audit.
func yes(b bool) string { return strconv.FormatBool(b) }

// idText is an id as it stands in the audit; "" for none.
func idText(id int64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}

// stamp is an instant as it stands in the audit; "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// filled drops the empty values of one side.
func filled(f access.Fields) access.Fields {
	maps.DeleteFunc(f, func(_, v string) bool { return v == "" })
	return f
}
