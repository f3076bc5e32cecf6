package httpapi

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/access"
)

func parsed(t *testing.T, contentType, in string) *body {
	t.Helper()
	b := new(body)
	if err := parseBody([]byte(in), contentType, []string{"f"}, b); err != nil {
		t.Fatalf("%s %q: %v", contentType, in, err)
	}
	return b
}

func codes(bad access.Invalid) []access.Code {
	var out []access.Code
	for _, e := range bad {
		out = append(out, e.Code)
	}
	return out
}

func TestTextField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in    string
		rule  textRule
		want  string
		given bool
		codes []access.Code
	}{
		{in: `{"f":"x"}`, want: "x", given: true},
		{in: `{"f":"\u001c\u001f\u0085\u00a0\u2003\u3000 x \t\r\n\u000b\u000c"}`, want: "x", given: true},
		{in: `{"f":"\u200bx\u200b"}`, want: "\u200bx\u200b", given: true},
		{in: `{"f":" x "}`, rule: textRule{untrimmed: true}, want: " x ", given: true},
		{in: `{"f":"   "}`, rule: textRule{untrimmed: true}, want: "   ", given: true},
		{in: `{"f":5}`, want: "5", given: true},
		{in: `{"f":1.5}`, want: "1.5", given: true},
		{in: `{}`, codes: []access.Code{access.CodeRequired}},
		{in: `{}`, rule: textRule{optional: true}},
		{in: `{"f":null}`, codes: []access.Code{access.CodeNull}},
		{in: `{"f":null}`, rule: textRule{optional: true, nullable: true}},
		{in: `{"f":""}`, codes: []access.Code{access.CodeBlank}},
		{in: `{"f":" \u001d"}`, codes: []access.Code{access.CodeBlank}},
		{in: `{"f":""}`, rule: textRule{untrimmed: true}, codes: []access.Code{access.CodeBlank}},
		{in: `{"f":" "}`, rule: textRule{blank: true}, given: true},
		{in: `{"f":true}`, codes: []access.Code{access.CodeNotString}},
		{in: `{"f":[]}`, codes: []access.Code{access.CodeNotString}},
		{in: `{"f":{}}`, codes: []access.Code{access.CodeNotString}},
		{in: `{"f":"\u0000"}`, want: "\x00", codes: []access.Code{access.CodeNUL}},
		{in: `{"f":"a\ud800"}`, want: "a\ufffd", codes: []access.Code{access.CodeSurrogate}},
		{in: `{"f":" ääää "}`, rule: textRule{longest: 4}, want: "ääää", given: true},
		{in: `{"f":"ääää\u0000"}`, rule: textRule{longest: 4}, want: "ääää\x00", codes: []access.Code{access.CodeTooLong, access.CodeNUL}},
	} {
		in := input{body: parsed(t, jsonType, c.in)}
		got, given := in.text("f", c.rule)
		if got != c.want || given != c.given || !reflect.DeepEqual(codes(in.bad), c.codes) {
			t.Errorf("%s %+v: got %q, %t, %v; want %q, %t, %v", c.in, c.rule, got, given, codes(in.bad), c.want, c.given, c.codes)
		}
	}
}

func TestFormField(t *testing.T) {
	t.Parallel()
	in := input{body: parsed(t, formType, "f=")}
	if _, given := in.text("f", textRule{optional: true, blank: true}); given || len(in.bad) > 0 {
		t.Errorf("f= optional: got given %t, %v; want it absent", given, in.bad)
	}
	if in.text("f", textRule{}); !reflect.DeepEqual(codes(in.bad), []access.Code{access.CodeBlank}) {
		t.Errorf("f= required: got %v, want blank", in.bad)
	}
	in = input{body: parsed(t, formType, "f=")}
	if got := in.boolean("f", true); !got || len(in.bad) > 0 {
		t.Errorf("f= boolean: got %t, %v; want the default", got, in.bad)
	}
	if _, given := in.integer("f"); given || len(in.bad) > 0 {
		t.Errorf("f= integer: got given %t, %v; want it absent", given, in.bad)
	}
	in = input{body: parsed(t, multiType, multi(`name="f"; filename="x"|y`))}
	if in.text("f", textRule{}); !reflect.DeepEqual(codes(in.bad), []access.Code{access.CodeNotString}) {
		t.Errorf("f as a file: got %v, want not a string", in.bad)
	}
}

func TestBooleanField(t *testing.T) {
	t.Parallel()
	const yes, no, bad, null = "true", "false", "not boolean", "null"
	for in, want := range map[string]string{
		`true`: yes, `"true"`: yes, `"TRUE"`: yes, `"t"`: yes, `"yes"`: yes, `"y"`: yes, `"On"`: yes, `"1"`: yes, `1`: yes, `1.0`: yes, `10e-1`: yes,
		`false`: no, `"false"`: no, `"F"`: no, `"No"`: no, `"n"`: no, `"off"`: no, `"0"`: no, `0`: no, `0.0`: no, `-0`: no,
		`2`: bad, `-1`: bad, `0.5`: bad, `1e400`: bad, `""`: bad, `" true "`: bad, `"abc"`: bad, `"null"`: bad, `"1.0"`: bad, `[]`: bad, `{}`: bad, `"tru\ud800"`: bad,
		`null`: null,
	} {
		for _, otherwise := range []bool{true, false} {
			b := input{body: parsed(t, jsonType, `{"f":`+in+`}`)}
			value := b.boolean("f", otherwise)
			got := map[bool]string{true: yes, false: no}[value]
			if len(b.bad) > 0 {
				got = map[access.Code]string{access.CodeNotBoolean: bad, access.CodeNull: null}[b.bad[0].Code]
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", in, got, want)
			}
		}
	}
}

func TestIntegerField(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want int64
		code access.Code
	}{
		{in: `1`, want: 1},
		{in: `"1"`, want: 1},
		{in: `" 1 "`, want: 1},
		{in: `1.0`, want: 1},
		{in: `"1.0"`, want: 1},
		{in: `"1.000 "`, want: 1},
		{in: `"1."`, want: 1},
		{in: `"+7"`, want: 7},
		{in: `1e3`, want: 1000},
		{in: `0`},
		{in: `-0.0`},
		{in: `"0"`},
		{in: `-1`, want: -1},
		{in: `"-1"`, want: -1},
		{in: `9223372036854775807`, want: math.MaxInt64},
		{in: `9223372036854775808`, want: math.MaxInt64},
		{in: `-9223372036854775809`, want: math.MinInt64},
		{in: `"99999999999999999999999"`, want: math.MaxInt64},
		{in: `"` + strings.Repeat("1", 1000) + `"`, want: math.MaxInt64},
		{in: `"` + strings.Repeat("1", 1001) + `"`, code: access.CodeIntegerLong},
		{in: `"` + strings.Repeat("x", 1001) + `"`, code: access.CodeIntegerLong},
		{in: strings.Repeat("1", 1001), want: math.MaxInt64},
		{in: `1.5`, code: access.CodeNotInteger},
		{in: `"1.5"`, code: access.CodeNotInteger},
		{in: `true`, code: access.CodeNotInteger},
		{in: `false`, code: access.CodeNotInteger},
		{in: `"abc"`, code: access.CodeNotInteger},
		{in: `""`, code: access.CodeNotInteger},
		{in: `" "`, code: access.CodeNotInteger},
		{in: `[]`, code: access.CodeNotInteger},
		{in: `{}`, code: access.CodeNotInteger},
		{in: `[1]`, code: access.CodeNotInteger},
		{in: `"0x1"`, code: access.CodeNotInteger},
		{in: `"1 0"`, code: access.CodeNotInteger},
		{in: `"--1"`, code: access.CodeNotInteger},
		{in: `"+-1"`, code: access.CodeNotInteger},
		{in: `"-"`, code: access.CodeNotInteger},
		{in: `".0"`, code: access.CodeNotInteger},
		{in: `"1.0.0"`, code: access.CodeNotInteger},
		{in: `1e400`, code: access.CodeNotInteger},
		{in: `1e16`, code: access.CodeNotInteger},
		{in: `"1\u0000"`, code: access.CodeNotInteger},
		{in: `"1\ud800"`, code: access.CodeNotInteger},
		{in: `null`, code: access.CodeNull},
	} {
		in := input{body: parsed(t, jsonType, `{"f":`+c.in+`}`)}
		got, given := in.integer("f")
		var code access.Code
		if len(in.bad) > 0 {
			code = in.bad[0].Code
		}
		if got != c.want || code != c.code || given != (c.code == "") {
			t.Errorf("%.40s: got %d, %t, %q; want %d, %q", c.in, got, given, code, c.want, c.code)
		}
	}
}
