package server

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
)

const requestIDHeader = "X-Request-Id" // canonical form of X-Request-ID

// setRequestID settles the request's id: the client's own if it is harmless, else a new UUID. Both sides carry it from here on.
func (s *Server) setRequestID(h http.Header, r *http.Request) {
	if v := r.Header[requestIDHeader]; len(v) == 1 && validRequestID(v[0]) {
		h[requestIDHeader] = v
		return
	}
	v := []string{newUUID()}
	r.Header[requestIDHeader] = v
	h[requestIDHeader] = v
}

// validRequestID reports whether an id of a client may stand in headers and logs: 1..128 of A-Z a-z 0-9 . _ -
func validRequestID(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// newUUID makes a random UUID, RFC 9562 version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[0:8], b[0:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:36], b[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
