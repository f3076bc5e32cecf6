package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// keptPasswords is how many of a user's former passwords matter.
const keptPasswords = credential.HistoryLength

// unusable is a password that nothing matches.
const unusable = "!"

// plan is what is to be written, made of a site by the rules below. What is not one to one is noted; what people must decide is a conflict.
type plan struct {
	users       []access.User
	hashes      []string // of the users, in their order
	passwords   []store.PasswordHash
	groups      []access.Group
	members     []store.Member
	gates       []access.Gate
	permissions []access.Permission // ID 0 = a new one
	devices     []access.Device
	credentials []plannedCredential

	notes
	conflicts []string
}

// plannedCredential is a credential before it has an id and a digest.
type plannedCredential struct {
	access.Credential
	token  string
	minted bool
}

// planOf makes the plan. now is the instant of the import.
func planOf(s *site, o *Options, now time.Time) *plan {
	p := &plan{}
	p.planUsers(s)
	p.planGroups(s)
	p.planGates(s)
	p.planPermissions(s)
	p.planTokens(s, o, now)
	p.planDevices(s, now)
	p.noteTheRest(s, o)
	return p
}

func (p *plan) conflict(format string, args ...any) {
	p.conflicts = append(p.conflicts, fmt.Sprintf(format, args...))
}

func (p *plan) planUsers(s *site) {
	slices.SortFunc(s.users, func(a, b djangoUser) int { return cmp.Compare(a.id, b.id) })
	names := unique{of: "user name", seen: map[string]int64{}}
	folded := map[string]string{}
	owner := false
	for _, d := range s.users {
		u := access.User{ID: d.id, Active: d.active, Staff: d.staff, Superuser: d.superuser, CreatedAt: d.joined, LastLoginAt: d.login}
		who := fmt.Sprintf("user %d (%q)", d.id, d.username)
		u.Username = strings.TrimSpace(d.username)
		p.identity(who, "user name", u.Username, access.User{Username: u.Username}.Validate())
		names.take(p, who, d.id, u.Username)
		if low := strings.ToLower(u.Username); folded[low] != "" {
			p.add("names_alike", "user names that differ in case only: both are kept, and told apart as before", "%q and %q", folded[low], u.Username)
		} else {
			folded[low] = u.Username
		}
		u.FirstName = p.text(who, "first name", d.first, 150)
		u.LastName = p.text(who, "last name", d.last, 150)
		u.Email = p.text(who, "e-mail", d.email, 254)
		if (access.User{Username: "x", Email: u.Email}).Validate() != nil {
			p.add("emails", "e-mail addresses that are none are left out", "%s: %q", who, u.Email)
			u.Email = ""
		}
		p.users = append(p.users, u)
		p.hashes = append(p.hashes, p.password(who, d.password))
		owner = owner || u.Active && u.Superuser
		if d.superuser {
			p.addMany("owners", "superusers are owners now", 1)
		} else if d.staff {
			p.addMany("managers", "staff are managers now, whatever rights they had in Django's admin: look through the list, and take the role from whom should not have it (openway user change NAME --no-staff)", 1)
		}
		for _, h := range s.passwords[d.id] {
			if hash := readable(h.hash); hash != unusable {
				p.passwords = append(p.passwords, store.PasswordHash{UserID: d.id, Hash: hash, CreatedAt: h.at.UnixMicro()})
			}
		}
	}
	if !owner {
		p.addMany("no_owner", "nobody is an active superuser, so there is no owner: make one with openway createsuperuser", 1)
	}
}

// readable is a password hash as we verify it, or unusable. Django puts the algorithm's name before what argon2 itself writes.
func readable(hash string) string {
	if rest, ok := strings.CutPrefix(hash, "argon2$argon2id$"); ok {
		hash = "$argon2id$" + rest
	}
	if credential.ReadableHash(hash) {
		return hash
	}
	return unusable
}

func (p *plan) password(who, hash string) string {
	is := readable(hash)
	switch {
	case is != unusable:
	case hash == "" || strings.HasPrefix(hash, "!"):
		p.addMany("unusable_passwords", "users without a usable password stay so", 1)
	default:
		algorithm, _, _ := strings.Cut(hash, "$")
		p.add("unreadable_passwords", "password hashes of a kind that cannot be verified here: these users need a new password (openway user set-password)", "%s: %.20q", who, algorithm)
	}
	return is
}

func (p *plan) planGroups(s *site) {
	slices.SortFunc(s.groups, func(a, b djangoGroup) int { return cmp.Compare(a.id, b.id) })
	names := unique{of: "name", seen: map[string]int64{}}
	for _, d := range s.groups {
		g := access.Group{ID: d.id, Name: strings.TrimSpace(d.name)}
		who := fmt.Sprintf("group %d (%q)", d.id, d.name)
		p.identity(who, "name", g.Name, g.Validate())
		names.take(p, who, d.id, g.Name)
		p.groups = append(p.groups, g)
	}
	slices.SortFunc(s.members, func(a, b member) int { return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.group, b.group)) })
	for _, m := range slices.Compact(slices.Clone(s.members)) {
		p.members = append(p.members, store.Member{UserID: m.user, GroupID: m.group})
	}
}

func (p *plan) planGates(s *site) {
	slices.SortFunc(s.gates, func(a, b djangoGate) int { return cmp.Compare(a.id, b.id) })
	codes := unique{of: "code", seen: map[string]int64{}}
	for _, d := range s.gates { // those that gates ask for now come first
		if d.code == strings.TrimSpace(d.code) {
			codes.take(p, fmt.Sprintf("gate %d (%q)", d.id, d.code), d.id, d.code)
		}
	}
	for _, d := range s.gates {
		g := access.Gate{ID: d.id, Code: strings.TrimSpace(d.code)}
		who := fmt.Sprintf("gate %d (%q)", d.id, d.code)
		p.identity(who, "code", g.Code, access.Gate{Code: g.Code}.Validate())
		if g.Code != d.code {
			if codes.take(p, who, d.id, g.Code) {
				p.add("gate_spaces", "gate codes with outer spaces could never match: they are trimmed, so that these gates open from now on for who has a right", "%s", who)
			}
		}
		g.Name = p.text(who, "name", d.name, 128)
		g.Location = p.text(who, "location", d.location, 128)
		p.gates = append(p.gates, g)
	}
}

// planPermissions makes a row for a gate and one subject of each; of several for the same, one that lets pass if any did.
func (p *plan) planPermissions(s *site) {
	slices.SortFunc(s.permissions, func(a, b djangoPermission) int { return cmp.Compare(a.id, b.id) })
	type key struct{ gate, user, group int64 }
	made := map[key]int{}
	for _, d := range s.permissions {
		id := d.id
		if d.user != 0 && d.group != 0 {
			p.add("split", "permissions that name both a user and a group: each is two now", "permission %d: user %d and group %d at gate %d", d.id, d.user, d.group, d.gate)
		}
		if d.user == 0 && d.group == 0 {
			p.add("nobody", "permissions that name nobody are left out: they let nobody pass", "permission %d", d.id)
		}
		for _, k := range []key{{d.gate, d.user, 0}, {d.gate, 0, d.group}} {
			if k.user == 0 && k.group == 0 {
				continue
			}
			if i, known := made[k]; known {
				p.permissions[i].Allow = p.permissions[i].Allow || d.allow
				p.add("merged", "permissions that are there more than once: one of each is kept, which lets pass if one of them did", "permission %d", d.id)
				continue
			}
			made[k] = len(p.permissions)
			p.permissions = append(p.permissions, access.Permission{ID: id, GateID: d.gate, UserID: k.user, GroupID: k.group, Allow: d.allow})
			id = 0
		}
	}
	for _, is := range p.permissions {
		if !is.Allow {
			p.add("suspended", "permissions with allow=false are suspended ones: as before they let nobody pass and forbid nothing", "gate %d, %s", is.GateID, subject(is))
		}
	}
}

func subject(p access.Permission) string {
	if p.UserID != 0 {
		return fmt.Sprintf("user %d", p.UserID)
	}
	return fmt.Sprintf("group %d", p.GroupID)
}

// presentable reports whether a gate can present a token (API v1).
func presentable(token string) bool {
	n := utf8.RuneCountInString(token)
	return n >= access.MinToken && n <= access.MaxToken && token == strings.TrimSpace(token)
}

func (p *plan) planTokens(s *site, o *Options, now time.Time) {
	slices.SortFunc(s.tokens, func(a, b djangoToken) int { return cmp.Or(cmp.Compare(a.user, b.user), a.created.Compare(b.created)) })
	phone := map[int64]int64{} // by user: the one active device, -1 for several
	for _, d := range s.devices {
		switch {
		case d.active && phone[d.user] == 0:
			phone[d.user] = d.id
		case d.active:
			phone[d.user] = -1
		}
	}
	for _, d := range s.tokens {
		if !presentable(d.key) {
			p.add("short_tokens", "tokens that no gate could present (under 8 characters, or with outer spaces) are left out", "of user %d (%q)", d.user, s.byUser[d.user].username)
			continue
		}
		c := access.Credential{
			UserID: d.user, Kind: access.UserToken, Label: "Django", State: access.CredentialActive, CreatedAt: d.created, LastUsedDay: access.Day(d.created),
			DeviceID: max(phone[d.user], 0),
		}
		if phone[d.user] < 0 {
			p.add("shared_tokens", "tokens that several phones of one user share: reporting one of the phones lost does not end such a token; revoke it too (openway token revoke)", "of user %d (%q)", d.user, s.byUser[d.user].username)
		}
		if o.ExpireTokensAfter > 0 {
			c.ValidUntil = now.Add(o.ExpireTokensAfter)
		}
		p.credentials = append(p.credentials, plannedCredential{Credential: c, token: d.key})
	}
}

func (p *plan) planDevices(s *site, now time.Time) {
	slices.SortFunc(s.devices, func(a, b djangoDevice) int { return cmp.Compare(a.id, b.id) })
	taken := map[string]bool{}
	for i := range p.credentials {
		taken[p.credentials[i].token] = true
	}
	for _, d := range s.devices {
		who := fmt.Sprintf("device %d of user %d (%q)", d.id, d.user, s.byUser[d.user].username)
		is := access.Device{ID: d.id, UserID: d.user, Active: d.active, CreatedAt: d.created}
		is.Name = p.text(who, "name", d.name, 100)
		if is.AndroidDeviceID = cut(strings.TrimSpace(d.android), access.MaxAndroidDeviceID); is.AndroidDeviceID != d.android {
			p.cleaned(who, "android id", d.android)
		}
		p.devices = append(p.devices, is)

		c := plannedCredential{token: d.token, Credential: access.Credential{
			UserID: d.user, DeviceID: d.id, Kind: access.DeviceToken, State: access.CredentialActive, CreatedAt: d.created, LastUsedDay: access.Day(d.created),
		}}
		switch {
		case !presentable(d.token):
			p.add("device_tokens_minted", "devices with an empty or too short token get a new one: their phones fetch it when they register next", "%s", who)
			c.minted = true
		case taken[d.token]:
			p.add("device_tokens_taken", "devices with a token that is another's get a new one: their phones fetch it when they register next", "%s", who)
			c.minted = true
		}
		if c.minted {
			c.token, c.CreatedAt, c.LastUsedDay = credential.MintDeviceToken(), now, access.Day(now)
		}
		taken[c.token] = true
		if !d.active {
			c.State, c.StateReason = access.CredentialInactive, "device"
			p.add("devices_revoked", "revoked devices count now: their device tokens are answered DEVICE_INACTIVE (before, no device token opened anything)", "%s", who)
		} else {
			p.addMany("devices_active", "active devices count now: a device token opens what its user may open (before, no device token opened anything)", 1)
		}
		p.credentials = append(p.credentials, c)
	}
}

// noteTheRest notes what has no place here.
func (p *plan) noteTheRest(s *site, o *Options) {
	if n := s.totpSecret; n > 0 {
		p.addMany("totp", "TOTP secrets of devices are left out: nothing ever used them", n)
	}
	if n := s.read[userRights.name] + s.read[groupRights.name]; n > 0 {
		p.addMany("django_rights", "rights in Django's own admin (user and group permissions) are left out: roles take their place", n)
	}
	if n := s.events.left; n > 0 {
		p.addMany("events_left", "events from before --events-since are left out", n)
	}
	if n := s.events.deletedGate; n > 0 {
		p.addMany("events_gates", "events at gates that were deleted keep the code that was presented", n)
	}
	if o.SkipEvents {
		p.addMany("events_skipped", "the events are left out, as --skip-events says", 1)
	}
}

// identity makes a conflict of a name that cannot be one here.
func (p *plan) identity(who, what, is string, err error) {
	if err != nil {
		p.conflict("%s: the %s %q %s; change it in Django", who, what, is, strings.TrimPrefix(err.Error(), field(err)))
	}
}

// field is the beginning of an error about one field.
func field(err error) string {
	name, _, ok := strings.Cut(err.Error(), ": ")
	if !ok {
		return ""
	}
	return name + ": "
}

// unique sees to it that trimmed names are still apart.
type unique struct {
	of   string
	seen map[string]int64
}

func (u unique) take(p *plan, who string, id int64, name string) bool {
	if other, taken := u.seen[name]; taken {
		p.conflict("%s: without its outer spaces it has the %s of %d: rename or delete one of the two in Django", who, u.of, other)
		return false
	}
	u.seen[name] = id
	return true
}

// text is a text as we keep it: without characters that mislead and outer spaces, and not too long; none where nothing of it could be seen.
func (p *plan) text(who, what, s string, longest int) string {
	is := strings.Map(func(r rune) rune {
		if access.Misleads(r) {
			return ' '
		}
		return r
	}, s)
	if !access.Shows(is) {
		is = ""
	}
	if is = cut(strings.TrimSpace(is), longest); is != s {
		p.cleaned(who, what, s)
	}
	return is
}

func (p *plan) cleaned(who, what, s string) {
	p.add("texts", "texts with outer spaces, control characters or too many characters are cleaned or cut", "%s: %s %.60q", who, what, s)
}

// cut keeps the first n characters, without a space at the end.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return strings.TrimSpace(s[:i])
		}
		n--
	}
	return s
}
