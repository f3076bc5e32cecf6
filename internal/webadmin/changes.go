package webadmin

import (
	"strconv"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

func idText(id int64) string { return strconv.FormatInt(id, 10) }

// change says in short what a line of the audit tells of: "Permission taken away: Ann, Front door".
func (v *visit) change(c access.Change, named registry.Objects) string {
	what := v.t("object."+known("object.", c.Object)) + ": " + v.t("action."+known("action.", c.Action))
	if name := registry.NameOf(named, c); name != "" {
		what += " (" + name + ")"
	}
	return what
}

// known is the word if the catalogue has a text for it, else "other": an older page may show what a newer server wrote.
func known(prefix, word string) string {
	if _, ok := catalogue()[prefix+word]; ok {
		return word
	}
	return "other"
}
