package credential

import "crypto/sha256"

// maxFastToken is the most bytes that 128 code points take, the longest token of API v1.
const maxFastToken = 512

// macKey is a key of HMAC-SHA256 (RFC 2104), kept as the two padded blocks. Unlike crypto/hmac, whose state is for one goroutine and is
// allocated, sum can be called by many at once and does not allocate.
type macKey struct {
	inner, outer [sha256.BlockSize]byte
}

// newMACKey takes a key of at most one block.
func newMACKey(secret []byte) macKey {
	var k macKey
	copy(k.inner[:], secret)
	k.outer = k.inner
	for i := range k.inner {
		k.inner[i] ^= 0x36
		k.outer[i] ^= 0x5c
	}
	return k
}

func (k *macKey) sum(message string) [sha256.Size]byte {
	var buf [sha256.BlockSize + maxFastToken]byte
	digest := sha256.Sum256(append(append(buf[:0], k.inner[:]...), message...))
	var last [sha256.BlockSize + sha256.Size]byte
	copy(last[:], k.outer[:])
	copy(last[sha256.BlockSize:], digest[:])
	return sha256.Sum256(last[:])
}
