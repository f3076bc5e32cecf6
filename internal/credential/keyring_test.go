package credential

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/openway-access/openway/internal/access"
)

func secret(fill byte) []byte { return bytes.Repeat([]byte{fill}, MinKeyLength) }

func newKeyring(tb testing.TB, primary []byte, fallbacks ...[]byte) *Keyring {
	tb.Helper()
	k, err := NewKeyring(primary, fallbacks...)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// The values were computed apart from this package, with Python's cryptography and hmac. Databases hold such values: they may never change.
func TestKnownAnswers(t *testing.T) {
	k := newKeyring(t, []byte("0123456789abcdef0123456789abcdef"))
	const token = "голден-token-0001"
	var p Presented
	k.Present(token, &p)
	lookup := k.Lookup(token, access.SchemeHMAC)
	sealed, err := hex.DecodeString("0108c96a23000102030405060708090a0bc1c59eafaaa786b5880d09159be19d670660118bb886e442579aa61430d24455c3c89f6964499a")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := k.Open(42, sealed)
	if err != nil {
		t.Error(err)
	}
	for _, tt := range []struct{ name, got, want string }{
		{"ID", k.ID(), "08c96a23"},
		{"Check", k.Check(), "v1:c571c9c76c8a1d1a90ab002d2a0c1490"},
		{"Lookup", hex.EncodeToString(lookup[:]), "3c57e05141549026e5f0c5524e94419239e0be46fd81287d40dfeac4e63f0920"},
		{"Fingerprint", string(p.Fingerprint[:]), "84436c3605cc"},
		{"Open", opened, token},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestNewKeyringRefuses(t *testing.T) {
	good := secret(1)
	for _, tt := range []struct {
		name      string
		primary   []byte
		fallbacks [][]byte
		want      string
	}{
		{"no key", nil, nil, "the secret key has 0 bytes: at least 32"},
		{"short key", good[:31], nil, "the secret key has 31 bytes: at least 32"},
		{"short fallback", good, [][]byte{secret(2), good[:5]}, "fallback key 2 has 5 bytes: at least 32"},
		{"many fallbacks", good, [][]byte{good, good, good, good}, "4 fallback keys: at most 3"},
	} {
		if _, err := NewKeyring(tt.primary, tt.fallbacks...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: NewKeyring = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestMatches(t *testing.T) {
	k := newKeyring(t, secret(1), secret(2), secret(3))
	for _, tt := range []struct {
		name, check string
		index       int
		ok          bool
	}{
		{"primary", k.Check(), 0, true},
		{"first fallback", newKeyring(t, secret(2)).Check(), 1, true},
		{"second fallback", newKeyring(t, secret(3)).Check(), 2, true},
		{"another key", newKeyring(t, secret(4)).Check(), 0, false},
		{"nothing", "", 0, false},
		{"cut off", k.Check()[:len(k.Check())-1], 0, false},
		{"another form", "v2" + k.Check()[2:], 0, false},
		{"two during a rekey", k.CheckWith(newKeyring(t, secret(2)).Check()), 1, true},
		{"two, one of them missing", k.CheckWith(newKeyring(t, secret(4)).Check()), 0, false},
	} {
		if index, ok := k.Matches(tt.check); index != tt.index || ok != tt.ok {
			t.Errorf("%s: Matches(%q) = %d, %t, want %d, %t", tt.name, tt.check, index, ok, tt.index, tt.ok)
		}
	}
}

// Whatever a token was stored under is among what Present gives: by SHA-256, by HMAC, and by HMAC before a rotation of the key.
func TestPresentFindsWhatLookupStored(t *testing.T) {
	oldest, older, newer := newKeyring(t, secret(3)), newKeyring(t, secret(1)), newKeyring(t, secret(2), secret(1), secret(3))
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.OneOf(rapid.StringN(0, 128, -1), rapid.StringN(500, 520, 600), rapid.StringMatching(`[0-9a-f]{64}`)).Draw(t, "token")
		var p Presented
		newer.Present(token, &p)
		if p.N != 4 {
			t.Fatalf("Present(%q).N = %d, want 4", token, p.N)
		}
		for i, want := range []access.Lookup{
			sha256.Sum256([]byte(token)),
			newer.Lookup(token, access.SchemeHMAC),
			older.Lookup(token, access.SchemeHMAC),
			oldest.Lookup(token, access.SchemeHMAC),
		} {
			if p.Lookups[i] != want {
				t.Fatalf("Present(%q).Lookups[%d] = %x, want %x", token, i, p.Lookups[i], want)
			}
		}
		if newer.Lookup(token, access.SchemeSHA256) != p.Lookups[0] {
			t.Fatalf("Lookup(%q, SHA-256) is not the first of Present", token)
		}
		if string(p.Fingerprint[:]) == hex.EncodeToString(p.Lookups[1][:6]) {
			t.Fatalf("the fingerprint of %q gives a lookup away", token)
		}
	})
}

func TestMACIsHMAC(t *testing.T) {
	desk := newMACDesks().Get().(*macDesk)
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 32, 64).Draw(t, "key")
		message := rapid.StringN(0, 700, 700).Draw(t, "message")
		k, err := newMACKey(key)
		if err != nil {
			t.Fatal(err)
		}
		h := hmac.New(sha256.New, key)
		h.Write([]byte(message))
		if got, want := desk.mac(&k, []byte(message)), h.Sum(nil); !bytes.Equal(got[:], want) {
			t.Fatalf("sum(%q) under %x = %x, want %x", message, key, got, want)
		}
	})
}

// Whoever shares a database makes tokens with the key that it names last, whatever the order of his own.
func TestUnder(t *testing.T) {
	one, two := newKeyring(t, secret(1), secret(2)), newKeyring(t, secret(2), secret(1))
	during := two.CheckWith(one.Check())
	for _, tt := range []struct {
		name, check string
		keys        *Keyring
		want        string
	}{
		{"none yet", "", one, one.ID()},
		{"its own", one.Check(), one, one.ID()},
		{"the fallback's", one.Check(), two, one.ID()},
		{"during a rekey", during, one, two.ID()},
		{"a rekey that turns round", one.CheckWith(during), two, one.ID()},
		{"a key is missing", during, newKeyring(t, secret(1)), ""},
	} {
		switch got, err := tt.keys.Under(tt.check); {
		case tt.want == "" && !errors.Is(err, ErrOtherKey):
			t.Errorf("%s: Under = %v, want %v", tt.name, err, ErrOtherKey)
		case tt.want != "" && (err != nil || got.ID() != tt.want):
			t.Errorf("%s: Under = %v, %v, want the key %s first", tt.name, got, err, tt.want)
		}
	}
}

func TestPresentTogether(t *testing.T) {
	k := newKeyring(t, secret(1), secret(2))
	tokens := []string{"04a2b3c4d5", MintUserToken(), MintDeviceToken(), strings.Repeat("🚪", 128)}
	want := make([]Presented, len(tokens))
	for i, token := range tokens {
		k.Present(token, &want[i])
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var p Presented
			for i := range 400 {
				i %= len(tokens)
				if k.Present(tokens[i], &p); p != want[i] {
					t.Errorf("Present(%q) = %+v, want %+v", tokens[i], p, want[i])
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestPresentDoesNotAllocate(t *testing.T) {
	k := newKeyring(t, secret(1), secret(2), secret(3), secret(4))
	var p Presented
	for _, token := range []string{"04a2b3c4", MintDeviceToken(), strings.Repeat("🚪", 128)} {
		if n := testing.AllocsPerRun(1000, func() { k.Present(token, &p) }); n != 0 {
			t.Errorf("Present of %d bytes allocates %v times, want 0", len(token), n)
		}
	}
}

func BenchmarkPresent(b *testing.B) {
	user, longest := MintUserToken(), strings.Repeat("🚪", 128)
	for _, bb := range []struct {
		name, token string
		keys        *Keyring
	}{
		{"user-token", user, newKeyring(b, secret(1))},
		{"user-token-3-fallbacks", user, newKeyring(b, secret(1), secret(2), secret(3), secret(4))},
		{"longest", longest, newKeyring(b, secret(1))},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			var p Presented
			for b.Loop() {
				bb.keys.Present(bb.token, &p)
			}
		})
	}
}
