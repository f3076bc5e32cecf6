package credential

import "github.com/openway-access/openway/internal/access"

// MinPasswordLength is the fewest code points of a new password.
const MinPasswordLength = 8

// About is what a password must not resemble.
type About struct{ Username, FirstName, LastName, Email string }

// CheckPassword reports what is wrong with a new password.
func CheckPassword(password string, about About) access.Invalid {
	var bad access.Invalid
	if len([]rune(password)) < MinPasswordLength {
		bad.AddLimit("password", access.CodePasswordShort, MinPasswordLength)
	}
	return bad
}
