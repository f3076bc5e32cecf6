package credential

import (
	"crypto/sha256"
	"encoding"
	"fmt"
	"hash"
	"sync"
)

// maxFastToken is the most bytes that 128 code points take, the longest token of API v1.
const maxFastToken = 512

// macKey is a key of HMAC-SHA256 (RFC 2104), kept as the two states that SHA-256 is in after its padded blocks. Unlike a crypto/hmac hash, which
// is for one goroutine at a time, it never changes; the moving parts are in a macDesk.
type macKey struct {
	inner, outer []byte
}

// newMACKey takes a key of at most one block (64 bytes).
func newMACKey(secret []byte) (k macKey, err error) {
	if k.inner, err = afterPad(secret, 0x36); err != nil {
		return k, err
	}
	k.outer, err = afterPad(secret, 0x5c)
	return k, err
}

func afterPad(secret []byte, pad byte) ([]byte, error) {
	var block [sha256.BlockSize]byte
	copy(block[:], secret)
	for i := range block {
		block[i] ^= pad
	}
	h := sha256.New()
	h.Write(block[:]) // never fails, says hash.Hash
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("save the state of SHA-256: %w", err)
	}
	return state, nil
}

// macDesk is what computing MACs takes, on the heap once so that it need not go there for each.
type macDesk struct {
	sha  hash.Hash
	load encoding.BinaryUnmarshaler // the same
	text [maxFastToken]byte
	sum  [sha256.Size]byte
}

func newMACDesks() *sync.Pool {
	return &sync.Pool{New: func() any {
		h := sha256.New()
		return &macDesk{sha: h, load: h.(encoding.BinaryUnmarshaler)}
	}}
}

// mac is HMAC-SHA256 of message under k.
func (d *macDesk) mac(k *macKey, message []byte) [sha256.Size]byte {
	d.restore(k.inner)
	d.sha.Write(message)
	d.sha.Sum(d.sum[:0])
	d.restore(k.outer)
	d.sha.Write(d.sum[:])
	d.sha.Sum(d.sum[:0])
	return d.sum
}

func (d *macDesk) restore(state []byte) {
	if err := d.load.UnmarshalBinary(state); err != nil { // it made that state itself
		panic(fmt.Sprintf("credential: restore the state of SHA-256: %v", err))
	}
}
