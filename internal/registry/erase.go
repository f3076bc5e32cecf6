package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
)

// EraseUser deletes a user, if that was not done before, and blanks all personal text about them: in their row, their devices, the labels of
// their tokens, the details of the audit, and their name and addresses in it as an actor. Events hold nothing but their id, and keep it. It cannot be undone.
// For owners alone. ErrNotFound for somebody who never was here; idempotent.
func (r *Registry) EraseUser(ctx context.Context, actor access.Actor, userID int64) error {
	err := r.change(ctx, actor, func(c *change) error {
		if err := c.byOwner(); err != nil {
			return err
		}
		if _, err := c.deleteUser(userID, 0); err != nil && !errors.Is(err, access.ErrNotFound) {
			return err
		}
		erased, err := c.EraseUser(userID)
		if err != nil || !erased {
			return err
		}
		if c.Actor.UserID == userID {
			c.Actor.Label, c.Actor.Address = store.ErasedName(userID), ""
		}
		return c.Record(access.ObjectUser, userID, access.ActionErase, nil, nil)
	})
	if err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	return nil
}
