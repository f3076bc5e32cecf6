package decide

import "github.com/openway-access/openway/internal/access"

// Builder compiles a policy that it is told row by row. It implements access.PolicySink.
type Builder struct{}

// NewBuilder returns an empty Builder. Credentials that idle out do so after idleDays days without use; 0 = never.
func NewBuilder(idleDays int) *Builder { return &Builder{} }

// Site tells what holds for the whole site.
func (b *Builder) Site(site access.PolicySite) {}

// Gate tells a gate.
func (b *Builder) Gate(g access.PolicyGate) {}

// User tells a user.
func (b *Builder) User(u access.PolicyUser) {}

// Member tells that a user is in a group.
func (b *Builder) Member(userID, groupID int64) {}

// Permission tells a permission.
func (b *Builder) Permission(p access.PolicyPermission) {}

// Credential tells a credential.
func (b *Builder) Credential(c access.PolicyCredential) {}

// Snapshot compiles what the builder was told, under the mark of that policy.
func (b *Builder) Snapshot(mark access.PolicyMark) *Snapshot { return &Snapshot{mark: mark} }
