package credential

import (
	"regexp"
	"testing"

	"github.com/openway-access/openway/internal/access"
)

func TestMintedTokens(t *testing.T) {
	for _, tt := range []struct {
		name string
		mint func() string
		form string
	}{
		{"MintUserToken", MintUserToken, `^[0-9a-f]{40}$`},
		{"MintDeviceToken", MintDeviceToken, `^[0-9a-f]{64}$`},
	} {
		seen := map[string]bool{}
		for range 1000 {
			token := tt.mint()
			if !regexp.MustCompile(tt.form).MatchString(token) {
				t.Fatalf("%s() = %q, want %s", tt.name, token, tt.form)
			}
			if seen[token] {
				t.Fatalf("%s() gave %q twice", tt.name, token)
			}
			seen[token] = true
		}
	}
}

func TestPreview(t *testing.T) {
	for _, tt := range []struct{ token, want string }{
		{"", "…"},
		{"0123456789abcde", "…"},
		{"0123456789abcdef", "0123…cdef"},
		{"0123456789abcdefg", "0123…defg"},
		{"абвгдежз", "…"}, // 16 bytes, 8 characters
		{"абвгдежзийклмноп", "абвг…мноп"},
		{"0123456789ab🚪🚪🚪🚪", "0123…🚪🚪🚪🚪"},
		{"\xff\xff\xff\xff56789abcdef\xfe", "\xff\xff\xff\xff…def\xfe"},
	} {
		if got := Preview(tt.token); got != tt.want {
			t.Errorf("Preview(%q) = %q, want %q", tt.token, got, tt.want)
		}
	}
}

func TestSchemeFor(t *testing.T) {
	for _, tt := range []struct {
		token  string
		minted bool
		want   access.Scheme
	}{
		{MintUserToken(), true, access.SchemeSHA256},
		{MintDeviceToken(), true, access.SchemeSHA256},
		{"04a2b3c4", true, access.SchemeHMAC}, // a card's number is not minted by us, whoever says so
		{"04a2b3c4", false, access.SchemeHMAC},
		{"0123456789abcdef0123456789abcdef01234567", false, access.SchemeHMAC},
	} {
		if got := SchemeFor(tt.token, tt.minted); got != tt.want {
			t.Errorf("SchemeFor(%q, %t) = %d, want %d", tt.token, tt.minted, got, tt.want)
		}
	}
}
