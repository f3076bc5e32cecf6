package credential

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSealedTokensOpenAgain(t *testing.T) {
	older, newer, other := newKeyring(t, secret(1)), newKeyring(t, secret(2), secret(1)), newKeyring(t, secret(3))
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.StringN(0, 128, -1).Draw(t, "token")
		id := rapid.Int64().Draw(t, "id")
		sealed := older.Seal(id, token)
		for _, k := range []*Keyring{older, newer} {
			if got, err := k.Open(id, sealed); err != nil || got != token {
				t.Fatalf("Open(%d, Seal(%q)) = %q, %v", id, token, got, err)
			}
		}
		if len(token) > 8 && bytes.Contains(sealed, []byte(token)) {
			t.Fatalf("Seal(%q) = %q holds the token in clear", token, sealed)
		}
		if bytes.Equal(sealed, older.Seal(id, token)) {
			t.Fatalf("Seal(%q) gave the same twice", token)
		}
		if _, err := other.Open(id, sealed); !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), older.ID()) {
			t.Fatalf("Open without the key = %v, want ErrUnknownKey naming %s", err, older.ID())
		}
		if !older.SealedByPrimary(sealed) || newer.SealedByPrimary(sealed) {
			t.Fatalf("SealedByPrimary = %t by its own key, %t after the rotation, want true, false", older.SealedByPrimary(sealed), newer.SealedByPrimary(sealed))
		}
	})
}

func TestDamagedSealsDoNotOpen(t *testing.T) {
	k := newKeyring(t, secret(1), secret(2))
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.StringN(0, 40, -1).Draw(t, "token")
		id := rapid.Int64().Draw(t, "id")
		sealed := k.Seal(id, token)

		wrong := rapid.Int64().Filter(func(n int64) bool { return n != id }).Draw(t, "wrong id")
		if got, err := k.Open(wrong, sealed); err == nil {
			t.Fatalf("Open(%d) of what was sealed for %d = %q, want an error", wrong, id, got)
		}
		n := rapid.IntRange(0, len(sealed)-1).Draw(t, "kept")
		if got, err := k.Open(id, sealed[:n]); err == nil {
			t.Fatalf("Open of the first %d of %d bytes = %q, want an error", n, len(sealed), got)
		}
		if got, err := k.Open(id, append(bytes.Clone(sealed), 0)); err == nil {
			t.Fatalf("Open with a byte more = %q, want an error", got)
		}
		flipped := bytes.Clone(sealed)
		bit := rapid.IntRange(0, 8*len(sealed)-1).Draw(t, "bit")
		flipped[bit/8] ^= 1 << (bit % 8)
		if got, err := k.Open(id, flipped); err == nil {
			t.Fatalf("Open with bit %d flipped = %q, want an error", bit, got)
		}
		renamed := bytes.Clone(sealed)
		copy(renamed[1:], k.keys[1].id[:])
		if got, err := k.Open(id, renamed); err == nil {
			t.Fatalf("Open with the other key's id = %q, want an error", got)
		}
	})
}

func TestWhatIsNoSeal(t *testing.T) {
	k := newKeyring(t, secret(1))
	for _, tt := range []struct {
		sealed []byte
		want   string
	}{
		{nil, "has 0 bytes, too few"},
		{k.Seal(7, "token")[:16], "has 16 bytes, too few"},
		{append([]byte{2}, k.Seal(7, "token")[1:]...), "unknown format 2"},
		{k.Seal(8, "token"), "credential 7: "},
	} {
		if _, err := k.Open(7, tt.sealed); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Open(7, %x) = %v, want an error with %q", tt.sealed, err, tt.want)
		}
		if len(tt.sealed) == 0 && k.SealedByPrimary(tt.sealed) {
			t.Errorf("SealedByPrimary(%x) = true, want false", tt.sealed)
		}
	}
}

func FuzzOpen(f *testing.F) {
	k, err := NewKeyring(secret(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(int64(7), k.Seal(7, "token"))
	f.Add(int64(7), []byte{})
	f.Fuzz(func(t *testing.T, id int64, sealed []byte) {
		k.SealedByPrimary(sealed)
		if token, err := k.Open(id, sealed); err != nil && token != "" {
			t.Fatalf("Open(%d, %x) = %q with %v", id, sealed, token, err)
		}
	})
}
