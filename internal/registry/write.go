package registry

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/table"
)

// exportPage is how many rows an export reads at a time.
const exportPage = 500

// idOrNil is an id as exports show it.
func idOrNil(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

// WriteEvents writes every event that f selects, newest first, with the present names of what it names, and returns how many there were. It reads a
// page at a time, in constant memory; f.Limit is not looked at. It leaves an audit line before it begins. When it ends early, what was written stands.
func (r *Registry) WriteEvents(ctx context.Context, actor access.Actor, f access.EventFilter, w io.Writer, format table.Format) (n int, err error) {
	t, err := table.New(w, format, "id", "at", "until", "kind", "gate", "gate_name", "user", "first_name", "last_name", "device_id", "credential_id", "permission_id", "policy_version",
		"decision", "reason", "count", "address", "request_id", "fingerprint")
	if err != nil {
		return 0, fmt.Errorf("export events: %w", err)
	}
	if err := r.note(ctx, actor, access.ObjectEvents, access.ActionExport, access.Fields{"format": string(format)}); err != nil {
		return 0, err
	}
	for f.Limit = exportPage; ; {
		page, err := r.store.Events(ctx, f)
		if err != nil {
			return n, fmt.Errorf("export events: %w", err)
		}
		named, err := r.ObjectsOfEvents(ctx, page)
		if err != nil {
			return n, fmt.Errorf("export events: %w", err)
		}
		for _, e := range page {
			gate, user := named.Gates[e.GateID], named.Users[e.UserID]
			code := gate.Code
			if e.GateID == 0 {
				code = e.PresentedGate
			}
			if err := t.Row(e.ID, e.At, e.Until, string(e.Kind), code, gate.Name, user.Username, user.FirstName, user.LastName, idOrNil(e.DeviceID), idOrNil(e.CredentialID),
				idOrNil(e.PermissionID), e.PolicyVersion, string(e.Decision), string(e.Reason), e.Count, e.Address, e.RequestID, e.Fingerprint); err != nil {
				return n, fmt.Errorf("export events: %w", err)
			}
			n++
		}
		if err := t.Flush(); err != nil {
			return n, fmt.Errorf("export events: %w", err)
		}
		if len(page) < f.Limit {
			return n, nil
		}
		f.Before = page[len(page)-1].ID
	}
}

// ChangePages yields every audit line that f selects, newest first, a page at a time. f.Limit is not looked at. After an error it ends.
func (r *Registry) ChangePages(ctx context.Context, f ChangeFilter) iter.Seq2[[]access.Change, error] {
	return func(yield func([]access.Change, error) bool) {
		f.Limit = exportPage
		for {
			page, err := r.store.Changes(ctx, f)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(page) > 0 && !yield(page, nil) || len(page) < f.Limit {
				return
			}
			f.Before = page[len(page)-1].ID
		}
	}
}

// WriteChanges writes every audit line that f selects, as WriteEvents does events.
func (r *Registry) WriteChanges(ctx context.Context, actor access.Actor, f ChangeFilter, w io.Writer, format table.Format) (n int, err error) {
	t, err := table.New(w, format, "id", "at", "policy_version", "actor", "actor_kind", "actor_user_id", "address", "request_id", "object", "object_id", "object_name", "action", "before", "after")
	if err != nil {
		return 0, fmt.Errorf("export the audit: %w", err)
	}
	if err := r.note(ctx, actor, access.ObjectAudit, access.ActionExport, access.Fields{"format": string(format)}); err != nil {
		return 0, err
	}
	for page, err := range r.ChangePages(ctx, f) {
		if err != nil {
			return n, fmt.Errorf("export the audit: %w", err)
		}
		named, err := r.ObjectsOfChanges(ctx, page)
		if err != nil {
			return n, fmt.Errorf("export the audit: %w", err)
		}
		for _, c := range page {
			if err := t.Row(c.ID, c.At, c.Mark.Version, c.Actor.Label, c.Actor.Kind, idOrNil(c.Actor.UserID), c.Actor.Address, c.Actor.RequestID,
				c.Object, c.ObjectID, NameOf(named, c), c.Action, fieldsOrNil(c.Before), fieldsOrNil(c.After)); err != nil {
				return n, fmt.Errorf("export the audit: %w", err)
			}
			n++
		}
		if err := t.Flush(); err != nil {
			return n, fmt.Errorf("export the audit: %w", err)
		}
	}
	return n, t.Flush()
}

func fieldsOrNil(f access.Fields) any {
	if len(f) == 0 {
		return nil
	}
	return f
}

// NameOf is what the object of an audit line is called now: a code, a user name, a name; "" when it has none, or never was.
func NameOf(named Objects, c access.Change) string {
	switch c.Object {
	case access.ObjectUser, access.ObjectMember, access.ObjectRole:
		return named.Users[c.ObjectID].Username
	case access.ObjectGate:
		return named.Gates[c.ObjectID].Code
	case access.ObjectGroup:
		return named.Groups[c.ObjectID].Name
	case access.ObjectDevice:
		return named.Devices[c.ObjectID].Name
	case access.ObjectCredential:
		return named.Credentials[c.ObjectID].Label
	}
	return ""
}
