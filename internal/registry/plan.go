package registry

import (
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// PlanAction is what an Apply does with one object.
type PlanAction string

// The actions, as a plan prints them.
const (
	PlanCreate    PlanAction = "create"
	PlanChange    PlanAction = "change"
	PlanDelete    PlanAction = "delete"
	PlanUnchanged PlanAction = "unchanged"
)

// Plan is what applying a site file comes to, in the order in which it is done.
type Plan struct {
	Steps []PlanStep
	Notes []string // what whoever applies it should know beside the steps
}

// PlanStep is what happens to one object.
type PlanStep struct {
	Action  PlanAction
	Object  string // access.ObjectGroup, …
	Name    string // as people know it: a user name, a gate's code, "gate-01 for group USER"
	Line    int    // where the file declares it; 0 for what it does not declare
	Changes []FieldChange
}

// FieldChange is one field of a step. A secret's values are never in it, only a word about them.
type FieldChange struct {
	Field string
	Old   string
	New   string
}

// Count is how many steps have this action.
func (p *Plan) Count(a PlanAction) int {
	n := 0
	for _, s := range p.Steps {
		if s.Action == a {
			n++
		}
	}
	return n
}

// Empty reports whether applying it would change nothing.
func (p *Plan) Empty() bool { return p.Count(PlanUnchanged) == len(p.Steps) }

// same reports whether two plans do the same. Lines and notes do not matter.
func (p *Plan) same(o *Plan) bool {
	if len(p.Steps) != len(o.Steps) {
		return false
	}
	for i, s := range p.Steps {
		if s.String() != o.Steps[i].String() {
			return false
		}
	}
	return true
}

// String is the step in one line, for comparing and for tests.
func (s PlanStep) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", s.Action, s.Object, s.Name)
	for i, c := range s.Changes {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(c.String())
	}
	return b.String()
}

// String is "email: old -> new"; a secret has a word only: "password: set".
func (c FieldChange) String() string {
	if c.Old == "" && secretField(c.Field) {
		return c.Field + ": " + c.New
	}
	return fmt.Sprintf("%s: %s -> %s", c.Field, shown(c.Old), shown(c.New))
}

func secretField(name string) bool { return name == "password" || name == "token" || name == "tokens" }

// shown makes an empty value visible.
func shown(s string) string {
	if s == "" {
		return `""`
	}
	return s
}

// kindsInOrder are the objects of a site file, in the order in which they are made.
func kindsInOrder() []string {
	return []string{access.ObjectGroup, access.ObjectUser, access.ObjectGate, access.ObjectPermission, access.ObjectDevice}
}

// Unchanged says what stays as it is: "5 groups, 20 users", or "" for nothing.
func (p *Plan) Unchanged() string {
	var parts []string
	for _, kind := range kindsInOrder() {
		n := 0
		for _, s := range p.Steps {
			if s.Action == PlanUnchanged && s.Object == kind {
				n++
			}
		}
		switch {
		case n == 1:
			parts = append(parts, "1 "+kind)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, kind))
		}
	}
	return strings.Join(parts, ", ")
}
