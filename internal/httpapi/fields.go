package httpapi

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
)

// input reads the fields of a body one after the other and gathers all that is wrong with them.
// Which values it takes is the wire contract's "Values, everywhere", which follows Django REST framework 3.15.
type input struct {
	body *body
	bad  access.Invalid
}

// textRule says which texts a field takes.
type textRule struct {
	optional  bool // may be absent
	nullable  bool // null counts as absent
	blank     bool // may be blank
	untrimmed bool // outer white space is part of it
	longest   int  // characters after trimming; 0 = any number
}

// text reads a text field. given is false when the field is absent, or wrong.
func (in *input) text(name string, rule textRule) (s string, given bool) {
	v := in.body.get(name)
	if in.absent(name, v, rule.optional) {
		return "", false
	}
	switch v.kind {
	case null:
		if !rule.nullable {
			in.bad.Add(name, access.CodeNull)
		}
		return "", false
	case text, number:
	default:
		in.bad.Add(name, access.CodeNotString)
		return "", false
	}
	s = v.text
	if !rule.untrimmed {
		s = trim(s)
	}
	if s == "" {
		if !rule.blank {
			in.bad.Add(name, access.CodeBlank)
			return "", false
		}
		return "", true
	}
	n := len(in.bad)
	if rule.longest > 0 && utf8.RuneCountInString(s) > rule.longest {
		in.bad.AddLimit(name, access.CodeTooLong, rule.longest)
	}
	if strings.IndexByte(s, 0) >= 0 {
		in.bad.Add(name, access.CodeNUL)
	}
	if v.surrogate != 0 {
		in.bad.AddLimit(name, access.CodeSurrogate, int(v.surrogate))
	}
	return s, n == len(in.bad)
}

// absent reports whether there is nothing to read, and notes it where there has to be something.
func (in *input) absent(name string, v value, optional bool) bool {
	switch {
	case v.kind == missing:
		if !optional {
			in.bad.Add(name, access.CodeRequired)
		}
		return true
	case optional && in.body.form && v.kind == text && v.text == "":
		return true
	}
	return false
}

// boolean reads an optional boolean field.
func (in *input) boolean(name string, otherwise bool) bool {
	v := in.body.get(name)
	if in.absent(name, v, true) {
		return otherwise
	}
	switch v.kind {
	case null:
		in.bad.Add(name, access.CodeNull)
		return otherwise
	case boolean, text:
		switch strings.ToLower(v.text) {
		case "true", "t", "yes", "y", "on", "1":
			return true
		case "false", "f", "no", "n", "off", "0":
			return false
		}
	case number:
		switch f, ok := v.float(); {
		case ok && f == 1:
			return true
		case ok && f == 0:
			return false
		}
	}
	in.bad.Add(name, access.CodeNotBoolean)
	return otherwise
}

// longestInteger is how many characters a text may have that is read as an integer.
const longestInteger = 1000

// integer reads an optional integer field. Numbers beyond int64 come back as the nearest int64.
func (in *input) integer(name string) (n int64, given bool) {
	v := in.body.get(name)
	if in.absent(name, v, true) {
		return 0, false
	}
	digits := v.text
	switch v.kind {
	case null:
		in.bad.Add(name, access.CodeNull)
		return 0, false
	case text:
		if utf8.RuneCountInString(digits) > longestInteger {
			in.bad.Add(name, access.CodeIntegerLong)
			return 0, false
		}
		digits = trim(digits)
		if whole, fraction, ok := strings.Cut(digits, "."); ok && strings.Trim(fraction, "0") == "" {
			digits = whole
		}
	case number:
		// Up to here a float is written without exponent where the rules come from.
		if f, ok := v.float(); ok && !isInteger(digits) && f == math.Trunc(f) && math.Abs(f) < 1e16 {
			digits = strconv.FormatFloat(f, 'f', -1, 64)
		}
	default:
		digits = ""
	}
	unsigned := strings.TrimPrefix(digits, "-")
	if unsigned == digits {
		unsigned = strings.TrimPrefix(digits, "+")
	}
	if unsigned == "" || strings.Trim(unsigned, "0123456789") != "" {
		in.bad.Add(name, access.CodeNotInteger)
		return 0, false
	}
	n, _ = strconv.ParseInt(digits, 10, 64) // out of range gives the nearest, and nothing else can be wrong
	return n, true
}

// float is the value of a number, and false where it has none.
func (v value) float() (float64, bool) {
	f, err := strconv.ParseFloat(v.text, 64)
	return f, err == nil
}

// isInteger reports whether a JSON number is written without fraction and exponent.
func isInteger(s string) bool { return !strings.ContainsAny(s, ".eE") }

// trim takes off outer white space as Python's str.strip does: what Unicode calls white space and the four
// information separators.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f
	})
}
