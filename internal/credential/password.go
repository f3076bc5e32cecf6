package credential

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Today's cost of a password hash: argon2id with 19 MiB, two passes, one lane (OWASP's password storage cheat sheet).
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16 // bytes
	argonKey     = 32 // bytes
)

// Bounds of what a stored hash may ask for: at most about two seconds of one core, and 128 MiB.
const (
	maxEncoded     = 512 // bytes
	maxArgonMemory = 128 * 1024
	maxArgonWork   = 512 * 1024 // memory x time
	maxArgonLanes  = 16
	maxRounds      = 5_000_000 // of PBKDF2; Django 6 has 1.2 million
)

// HistoryLength is how many of a user's last passwords may not be used again.
const HistoryLength = 5

// HashPassword makes the hash to store, in PHC form ($argon2id$v=19$m=19456,t=2,p=1$salt$key). It takes tens of milliseconds and 19 MiB.
// The empty password is refused: an account with one would be open.
func HashPassword(password string) (string, error) {
	if password == "" {
		return "", errors.New("credential: the password to hash is empty")
	}
	h := today()
	h.salt = make([]byte, argonSalt)
	rand.Read(h.salt) // never fails: the runtime ends the process first
	h.key = h.derive(password)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.key)), nil
}

// VerifyPassword reports whether password is the one that encoded was made of: argon2id in PHC form, or Django's pbkdf2_sha256. It is false
// for everything else, such as Django's unusable passwords ("!…"), and for hashes that ask for more work than is sane. outdated says that
// encoded is a weaker hash than HashPassword makes and wants replacing when ok.
func VerifyPassword(encoded, password string) (ok, outdated bool) {
	h, known := parseHash(encoded)
	if !known {
		return false, false
	}
	return subtle.ConstantTimeCompare(h.derive(password), h.key) == 1, h.outdated()
}

// ReadableHash reports whether VerifyPassword can compare with an encoded hash: argon2id in PHC form or Django's pbkdf2_sha256, at a sane cost.
// Unusable passwords ("!…") are not readable.
func ReadableHash(encoded string) bool {
	_, known := parseHash(encoded)
	return known
}

// SpendVerify takes as long as VerifyPassword takes for a hash like this one, and comes to nothing: an unknown user name then cannot be told
// from a wrong password by the time it takes. For what VerifyPassword would refuse unread ("", "!…") it is as long as for today's hashes.
func SpendVerify(like string) {
	h := alike(like)
	subtle.ConstantTimeCompare(h.derive("a password of common length"), h.key)
}

// alike is a hash that costs what verifying like costs.
func alike(like string) stored {
	h, known := parseHash(like)
	if !known {
		h = today()
		h.salt, h.key = make([]byte, argonSalt), make([]byte, argonKey)
	}
	return h
}

// stored is a stored hash taken apart.
type stored struct {
	rounds    int // of PBKDF2; 0 = argon2id
	memory    uint32
	time      uint32
	threads   uint8
	salt, key []byte
}

func today() stored { return stored{memory: argonMemory, time: argonTime, threads: argonThreads} }

func (h stored) outdated() bool {
	return h.rounds > 0 || h.memory < argonMemory || h.time < argonTime || len(h.salt) < argonSalt || len(h.key) < argonKey
}

// derive does the work. Its length does not depend on the password's in any way that can be measured.
func (h stored) derive(password string) []byte {
	if h.rounds == 0 {
		size := len(h.key)
		if size == 0 {
			size = argonKey
		}
		return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(size))
	}
	key, err := pbkdf2.Key(sha256.New, password, h.salt, h.rounds, len(h.key))
	if err != nil { // only where FIPS 140 forbids the parameters; then nothing matches
		return nil
	}
	return key
}

func parseHash(encoded string) (stored, bool) {
	if len(encoded) > maxEncoded {
		return stored{}, false
	}
	parts := strings.Split(encoded, "$")
	switch {
	case len(parts) == 6 && parts[0] == "" && parts[1] == "argon2id":
		return parseArgon(parts[2:])
	case len(parts) == 4 && parts[0] == "pbkdf2_sha256":
		return parseDjango(parts[1:])
	}
	return stored{}, false
}

// parseArgon reads version, costs, salt and key.
func parseArgon(parts []string) (stored, bool) {
	var h stored
	costs := strings.Split(parts[1], ",")
	if parts[0] != "v="+strconv.Itoa(argon2.Version) || len(costs) != 3 {
		return h, false
	}
	var n [3]int
	for i, name := range []string{"m=", "t=", "p="} {
		text, found := strings.CutPrefix(costs[i], name)
		if !found || !decimal(text, &n[i]) {
			return h, false
		}
	}
	memory, passes, lanes := n[0], n[1], n[2]
	if lanes > maxArgonLanes || memory < 8*lanes || memory > maxArgonMemory || memory*passes > maxArgonWork {
		return h, false
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[2]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return h, false
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(parts[3]); err != nil || len(h.key) < 16 || len(h.key) > 64 {
		return h, false
	}
	h.memory, h.time, h.threads = uint32(memory), uint32(passes), uint8(lanes)
	return h, true
}

// parseDjango reads rounds, salt (which is used as the text it is) and key.
func parseDjango(parts []string) (stored, bool) {
	var h stored
	if !decimal(parts[0], &h.rounds) || h.rounds > maxRounds || parts[1] == "" {
		return h, false
	}
	var err error
	if h.key, err = base64.StdEncoding.Strict().DecodeString(parts[2]); err != nil || len(h.key) != sha256.Size {
		return h, false
	}
	h.salt = []byte(parts[1])
	return h, true
}

// decimal reads a number above zero: digits without sign or leading zeros, at most 9 of them.
func decimal(s string, n *int) bool {
	if s == "" || len(s) > 9 || s[0] == '0' || strings.Trim(s, "0123456789") != "" {
		return false
	}
	v, err := strconv.Atoi(s)
	*n = v
	return err == nil
}
