package access

import "time"

// Actor is who makes a change. It stands in full in the audit.
type Actor struct {
	Kind      string // "user", "cli", "api", "system"
	UserID    int64  // 0 = none
	Label     string // such as "root@host" or the user name
	Address   string
	RequestID string
	SessionID int64
}

// Change is one line of the audit, which is the policy feed as well: replicas re-read the objects it names.
type Change struct {
	ID       int64
	Mark     PolicyMark // the policy it made; unchanged policy (a sign-in refused, an export) keeps the mark that stood
	At       time.Time
	Actor    Actor
	Object   string // what kind of thing: ObjectGate, …
	ObjectID int64
	Action   string // "create", "change", "delete", …
	Before   Fields
	After    Fields // only what differs from Before; secrets never appear
}

// Fields is one side of a change, by field name, each value as people read it: true, 800, 2026-11-23T09:00:00Z.
type Fields map[string]string

// The kinds of object that a change can name.
const (
	ObjectSite       = "site"
	ObjectGate       = "gate"
	ObjectUser       = "user"
	ObjectGroup      = "group"
	ObjectMember     = "member" // ObjectID: the user; After/Before {"group_id"}
	ObjectPermission = "permission"
	ObjectDevice     = "device"
	ObjectCredential = "credential"
	ObjectRole       = "role" // ObjectID: the user
	ObjectSession    = "session"
	ObjectEvents     = "events" // purges
	ObjectAudit      = "audit"  // exports
	ObjectBackup     = "backup" // ObjectID: 0
	ObjectRestore    = "restore"
)
