package sitefile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

const header = `# A site of OpenWay Access: groups, users, gates, permissions and devices.
# Passwords and tokens are not in it. Applied to a site that has these users and devices it keeps theirs; on an empty one users
# cannot sign in until they get a password, and each device gets a new token.
#   openway apply -f site.yaml --dry-run
`

// Encode writes a site in the form that Parse reads: the same site always gives the same bytes. It writes a secret only where
// the site has one; an exported site has none.
func Encode(s *Site) []byte {
	w := &writer{}
	w.WriteString(header)
	if len(s.Groups)+len(s.Users)+len(s.Gates)+len(s.Permissions)+len(s.Devices) == 0 {
		w.WriteString("groups: []\n") // a file without anything is no site file
	}
	w.section("groups", len(s.Groups))
	for _, g := range s.Groups {
		w.item()
		w.text("name", g.Name, true)
		w.text("was", g.Was, false)
	}
	w.section("users", len(s.Users))
	for _, u := range s.Users {
		w.user(u)
	}
	w.section("gates", len(s.Gates))
	for _, g := range s.Gates {
		w.item()
		w.text("code", g.Code, true)
		w.text("was", g.Was, false)
		w.text("name", g.Name, false)
		w.text("location", g.Location, false)
		if g.ReleaseMS != 0 {
			w.line("release_ms", fmt.Sprint(g.ReleaseMS))
		}
	}
	w.section("permissions", len(s.Permissions))
	for _, p := range s.Permissions {
		w.item()
		w.text("gate", p.Gate, true)
		w.text("user", p.User, false)
		w.text("group", p.Group, false)
		w.yes("allow", p.Allow, true)
		w.text("valid_from", p.ValidFrom.String(), false)
		w.text("valid_until", p.ValidUntil.String(), false)
	}
	w.section("devices", len(s.Devices))
	for _, d := range s.Devices {
		w.item()
		w.text("user", d.User, true)
		w.text("name", d.Name, false)
		w.text("android_device_id", d.AndroidDeviceID, false)
		w.text("token", d.Token, false)
		w.active(d.Active, d.Has("active"))
	}
	return w.Bytes()
}

func (w *writer) user(u User) {
	w.item()
	w.text("username", u.Username, true)
	w.text("was", u.Was, false)
	w.text("first_name", u.FirstName, false)
	w.text("last_name", u.LastName, false)
	w.text("email", u.Email, false)
	w.text("language", u.Language, u.Has("language"))
	w.text("password", u.Password, false)
	w.text("password_hash", u.PasswordHash, false)
	w.active(u.Active, u.Has("active"))
	w.yes("staff", u.Staff, false)
	w.yes("superuser", u.Superuser, false)
	if u.Role != access.None {
		w.text("role", string(u.Role), true)
	}
	w.texts("groups", u.Groups, false)
	w.texts("tokens", u.Tokens, u.Has("tokens"))
}

// writer writes one key a line.
type writer struct {
	bytes.Buffer
	first bool // the next key begins an item
}

func (w *writer) section(name string, n int) {
	if n > 0 {
		fmt.Fprintf(w, "%s:\n", name)
	}
}

func (w *writer) item() { w.first = true }

func (w *writer) line(key, value string) {
	indent := "    "
	if w.first {
		indent, w.first = "  - ", false
	}
	fmt.Fprintf(w, "%s%s: %s\n", indent, key, value)
}

func (w *writer) text(key, value string, always bool) {
	if value != "" || always {
		w.line(key, quote(value))
	}
}

func (w *writer) texts(key string, list []string, always bool) {
	if len(list) == 0 && !always {
		return
	}
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	w.line(key, "["+strings.Join(quoted, ", ")+"]")
}

// yes leaves the default out.
func (w *writer) yes(key string, value, otherwise bool) {
	if value != otherwise {
		w.line(key, fmt.Sprint(value))
	}
}

// active is written when it says something: leaving it out means active for what is new, and no change for the rest.
func (w *writer) active(value, said bool) {
	if said || !value {
		w.line("active", fmt.Sprint(value))
	}
}

// quote writes a text in double quotes. JSON's escapes are YAML's as well.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""` // a string always encodes
	}
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		if 0x7f <= r && r <= 0x9f { // control characters that JSON leaves as they are
			fmt.Fprintf(&out, `\u%04x`, r)
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}
