package credential

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// CheckWith is a check to store while the primary key takes the place of those that made check: it names them all, the primary key last.
func (k *Keyring) CheckWith(check string) string {
	all := slices.DeleteFunc(strings.Fields(check), func(one string) bool { return one == k.Check() })
	return strings.Join(append(all, k.Check()), " ")
}

// Rekeying reports whether a check is that of a rekey which has not come to its end: it names several keys, and all of them are needed.
func Rekeying(check string) bool { return len(strings.Fields(check)) > 1 }

// Matches says which key made a check: index 0 is the primary, 1 and up are the fallbacks; of a check that names several keys the highest
// one. ok is false when one of them, or all, are missing here.
func (k *Keyring) Matches(check string) (index int, ok bool) {
	for _, one := range strings.Fields(check) {
		i := k.maker(one)
		if i < 0 {
			return 0, false
		}
		index, ok = max(index, i), true
	}
	return index, ok
}

// maker is the key that made a check of one key; -1 = none of these.
func (k *Keyring) maker(check string) int {
	return slices.IndexFunc(k.keys, func(one key) bool {
		return subtle.ConstantTimeCompare([]byte(checkPrefix+hex.EncodeToString(one.check[:])), []byte(check)) == 1
	})
}

// ErrOtherKey is the error of who lacks a key that tokens are sealed with.
var ErrOtherKey = errors.New("tokens of this database are sealed with a secret key that is not configured here (openway rekey?): " +
	"restart with the new key in OPENWAY_SECRET_KEY and the former one in OPENWAY_SECRET_KEY_FALLBACKS")

// Under is the keyring that makes digests and sealed tokens with the key that a check names last: all who share a database make them with
// the same key, whatever the order of theirs. "" names none: the primary it is. ErrOtherKey says that a key is missing here.
func (k *Keyring) Under(check string) (*Keyring, error) {
	names := strings.Fields(check)
	if len(names) == 0 {
		return k, nil
	}
	if _, ok := k.Matches(check); !ok {
		return nil, ErrOtherKey
	}
	i := k.maker(names[len(names)-1])
	keys := append([]key{k.keys[i]}, slices.Delete(slices.Clone(k.keys), i, i+1)...)
	return &Keyring{keys: keys, desks: k.desks}, nil
}

// Has reports whether the key with this id, as sealed tokens name it, is in the keyring.
func (k *Keyring) Has(id string) bool {
	return slices.ContainsFunc(k.keys, func(one key) bool { return hex.EncodeToString(one.id[:]) == id })
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
