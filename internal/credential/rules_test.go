package credential

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/access"
)

func TestCheckPasswordSaysWhatDjangoSays(t *testing.T) {
	t.Parallel()
	codes := map[string]access.Code{
		"password_too_similar":      access.CodePasswordAlike,
		"password_too_short":        access.CodePasswordShort,
		"password_too_common":       access.CodePasswordKnown,
		"password_entirely_numeric": access.CodePasswordDigit,
	}
	django := readDjango(t)
	for _, tt := range django.Rules {
		about := About(django.People[tt.Person])
		var want []access.Code
		for _, c := range tt.Codes {
			want = append(want, codes[c])
		}
		var got []access.Code
		alike := ""
		for _, e := range CheckPassword(tt.Password, about) {
			got = append(got, e.Code)
			if e.Field != "password" {
				t.Errorf("CheckPassword(%q, %+v) names the field %q, want password", tt.Password, about, e.Field)
			}
			if e.Code == access.CodePasswordShort && e.Limit != 8 {
				t.Errorf("CheckPassword(%q, %+v) has the limit %d, want 8", tt.Password, about, e.Limit)
			}
			if e.Code == access.CodePasswordAlike {
				alike = e.Text
			}
		}
		if !slices.Equal(got, want) || alike != tt.Alike {
			t.Errorf("CheckPassword(%q, %+v) = %v (like %q), want %v (like %q)", tt.Password, about, got, alike, want, tt.Alike)
		}
	}
}

func TestCheckPasswordAtTheEdges(t *testing.T) {
	for _, tt := range []struct {
		password string
		about    About
		want     []access.Code
	}{
		{"", About{}, []access.Code{access.CodePasswordShort}},
		{"", About{Username: "anna"}, []access.Code{access.CodePasswordShort}},
		{"швабра", About{}, []access.Code{access.CodePasswordShort}}, // 12 bytes
		{"швабра-7", About{}, nil},
		{"tall ship", About{}, nil},
		{"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8", About{Username: "\xff"}, nil},
		{"wombat-7", About{Username: "wombat"}, []access.Code{access.CodePasswordAlike}}, // 12/14
		{"7-tabmow", About{Username: "wombat"}, []access.Code{access.CodePasswordAlike}}, // in any order
		{"wombat-hill", About{Username: "wombat"}, []access.Code{access.CodePasswordAlike}},
		{"wombat-hills", About{Username: "wombat"}, nil},                                            // 12/18 < 0.7
		{"wombat-7", About{Username: "wombat_hill_farm"}, nil},                                      // _ does not part words
		{"wombat-7", About{Email: "staff@wombat.example"}, []access.Code{access.CodePasswordAlike}}, // one of its words
		{strings.Repeat("a", 70_000), About{Username: strings.Repeat("b", 150)}, nil},
	} {
		var got []access.Code
		for _, e := range CheckPassword(tt.password, tt.about) {
			got = append(got, e.Code)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("CheckPassword(%.40q, %.80v) = %v, want %v", tt.password, tt.about, got, tt.want)
		}
	}
}

// The look-up stops at the first greater line, so the list must be sorted, and every line must be one that can be asked for.
func TestCommonPasswordsAreInOrder(t *testing.T) {
	unzipped, err := gzip.NewReader(bytes.NewReader(commonPasswords))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	list := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(list) < 19_000 {
		t.Fatalf("the list has %d passwords, want 19000 and more", len(list))
	}
	for i, p := range list {
		if p == "" || p != strings.ToLower(strings.TrimSpace(p)) {
			t.Errorf("line %d is %q: want it in lower case without outer white space", i+1, p)
		}
		if i > 0 && p <= list[i-1] {
			t.Errorf("line %d, %q, does not come after %q", i+1, p, list[i-1])
		}
	}
	for _, p := range []string{list[0], list[len(list)/2], list[len(list)-1], " " + strings.ToUpper(list[len(list)/3]) + "\t"} {
		if common, err := isCommon(p); !common || err != nil {
			t.Errorf("isCommon(%q) = %t, %v, want true", p, common, err)
		}
	}
}

func BenchmarkCheckPassword(b *testing.B) {
	b.ReportAllocs()
	about := About{Username: "anna", FirstName: "Anna", LastName: "Ivanova", Email: "anna@example.org"}
	for b.Loop() {
		if bad := CheckPassword("zzz correct horse", about); bad != nil {
			b.Fatal(bad)
		}
	}
}
