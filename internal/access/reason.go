package access

// Outcome is what a gate is told.
type Outcome string

// The two outcomes, as they stand on the wire and in the event log.
const (
	Allow Outcome = "ALLOW"
	Deny  Outcome = "DENY"
)

// Reason says why. The values stand on the wire (API v1) and in the event log; they are never renamed.
type Reason string

// The reasons, in the order in which they are checked: the first that applies is the answer.
const (
	RateLimit      Reason = "RATE_LIMIT"
	InvalidRequest Reason = "INVALID_REQUEST"
	UnknownGate    Reason = "UNKNOWN_GATE"
	TokenInvalid   Reason = "TOKEN_INVALID"
	DeviceInactive Reason = "DEVICE_INACTIVE"
	NoPermission   Reason = "NO_PERMISSION"
	OK             Reason = "OK"
	// Unavailable is answered (with HTTP 503) when the decision could not be recorded; it is not one of the checks.
	Unavailable Reason = "UNAVAILABLE"
	// Reserved by API v1 for readers that present a device beside a token. Not given today.
	DeviceNotFound Reason = "DEVICE_NOT_FOUND"
	DeviceMismatch Reason = "DEVICE_MISMATCH"
)

// Known reports whether a decision or a system event of ours can have the reason.
func (r Reason) Known() bool {
	switch r {
	case RateLimit, InvalidRequest, UnknownGate, TokenInvalid, DeviceInactive, NoPermission, OK, Unavailable, DeviceNotFound, DeviceMismatch, NoteUnavailable, NoteUnanswered:
		return true
	}
	return false
}
