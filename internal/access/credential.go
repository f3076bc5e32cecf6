package access

import "time"

// Lookup is the digest under which a presented token is found. The token itself is never stored.
type Lookup [32]byte

// Scheme says how a Lookup was made.
type Scheme int

// Scheme 1 is for tokens that we minted or that are random with 128 bits and more: nobody can try them all.
// Scheme 2 is for anything shorter or chosen by people: without the server's key the digest cannot be searched.
const (
	SchemeSHA256 Scheme = 1
	SchemeHMAC   Scheme = 2
)

// The length of a token that can be presented at a gate, in characters (API v1).
const (
	MinToken = 8
	MaxToken = 128
)

// CredentialKind is what is presented.
type CredentialKind string

// The kinds so far; cards, passes and PINs come later.
const (
	UserToken   CredentialKind = "user_token"   // API session token of a user, 40 hex when minted
	DeviceToken CredentialKind = "device_token" // token of a registered phone, 64 hex when minted
)

// CredentialState says whether a credential counts.
type CredentialState string

// The states. Inactive is the state of a device token whose device is revoked (DEVICE_INACTIVE at the gate);
// Revoked ends a credential for good (TOKEN_INVALID).
const (
	CredentialActive   CredentialState = "active"
	CredentialInactive CredentialState = "inactive"
	CredentialRevoked  CredentialState = "revoked"
)

// Credential is anything that can be presented at a gate.
type Credential struct {
	ID          int64
	UserID      int64
	DeviceID    int64 // 0 = none; a device token's own device, or the device that was registered with this user token
	Kind        CredentialKind
	Lookup      Lookup
	Scheme      Scheme
	Sealed      []byte // the token under the server's key, bound to ID; nil where nobody needs it again
	Preview     string // first 4 + … + last 4 characters; just … under 16
	Label       string // what people know it by, such as the client's User-Agent
	State       CredentialState
	StateReason string // one word for the audit: "rotated", "password", "device", "admin", "lost"
	ValidFrom   time.Time
	ValidUntil  time.Time
	IdleExpires bool // ends after the site's idle days without use
	CreatedAt   time.Time
	LastUsedDay int // days since 1970-01-01 UTC of the last use (creation counts); 0 = unknown
	Version     int64
}

// MicrosPerDay is the length of a UTC day in the unit that instants are stored in.
const MicrosPerDay = 24 * 60 * 60 * 1_000_000

// Day is the number of the UTC day that t falls on, days since 1970-01-01.
func Day(t time.Time) int { return int(t.Unix() / (24 * 60 * 60)) }

// Device is a user's registered phone. It owns a credential of kind DeviceToken.
type Device struct {
	ID              int64
	UserID          int64
	Name            string // 0..100 characters
	AndroidDeviceID string // "" = none; at most MaxAndroidDeviceID characters
	Active          bool
	TokenPreview    string // of its living token; "" = it has none
	Version         int64
	CreatedAt       time.Time
}

// MaxAndroidDeviceID is how many characters an Android id may have (API v1).
const MaxAndroidDeviceID = 128

// Validate reports every field that breaks a rule, as Invalid.
func (d Device) Validate() error {
	var bad Invalid
	text(&bad, "name", d.Name, 0, 100)
	rawText(&bad, "android_device_id", d.AndroidDeviceID, 0, MaxAndroidDeviceID)
	if d.UserID == 0 {
		bad.Add("user", CodeRequired)
	}
	return bad.OrNil()
}
