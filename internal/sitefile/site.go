// Package sitefile reads and writes a site that is declared in a file: its groups, users, gates, permissions and devices, in YAML.
//
// It is pure: it reads no file and knows no database, imports only access, and promises that every item and field knows the line
// it stands on, that Parse reports all the mistakes it can find together (one a line, "site.yaml:12: users[3].email: …"), that no
// input makes it panic or run away, and that Parse(Encode(s)) is s again.
//
// What is strict: unknown keys, keys that occur twice, values of another type (a code such as 42 must be quoted: "42") and things
// declared twice are mistakes. Whether the names that permissions, members and devices use exist is known only to who
// applies the file, since they may be in the database already.
package sitefile

import (
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Site is what a file declares, each kind in the file's order.
type Site struct {
	File        string // the name that mistakes are reported under
	Groups      []Group
	Users       []User
	Gates       []Gate
	Permissions []Permission
	Devices     []Device
}

// Place is where an item stands in its file.
type Place struct {
	Path  string // such as users[3], counted from 0
	Line  int    // of the item's first key, counted from 1
	lines map[string]int
}

// At is the line of a field, such as "email" or "tokens[1]", or the item's own when the field is not in the file.
func (p Place) At(field string) int {
	if n, ok := p.lines[field]; ok {
		return n
	}
	return p.Line
}

// Has reports whether the file gives the field.
func (p Place) Has(field string) bool {
	_, ok := p.lines[field]
	return ok
}

// Group declares a group.
type Group struct {
	Place
	Name string
	Was  string // its name up to now; "" = no renaming
}

// User declares a user. Fields that the file leaves out take their default, but for those whose comment says "kept": they stay as they
// are in the database. Passwords and tokens are kept because an exported file has none, Active so that
// applying an old file never switches a person back on whom somebody has locked out since.
type User struct {
	Place
	Username     string
	Was          string
	FirstName    string
	LastName     string
	Email        string
	Language     string // "", "en" or "ru"; kept when left out
	Password     string // "" = left out: kept (a new user then has none and cannot sign in)
	PasswordHash string // instead of Password: argon2id or Django's pbkdf2_sha256, as they are stored
	Active       bool   // true for a new user; kept when left out
	Staff        bool
	Superuser    bool
	Role         access.Role // a role beyond those that Staff and Superuser stand for
	Groups       []string
	Tokens       []string // fixed API tokens, 8..128 characters; kept when left out
}

// Gate declares a gate.
type Gate struct {
	Place
	Code      string
	Was       string
	Name      string
	Location  string
	ReleaseMS int // milliseconds, 0 = the site's default
}

// Permission declares that a user or a group, one of the two, may pass a gate.
type Permission struct {
	Place
	Gate       string
	User       string
	Group      string
	Allow      bool // false = suspended; true when left out
	ValidFrom  When
	ValidUntil When
}

// Device declares a user's phone.
type Device struct {
	Place
	User            string
	Name            string
	AndroidDeviceID string
	Token           string // "" = left out: kept, or minted when there is none
	Active          bool   // true for a new device; kept when left out
}

// Subject names whom a permission is for, as messages and plans say it.
func (p Permission) Subject() string {
	if p.Group != "" {
		return "group " + p.Group
	}
	return "user " + p.User
}

// User, Group, Gate and Device as the nouns they declare, for their rules. Names of others are not resolved.

func (g Group) noun() access.Group { return access.Group{Name: g.Name} }

func (g Gate) noun() access.Gate {
	return access.Gate{Code: g.Code, Name: g.Name, Location: g.Location, ReleaseMS: g.ReleaseMS}
}

func (u User) noun() access.User {
	return access.User{
		Username: u.Username, FirstName: u.FirstName, LastName: u.LastName, Email: u.Email, Language: u.Language,
		Active: u.Active, Staff: u.Staff, Superuser: u.Superuser,
	}
}

func (d Device) noun() access.Device {
	return access.Device{UserID: 1, Name: d.Name, AndroidDeviceID: d.AndroidDeviceID, Active: d.Active}
}

// MaxBytes bounds the size of a file: some 200 000 users with a phone each.
const MaxBytes = 32 << 20

// Instant makes the When of an instant, for writing. The zero time makes the zero When.
func Instant(t time.Time) When {
	if t.IsZero() {
		return When{}
	}
	return When{text: t.UTC().Format(time.RFC3339Nano), at: t.UTC()}
}
