package webadmin

import (
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/registry"
)

func idText(id int64) string { return strconv.FormatInt(id, 10) }

// change says in short what a line of the audit tells of: "Permission taken away: Ann, Front door".
func (v *visit) change(c access.Change, named registry.Objects) string {
	what := v.t("object."+known("object.", c.Object)) + ": " + v.t("action."+known("action.", c.Action))
	if name := v.nameOfChange(c, named); name != "" {
		what += " (" + name + ")"
	}
	return what
}

// nameOfChange is what a line of the audit is about: a name, or of what has none, whose it is.
func (v *visit) nameOfChange(c access.Change, named registry.Objects) string {
	switch c.Object {
	case access.ObjectGate:
		if g, ok := named.Gates[c.ObjectID]; ok {
			return namedGate(g)
		}
	case access.ObjectUser, access.ObjectMember, access.ObjectRole:
		if u, ok := named.Users[c.ObjectID]; ok {
			return namedUser(u)
		}
	case access.ObjectPermission:
		if p, ok := named.Permissions[c.ObjectID]; ok {
			who := named.Groups[p.GroupID].Name
			if p.GroupID == 0 {
				who = namedUser(named.Users[p.UserID])
			}
			return who + " → " + namedGate(named.Gates[p.GateID])
		}
	case access.ObjectDevice:
		if d, ok := named.Devices[c.ObjectID]; ok {
			return v.deviceName(access.Device{ID: d.ID, Name: d.Name})
		}
	case access.ObjectCredential:
		if t, ok := named.Credentials[c.ObjectID]; ok {
			return strings.Trim(t.Label+" "+t.Preview, " ")
		}
	}
	return registry.NameOf(named, c)
}

// known is the word if the catalogue has a text for it, else "other": an older page may show what a newer server wrote.
func known(prefix, word string) string {
	if _, ok := catalogue()[prefix+word]; ok {
		return word
	}
	return "other"
}
