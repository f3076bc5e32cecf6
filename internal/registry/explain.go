package registry

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// Cause says why a decision came out as it did, more closely than its reason.
type Cause string

// The causes.
const (
	CauseOwn          Cause = "own"           // ALLOW by the user's own permission
	CauseGroup        Cause = "group"         // ALLOW by a permission of a group
	CauseSuspended    Cause = "suspended"     // NO_PERMISSION: there was one, suspended
	CauseNotYet       Cause = "not_yet"       // NO_PERMISSION: there was one that began later
	CauseOver         Cause = "over"          // NO_PERMISSION: there was one that had ended
	CauseTakenAway    Cause = "taken_away"    // NO_PERMISSION: there had been one
	CauseNoPermission Cause = "no_permission" // NO_PERMISSION: there never was one
	CauseDevice       Cause = "device"        // DEVICE_INACTIVE: the phone was revoked, or reported lost
	CauseUserInactive Cause = "user_inactive" // TOKEN_INVALID: of a user who was not active
	CauseUserDeleted  Cause = "user_deleted"  // TOKEN_INVALID: of a user who was deleted
	CauseTokenNotYet  Cause = "token_not_yet" // TOKEN_INVALID: it began later
	CauseTokenOver    Cause = "token_over"    // TOKEN_INVALID: it had ended, by its date
	CauseTokenIdle    Cause = "token_idle"    // TOKEN_INVALID: not used for too long
	CauseTokenEnded   Cause = "token_ended"   // TOKEN_INVALID: it was revoked; Credential says which it was
	CauseTokenUnknown Cause = "token_unknown" // TOKEN_INVALID: unknown, at least not lately seen at this gate
	CauseGateUnknown  Cause = "gate_unknown"  // UNKNOWN_GATE: no gate ever had this code
	CauseGateDeleted  Cause = "gate_deleted"  // UNKNOWN_GATE: a gate that was deleted had it
	CauseGateLater    Cause = "gate_later"    // UNKNOWN_GATE: a gate got it since
	CauseOther        Cause = "other"         // the event's own reason says all: RATE_LIMIT, INVALID_REQUEST, system events
)

// GrantThen is a permission that has to do with an event.
type GrantThen struct {
	store.NamedPermission            // as it is now, or was when it was deleted
	Then                  GrantState // when the event occurred
	Now                   GrantState
}

// Explanation says why an event came out as it did, in objects and codes: pages put it into words. What the audit does not hold any more (erased
// or purged) cannot be known for the time of the event, and is then told as it is now: Certain is false.
type Explanation struct {
	Event      access.Event
	Cause      Cause
	Certain    bool
	Grants     []GrantThen     // of the user and their groups then, at this gate; what decided first
	Credential int64           // the event's, or the one that the same token was in earlier events; 0 = unknown
	GateIDs    []int64         // of UNKNOWN_GATE: which have or had this code, newest first
	Since      []access.Change // audit lines that came after the event and have to do with it, newest first, at most 50
	Objects    Objects         // what all these name
}

const (
	maxGrants   = 50  // permissions that are looked at
	maxSince    = 50  // audit lines
	maxLookBack = 500 // events in which a token is looked for
	mostRewound = 200 // audit lines of one object that are taken back
)

// Explain explains one event: a few dozen queries by ids and indexes at most.
func (r *Registry) Explain(ctx context.Context, eventID int64) (Explanation, error) {
	x, err := reading(ctx, r, func(tx *store.Tx) (Explanation, error) {
		e, err := tx.Event(eventID)
		if err != nil {
			return Explanation{}, err
		}
		x := explainer{ctx: ctx, r: r, tx: tx, Explanation: Explanation{Event: e, Certain: true, Credential: e.CredentialID}}
		if err := x.explain(); err != nil {
			return Explanation{}, err
		}
		return x.Explanation, nil
	})
	if err != nil {
		return Explanation{}, fmt.Errorf("explain event %d: %w", eventID, err)
	}
	return x, nil
}

// explainer is an explanation in the making.
type explainer struct {
	ctx context.Context
	r   *Registry
	tx  *store.Tx
	Explanation
}

func (x *explainer) explain() (err error) {
	e := x.Event
	switch {
	case e.Kind != access.DecisionEvent:
		x.Cause = CauseOther
	case e.Decision == access.Allow, e.Reason == access.NoPermission:
		err = x.grants()
	case e.Reason == access.UnknownGate:
		err = x.gate()
	case e.Reason == access.TokenInvalid:
		err = x.token()
	case e.Reason == access.DeviceInactive:
		x.Cause = CauseDevice
	default:
		x.Cause = CauseOther
	}
	if err == nil {
		err = x.since()
	}
	if err != nil {
		return err
	}
	ids := ObjectIDs{
		Users: []int64{e.UserID}, Gates: append([]int64{e.GateID}, x.GateIDs...), Devices: []int64{e.DeviceID}, Credentials: []int64{x.Credential}, Permissions: []int64{e.PermissionID},
	}
	for _, g := range x.Grants {
		ids.Permissions = append(ids.Permissions, g.ID)
	}
	x.Objects, err = x.tx.Objects(ids)
	return err
}

// rewind takes the audit lines of an object after a version back from what it is now (exists: it is there), and says what it was then:
// GrantGone when it was gone already, GrantNone when it was not made yet, else GrantHolds.
func (x *explainer) rewind(object string, id int64, now access.Fields, exists bool) (then access.Fields, was GrantState, err error) {
	lines, err := x.tx.ChangesAfter(object, id, x.Event.PolicyVersion, mostRewound)
	if err != nil {
		return nil, "", err
	}
	if was = GrantGone; exists {
		was = GrantHolds
	}
	if len(lines) == mostRewound {
		x.Certain = false
	}
	then = maps.Clone(now)
	for _, c := range lines {
		if len(c.Before)+len(c.After) == 0 && c.Action != "create" {
			x.Certain = false // erased
			continue
		}
		switch c.Action {
		case access.ActionCreate:
			was = GrantNone
		case access.ActionDelete, access.ActionRevoke:
			was, then = GrantHolds, maps.Clone(c.Before)
		case "change":
			for k := range c.After {
				delete(then, k)
			}
			maps.Copy(then, c.Before)
		}
	}
	return then, was, nil
}

// groupsThen are the groups that the event's user was in when it occurred.
func (x *explainer) groupsThen() ([]int64, error) {
	ids, err := x.tx.GroupIDs(x.Event.UserID)
	if err != nil {
		return nil, err
	}
	in := map[int64]bool{}
	for _, id := range ids {
		in[id] = true
	}
	lines, err := x.tx.ChangesAfter(access.ObjectMember, x.Event.UserID, x.Event.PolicyVersion, mostRewound)
	if err != nil {
		return nil, err
	}
	for _, c := range lines {
		joined, left := fieldID(c.After, "group_id"), fieldID(c.Before, "group_id")
		switch {
		case joined != 0:
			delete(in, joined)
		case left != 0:
			in[left] = true
		default:
			x.Certain = false
		}
	}
	return slices.Sorted(maps.Keys(in)), nil
}

func fieldID(f access.Fields, name string) int64 {
	id, err := strconv.ParseInt(f[name], 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// grants explains by the permissions at the gate, as they were.
func (x *explainer) grants() error {
	e := x.Event
	groups, err := x.groupsThen()
	if err != nil {
		return err
	}
	list, err := x.tx.PermissionsEver(e.GateID, e.UserID, groups, maxGrants)
	if err != nil {
		return err
	}
	if e.PermissionID != 0 && !slices.ContainsFunc(list, func(p store.NamedPermission) bool { return p.ID == e.PermissionID }) {
		named, err := x.tx.Objects(ObjectIDs{Permissions: []int64{e.PermissionID}})
		if err != nil {
			return err
		}
		if p, ok := named.Permissions[e.PermissionID]; ok {
			list = append(list, p)
		}
	}
	for _, p := range list {
		g := GrantThen{NamedPermission: p, Now: GrantGone}
		if p.DeletedAt.IsZero() {
			g.Now = StateAt(p.Permission, x.tx.Now)
		}
		then, was, err := x.rewind(access.ObjectPermission, p.ID, permissionFields(p.Permission), p.DeletedAt.IsZero())
		if err != nil {
			return err
		}
		if g.Then = was; was == GrantHolds {
			g.Then = StateAt(permissionOf(then), e.At)
		}
		x.Grants = append(x.Grants, g)
	}
	rank := []GrantState{GrantHolds, GrantSuspended, GrantNotYet, GrantOver, GrantGone, GrantNone}
	slices.SortFunc(x.Grants, func(a, b GrantThen) int {
		return cmp.Or(decided(b, e)-decided(a, e), cmp.Compare(slices.Index(rank, a.Then), slices.Index(rank, b.Then)), cmp.Compare(b.ID, a.ID))
	})
	x.Grants = x.Grants[:min(len(x.Grants), maxGrants)]
	if e.Decision == access.Allow {
		x.Cause = CauseOwn
		if len(x.Grants) > 0 && x.Grants[0].GroupID != 0 {
			x.Cause = CauseGroup
		}
		if len(x.Grants) == 0 || x.Grants[0].ID != e.PermissionID {
			x.Certain = false // an imported event does not say what granted it
		}
		return nil
	}
	x.Cause = CauseNoPermission
	if len(x.Grants) > 0 {
		switch x.Grants[0].Then {
		case GrantSuspended:
			x.Cause = CauseSuspended
		case GrantNotYet:
			x.Cause = CauseNotYet
		case GrantOver:
			x.Cause = CauseOver
		case GrantGone:
			x.Cause = CauseTakenAway
		case GrantHolds: // the audit and the event do not agree: say what the event says
			x.Certain = false
		}
	}
	return nil
}

// decided is 1 for the permission that the event names, else 0.
func decided(g GrantThen, e access.Event) int {
	if g.ID == e.PermissionID {
		return 1
	}
	return 0
}

// permissionOf reads what permissionFields wrote.
func permissionOf(f access.Fields) access.Permission {
	at := func(name string) time.Time {
		t, err := time.Parse(time.RFC3339Nano, f[name])
		if err != nil {
			return time.Time{}
		}
		return t
	}
	return access.Permission{Allow: f["allow"] == yes(true), ValidFrom: at("valid_from"), ValidUntil: at("valid_until")}
}

// gate explains an unknown gate.
func (x *explainer) gate() (err error) {
	x.Cause = CauseGateUnknown
	if x.Event.PresentedGate == "" {
		return nil
	}
	if x.GateIDs, err = x.tx.GateIDsOfCode(x.Event.PresentedGate); err != nil || len(x.GateIDs) == 0 {
		return err
	}
	x.Cause = CauseGateDeleted
	if g, err := x.tx.Gate(x.GateIDs[0]); err == nil && g.Code == x.Event.PresentedGate {
		x.Cause = CauseGateLater
	}
	return nil
}

// token explains a token that did not count.
func (x *explainer) token() (err error) {
	e := x.Event
	x.Cause = CauseTokenUnknown
	if e.CredentialID == 0 {
		if e.Fingerprint == "" || e.GateID == 0 {
			return nil
		}
		if x.Credential, err = x.sameToken(); err != nil || x.Credential == 0 {
			return err
		}
	}
	named, err := x.tx.Objects(ObjectIDs{Credentials: []int64{x.Credential}, Users: []int64{e.UserID}})
	if err != nil {
		return err
	}
	c, known := named.Credentials[x.Credential]
	switch {
	case !known:
		return nil
	case e.CredentialID == 0:
		x.Cause = CauseTokenEnded
		return nil
	case !c.ValidFrom.IsZero() && e.At.Before(c.ValidFrom):
		x.Cause = CauseTokenNotYet
		return nil
	case !c.ValidUntil.IsZero() && !e.At.Before(c.ValidUntil):
		x.Cause = CauseTokenOver
		return nil
	}
	u := named.Users[e.UserID]
	then, was, err := x.rewind(access.ObjectUser, e.UserID, access.Fields{"active": yes(u.Active)}, u.DeletedAt.IsZero())
	if err != nil {
		return err
	}
	switch {
	case was != GrantHolds:
		x.Cause = CauseUserDeleted
	case then["active"] != yes(true):
		x.Cause = CauseUserInactive
	default: // it counted in every other way
		x.Cause = CauseTokenIdle
	}
	return nil
}

// sameToken looks among the latest events before this one, at its gate, for one that bore the same fingerprint and knew the credential: what is unknown
// now may have been known then. 0 = not found.
func (x *explainer) sameToken() (int64, error) {
	lately, err := x.r.store.Events(x.ctx, access.EventFilter{GateID: x.Event.GateID, Before: x.Event.ID, Limit: maxLookBack})
	if err != nil {
		return 0, err
	}
	for _, e := range lately {
		if e.CredentialID != 0 && e.Fingerprint == x.Event.Fingerprint {
			return e.CredentialID, nil
		}
	}
	return 0, nil
}

// since gathers what was done after the event to what it is about.
func (x *explainer) since() error {
	e := x.Event
	type object struct {
		kind string
		id   int64
	}
	about := []object{
		{access.ObjectUser, e.UserID}, {access.ObjectMember, e.UserID}, {access.ObjectGate, e.GateID}, {access.ObjectDevice, e.DeviceID}, {access.ObjectCredential, x.Credential},
	}
	for _, id := range x.GateIDs {
		about = append(about, object{access.ObjectGate, id})
	}
	for _, g := range x.Grants {
		about = append(about, object{access.ObjectPermission, g.ID})
	}
	for _, o := range about {
		if o.id == 0 {
			continue
		}
		lines, err := x.tx.ChangesAfter(o.kind, o.id, e.PolicyVersion, maxSince)
		if err != nil {
			return err
		}
		x.Since = append(x.Since, lines...)
	}
	slices.SortFunc(x.Since, func(a, b access.Change) int { return cmp.Compare(b.ID, a.ID) })
	x.Since = x.Since[:min(len(x.Since), maxSince)]
	return nil
}
