package credential

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// asDjango is what testdata/as_django.py wrote: the answers of Django itself.
type asDjango struct {
	People []struct {
		Username  string `json:"username"`
		FirstName string `json:"first_name"`
		LastName  string `json:"last_name"`
		Email     string `json:"email"`
	} `json:"people"`
	Hashes []struct {
		Encoded  string `json:"encoded"`
		Password string `json:"password"`
	} `json:"hashes"`
	Rules []struct {
		Password string   `json:"password"`
		Person   int      `json:"person"`
		Codes    []string `json:"codes"`
		Alike    string   `json:"alike"`
	} `json:"rules"`
}

func readDjango(tb testing.TB) asDjango {
	tb.Helper()
	text, err := os.ReadFile("testdata/django.json")
	if err != nil {
		tb.Fatal(err)
	}
	var d asDjango
	if err := json.Unmarshal(text, &d); err != nil {
		tb.Fatal(err)
	}
	if len(d.Hashes) == 0 || len(d.Rules) == 0 {
		tb.Fatal("testdata/django.json is empty")
	}
	return d
}

func TestDjangoHashesVerify(t *testing.T) {
	t.Parallel()
	for _, h := range readDjango(t).Hashes {
		if ok, outdated := VerifyPassword(h.Encoded, h.Password); !ok || !outdated {
			t.Errorf("VerifyPassword(%q, %q) = %t, %t, want true, true", h.Encoded, h.Password, ok, outdated)
		}
		if !ReadableHash(h.Encoded) {
			t.Errorf("ReadableHash(%q) = false, want true", h.Encoded)
		}
		if ok, _ := VerifyPassword(h.Encoded, h.Password+" "); ok {
			t.Errorf("VerifyPassword(%q, %q + a space) = true, want false", h.Encoded, h.Password)
		}
	}
}

// The hashes are made by the reference implementation's command, argon2 -id -e.
const referenceHash = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk"

func TestArgonHashesVerify(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		encoded, password string
		ok, outdated      bool
	}{
		{referenceHash, "correct horse", true, false},
		{referenceHash, "correct horsf", false, false},
		{referenceHash, "", false, false},
		{"$argon2id$v=19$m=64,t=1,p=2$c29tZXNhbHQ$uYVLtBXQxynuSacvxCdDjw", "Ведро", true, true},
		{"$argon2id$v=19$m=65536,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZlhZWg$6vuwblq56BtsCLfXGyrQc/vLJ6D1lsS6s6yASdFm014", "x", true, false},
	} {
		if ok, outdated := VerifyPassword(tt.encoded, tt.password); ok != tt.ok || outdated != tt.outdated {
			t.Errorf("VerifyPassword(%q, %q) = %t, %t, want %t, %t", tt.encoded, tt.password, ok, outdated, tt.ok, tt.outdated)
		}
	}
}

func TestHashPassword(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`)
	seen := map[string]bool{}
	for _, password := range []string{"correct horse", "correct horse", "пароль с пробелом ", "\x00", strings.Repeat("long", 5000)} {
		encoded, err := HashPassword(password)
		if err != nil || !form.MatchString(encoded) {
			t.Fatalf("HashPassword(%.20q) = %q, %v, want %s", password, encoded, err, form)
		}
		if seen[encoded] {
			t.Errorf("HashPassword(%.20q) gave the same hash twice: %q", password, encoded)
		}
		seen[encoded] = true
		if ok, outdated := VerifyPassword(encoded, password); !ok || outdated {
			t.Errorf("VerifyPassword(%q, %.20q) = %t, %t, want true, false", encoded, password, ok, outdated)
		}
		if ok, _ := VerifyPassword(encoded, password+"x"); ok {
			t.Errorf("VerifyPassword(%q, %.20q + x) = true, want false", encoded, password)
		}
	}
	if encoded, err := HashPassword(""); err == nil {
		t.Errorf("HashPassword of the empty password = %q, want an error", encoded)
	}
}

func TestWeakerHashesAreOutdated(t *testing.T) {
	const salt, key = "$MDEyMzQ1Njc4OWFiY2RlZg", "$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk"
	for _, tt := range []struct {
		encoded string
		want    bool
	}{
		{"$argon2id$v=19$m=19456,t=2,p=1" + salt + key, false},
		{"$argon2id$v=19$m=65536,t=4,p=8" + salt + key, false},
		{"$argon2id$v=19$m=19455,t=2,p=1" + salt + key, true},
		{"$argon2id$v=19$m=65536,t=1,p=1" + salt + key, true},
		{"$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFi" + key, true},
		{"$argon2id$v=19$m=19456,t=2,p=1" + salt + "$rk2Mi3E4dgRMg0fHaYaptQ", true},
		{"pbkdf2_sha256$5000000$seasalt$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE=", true},
	} {
		if h, known := parseHash(tt.encoded); !known || h.outdated() != tt.want {
			t.Errorf("parseHash(%q) = %+v, %t, outdated %t, want %t", tt.encoded, h, known, h.outdated(), tt.want)
		}
	}
}

// refused never match, and nothing is derived for them: some would take minutes or all memory.
var refused = []string{
	"", "!", "!abcdefghijklmnop", "plain", "$", "$$$$$", "$$$$$$", strings.Repeat("$", 400),
	"$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg",
	"$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$",
	"$argon2id$v=19$m=19456,t=2,p=1$$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$cms=",
	"$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJl", // spare bits set
	"$argon2id$v=16$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2i$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$k3A0Ke+5sl7ZwafSXeKqxs+yQZnuzL2o0YbQttdD+7g",
	"$argon2id$v=19$t=2,m=19456,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=4294967295,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=131073,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=131072,t=5,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=64,t=999999999,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=19456,t=2,p=255$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=19456,t=0,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=19456,t=2,p=0$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=7,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=-8,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"$argon2id$v=19$m=+64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk",
	"pbkdf2_sha256$1000$seasalt",
	"pbkdf2_sha256$1000$seasalt$",
	"pbkdf2_sha256$1000$$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE=",
	"pbkdf2_sha256$0$seasalt$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE=",
	"pbkdf2_sha256$-1$seasalt$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE=",
	"pbkdf2_sha256$5000001$seasalt$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE=",
	"pbkdf2_sha256$999999999$seasalt$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE=",
	"pbkdf2_sha256$99999999999999999999$seasalt$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE=",
	"pbkdf2_sha256$1000$seasalt$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE",
	"pbkdf2_sha256$1000$seasalt$iBrlK1RCvCB6",
	"pbkdf2_sha256$1000$" + strings.Repeat("s", 600) + "$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE=",
	"pbkdf2_sha1$1000$seasalt$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE=",
	"bcrypt_sha256$$2b$12$abcdefghijklmnopqrstuv", "md5$salt$0cc175b9c0f1b6a831c399e269772661",
}

func TestRefusedHashes(t *testing.T) {
	for _, encoded := range refused {
		if ReadableHash(encoded) {
			t.Errorf("ReadableHash(%q) = true, want it refused", encoded)
			continue
		}
		for _, password := range []string{"", "correct horse", encoded, "Ведро-и-швабра 7"} {
			if ok, outdated := VerifyPassword(encoded, password); ok || outdated {
				t.Errorf("VerifyPassword(%q, %q) = %t, %t, want false, false", encoded, password, ok, outdated)
			}
		}
	}
}

func FuzzVerifyPassword(f *testing.F) {
	for _, encoded := range refused {
		f.Add(encoded, "correct horse")
	}
	for _, h := range readDjango(f).Hashes {
		f.Add(h.Encoded, h.Password)
	}
	f.Add(referenceHash, "correct horse")
	f.Fuzz(func(t *testing.T, encoded, password string) {
		h, known := parseHash(encoded)
		if !known {
			if ok, outdated := VerifyPassword(encoded, password); ok || outdated {
				t.Fatalf("VerifyPassword(%q, %q) = %t, %t, want false, false", encoded, password, ok, outdated)
			}
			return
		}
		if h.rounds > 5_000_000 || h.memory > 128*1024 || h.memory*h.time > 512*1024 || h.threads > 16 || len(h.salt) > 512 || len(h.key) > 64 {
			t.Fatalf("parseHash(%q) lets too much work through: %+v", encoded, h)
		}
		if h.rounds <= 2000 && h.memory*h.time <= 2048 {
			VerifyPassword(encoded, password)
		}
	})
}

func TestSpendVerifyTakesAsLong(t *testing.T) {
	const django = "pbkdf2_sha256$100000$seasalt$iBrlK1RCvCB6OMfJeEyia9xBUSETvFqbjlAra7ESThE="
	const costly = "$argon2id$v=19$m=38912,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKqs//6b6k3/nntqGJk"
	for _, tt := range []struct{ like, same string }{
		{"", referenceHash},
		{"!", referenceHash},
		{"md5$salt$0cc175b9c0f1b6a831c399e269772661", referenceHash},
		{referenceHash, referenceHash},
		{costly, costly},
		{django, django},
	} {
		got, want := alike(tt.like), alike(tt.same)
		if got.rounds != want.rounds || got.memory != want.memory || got.time != want.time || got.threads != want.threads ||
			len(got.salt) != len(want.salt) || len(got.key) != len(want.key) {
			t.Errorf("SpendVerify(%q) works as for %+v, want %+v", tt.like, got, want)
		}
		// On a busy machine one measurement says little; what does other work is never near.
		var spent, verified time.Duration
		near := false
		for range 20 {
			start := time.Now()
			SpendVerify(tt.like)
			spent = time.Since(start)
			VerifyPassword(tt.same, "some password")
			verified = time.Since(start) - spent
			if near = spent > verified*2/3 && spent < verified*3/2; near {
				break
			}
		}
		if !near {
			t.Errorf("SpendVerify(%q) took %v, VerifyPassword(%q) %v: want about the same", tt.like, spent, tt.same, verified)
		}
	}
}

func BenchmarkHashPassword(b *testing.B) {
	for b.Loop() {
		if _, err := HashPassword("correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyPassword(b *testing.B) {
	for _, bb := range []struct{ name, encoded string }{
		{"argon2id", referenceHash},
		{"django-260000", readDjango(b).Hashes[0].Encoded},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				if ok, _ := VerifyPassword(bb.encoded, "correct horse"); !ok {
					b.Fatal("does not verify")
				}
			}
		})
	}
}
