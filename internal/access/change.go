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

// Objects lists the kinds, as a filter offers them.
func Objects() []string {
	return []string{
		ObjectUser, ObjectGroup, ObjectMember, ObjectGate, ObjectPermission, ObjectDevice, ObjectCredential, ObjectRole, ObjectSession, ObjectSite, ObjectEvents, ObjectAudit,
		ObjectBackup, ObjectRestore,
	}
}

// The actions that a change can name. (Lines that come from elsewhere, such as Django's log, may name others.)
const (
	ActionCreate            = "create"
	ActionChange            = "change"
	ActionDelete            = "delete"
	ActionRevoke            = "revoke"
	ActionPassword          = "password"
	ActionErase             = "erase"
	ActionSignIn            = "sign-in"
	ActionSignInRefused     = "sign-in refused" // nobody knows who acted, but most likely it was the user
	ActionSignOut           = "sign-out"
	ActionSignOutEverywhere = "sign-out everywhere"
	ActionExport            = "export"
	ActionPurge             = "purge"
	ActionRekey             = "rekey"
	ActionBackup            = "backup"
	ActionRestore           = "restore"
	ActionImport            = "import" // of the site: all of the policy was replaced
)

// Actions lists the actions, as a filter offers them.
func Actions() []string {
	return []string{
		ActionCreate, ActionChange, ActionDelete, ActionRevoke, ActionPassword, ActionErase, ActionSignIn, ActionSignInRefused, ActionSignOut, ActionSignOutEverywhere,
		ActionExport, ActionPurge, ActionRekey, ActionBackup, ActionRestore, ActionImport,
	}
}
