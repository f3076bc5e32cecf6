package credential

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"sync"

	"github.com/openway-access/openway/internal/access"
)

// Bounds of what a Keyring is made of.
const (
	MinKeyLength = 32 // bytes
	MaxFallbacks = 3
)

// Keyring holds the server's secret keys: the primary one, which makes everything new, and fallbacks, which still open and find what
// was made before a rotation. From each key a sub-key for each purpose is derived (HKDF-SHA256), so that what one purpose
// gives away says nothing about another. It never changes and is safe for use by many goroutines.
//
// The strength of all of it is that of the key: keys are to be random, not words.
type Keyring struct {
	keys  []key      // the primary first
	desks *sync.Pool // of *macDesk
}

// key is one secret key, as the sub-keys derived from it.
type key struct {
	id          [keyIDSize]byte
	check       [16]byte
	lookup      macKey
	fingerprint macKey
	seal        cipher.AEAD
}

const keyIDSize = 4

// NewKeyring derives the sub-keys. Each key has at least MinKeyLength bytes, and there are at most MaxFallbacks fallbacks.
func NewKeyring(primary []byte, fallbacks ...[]byte) (*Keyring, error) {
	if len(fallbacks) > MaxFallbacks {
		return nil, fmt.Errorf("credential: %d fallback keys: at most %d", len(fallbacks), MaxFallbacks)
	}
	k := &Keyring{desks: newMACDesks()}
	for i, secret := range append([][]byte{primary}, fallbacks...) {
		name := "the secret key"
		if i > 0 {
			name = fmt.Sprintf("fallback key %d", i)
		}
		if len(secret) < MinKeyLength {
			return nil, fmt.Errorf("credential: %s has %d bytes: at least %d", name, len(secret), MinKeyLength)
		}
		one, err := deriveKey(secret)
		if err != nil {
			return nil, fmt.Errorf("credential: %s: %w", name, err)
		}
		k.keys = append(k.keys, one)
	}
	return k, nil
}

func deriveKey(secret []byte) (key, error) {
	var k key
	extracted, err := hkdf.Extract(sha256.New, secret, []byte("openway keyring v1"))
	if err != nil {
		return k, fmt.Errorf("extract: %w", err)
	}
	sub := make([][]byte, 5)
	for i, purpose := range []string{"id", "check", "lookup", "fingerprint", "seal"} {
		if sub[i], err = hkdf.Expand(sha256.New, extracted, purpose, 32); err != nil {
			return k, fmt.Errorf("derive the key for %s: %w", purpose, err)
		}
	}
	copy(k.id[:], sub[0])
	copy(k.check[:], sub[1])
	if k.lookup, err = newMACKey(sub[2]); err != nil {
		return k, err
	}
	if k.fingerprint, err = newMACKey(sub[3]); err != nil {
		return k, err
	}
	block, err := aes.NewCipher(sub[4])
	if err != nil {
		return k, fmt.Errorf("set up the cipher: %w", err)
	}
	if k.seal, err = cipher.NewGCM(block); err != nil {
		return k, fmt.Errorf("set up the cipher: %w", err)
	}
	return k, nil
}

// ID names the primary key: 8 hex digits derived from it.
func (k *Keyring) ID() string { return hex.EncodeToString(k.keys[0].id[:]) }

// checkPrefix names the form of a key check.
const checkPrefix = "v1:"

// Check is a value to store beside the data, by which Matches later tells whether it is given the same primary key. It is derived
// by one-way functions and shares nothing with the sub-keys of other purposes.
func (k *Keyring) Check() string { return checkPrefix + hex.EncodeToString(k.keys[0].check[:]) }

// Matches says which key made a check: index 0 is the primary, 1 and up are the fallbacks. ok is false when none of them did.
func (k *Keyring) Matches(check string) (index int, ok bool) {
	for i := range k.keys {
		mine := checkPrefix + hex.EncodeToString(k.keys[i].check[:])
		if subtle.ConstantTimeCompare([]byte(mine), []byte(check)) == 1 {
			return i, true
		}
	}
	return 0, false
}

// Lookup is the digest under which a token is stored and found; with SchemeHMAC under the primary key.
func (k *Keyring) Lookup(token string, s access.Scheme) access.Lookup {
	if s == access.SchemeSHA256 {
		return sha256.Sum256([]byte(token))
	}
	desk := k.desks.Get().(*macDesk)
	defer k.desks.Put(desk)
	return desk.mac(&k.keys[0].lookup, []byte(token))
}

// Presented is what the gate path needs to know of a presented token.
type Presented struct {
	Lookups     [2 + MaxFallbacks]access.Lookup // the first N: SHA-256, HMAC under the primary key, HMAC under each fallback
	N           int
	Fingerprint [12]byte // hex digits of an HMAC under the primary key: tells "the same token again", and nothing else
}

// Present digests a presented token in every way that it may be stored under. It does not allocate for tokens of up to 512 bytes,
// which 128 code points never exceed. What p held before is overwritten.
func (k *Keyring) Present(token string, p *Presented) {
	desk := k.desks.Get().(*macDesk)
	text := append(desk.text[:0], token...)
	p.Lookups[0] = sha256.Sum256(text)
	for i := range k.keys {
		p.Lookups[1+i] = desk.mac(&k.keys[i].lookup, text)
	}
	p.N = 1 + len(k.keys)
	mark := desk.mac(&k.keys[0].fingerprint, text)
	clear(text)
	k.desks.Put(desk)
	hex.Encode(p.Fingerprint[:], mark[:len(p.Fingerprint)/2])
}
