package decide

import "github.com/openway-access/openway/internal/access"

// With returns the policy that d makes of s. s stays as it is.
func (s *Snapshot) With(d access.PolicyDelta) *Snapshot { return &Snapshot{mark: d.Mark} }

// WithUse returns s knowing that the credentials were used on day (days since 1970-01-01 UTC). The mark stays.
func (s *Snapshot) WithUse(day int, credentialIDs []int64) *Snapshot { return s }
