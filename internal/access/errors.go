package access

import (
	"errors"
	"strconv"
	"strings"
)

// The kinds of error that cross package borders. Each edge (HTTP, web, CLI) maps a kind to a status and
// words in one table; an error of no kind is a fault of ours and is shown without its detail.
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("conflict")         // it exists already, or somebody else changed it in the meantime
	ErrDenied      = errors.New("denied")           // the caller may not do this
	ErrUnavailable = errors.New("unavailable")      // the database cannot be used now; trying again may help
	ErrBadLogin    = errors.New("bad login")        // wrong password, unknown or inactive user: never said which
	ErrBadToken    = errors.New("bad token")        // unknown, expired or revoked session token
	ErrInactive    = errors.New("user is inactive") // the token is good, its user is not

	// ErrOutcomeUnknown: the connection failed while it committed. What was written may or may not be there; it is never tried again.
	ErrOutcomeUnknown = errors.New("the outcome of the commit is unknown")
)

// Code names what is wrong with a field, so that an edge can say it in its reader's language.
type Code string

// The codes of field errors. Limit of FieldError holds the number that the text needs.
const (
	CodeRequired      Code = "required"
	CodeBlank         Code = "blank"
	CodeNull          Code = "null"
	CodeNUL           Code = "nul"
	CodeSurrogate     Code = "surrogate"
	CodeTooLong       Code = "too_long"  // Limit: the most characters
	CodeTooShort      Code = "too_short" // Limit: the fewest characters
	CodeNotString     Code = "not_string"
	CodeNotBoolean    Code = "not_boolean"
	CodeNotInteger    Code = "not_integer"
	CodeIntegerLong   Code = "integer_too_long"
	CodeRange         Code = "range" // Least and Limit: the smallest and the greatest value
	CodeCharacters    Code = "characters"
	CodeTaken         Code = "taken"
	CodeUnknown       Code = "unknown" // names something that does not exist
	CodeZone          Code = "zone"    // is no time zone of the IANA's
	CodePeriod        Code = "period"  // ends before it begins
	CodeEmail         Code = "email"
	CodePasswordShort Code = "password_too_short" // Limit: the fewest characters
	CodePasswordKnown Code = "password_too_common"
	CodePasswordDigit Code = "password_all_numeric"
	CodePasswordAlike Code = "password_too_similar" // Text: the attribute it resembles
	CodePasswordUsed  Code = "password_reused"      // Limit: how many earlier ones count
	CodeOther         Code = "other"                // Text says it
)

// FieldError says what is wrong with one field of an input. Field "" concerns the input as a whole.
type FieldError struct {
	Field string
	Code  Code
	Limit int
	Least int
	Text  string
}

func (e FieldError) Error() string {
	s, ok := codeText[e.Code]
	switch {
	case !ok && e.Text != "":
		s = e.Text
	case !ok:
		s = string(e.Code)
	case strings.Contains(s, "%d"):
		s = strings.NewReplacer("%l", strconv.Itoa(e.Least), "%d", strconv.Itoa(e.Limit)).Replace(s)
	}
	if e.Field == "" {
		return s
	}
	return e.Field + ": " + s
}

// codeText are plain English words for logs and the command line; the HTTP edges have their own catalogue.
var codeText = map[Code]string{
	CodeRequired:      "is required",
	CodeBlank:         "may not be blank",
	CodeNull:          "may not be null",
	CodeNUL:           "may not contain null characters",
	CodeSurrogate:     "contains a lone surrogate",
	CodeTooLong:       "may have at most %d characters",
	CodeTooShort:      "must have at least %d characters",
	CodeNotString:     "is not a string",
	CodeNotBoolean:    "is not a boolean",
	CodeNotInteger:    "is not an integer",
	CodeIntegerLong:   "is too long for an integer",
	CodeRange:         "must be between %l and %d",
	CodeCharacters:    "contains characters that are not allowed",
	CodeTaken:         "is taken already",
	CodeUnknown:       "is unknown",
	CodeZone:          "is not a time zone such as Europe/Berlin",
	CodePeriod:        "ends before it begins",
	CodeEmail:         "is not an e-mail address",
	CodePasswordShort: "is too short: at least %d characters",
	CodePasswordKnown: "is too common",
	CodePasswordDigit: "is entirely numeric",
	CodePasswordAlike: "is too similar to the user's name or e-mail",
	CodePasswordUsed:  "was used before: the last %d may not be used again",
}

// Invalid is the error of an input with one or more bad fields, in the order they were found.
type Invalid []FieldError

func (e Invalid) Error() string {
	parts := make([]string, len(e))
	for i, f := range e {
		parts[i] = f.Error()
	}
	return strings.Join(parts, "; ")
}

// OrNil returns nil as an error when there is nothing wrong, so that validators can end with it.
func (e Invalid) OrNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// Add notes one more bad field.
func (e *Invalid) Add(field string, code Code) { *e = append(*e, FieldError{Field: field, Code: code}) }

// AddLimit notes one more bad field whose text needs a number.
func (e *Invalid) AddLimit(field string, code Code, limit int) {
	*e = append(*e, FieldError{Field: field, Code: code, Limit: limit})
}

// AddRange notes one more bad field whose number is not from least to most.
func (e *Invalid) AddRange(field string, least, most int) {
	*e = append(*e, FieldError{Field: field, Code: CodeRange, Least: least, Limit: most})
}
