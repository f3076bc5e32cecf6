package access

import "time"

// Group is a named set of users that permissions can name together.
type Group struct {
	ID        int64
	Name      string // 1..150 characters, no outer white space, unique among the living
	Version   int64
	CreatedAt time.Time
}

// Validate reports every field that breaks a rule, as Invalid.
func (g Group) Validate() error {
	var bad Invalid
	text(&bad, "name", g.Name, 1, 150)
	return bad.OrNil()
}
