package registry

import (
	"errors"
	"fmt"

	"github.com/openway-access/openway/internal/access"
)

// ErrOwnersOnly refuses to let somebody who is no owner make owners, managers or viewers, or touch the account of an owner: whoever may
// set an owner's password is one.
var ErrOwnersOnly = fmt.Errorf("only an owner may do this: %w", access.ErrDenied)

// byOwner is nil when the change is made by an owner, or by somebody who acts beside the roles: the command line, the system, a phone. It looks at
// the roles as they are in this transaction, not as they were when the page was made.
func (c *change) byOwner() error {
	owns, err := actsAsOwner(c.User, c.Actor)
	if err != nil {
		return err
	}
	if !owns {
		return ErrOwnersOnly
	}
	return nil
}

// actsAsOwner reports whether an actor has the rights of an owner.
func actsAsOwner(user func(id int64) (access.User, error), actor access.Actor) (bool, error) {
	if actor.Kind != "user" {
		return true, nil
	}
	u, err := user(actor.UserID)
	if errors.Is(err, access.ErrNotFound) {
		return false, nil
	}
	return owner(u), err
}

// mayChange is nil when the actor may change or delete the account: that of an owner is for owners, also while it is deactivated.
func (c *change) mayChange(u access.User) error {
	if u.Role() != access.Owner {
		return nil
	}
	return c.byOwner()
}
