package httpapi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	jsonType  = "application/json"
	formType  = "application/x-www-form-urlencoded"
	multiType = "multipart/form-data; boundary=B"
)

func multi(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		head, content, _ := strings.Cut(p, "|")
		b.WriteString("--B\r\nContent-Disposition: form-data; " + head + "\r\n\r\n" + content + "\r\n")
	}
	return b.String() + "--B--\r\n"
}

func TestParseBody(t *testing.T) {
	t.Parallel()
	const open = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"
	for _, c := range []struct {
		name, contentType, in string
		want                  value // of field a
	}{
		{"text", jsonType, `{"a":"x"}`, value{kind: text, text: "x"}},
		{"text is not trimmed here", jsonType, `{"a":" x "}`, value{kind: text, text: " x "}},
		{"missing", jsonType, `{}`, value{}},
		{"empty body", jsonType, ``, value{}},
		{"empty body of a type nobody reads", "text/plain", ``, value{}},
		{"null", jsonType, `{"a":null}`, value{kind: null}},
		{"true", jsonType, `{"a":true}`, value{kind: boolean, text: "true"}},
		{"integer", jsonType, `{"a":42}`, value{kind: number, text: "42"}},
		{"integer beyond 64 bits", jsonType, `{"a":999999999999999999999999999999}`, value{kind: number, text: "999999999999999999999999999999"}},
		{"minus zero", jsonType, `{"a":-0}`, value{kind: number, text: "0"}},
		{"fraction as written", jsonType, `{"a":1.50}`, value{kind: number, text: "1.50"}},
		{"exponent as written", jsonType, `{"a":1E+400}`, value{kind: number, text: "1E+400"}},
		{"list", jsonType, `{"a":["x"]}`, value{kind: list}},
		{"empty list", jsonType, `{"a":[ ]}`, value{kind: list, empty: true}},
		{"list of an empty list", jsonType, `{"a":[[]]}`, value{kind: list}},
		{"object", jsonType, `{"a":{"a":1}}`, value{kind: object}},
		{"last duplicate", jsonType, `{"a":"x","a":"y"}`, value{kind: text, text: "y"}},
		{"last duplicate null", jsonType, `{"a":"x","a":null}`, value{kind: null}},
		{"case of names", jsonType, `{"A":"x"}`, value{}},
		{"escaped name", jsonType, `{"\u0061":"x"}`, value{kind: text, text: "x"}},
		{"name with a lone surrogate", jsonType, `{"a\ud800":"x"}`, value{}},
		{"all escapes", jsonType, `{"a":"\"\\\/\b\f\n\r\t\u00e9"}`, value{kind: text, text: "\"\\/\b\f\n\r\té"}},
		{"pair", jsonType, `{"a":"\ud83d\ude00"}`, value{kind: text, text: "😀"}},
		{"lone high surrogate", jsonType, `{"a":"x\ud83dy"}`, value{kind: text, text: "x\ufffdy", surrogate: 0xd83d}},
		{"lone low surrogate", jsonType, `{"a":"\ude00"}`, value{kind: text, text: "\ufffd", surrogate: 0xde00}},
		{"two high surrogates and a low one", jsonType, `{"a":"\ud800\ud83d\ude00"}`, value{kind: text, text: "\ufffd😀", surrogate: 0xd800}},
		{"replacement character itself", jsonType, `{"a":"\ufffd"}`, value{kind: text, text: "\ufffd"}},
		{"NUL", jsonType, `{"a":"x\u0000"}`, value{kind: text, text: "x\x00"}},
		{"white space around", jsonType, " \t\r\n{ \"a\" : \"x\" } \r\n", value{kind: text, text: "x"}},
		{"nested rubbish elsewhere", jsonType, `{"b":[1,{"a":"no","c":[[],{}]},"\n"],"a":"x"}`, value{kind: text, text: "x"}},
		{"charset", "application/json; charset=utf-8", `{"a":"x"}`, value{kind: text, text: "x"}},
		{"type in capitals", "Application/JSON", `{"a":"x"}`, value{kind: text, text: "x"}},
		{"odd parameters", "application/json; charset", `{"a":"x"}`, value{kind: text, text: "x"}},

		{"form", formType, `a=x`, value{kind: text, text: "x"}},
		{"form in UTF-8", formType + "; charset=UTF-8", `a=%D0%B6`, value{kind: text, text: "ж"}},
		{"form, last wins", formType, `a=x&b=1&a=y`, value{kind: text, text: "y"}},
		{"form, plus and escapes", formType, `a=x+y%2Bz%26`, value{kind: text, text: "x y+z&"}},
		{"form, escaped name", formType, `%61=x`, value{kind: text, text: "x"}},
		{"form, no value", formType, `a`, value{kind: text}},
		{"form, bad escapes stay", formType, `a=%zz%4`, value{kind: text, text: "%zz%4"}},
		{"form, semicolon is no separator", formType, `a=x;b=y`, value{kind: text, text: "x;b=y"}},
		{"form, bad UTF-8", formType, `a=%ffx`, value{kind: text, text: "\ufffdx"}},
		{"form, raw bad UTF-8", formType, "a=\xff", value{kind: text, text: "\ufffd"}},
		{"form, NUL", formType, `a=%00`, value{kind: text, text: "\x00"}},
		{"form, other names", formType, `A=x&&=y`, value{}},

		{"multipart", multiType, multi(`name="a"|x`), value{kind: text, text: "x"}},
		{"multipart, last wins", multiType, multi(`name="a"|x`, `name="a"|y`), value{kind: text, text: "y"}},
		{"multipart, empty", multiType, multi(`name="a"|`), value{kind: text}},
		{"multipart, file", multiType, multi(`name="a"; filename="f"|x`), value{kind: file}},
		{"multipart, other file", multiType, multi(`name="b"; filename="f"|x`, `name="a"|x`), value{kind: text, text: "x"}},
		{"multipart, no part of this boundary", "multipart/form-data; boundary=other", multi(`name="a"|x`), value{}},
		// What Django's parser makes of these was seen by running it.
		{"multipart, ends in the value", multiType, open + "x", value{kind: text, text: "x"}},
		{"multipart, ends in the boundary", multiType, open + "x\r\n--B", value{kind: text, text: "x"}},
		{"multipart, no line end at the end", multiType, open + "x\r\n--B--", value{kind: text, text: "x"}},
		{"multipart, ends in a header", multiType, `--B` + "\r\n" + `Content-Disposition: form-data; name="a"`, value{}},
		{"multipart, no boundary at all", multiType, "garbage", value{}},
		{"multipart, something before", multiType, "garbage\r\n" + multi(`name="a"|x`), value{kind: text, text: "x"}},
		{"multipart, something behind", multiType, multi(`name="a"|x`) + "garbage", value{kind: text, text: "x"}},
		{"multipart, nothing in it", multiType, "--B--\r\n", value{}},
		{"multipart, a part without a name", multiType, "--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--\r\n", value{}},
		{"multipart, a part without headers", multiType, "--B\r\n\r\nx\r\n--B--\r\n", value{}},
		{"multipart, an empty file name", multiType, multi(`name="a"; filename=""|x`), value{kind: text, text: "x"}},
		{"multipart, an unquoted name", multiType, multi(`name=a|x`), value{kind: text, text: "x"}},
		{"multipart, base64", multiType, strings.Replace(open, "\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1) + "eA==\r\n--B--\r\n", value{kind: text, text: "x"}},
		{"multipart, base64 that is none", multiType, strings.Replace(open, "\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1) + "?\r\n--B--\r\n", value{kind: text, text: "?"}},
		{"multipart, bad UTF-8", multiType, multi("name=\"a\"|\xff"), value{kind: text, text: "\ufffd"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var b body
			err := parseBody([]byte(c.in), c.contentType, []string{"z", "a"}, &b)
			if got := b.get("a"); err != nil || got != c.want {
				t.Errorf("%s %q: got %+v, %v; want %+v", c.contentType, c.in, got, err, c.want)
			}
			if b.root.kind != object {
				t.Errorf("%s %q: root is of kind %d, want an object", c.contentType, c.in, b.root.kind)
			}
		})
	}
}

func TestParseBodyRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 30000) + strings.Repeat("]", 30000)
	for _, in := range []string{
		`{`, `}`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{,}`, `{a:1}`, `{'a':1}`, `{"a":1}{}`, `{"a":1} x`, `{"a" 1}`, `{"a":1 "b":2}`,
		`[`, `[1`, `[1,`, `[1,]`, `[,]`, `[1 2]`, `[{]`, `[}`, `{"a":[}`, `{"a":{]}`, `{"a":[{"b"}]}`, `{"a":[{"b":}]}`,
		` `, `nul`, `nulll`, `True`, `NaN`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":-Infinity}`, `[NaN]`,
		`01`, `-`, `1.`, `.5`, `1e`, `1e+`, `+1`, `0x1`, `1_0`,
		`"`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\n\"", "\"\x00\"", `{"a":"` + "\x1f" + `"}`, `"\`,
		"\ufeff{}", "{\"a\":\"\xff\"}", "{\"b\":\"\xed\xa0\x80\"}", "\xff", "{}\x00", "\x00",
		deep, strings.Repeat(`{"a":`, 10000), strings.Repeat(`[`, 60000),
	} {
		var b body
		var bad malformed
		if err := parseBody([]byte(in), jsonType, []string{"a"}, &b); !errors.As(err, &bad) {
			t.Errorf("JSON %.40q: got %v, want malformed", in, err)
		}
	}
	for _, c := range []struct {
		contentType, in string
	}{
		{"multipart/form-data", multi(`name="a"|x`)},
		{"multipart/form-data; boundary=", multi(`name="a"|x`)},
		{"multipart/form-data; boundary=" + strings.Repeat("x", 300), multi(`name="a"|x`)},
	} {
		var b body
		if err := parseBody([]byte(c.in), c.contentType, []string{"a"}, &b); !errors.Is(err, errMultipart) {
			t.Errorf("%s %.40q: got %v, want errMultipart", c.contentType, c.in, err)
		}
	}
	for _, contentType := range []string{"", "text/plain", "garbage", "application/octet-stream", "application/jsonx", ";", "application/vnd.api+json"} {
		var b body
		var media unsupported
		if err := parseBody([]byte(`{}`), contentType, []string{"a"}, &b); !errors.As(err, &media) || string(media) != contentType {
			t.Errorf("content type %q: got %v, want unsupported", contentType, err)
		}
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in     string
		kind   kind
		falsy  bool
		python string
	}{
		{`null`, null, true, ""},
		{`[]`, list, true, "list"},
		{`[0]`, list, false, "list"},
		{`{}`, object, true, "dict"},
		{`{"x":0}`, object, false, "dict"},
		{`0`, number, true, "int"},
		{`-0.0`, number, true, "float"},
		{`7`, number, false, "int"},
		{`1e400`, number, false, "float"},
		{`false`, boolean, true, "bool"},
		{`true`, boolean, false, "bool"},
		{`""`, text, true, "str"},
		{`"x"`, text, false, "str"},
		{`"\ud800"`, text, false, "str"},
	} {
		var b body
		if err := parseBody([]byte(c.in), jsonType, []string{"a"}, &b); err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if b.root.kind != c.kind || b.root.falsy() != c.falsy || (c.python != "" && b.root.pythonName() != c.python) {
			t.Errorf("%s: got kind %d, falsy %t, %q; want %d, %t, %q", c.in, b.root.kind, b.root.falsy(), b.root.pythonName(), c.kind, c.falsy, c.python)
		}
	}
}

// A second request must not see what the first one's body held.
func TestParseBodyForgets(t *testing.T) {
	t.Parallel()
	var b body
	for _, in := range []string{`{"a":"x"}`, `{}`} {
		if err := parseBody([]byte(in), jsonType, []string{"a"}, &b); err != nil {
			t.Fatalf("%s: %v", in, err)
		}
	}
	if got := b.get("a"); got.kind != missing {
		t.Errorf("after {}: a is %+v, want missing", got)
	}
}

// FuzzJSON holds our reading of JSON against encoding/json's, where that is not known to be laxer.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":"x"}`, `{"a":[1,{"b":null}]}`, `{"a":"\ud83d\ude00"}`, `[{}]`, `{"a":1e5}`, `"\u0000"`, `{"a":"\ud800"}`, `{"a":{"b":{"c":[[[]]]}}}`, `-0`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var b body
		err := parseBody(data, jsonType, []string{"a"}, &b)
		if len(data) == 0 || strings.Count(string(data), "[")+strings.Count(string(data), "{") > maxDepth {
			return
		}
		if want := json.Valid(data) && utf8.Valid(data); want != (err == nil) {
			t.Fatalf("%q: got %v, want well-formed = %t", data, err, want)
		}
		if err != nil || b.root.kind != object {
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(data, &all); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		raw, there := all["a"]
		got := b.get("a")
		if there != (got.kind != missing) {
			t.Fatalf("%q: a is %+v, encoding/json has it = %t", data, got, there)
		}
		var s string
		if got.kind == text && (json.Unmarshal(raw, &s) != nil || s != got.text) {
			t.Fatalf("%q: a is %q, want %q", data, got.text, s)
		}
	})
}

// FuzzBody looks for bodies of any type that make the decoder panic or keep what is no text.
func FuzzBody(f *testing.F) {
	f.Add(jsonType, []byte(`{"a":"x"}`))
	f.Add(formType, []byte(`a=%00&a=x`))
	f.Add(multiType, []byte(multi(`name="a"|x`)))
	f.Add("multipart/form-data; boundary=\"B\"", []byte(multi(`name="a"; filename*=utf-8''x|x`)))
	f.Fuzz(func(t *testing.T, contentType string, data []byte) {
		var b body
		if parseBody(data, contentType, []string{"a", "b"}, &b) != nil {
			return
		}
		in := input{body: &b}
		for _, name := range b.names {
			s, _ := in.text(name, textRule{})
			if !utf8.ValidString(s) {
				t.Fatalf("%s %q: %s is %q, which is no UTF-8", contentType, data, name, s)
			}
			in.boolean(name, true)
			in.integer(name)
		}
	})
}
