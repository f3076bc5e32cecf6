package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/openway-access/openway/internal/access"
)

// usageError is a mistake on the command line or in a setting's form: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func nothingToChange(noun string) error {
	return usagef("there is nothing to change: give a flag; see openway %s change --help", noun)
}

// asUsage makes kong's complaints ours.
func asUsage(err error) error {
	var parse *kong.ParseError
	if errors.As(err, &parse) {
		if cmd := parse.Context.Selected(); cmd != nil {
			return usagef("%w; see %s --help", err, cmd.FullPath())
		}
		return usagef("%w; see openway --help", err)
	}
	return err
}

// settingError is a setting that cannot be used: it names the setting.
func settingError(name, format string, args ...any) error {
	return fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...))
}

// message says an error in words for a terminal. It is the one place where kinds of error become the command line's words; the rest
// of an error's text says what was tried.
func message(err error) string {
	var invalid access.Invalid
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &invalid):
		return invalid.Error()
	case errors.Is(err, access.ErrOutcomeUnknown):
		return "the connection to the database broke while it committed: the change may or may not have been made; look before trying again: " + err.Error()
	case errors.Is(err, context.Canceled): // by a signal: nothing else ends a command's context
		return errInterrupted.Error()
	case errors.As(err, &refused) && refused.Code == "42501":
		return err.Error() + "; the role that openway connects as lacks this right: make it the owner of the database (ALTER DATABASE … OWNER TO …), or GRANT it what it needs"
	case errors.Is(err, access.ErrConflict):
		return strings.TrimSuffix(err.Error(), ": "+access.ErrConflict.Error()) // the kind is no news to people
	case errors.Is(err, access.ErrUnavailable):
		return "the database cannot be used now: " + err.Error()
	}
	return err.Error()
}
