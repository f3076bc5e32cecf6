package registry

import (
	"slices"
	"strconv"
	"strings"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/sitefile"
)

// fixedLabel is the label of the user tokens that a site file lists.
const fixedLabel = "site file"

// planner compares a site file with what is there. It writes nothing: it makes the plan and, step by step, the work that carries it out.
type planner struct {
	file    *sitefile.Site
	now     *siteState
	keys    *credential.Keyring
	secrets secrets
	prune   bool
	bad     *sitefile.Mistakes
	plan    *Plan
	work    []func(*change) error

	groups     map[string]*access.Group // what the file declares, by name
	users      map[string]*access.User
	gates      map[string]*access.Gate
	kept       map[any]bool // the objects there that the file declares (pointers of siteState)
	replaced   map[any]string
	keptRows   map[int64]bool // permissions
	keptPhones map[int64]bool // devices
}

func newPlanner(file *sitefile.Site, now *siteState, keys *credential.Keyring, s secrets, prune bool, bad *sitefile.Mistakes) *planner {
	return &planner{
		file: file, now: now, keys: keys, secrets: s, prune: prune,
		bad: bad, plan: &Plan{},
		groups: map[string]*access.Group{}, users: map[string]*access.User{}, gates: map[string]*access.Gate{},
		kept: map[any]bool{}, replaced: map[any]string{}, keptRows: map[int64]bool{}, keptPhones: map[int64]bool{},
	}
}

// make plans everything. The error is the file's mistakes.
func (p *planner) make() error {
	for _, g := range p.file.Groups {
		p.group(g)
	}
	for _, u := range p.file.Users {
		p.user(u)
	}
	for _, g := range p.file.Gates {
		p.gate(g)
	}
	p.permissions()
	p.devices()
	p.owners()
	p.rest()
	return p.bad.OrNil()
}

// step enters one object into the plan, with the work that it takes.
func (p *planner) step(at sitefile.Place, object, name string, isNew bool, changes []FieldChange, work func(*change) error) {
	action := PlanUnchanged
	switch {
	case isNew:
		action, changes = PlanCreate, nil
	case len(changes) > 0:
		action = PlanChange
	}
	p.plan.Steps = append(p.plan.Steps, PlanStep{Action: action, Object: object, Name: name, Line: at.Line, Changes: changes})
	if action != PlanUnchanged {
		p.work = append(p.work, work)
	}
}

// differing collects the fields that differ.
type differing []FieldChange

func (d *differing) text(field, old, now string) {
	if old != now {
		*d = append(*d, FieldChange{field, old, now})
	}
}

func (d *differing) yes(field string, old, now bool) {
	d.text(field, strconv.FormatBool(old), strconv.FormatBool(now))
}

// secret notes a change whose values nobody may see.
func (d *differing) secret(field, word string) {
	*d = append(*d, FieldChange{Field: field, New: word})
}

const bothExist = "%q and its former name %q both exist: delete one of them first"

func (p *planner) group(g sitefile.Group) {
	found, _, both := declared(g.Name, g.Was, p.now.groups)
	if both {
		p.bad.Add(g.Place, "was", bothExist, g.Name, g.Was)
	}
	want, isNew := &access.Group{Name: g.Name}, found == nil
	var d differing
	if !isNew {
		p.keep(found, found.Name, g.Name)
		d.text("name", found.Name, g.Name)
		*want = *found
		want.Name = g.Name
	}
	p.groups[g.Name] = want
	p.step(g.Place, access.ObjectGroup, g.Name, isNew, d, func(c *change) (err error) {
		if isNew {
			*want, err = c.createGroup(*want)
		} else {
			*want, err = c.updateGroup(*want)
		}
		return err
	})
}

func (p *planner) gate(g sitefile.Gate) {
	found, _, both := declared(g.Code, g.Was, p.now.gates)
	if both {
		p.bad.Add(g.Place, "was", bothExist, g.Code, g.Was)
	}
	want, isNew := &access.Gate{}, found == nil
	var d differing
	if !isNew {
		p.keep(found, found.Code, g.Code)
		d.text("code", found.Code, g.Code)
		d.text("name", found.Name, g.Name)
		d.text("location", found.Location, g.Location)
		d.text("release_ms", milliseconds(found.ReleaseMS), milliseconds(g.ReleaseMS))
		*want = *found
	}
	want.Code, want.Name, want.Location, want.ReleaseMS = g.Code, g.Name, g.Location, g.ReleaseMS
	p.gates[g.Code] = want
	p.step(g.Place, access.ObjectGate, g.Code, isNew, d, func(c *change) (err error) {
		if isNew {
			*want, err = c.createGate(*want)
		} else {
			*want, err = c.updateGate(*want)
		}
		return err
	})
}

func milliseconds(n int) string {
	if n == 0 {
		return "the site's"
	}
	return strconv.Itoa(n)
}

// keep remembers that the file declares an object that is there, and under which name it is known from now on.
func (p *planner) keep(object any, old, name string) {
	p.kept[object] = true
	if old != name {
		p.replaced[object] = name
	}
}

func (p *planner) user(u sitefile.User) {
	found, _, both := declared(u.Username, u.Was, p.now.users)
	if both {
		p.bad.Add(u.Place, "was", bothExist, u.Username, u.Was)
	}
	want, isNew := &access.User{Active: true}, found == nil
	var d differing
	if !isNew {
		p.keep(found, found.Username, u.Username)
		*want = *found
	}
	want.Username, want.FirstName, want.LastName, want.Email = u.Username, u.FirstName, u.LastName, u.Email
	want.Staff, want.Superuser = u.Staff, u.Superuser
	if u.Has("language") || isNew {
		want.Language = u.Language
	}
	if u.Has("active") || isNew {
		want.Active = u.Active
	}
	role := access.RoleGrant{Role: u.Role}
	want.Roles = withRole(want.Roles, role)
	if !isNew {
		d.user(*found, *want)
	}
	sets := p.password(u, want, &d)
	groups := p.memberships(u, want.ID, &d)
	tokens := p.fixedTokens(u, want.ID, sets, &d)
	p.users[u.Username] = want
	p.step(u.Place, access.ObjectUser, u.Username, isNew, d, func(c *change) (err error) {
		seen, hash := p.secrets.of(u)
		if isNew {
			*want, err = c.createUser(*want, hash)
		} else if _, err = c.updateUser(*want); err == nil {
			*want, err = c.setRole(want.ID, role)
		}
		if err == nil && !isNew && sets {
			err = c.setPassword(want.ID, seen, hash)
		}
		if err == nil {
			err = groups(c, want.ID)
		}
		if err == nil {
			err = tokens(c, want.ID)
		}
		return err
	})
}

// user compares all but secrets.
func (d *differing) user(old, now access.User) {
	d.text("username", old.Username, now.Username)
	d.text("first_name", old.FirstName, now.FirstName)
	d.text("last_name", old.LastName, now.LastName)
	d.text("email", old.Email, now.Email)
	d.text("language", old.Language, now.Language)
	d.yes("active", old.Active, now.Active)
	d.yes("staff", old.Staff, now.Staff)
	d.yes("superuser", old.Superuser, now.Superuser)
	d.text("role", string(roleOf(old.Roles)), string(roleOf(now.Roles)))
}

// roleOf is the role on all sites.
func roleOf(grants []access.RoleGrant) access.Role {
	for _, g := range grants {
		if g.SiteID == 0 {
			return g.Role
		}
	}
	return access.None
}

// withRole puts g in the place of the role on all sites.
func withRole(grants []access.RoleGrant, g access.RoleGrant) []access.RoleGrant {
	grants = slices.DeleteFunc(slices.Clone(grants), func(h access.RoleGrant) bool { return h.SiteID == 0 })
	if g.Role != access.None {
		grants = append(grants, g)
	}
	return grants
}

// password reports whether the user's password is to be set.
func (p *planner) password(u sitefile.User, is *access.User, d *differing) bool {
	s, ok := p.secrets[u.Username]
	if !ok {
		return false
	}
	if s.renewed {
		p.note("user %s keeps the password that is there: a hash of the old kind does not replace an argon2id one, which may be the same password, renewed at a login", u.Username)
	}
	if is.ID != 0 && s.set {
		d.secret("password", "set; the user's tokens and sessions end")
	}
	return s.set
}

// memberships plans whom a user belongs to: exactly the groups that the file lists.
func (p *planner) memberships(u sitefile.User, id int64, d *differing) func(*change, int64) error {
	var join []*access.Group
	want := map[string]bool{}
	for i, name := range u.Groups {
		g := p.groupNamed(u.Place, "groups["+strconv.Itoa(i)+"]", name)
		if g == nil {
			continue
		}
		want[name] = true
		if !p.now.memberOf[id][p.formerGroup(g)] {
			join = append(join, g)
		}
	}
	var leave []int64
	var had []string
	for _, g := range p.now.inOrder.groups {
		if !p.now.memberOf[id][g.Name] {
			continue
		}
		name := g.Name
		if r, ok := p.replaced[g]; ok {
			name = r
		}
		if had = append(had, name); !want[name] {
			leave = append(leave, g.ID)
		}
	}
	if len(join)+len(leave) > 0 {
		d.text("groups", strings.Join(had, ", "), strings.Join(u.Groups, ", "))
	}
	return func(c *change, id int64) error {
		for _, g := range leave {
			if err := c.removeMember(g, id); err != nil {
				return err
			}
		}
		for _, g := range join {
			if err := c.addMember(g.ID, id); err != nil {
				return err
			}
		}
		return nil
	}
}

// formerGroup is the name that a declared group has in the database now; "" = it is new.
func (p *planner) formerGroup(g *access.Group) string {
	for _, h := range p.now.inOrder.groups {
		if h.ID == g.ID {
			return h.Name
		}
	}
	return ""
}

// prunedReason is why a token ended that a file does not list any more. It may come back when a file lists it again.
const prunedReason = "site file"

// stays reports whether a listed token was ended at the desk for good: an administrator revoked it, or its phone was lost. A file that still
// lists it must not bring it back.
func (p *planner) stays(token string) bool {
	c, ok := p.now.ended[token]
	return ok && (c.StateReason == "admin" || c.StateReason == "lost")
}

// fixedTokens plans the tokens that the file lists. With prune, those of an earlier file that it does not list any more end.
func (p *planner) fixedTokens(u sitefile.User, id int64, newPassword bool, d *differing) func(*change, int64) error {
	listed := map[int64]bool{}
	added, gone := 0, []access.Credential{}
	var ensure []string
	for i, t := range u.Tokens {
		field := "tokens[" + strconv.Itoa(i) + "]"
		if p.stays(t) {
			p.note("line %d, %s of user %s: this token was revoked at the desk and stays so; list a new one", u.At(field), field, u.Username)
			continue
		}
		ensure = append(ensure, t)
		switch c, ok := p.now.token(p.keys, t); {
		case !ok:
			added++
		case c.UserID != id || id == 0:
			p.bad.Add(u.Place, field, "belongs to user %s already", p.nameOf(c.UserID))
		case c.Kind != access.UserToken:
			p.bad.Add(u.Place, field, "is the token of a device already")
		default:
			listed[c.ID] = true
		}
	}
	unlisted := 0
	for _, c := range p.now.ofUser[id] {
		if u.Has("tokens") && c.Label == fixedLabel && !listed[c.ID] && id != 0 {
			if unlisted++; p.prune {
				gone = append(gone, c)
			}
		}
	}
	if id != 0 && added > 0 {
		d.secret("tokens", strconv.Itoa(added)+" added")
	}
	if len(gone) > 0 {
		d.secret("tokens", strconv.Itoa(len(gone))+" revoked")
	} else if unlisted > 0 && !newPassword {
		p.note("user %s has %d fixed tokens that the file does not list any more: --prune revokes them", u.Username, unlisted)
	}
	return func(c *change, id int64) error {
		if !newPassword {
			for _, cred := range gone {
				if err := c.endCredential(cred, prunedReason); err != nil {
					return err
				}
			}
		}
		for _, t := range ensure {
			if _, err := c.addToken(id, t, fixedLabel); err != nil {
				return err
			}
		}
		return nil
	}
}

func (p *planner) nameOf(userID int64) string {
	for _, u := range p.now.inOrder.users {
		if u.ID == userID {
			return u.Username
		}
	}
	return "(deleted)"
}
