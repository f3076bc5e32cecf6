package access

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Misleads reports whether a character has no place in a name: control characters, and those that turn the text after them round, so that one name is read as
// another.
func Misleads(r rune) bool {
	return unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// Shows reports whether there is anything to be seen of a text.
func Shows(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
	})
}

// text checks a text field: valid UTF-8 without NUL or characters that mislead, not all of it invisible, no outer white space, shortest..longest characters
// (code points). It reports whether the field is good.
func text(bad *Invalid, field, s string, shortest, longest int) bool {
	if strings.IndexByte(s, 0) < 0 && (strings.ContainsFunc(s, Misleads) || strings.TrimSpace(s) != "" && !Shows(s)) {
		bad.Add(field, CodeCharacters)
		return false
	}
	return rawText(bad, field, s, shortest, longest)
}

// rawText is text with control characters allowed, for what clients in the field may send. NUL is still none.
func rawText(bad *Invalid, field, s string, shortest, longest int) bool {
	switch n := utf8.RuneCountInString(s); {
	case strings.IndexByte(s, 0) >= 0:
		bad.Add(field, CodeNUL)
	case !utf8.ValidString(s):
		bad.Add(field, CodeCharacters)
	case shortest > 0 && strings.TrimSpace(s) == "":
		bad.Add(field, CodeBlank)
	case s != strings.TrimSpace(s):
		*bad = append(*bad, FieldError{Field: field, Code: CodeOther, Text: "may not begin or end with white space"})
	case n > longest:
		bad.AddLimit(field, CodeTooLong, longest)
	case n < shortest:
		bad.AddLimit(field, CodeTooShort, shortest)
	default:
		return true
	}
	return false
}

// Fold takes out of a text what a search does not mind, in every script: each letter becomes the smallest of those that differ from it in
// case only, and the Russian ё becomes е, as most people write it.
func Fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		if least == 'Ё' {
			return 'Е'
		}
		return least
	}, s)
}
