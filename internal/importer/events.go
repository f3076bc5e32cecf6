package importer

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
)

// streamLength is how many rows go from the reader to the writer at a time.
const streamLength = 1024

// stream reads one table again, beside the writer, and hands its rows over one by one. make turns a row into what it stands for, or reports false
// for one that is left out. next returns nil at the end; what it returned is its own again at the next call.
func stream[T any](ctx context.Context, from source, t *table, make func(*row, *T) bool) (next func() (*T, error), stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	full, free := newChannels[T]()
	var failed error
	go func() {
		defer close(full)
		batch := <-free
		send := func() error {
			select {
			case full <- batch:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case batch = <-free:
				batch = batch[:0]
			case <-ctx.Done():
				return ctx.Err()
			}
			return nil
		}
		want := &reading{tables: []*table{t}, early: true, row: func(r *row) error {
			batch = append(batch, *new(T))
			if !make(r, &batch[len(batch)-1]) {
				batch = batch[:len(batch)-1]
			}
			if r.err != nil || len(batch) < streamLength {
				return r.err
			}
			return send()
		}}
		if failed = from.read(ctx, want); failed == nil && len(batch) > 0 {
			failed = send()
		}
	}()
	var batch []T
	i := 0
	next = func() (*T, error) {
		for i == len(batch) {
			if batch != nil {
				free <- batch // there is room for as many as there are
			}
			var more bool
			if batch, more = <-full; !more {
				batch, i = nil, 0
				return nil, failed
			}
			i = 0
		}
		i++
		return &batch[i-1], nil
	}
	return next, func() {
		cancel()
		for range full { //nolint:revive // until the reader has gone
		}
	}
}

// newChannels makes the way to and fro, with batches to fill.
func newChannels[T any]() (full, free chan []T) {
	const n = 4
	full, free = make(chan []T, n), make(chan []T, n+1)
	for range n {
		free <- make([]T, 0, streamLength)
	}
	return full, free
}

// eventMaker turns rows into events. It knows the credentials by their tokens.
type eventMaker struct {
	keys        *credential.Keyring
	credentials map[string]credentialRef
	since       int64 // Unix microseconds
	presented   credential.Presented
}

type credentialRef struct{ id, user int64 }

// event is an event without what the original kept in clear: the token becomes its fingerprint, and an unknown gate's code is covered where it
// looks like a token.
func (m *eventMaker) event(r *row, e *access.Event) bool {
	*e = access.Event{ID: r.id(eventID), At: r.instant(eventCreated), GateID: r.optionalID(eventGate), UserID: r.optionalID(eventUser)}
	if e.At.UnixMicro() < m.since {
		return false
	}
	e.Decision, e.Reason = outcomeOf(r), access.Reason(cut(r.text(eventReason), longestReason))
	gate, token := presentedIn(r.bytes(eventRaw))
	if e.GateID == 0 {
		e.PresentedGate = access.ShownGate(strings.ReplaceAll(gate, "\x00", ""))
	}
	if token != "" && len(token) <= longestToken {
		m.keys.Present(token, &m.presented)
		e.Fingerprint = string(m.presented.Fingerprint[:])
		if c := m.credentials[token]; c.user != 0 && c.user == e.UserID {
			e.CredentialID = c.id
		}
	}
	return r.err == nil
}

const (
	longestReason = 64
	longestToken  = 512 // bytes; longer ones never were tokens
)

// lineMaker turns rows of Django's admin log into audit lines.
type lineMaker struct{ s *site }

// objects are the kinds of object by Django's names for them.
var objects = map[string]string{
	"auth.user": access.ObjectUser, "auth.group": access.ObjectGroup, "access.accesspoint": access.ObjectGate,
	"access.accesspermission": access.ObjectPermission, "devices.device": access.ObjectDevice,
	"authtoken.token": access.ObjectCredential, "authtoken.tokenproxy": access.ObjectCredential,
}

// line is an audit line. The log calls things by what Django prints for them, and of a token that is the token: names are kept where they are
// names, and where erasing a user finds them.
func (m lineMaker) line(r *row, c *access.Change) bool {
	const (
		at = 1 + iota
		object
		name
		action
		message
		contentType
		user
	)
	*c = access.Change{At: r.instant(at), Action: "action " + string(r.bytes(action))}
	by := r.id(user)
	c.Actor = access.Actor{Kind: "user", UserID: by}
	if u := m.s.byUser[by]; u != nil {
		c.Actor.Label = strings.TrimSpace(u.username)
	}
	switch string(r.bytes(action)) {
	case "1":
		c.Action = access.ActionCreate
	case "2":
		c.Action = access.ActionChange
	case "3":
		c.Action = access.ActionDelete
	}
	model := m.s.contentTypes[r.optionalID(contentType)]
	c.Object = objects[model]
	if c.Object == "" {
		c.Object = "django " + model
	}
	side := access.Fields{}
	if c.Object != access.ObjectCredential { // whose id is the token
		c.ObjectID, _ = strconv.ParseInt(string(r.bytes(object)), 10, 64)
	}
	switch c.Object {
	case access.ObjectUser, access.ObjectGroup, access.ObjectGate, access.ObjectDevice:
		side["name"] = access.ShownGate(r.text(name))
	}
	if f := changedFields(r.bytes(message)); f != "" {
		side["fields"] = f
	}
	if c.Action == access.ActionDelete {
		c.Before = side
	} else {
		c.After = side
	}
	return r.err == nil
}

// changedFields are the names of fields in a message such as [{"changed": {"fields": ["Email address"]}}].
func changedFields(message []byte) string {
	var parts []map[string]struct {
		Fields []string `json:"fields"`
	}
	if json.Unmarshal(message, &parts) != nil {
		return ""
	}
	var all []string
	for _, p := range parts {
		for _, what := range p {
			all = append(all, what.Fields...)
		}
	}
	return cut(strings.Join(all, ", "), longestFields)
}

const longestFields = 500
