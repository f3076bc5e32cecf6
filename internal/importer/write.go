package importer

import (
	"context"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// number gives ids to what had none in Django.
func (p *plan) number(nextPermission, nextCredential int64, s *site) {
	nextPermission = max(nextPermission, s.sequences[permissions.name]+1)
	for _, is := range p.permissions {
		nextPermission = max(nextPermission, is.ID+1)
	}
	for i := range p.permissions {
		if p.permissions[i].ID == 0 {
			p.permissions[i].ID = nextPermission
			nextPermission++
		}
	}
	for i := range p.credentials {
		p.credentials[i].ID = nextCredential + int64(i)
	}
}

// key makes the digest of a credential, and its sealed copy where somebody needs the token again: as ADR 4 has it, a token that others made is
// kept under the server's key, whatever it looks like.
func (c *plannedCredential) key(keys *credential.Keyring) access.Credential {
	is := c.Credential
	is.Scheme = credential.SchemeFor(c.token, c.minted)
	is.Lookup = keys.Lookup(c.token, is.Scheme)
	is.Preview = credential.Preview(c.token)
	is.Sealed = keys.Seal(is.ID, c.token)
	return is
}

// tell tells the plan as a policy.
func (p *plan) tell(to access.PolicySink, keys *credential.Keyring) {
	to.Site(access.PolicySite{DefaultReleaseMS: access.DefaultReleaseMS})
	for _, g := range p.gates {
		to.Gate(access.PolicyGate{ID: g.ID, Code: g.Code})
	}
	for _, u := range p.users {
		to.User(access.PolicyUser{ID: u.ID, Active: u.Active})
	}
	for _, m := range p.members {
		to.Member(m.UserID, m.GroupID)
	}
	for _, is := range p.permissions {
		to.Permission(access.PolicyPermission{ID: is.ID, GateID: is.GateID, UserID: is.UserID, GroupID: is.GroupID, Allow: is.Allow})
	}
	for i := range p.credentials {
		c := p.credentials[i].key(keys)
		until := int64(0)
		if !c.ValidUntil.IsZero() {
			until = c.ValidUntil.UnixMicro()
		}
		to.Credential(access.PolicyCredential{
			ValidUntil: until, ID: c.ID, UserID: c.UserID, DeviceID: c.DeviceID, Lookup: c.Lookup, Inactive: c.State == access.CredentialInactive, LastUsedDay: int32(c.LastUsedDay),
		})
	}
}

// write writes everything into an empty database.
func (im *Import) write(ctx context.Context, to *store.Import, keys *credential.Keyring, lastEvent int64) error {
	p, s := im.plan, im.site
	nextPermission, err := to.NextID("permission")
	if err != nil {
		return err
	}
	nextCredential, err := to.NextID("credential")
	if err != nil {
		return err
	}
	p.number(nextPermission, nextCredential, s)
	check, err := to.KeyCheck()
	if err != nil {
		return err
	}
	sealing, err := keys.Under(check)
	if err != nil {
		return err
	}
	credentials := make([]access.Credential, len(p.credentials))
	byToken := make(map[string]credentialRef, len(p.credentials))
	for i := range p.credentials {
		c := p.credentials[i].key(sealing)
		credentials[i], byToken[p.credentials[i].token] = c, credentialRef{c.ID, c.UserID}
	}
	for _, step := range []func() error{
		func() error { return to.Gates(p.gates) },
		func() error { return to.Users(p.users, p.hashes) },
		func() error { return to.Passwords(p.passwords) },
		func() error { return to.Groups(p.groups) },
		func() error { return to.Members(p.members) },
		func() error { return to.Permissions(p.permissions) },
		func() error { return to.Devices(p.devices) },
		func() error { return to.Credentials(credentials) },
		func() error {
			return im.writeEvents(ctx, to, &eventMaker{keys: keys, credentials: byToken, since: im.since()})
		},
		func() error { return im.writeLog(ctx, to) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, t := range []struct {
		table string
		last  int64
	}{
		{"gate", s.sequences[gates.name]},
		{"users", s.sequences[users.name]},
		{"user_group", s.sequences[groups.name]},
		{"permission", s.sequences[permissions.name]},
		{"device", s.sequences[devices.name]},
		{"credential", 0},
		{"events", lastEvent},
	} {
		if err := to.KeepIDs(t.table, t.last); err != nil {
			return err
		}
	}
	return nil
}

// since is when the first event is from that is kept.
func (im *Import) since() int64 {
	if im.o.EventsSince.IsZero() {
		return 0
	}
	return im.o.EventsSince.UnixMicro()
}

func (im *Import) writeEvents(ctx context.Context, to *store.Import, m *eventMaker) error {
	if im.site.events.kept == 0 {
		return nil
	}
	next, stop := stream(ctx, im.from, events, m.event)
	defer stop()
	step, n := im.o.step(stepEvents), int64(0)
	_, err := to.Events(im.site.events.first, func() (*access.Event, error) {
		if n%streamLength == 0 {
			step(n, im.site.events.kept)
		}
		n++
		return next()
	})
	return err
}

func (im *Import) writeLog(ctx context.Context, to *store.Import) error {
	if im.site.read[adminLog.name] == 0 {
		return nil
	}
	next, stop := stream(ctx, im.from, adminLog, lineMaker{im.site}.line)
	defer stop()
	_, err := to.PastChanges(next)
	return err
}
