package credential

import (
	"crypto/rand"
	"encoding/hex"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
)

// MintUserToken draws an API session token: 160 random bits as 40 hex digits, the form that API v1 promises.
func MintUserToken() string { return mint(20) }

// MintDeviceToken draws a device token: 256 random bits as 64 hex digits, the form that API v1 promises.
func MintDeviceToken() string { return mint(32) }

func mint(size int) string {
	b := make([]byte, size)
	rand.Read(b) // never fails: the runtime ends the process first
	return hex.EncodeToString(b)
}

// Preview is what may be shown of a token: its first and last 4 characters with … between them, and just … for tokens of
// fewer than 16 characters (API v1, devices/me).
func Preview(token string) string {
	if utf8.RuneCountInString(token) < 16 {
		return "…"
	}
	head, tail := 0, len(token)
	for range 4 {
		_, n := utf8.DecodeRuneInString(token[head:])
		head += n
		_, n = utf8.DecodeLastRuneInString(token[:tail])
		tail -= n
	}
	return token[:head] + "…" + token[tail:]
}

// SchemeFor says how the lookup of a token is made. SHA-256 is for tokens that the caller has just minted and nothing else: it needs no
// key, so they outlive a lost key. All that people or other systems chose gets the HMAC, also where it looks random, because nobody can
// tell; such a token must be kept sealed as well, or it is lost when the key is rotated.
func SchemeFor(token string, minted bool) access.Scheme {
	if minted && len(token) >= 32 {
		return access.SchemeSHA256
	}
	return access.SchemeHMAC
}
