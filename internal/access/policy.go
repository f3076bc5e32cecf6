package access

// The rows that the gate's decisions depend on, as lean as they can be: a site may have a million of them.
// Instants are Unix microseconds UTC, 0 = none.

// PolicySite is what holds for the whole site.
type PolicySite struct {
	DefaultReleaseMS int
	KeyCheck         string // by which a process knows that it has the keys of all tokens
}

// PolicyGate is a gate as decisions see it.
type PolicyGate struct {
	ID        int64
	Code      string
	ReleaseMS int // 0 = the site's default
}

// PolicyUser is a user as decisions see it.
type PolicyUser struct {
	ID     int64
	Active bool
	Groups []int64 // filled in a PolicyDelta only; a PolicySink is told memberships one by one
}

// PolicyPermission is a permission as decisions see it.
type PolicyPermission struct {
	ID         int64
	GateID     int64
	UserID     int64 // one of UserID and GroupID is 0
	GroupID    int64
	Allow      bool
	ValidFrom  int64
	ValidUntil int64
}

// PolicyCredential is a living credential as decisions see it. Revoked ones are not part of the policy.
type PolicyCredential struct {
	ID          int64
	UserID      int64
	DeviceID    int64
	Lookup      Lookup
	Inactive    bool // its device is revoked
	IdleExpires bool
	LastUsedDay int32 // days since 1970-01-01 UTC
	ValidFrom   int64
	ValidUntil  int64
}

// PolicySink is told a whole policy, row by row: first the site, then the gates, the users, the permissions, the credentials; and at any time, from another
// goroutine perhaps, the memberships, ordered by user, also of users who are deleted.
type PolicySink interface {
	Site(PolicySite)
	Gate(PolicyGate)
	User(PolicyUser)
	Member(userID, groupID int64)
	Permission(PolicyPermission)
	Credential(PolicyCredential)
}

// PolicyDelta holds the objects that changed since an earlier mark, as they are now. What is listed as gone was deleted
// (or, for credentials, revoked).
type PolicyDelta struct {
	Mark    PolicyMark
	Rebuild bool // the earlier mark is not part of this database's history: load everything again

	Site        *PolicySite
	Gates       []PolicyGate
	Users       []PolicyUser
	Permissions []PolicyPermission
	Credentials []PolicyCredential

	GoneGates       []int64
	GoneUsers       []int64
	GonePermissions []int64
	GoneCredentials []int64
}
