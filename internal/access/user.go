package access

import (
	"strings"
	"time"
)

// User is a person who may pass gates and, with a role, administer the site.
type User struct {
	ID          int64
	Username    string // 1..150 characters, no outer white space, unique among the living, case-sensitive
	FirstName   string // 0..150 characters
	LastName    string // 0..150 characters
	Email       string // "" or an address of at most 254 characters
	Language    string // "" (the browser's), "en" or "ru"
	Active      bool   // an inactive user neither passes nor signs in
	Staff       bool   // maps in as manager
	Superuser   bool   // maps in as owner
	Roles       []RoleGrant
	Version     int64
	CreatedAt   time.Time
	LastLoginAt time.Time // zero = never
}

// Validate reports every field that breaks a rule, as Invalid.
func (u User) Validate() error {
	var bad Invalid
	text(&bad, "username", u.Username, 1, 150)
	text(&bad, "first_name", u.FirstName, 0, 150)
	text(&bad, "last_name", u.LastName, 0, 150)
	if text(&bad, "email", u.Email, 0, 254) && u.Email != "" {
		at := strings.LastIndexByte(u.Email, '@')
		if at < 1 || at == len(u.Email)-1 || strings.ContainsAny(u.Email, " \t\r\n<>,;") {
			bad.Add("email", CodeEmail)
		}
	}
	switch u.Language {
	case "", "en", "ru":
	default:
		bad.Add("language", CodeUnknown)
	}
	return bad.OrNil()
}

// Role is what a user may do as an administrator; a later one includes the earlier ones.
type Role string

// The roles. None is the role of a user who only passes gates.
const (
	None    Role = ""
	Viewer  Role = "viewer"  // sees
	Manager Role = "manager" // users, groups, permissions, devices
	Owner   Role = "owner"   // all, including gates, roles and settings
)

func (r Role) rank() int {
	switch r {
	case Viewer:
		return 1
	case Manager:
		return 2
	case Owner:
		return 3
	}
	return 0
}

// Includes reports whether r may do what other may.
func (r Role) Includes(other Role) bool { return r.rank() >= other.rank() }

// Known reports whether r is one of the roles (None is not).
func (r Role) Known() bool { return r.rank() > 0 }

// RoleGrant gives a user a role, on one site or (SiteID 0) on all.
type RoleGrant struct {
	Role   Role
	SiteID int64
}

// Role is the highest role that u holds, counting staff as manager and superuser as owner.
func (u User) Role() Role {
	best := None
	if u.Staff {
		best = Manager
	}
	if u.Superuser {
		best = Owner
	}
	for _, g := range u.Roles {
		if g.Role.rank() > best.rank() {
			best = g.Role
		}
	}
	return best
}
