package access

import "time"

// Permission lets one user or one group through one gate (ONVIF: access policy). Allow false means suspended:
// the row grants nothing and denies nothing.
type Permission struct {
	ID         int64
	GateID     int64
	UserID     int64 // exactly one of UserID and GroupID is set
	GroupID    int64
	Allow      bool
	ValidFrom  time.Time // zero = since ever; the instant itself is inside
	ValidUntil time.Time // zero = for ever; the instant itself is outside (half-open)
	Version    int64
	CreatedAt  time.Time
}

// Validate reports every field that breaks a rule, as Invalid.
func (p Permission) Validate() error {
	var bad Invalid
	if p.GateID == 0 {
		bad.Add("gate", CodeRequired)
	}
	if (p.UserID == 0) == (p.GroupID == 0) {
		bad = append(bad, FieldError{Code: CodeOther, Text: "name a user or a group, one of the two"})
	}
	for _, end := range []struct {
		field string
		at    time.Time
	}{{"valid_from", p.ValidFrom}, {"valid_until", p.ValidUntil}} {
		// The Unix epoch itself stands for "none" in a policy.
		if !end.at.IsZero() && (end.at.UnixMicro() <= 0 || end.at.UTC().Year() > 9999) {
			bad = append(bad, FieldError{Field: end.field, Code: CodeOther, Text: "must be in the years 1970 to 9999"})
		}
	}
	if !p.ValidFrom.IsZero() && !p.ValidUntil.IsZero() && !p.ValidFrom.Before(p.ValidUntil) {
		bad.Add("valid_until", CodePeriod)
	}
	return bad.OrNil()
}
