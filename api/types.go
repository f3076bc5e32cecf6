package api

// Paths of the API, below the server's base URL.
const (
	PathVerify         = "/api/v1/access/verify"
	PathToken          = "/api/v1/auth/token"
	PathRegisterDevice = "/api/v1/devices/register"
	PathDevices        = "/api/v1/devices/me"
	PathRevokeDevice   = "/api/v1/devices/revoke"
)

// VerifyRequest asks whether a token opens a gate.
type VerifyRequest struct {
	GateID string `json:"gate_id"` // the gate's code, 1..64 characters, case-sensitive
	Token  string `json:"token"`   // what was presented at the gate, 8..128 characters
}

// VerifyResponse is the decision. The order of its fields on the wire is part of the contract: controllers search for bytes.
type VerifyResponse struct {
	Decision   string `json:"decision"`              // ALLOW or DENY
	DurationMS int    `json:"duration_ms,omitempty"` // how long the lock opens, milliseconds; with ALLOW only
	Reason     string `json:"reason"`                // see openapi.yaml; readers must take reasons they do not know as a denial
}

// Allowed reports whether the gate may open.
func (r VerifyResponse) Allowed() bool { return r.Decision == "ALLOW" }

// TokenRequest signs a user in.
type TokenRequest struct {
	Username string `json:"username"` // trimmed, case-sensitive
	Password string `json:"password"` // taken as it is, spaces included
}

// TokenResponse holds a new token of the user, 40 hexadecimal digits. Each sign-in gives one of its own.
type TokenResponse struct {
	Token string `json:"token"`
}

// RegisterDeviceRequest registers the caller's phone. The zero value gives the newest active device a new token.
type RegisterDeviceRequest struct {
	Rotate          *bool   `json:"rotate,omitempty"`            // nil = true: mint a new device token
	AndroidDeviceID *string `json:"android_device_id,omitempty"` // nil keeps what is stored, "" clears it; at most 128 characters
}

// RegisterDeviceResponse is the device that was chosen or made, with its token in clear.
type RegisterDeviceResponse struct {
	DeviceID        int64  `json:"device_id"`
	Token           string `json:"token"` // 64 hexadecimal digits when we minted it
	AndroidDeviceID string `json:"android_device_id"`
	QRPayload       string `json:"qr_payload"` // what a QR code of the device holds: the token
}

// Device is one of the caller's phones.
type Device struct {
	ID              int64  `json:"id"`
	AndroidDeviceID string `json:"android_device_id"` // "" = none
	IsActive        bool   `json:"is_active"`
	TokenPreview    string `json:"token_preview"` // first 4 + … + last 4 characters; … for short tokens
}

// RevokeDeviceRequest names one of the caller's devices, by id or by Android id. DeviceID wins where both are given.
type RevokeDeviceRequest struct {
	DeviceID        int64  `json:"device_id,omitempty"`
	AndroidDeviceID string `json:"android_device_id,omitempty"`
}

// RevokeDeviceResponse says how the device stands now.
type RevokeDeviceResponse struct {
	DeviceID int64 `json:"device_id"`
	IsActive bool  `json:"is_active"` // false
}

// Detail is the body of an error that concerns the request as a whole.
type Detail struct {
	Detail string `json:"detail"`
}
