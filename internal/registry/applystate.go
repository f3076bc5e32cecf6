package registry

import (
	"errors"
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/sitefile"
	"github.com/openway-access/openway/internal/store"
)

// siteState is what is there when a site file is applied: the living objects, by the names that a file uses. Objects are pointers so that a
// plan can speak of those that it is going to make: they get their ids when it is carried out.
type siteState struct {
	mark     access.PolicyMark
	zone     *time.Location
	groups   map[string]*access.Group
	users    map[string]*access.User
	gates    map[string]*access.Gate
	inOrder  ordered
	memberOf map[int64]map[string]bool // user id -> names of groups
	hashes   map[int64]string          // stored password hashes of the users whose password a file declares
	tokens   map[access.Lookup]access.Credential
	ofUser   map[int64][]access.Credential // user tokens
	ofDevice map[int64]access.Credential   // device tokens
	ended    map[string]access.Credential  // by token: what a file lists for a user and was theirs until it was revoked
}

// ordered are the objects in order of their ids.
type ordered struct {
	groups      []*access.Group
	users       []*access.User
	gates       []*access.Gate
	permissions []access.Permission
	devices     []access.Device
}

// readSite reads everything that a site file can speak of.
func readSite(tx *store.Tx, file *sitefile.Site, keys *credential.Keyring) (*siteState, error) {
	s := &siteState{
		mark:   tx.Mark,
		groups: map[string]*access.Group{}, users: map[string]*access.User{}, gates: map[string]*access.Gate{},
		memberOf: map[int64]map[string]bool{}, hashes: map[int64]string{},
		tokens: map[access.Lookup]access.Credential{}, ofUser: map[int64][]access.Credential{}, ofDevice: map[int64]access.Credential{}, ended: map[string]access.Credential{},
	}
	site, err := tx.Site()
	if err != nil {
		return nil, err
	}
	if s.zone, err = time.LoadLocation(site.Zone); err != nil {
		return nil, fmt.Errorf("the site's time zone: %w", err)
	}
	groups, err := tx.Groups(store.GroupFilter{Limit: store.All})
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		s.groups[g.Name] = &g
		s.inOrder.groups = append(s.inOrder.groups, &g)
		members, err := tx.MemberIDs(g.ID)
		if err != nil {
			return nil, err
		}
		for _, id := range members {
			if s.memberOf[id] == nil {
				s.memberOf[id] = map[string]bool{}
			}
			s.memberOf[id][g.Name] = true
		}
	}
	users, err := tx.Users(store.UserFilter{Limit: store.All})
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		s.users[u.Username] = &u
		s.inOrder.users = append(s.inOrder.users, &u)
	}
	gates, err := tx.Gates(store.GateFilter{Limit: store.All})
	if err != nil {
		return nil, err
	}
	for _, g := range gates {
		s.gates[g.Code] = &g
		s.inOrder.gates = append(s.inOrder.gates, &g)
	}
	if s.inOrder.permissions, err = tx.Permissions(store.PermissionFilter{Limit: store.All}); err != nil {
		return nil, err
	}
	if s.inOrder.devices, err = tx.Devices(store.DeviceFilter{Limit: store.All}); err != nil {
		return nil, err
	}
	if err := s.readSecrets(tx, file); err != nil {
		return nil, err
	}
	return s, s.readEnded(tx, file, keys)
}

func (s *siteState) readSecrets(tx *store.Tx, file *sitefile.Site) error {
	credentials, err := tx.Credentials(store.CredentialFilter{Limit: store.All})
	if err != nil {
		return err
	}
	for _, c := range credentials {
		s.tokens[c.Lookup] = c
		switch c.Kind {
		case access.UserToken:
			s.ofUser[c.UserID] = append(s.ofUser[c.UserID], c)
		case access.DeviceToken:
			s.ofDevice[c.DeviceID] = c
		}
	}
	for _, u := range file.Users {
		known, _, _ := declared(u.Username, u.Was, s.users)
		if known == nil || u.Password == "" && u.PasswordHash == "" {
			continue
		}
		if s.hashes[known.ID], err = tx.PasswordHash(known.ID); err != nil {
			return err
		}
	}
	return nil
}

// readEnded looks for listed tokens that somebody has revoked or replaced since.
func (s *siteState) readEnded(tx *store.Tx, file *sitefile.Site, keys *credential.Keyring) error {
	look := func(owner *access.User, token string) error {
		if _, lives := s.token(keys, token); lives || owner == nil || token == "" {
			return nil
		}
		var p credential.Presented
		keys.Present(token, &p)
		c, err := tx.EndedCredential(owner.ID, p.Lookups[:p.N])
		if errors.Is(err, access.ErrNotFound) {
			return nil
		}
		s.ended[token] = c
		return err
	}
	for _, u := range file.Users {
		owner, _, _ := declared(u.Username, u.Was, s.users)
		for _, t := range u.Tokens {
			if err := look(owner, t); err != nil {
				return err
			}
		}
	}
	for _, d := range file.Devices {
		if err := look(s.users[d.User], d.Token); err != nil {
			return err
		}
	}
	return nil
}

// token finds the living credential that a token is.
func (s *siteState) token(keys *credential.Keyring, token string) (access.Credential, bool) {
	var p credential.Presented
	keys.Present(token, &p)
	for _, l := range p.Lookups[:p.N] {
		if c, ok := s.tokens[l]; ok {
			return c, true
		}
	}
	return access.Credential{}, false
}

// declared finds what an item of a file means: what has its name, else what has its former name and is renamed.
// both says that there are two, and nobody can know which one is meant.
func declared[T any](name, was string, have map[string]*T) (found *T, renamed, both bool) {
	old, hasOld := have[was]
	hasOld = hasOld && was != ""
	if now, ok := have[name]; ok {
		return now, false, hasOld
	}
	if hasOld {
		return old, true, false
	}
	return nil, false, false
}
