package main

import "context"

// RekeyCmd brings every sealed token under the newest key.
type RekeyCmd struct{}

// Help is the example of --help.
func (RekeyCmd) Help() string {
	return "To change the secret key: set OPENWAY_SECRET_KEY to the new key and OPENWAY_SECRET_KEY_FALLBACKS to the old one, restart every server with both, run this, " +
		"and take the old one out at the next restart. A server that lacks one of the keys answers its gates UNAVAILABLE as soon as this begins. " +
		"It may be broken off and run again.\n\nExample:\n\n    OPENWAY_SECRET_KEY=$(cat new.key) OPENWAY_SECRET_KEY_FALLBACKS=$(cat old.key) openway rekey"
}

// Run does it.
func (RekeyCmd) Run(a *app) error {
	return a.with(func(ctx context.Context, in *installation) error {
		done, err := in.desk.Rekey(ctx, in.actor)
		if err != nil {
			return err
		}
		a.printf("Sealed %d token(s) anew; %d were under this key already\n", done.Sealed, done.Already)
		return nil
	})
}
