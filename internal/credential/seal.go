package credential

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// A sealed token is: one byte of format version, the key's id (4 bytes), the nonce (12), then AES-256-GCM ciphertext and tag. The
// additional data is the purpose, the first five bytes and the credential's id, so that a sealed token put into another row, or taken
// for a value sealed for something else, does not open.
const (
	sealVersion = 1
	nonceSize   = 12
	headerSize  = 1 + keyIDSize
	sealPurpose = "openway sealed token"
)

// ErrUnknownKey is the error of a sealed token whose key is not in the keyring.
var ErrUnknownKey = errors.New("sealed under a key that is not configured")

func sealData(header []byte, credentialID int64) []byte {
	ad := make([]byte, 0, len(sealPurpose)+headerSize+8)
	ad = append(ad, sealPurpose...)
	ad = append(ad, header...)
	return binary.BigEndian.AppendUint64(ad, uint64(credentialID))
}

// Seal encrypts a token under the primary key for the credential with this id. Sealing the same twice gives different bytes.
func (k *Keyring) Seal(credentialID int64, token string) []byte {
	primary := &k.keys[0]
	out := make([]byte, headerSize+nonceSize, headerSize+nonceSize+len(token)+primary.seal.Overhead())
	out[0] = sealVersion
	copy(out[1:], primary.id[:])
	header, nonce := out[:headerSize], out[headerSize:]
	rand.Read(nonce) // never fails: the runtime ends the process first
	return primary.seal.Seal(out, nonce, []byte(token), sealData(header, credentialID))
}

// Open decrypts what Seal made for the same credential under the primary key or a fallback. The error wraps ErrUnknownKey when
// the key is missing; any other means that the bytes are damaged or belong to another credential.
func (k *Keyring) Open(credentialID int64, sealed []byte) (string, error) {
	if len(sealed) < headerSize+nonceSize {
		return "", fmt.Errorf("credential: open the sealed token of credential %d: it has %d bytes, too few", credentialID, len(sealed))
	}
	if sealed[0] != sealVersion {
		return "", fmt.Errorf("credential: open the sealed token of credential %d: unknown format %d", credentialID, sealed[0])
	}
	header, nonce, text := sealed[:headerSize], sealed[headerSize:headerSize+nonceSize], sealed[headerSize+nonceSize:]
	err := fmt.Errorf("%w (key %s)", ErrUnknownKey, hex.EncodeToString(header[1:]))
	for i := range k.keys {
		if string(k.keys[i].id[:]) != string(header[1:]) {
			continue
		}
		var token []byte
		if token, err = k.keys[i].seal.Open(nil, nonce, text, sealData(header, credentialID)); err == nil {
			return string(token), nil
		}
	}
	return "", fmt.Errorf("credential: open the sealed token of credential %d: %w", credentialID, err)
}

// SealedHeader is how many bytes of a sealed token tell the key's id.
const SealedHeader = headerSize

// SealedWith is the id of the key that a sealed token, or its first SealedHeader bytes, names; "" if it names none.
func SealedWith(sealed []byte) string {
	if len(sealed) < headerSize || sealed[0] != sealVersion {
		return ""
	}
	return hex.EncodeToString(sealed[1:headerSize])
}

// SealedByPrimary reports whether sealed names the primary key: if not, it wants sealing again before the fallback key goes.
func (k *Keyring) SealedByPrimary(sealed []byte) bool {
	return len(sealed) >= headerSize && sealed[0] == sealVersion && string(sealed[1:headerSize]) == string(k.keys[0].id[:])
}
