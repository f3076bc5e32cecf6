package credential

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
)

// MinPasswordLength is the fewest code points of a new password.
const MinPasswordLength = 8

// maxSimilarity is the ratio from which a password is too similar to an attribute.
const maxSimilarity = 0.7

// About is what a password must not resemble.
type About struct{ Username, FirstName, LastName, Email string }

// CheckPassword reports what is wrong with a new password, by the rules of Django's four validators and in their order: too similar to what is
// known of the user (FieldError.Text names the attribute as About's fields are called on the wire), too short, too common, all digits. Whether it
// was used before is for the caller, who has the history.
func CheckPassword(password string, about About) access.Invalid {
	const field = "password"
	var bad access.Invalid
	if attribute := resembles(password, about); attribute != "" {
		bad = append(bad, access.FieldError{Field: field, Code: access.CodePasswordAlike, Text: attribute})
	}
	if utf8.RuneCountInString(password) < MinPasswordLength {
		bad.AddLimit(field, access.CodePasswordShort, MinPasswordLength)
	}
	switch common, err := isCommon(password); {
	case err != nil:
		bad = append(bad, access.FieldError{Field: field, Code: access.CodeOther, Text: err.Error()})
	case common:
		bad.Add(field, access.CodePasswordKnown)
	}
	if password != "" && !strings.ContainsFunc(password, func(r rune) bool { return !unicode.IsNumber(r) }) {
		bad.Add(field, access.CodePasswordDigit)
	}
	return bad
}

// resembles names the first attribute that is too similar to password, as a whole or in one of its words.
func resembles(password string, about About) string {
	secret := []rune(strings.ToLower(password))
	for _, attribute := range []struct{ name, value string }{
		{"username", about.Username},
		{"first_name", about.FirstName},
		{"last_name", about.LastName},
		{"email", about.Email},
	} {
		if attribute.value == "" {
			continue
		}
		value := strings.ToLower(attribute.value)
		for _, part := range append(words(value), value) {
			if similar(secret, []rune(part)) {
				return attribute.name
			}
		}
	}
	return ""
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '_' })
}

// similar compares two texts by the characters they share, in any order: twice their number over both lengths
// (quick_ratio of Python's difflib). Where a text is ten times as long as a word of the user's, the ratio cannot get there.
func similar(secret, part []rune) bool {
	if len(secret) >= 10*len(part) {
		return false
	}
	left := make(map[rune]int, len(part))
	for _, r := range part {
		left[r]++
	}
	shared := 0
	for _, r := range secret {
		if left[r] > 0 {
			left[r]--
			shared++
		}
	}
	return 2*float64(shared)/float64(len(secret)+len(part)) >= maxSimilarity
}

// commonPasswords is the list that Django ships, in lower case, one a line, sorted by bytes; common_passwords.txt says where it comes from.
//
//go:embed common_passwords.txt.gz
var commonPasswords []byte

// isCommon looks a password up in the list. It reads the list each time (a millisecond or two, little beside the hash that follows) rather than
// keep it in memory for the rare day when a password is set.
func isCommon(password string) (bool, error) {
	wanted := strings.ToLower(strings.TrimSpace(password))
	unzipped, err := gzip.NewReader(bytes.NewReader(commonPasswords))
	if err != nil {
		return false, fmt.Errorf("read the list of common passwords: %w", err)
	}
	lines := bufio.NewScanner(unzipped)
	for lines.Scan() {
		switch line := lines.Bytes(); {
		case string(line) == wanted:
			return true, nil
		case string(line) > wanted:
			return false, nil
		}
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("read the list of common passwords: %w", err)
	}
	return false, nil
}
