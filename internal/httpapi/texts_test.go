package httpapi

import (
	"go/ast"
	goparser "go/parser"
	"go/token"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/openway-access/openway/internal/access"
)

// constants reads the values of all string constants of a type from a Go file, so that a new one cannot be forgotten here.
func constants(t *testing.T, file, typeName string) []string {
	t.Helper()
	f, err := goparser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != typeName {
			return true
		}
		for _, v := range spec.Values {
			s, err := strconv.Unquote(v.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			out = append(out, s)
		}
		return true
	})
	if len(out) < 10 {
		t.Fatalf("%s has %d constants of type %s; something is wrong with this test", file, len(out), typeName)
	}
	return out
}

func checkPair(t *testing.T, what, en, ru string) {
	t.Helper()
	cyrillic := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Cyrillic, r) })
	}
	if en == "" || cyrillic(en) {
		t.Errorf("%s in English: %q", what, en)
	}
	if !cyrillic(ru) {
		t.Errorf("%s in Russian: %q", what, ru)
	}
	if strings.Count(en, "%") != strings.Count(ru, "%") || strings.Contains(en+ru, "{}") {
		t.Errorf("%s: what is filled in differs: %q, %q", what, en, ru)
	}
}

func TestEveryTextHasBothLanguages(t *testing.T) {
	t.Parallel()
	for _, p := range constants(t, "texts.go", "phrase") {
		en := say(english, phrase(p))
		checkPair(t, p, en, say(russian, phrase(p)))
		if en == p {
			t.Errorf("phrase %q has no text", p)
		}
	}
	unknown := say(english, sayInvalidValue)
	for _, code := range constants(t, "../access/errors.go", "Code") {
		e := access.FieldError{Code: access.Code(code), Limit: 7}
		en := sayField(english, e)
		checkPair(t, code, en, sayField(russian, e))
		if en == unknown && e.Code != access.CodeOther {
			t.Errorf("code %q has no text", code)
		}
	}
}

func TestTextsOfTheContract(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{say(english, sayMethod, "GET"), `Method "GET" not allowed.`},
		{say(russian, sayMethod, "GET"), `Метод "GET" не разрешен.`},
		{say(english, sayNoDevice), "Device not found"},
		{sayField(english, access.FieldError{Code: access.CodeTooLong, Limit: 128}), "Ensure this field has no more than 128 characters."},
		{sayField(russian, access.FieldError{Code: access.CodeTooLong, Limit: 128}), "Убедитесь, что это значение содержит не более 128 символов."},
		{sayField(english, access.FieldError{Code: access.CodeSurrogate, Limit: 0xd800}), "Surrogate characters are not allowed: U+D800."},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestNegotiate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		headers  []string
		fallback language
		want     language
	}{
		{nil, english, english},
		{nil, russian, russian},
		{[]string{"ru"}, english, russian},
		{[]string{"RU-ru"}, english, russian},
		{[]string{"en"}, russian, english},
		{[]string{"de"}, russian, russian},
		{[]string{"*"}, russian, russian},
		{[]string{"de, ru;q=0.5, en;q=0.4"}, english, russian},
		{[]string{"de, ru;q=0.4, en;q=0.5"}, russian, english},
		{[]string{"ru, en"}, english, russian},
		{[]string{"en, ru"}, russian, english},
		{[]string{"en;q=0"}, russian, russian},
		{[]string{"ru;q=0, en;q=0.1"}, russian, english},
		{[]string{"ru ; q = 0.9 , en-US;q=1.0"}, russian, english},
		{[]string{"en;q=0.2", "ru;q=0.3"}, english, russian},
		{[]string{"ru;q=abc, en;q=0.1"}, russian, english},
		{[]string{"ru;q=NaN"}, english, english},
		{[]string{"russian"}, english, english},
		{[]string{",;,=;q=,"}, english, english},
	} {
		if got := negotiate(c.headers, c.fallback); got != c.want {
			t.Errorf("%q, else %s: got %s, want %s", c.headers, c.fallback.tag(), got.tag(), c.want.tag())
		}
	}
}

func TestTokenOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		headers []string
		token   string
		phrase  phrase
	}{
		{nil, "", sayNoCredentials},
		{[]string{""}, "", sayNoCredentials},
		{[]string{"  "}, "", sayNoCredentials},
		{[]string{"Bearer abc"}, "", sayNoCredentials},
		{[]string{"Tokenabc"}, "", sayNoCredentials},
		{[]string{"Token"}, "", sayEmptyHeader},
		{[]string{" tOKEN "}, "", sayEmptyHeader},
		{[]string{"Token abc"}, "abc", ""},
		{[]string{"TOKEN\t abc \x0b\x0c"}, "abc", ""},
		{[]string{"Token abc def"}, "", saySpaces},
		{[]string{"Token abc", "Token def"}, "", saySpaces},
		{[]string{"Token abc", "Basic x"}, "", saySpaces},
		{[]string{"Token", "Token"}, "", sayNoCredentials}, // "Token,Token" is one word
		{[]string{"Token a\xe4"}, "", sayCharacters},
		{[]string{"Token ж"}, "", sayCharacters},
		{[]string{"Token abc\u00a0"}, "", sayCharacters},
	} {
		got, err := tokenOf(c.headers)
		var p phrase
		if e, ok := asRefusal(err); ok {
			p = e.phrase
			if e.status != http.StatusUnauthorized {
				t.Errorf("%q: status %d, want 401", c.headers, e.status)
			}
		}
		if got != c.token || p != c.phrase {
			t.Errorf("%q: got %q, %q; want %q, %q", c.headers, got, p, c.token, c.phrase)
		}
	}
}
