package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/credential"
	"github.com/openway-access/openway/internal/store"
)

// Sessions of the admin pages. A session ends when it idles, when it is old, when its user signs out or ends it, and at once when the
// password changes, the user is shut out, or loses a role.
const (
	// SessionIdle is a working day: whoever leaves the desk in the evening signs in the next morning.
	SessionIdle = 8 * time.Hour
	// SessionLife bounds a session that is used all the time, as the guard's screen is: the password is asked for once a week.
	SessionLife = 7 * 24 * time.Hour
	// sessionTouch is how exactly the last use of a session is known. Each note of it is a commit.
	sessionTouch = time.Minute
)

// Session is one browser that is signed in to the admin pages.
type Session = store.Session

// ErrNoRole refuses a sign-in to the admin pages with the right password: its user has no role. It is told only to who knows the password.
var ErrNoRole = fmt.Errorf("the user has no role in the admin pages: %w", access.ErrDenied)

// sessionLookup is what the database keeps of a session's secret. It is random with 256 bits, so a plain digest does.
func sessionLookup(secret string) access.Lookup { return sha256.Sum256([]byte(secret)) }

// SignIn checks a user name and password and opens a session of the admin pages for the browser that agent names (cut to 200 characters).
// The secret is told here only; it is for the browser's cookie. replaced is the secret of the session that the browser had, "" = none: it
// ends. Errors are those of Login, and ErrNoRole.
func (r *Registry) SignIn(ctx context.Context, actor access.Actor, username, password, agent, replaced string) (secret string, user access.User, err error) {
	secret = newSecret()
	user, err = r.login(ctx, actor, username, password, func(c *change, u *access.User) error {
		if u.Role() == access.None {
			return ErrNoRole
		}
		if replaced != "" {
			if err := c.endReplaced(replaced); err != nil {
				return err
			}
		}
		return c.openSession(u, secret, agent)
	})
	if err != nil {
		secret = ""
	}
	return secret, user, err
}

func newSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails: the runtime ends the process first
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// openSession makes a session and its audit line, and forgets those of the same user that are over.
func (c *change) openSession(u *access.User, secret, agent string) error {
	if err := c.DeleteStaleSessions(u.ID, c.Now.Add(-SessionIdle)); err != nil {
		return err
	}
	s := Session{
		Lookup: sessionLookup(secret), UserID: u.ID, ExpiresAt: c.Now.Add(SessionLife),
		Address: c.Actor.Address, Agent: cut(agent, maxLabel),
	}
	if err := c.InsertSession(&s); err != nil {
		return err
	}
	u.LastLoginAt = c.Now
	if err := c.UserSeen(u.ID); err != nil {
		return err
	}
	return c.Record(access.ObjectSession, s.ID, access.ActionSignIn, nil, filled(access.Fields{"user_id": idText(u.ID), "agent": s.Agent}))
}

// endReplaced ends the session that a browser had before it signed in again, whoever's it was.
func (c *change) endReplaced(secret string) error {
	old, err := c.SessionByLookup(sessionLookup(secret))
	if errors.Is(err, access.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = c.DeleteSession(old.UserID, old.ID)
	return err
}

// Session says whose session a secret stands for, with the user's roles as they are now; it counts as a use of the session.
// ErrBadToken when there is no such session (any more), or its user may not use the admin pages now.
func (r *Registry) Session(ctx context.Context, secret string) (Session, access.User, error) {
	var session Session
	var user access.User
	var now time.Time
	err := r.store.View(ctx, func(tx *store.Tx) (err error) {
		now = tx.Now
		if session, err = tx.SessionByLookup(sessionLookup(secret)); err != nil {
			return err
		}
		if now.Sub(session.SeenAt) >= SessionIdle {
			return access.ErrNotFound
		}
		user, err = tx.User(session.UserID)
		return err
	})
	switch {
	case errors.Is(err, access.ErrNotFound), err == nil && (!user.Active || user.Role() == access.None):
		return Session{}, access.User{}, fmt.Errorf("session: %w", access.ErrBadToken)
	case err != nil:
		return Session{}, access.User{}, fmt.Errorf("session: %w", err)
	}
	if now.Sub(session.SeenAt) >= sessionTouch {
		// A use that cannot be noted now will be noted at the next one.
		err := r.store.Note(ctx, access.Actor{}, func(tx *store.Tx) error { return tx.SessionSeen(session.ID) })
		if err != nil {
			r.logger.WarnContext(ctx, "the use of a session was not noted", "session_id", session.ID, "error", err)
		}
	}
	return session, user, nil
}

// Sessions lists the sessions of a user that are open, the one seen last first.
func (r *Registry) Sessions(ctx context.Context, userID int64) ([]Session, error) {
	return reading(ctx, r, func(tx *store.Tx) ([]Session, error) { return tx.SessionsOf(userID, tx.Now.Add(-SessionIdle)) })
}

// SignOut ends a session of a user. Idempotent.
func (r *Registry) SignOut(ctx context.Context, actor access.Actor, userID, sessionID int64) error {
	err := r.store.Note(ctx, actor, func(tx *store.Tx) error {
		ended, err := tx.DeleteSession(userID, sessionID)
		if err != nil || !ended {
			return err
		}
		return tx.Record(access.ObjectSession, sessionID, access.ActionSignOut, access.Fields{"user_id": idText(userID)}, nil)
	})
	if err != nil {
		return fmt.Errorf("sign out: %w", err)
	}
	return nil
}

// SignOutEverywhere ends all sessions of a user, the one at hand too, and says how many there were.
func (r *Registry) SignOutEverywhere(ctx context.Context, actor access.Actor, userID int64) (n int, err error) {
	err = r.store.Note(ctx, actor, func(tx *store.Tx) error {
		if n, err = tx.DeleteSessionsOf(userID); err != nil || n == 0 {
			return err
		}
		return tx.Record(access.ObjectUser, userID, access.ActionSignOutEverywhere, nil, access.Fields{"sessions": strconv.Itoa(n)})
	})
	if err != nil {
		return 0, fmt.Errorf("sign out everywhere: %w", err)
	}
	return n, nil
}

// ChangeOwnPassword replaces the password of a user who knows the present one. It ends all the user's tokens and sessions, and opens a new
// session in the place of the one at hand. ErrBadLogin when the present password is another one, else the errors are those of SetPassword.
func (r *Registry) ChangeOwnPassword(ctx context.Context, actor access.Actor, userID int64, current, next, agent string) (secret string, err error) {
	secret = newSecret()
	err = r.replacePassword(ctx, actor, userID, Password{Plain: next}, func(hash string) error {
		good := false
		err := r.slots.use(ctx, true, func() error {
			good, _ = credential.VerifyPassword(hash, current)
			return nil
		})
		if err == nil && !good {
			err = access.ErrBadLogin
		}
		return err
	}, func(c *change) error {
		u, err := c.User(userID)
		if err != nil {
			return err
		}
		if !u.Active || u.Role() == access.None { // shut out meanwhile
			return ErrNoRole
		}
		return c.openSession(&u, secret, agent)
	})
	if errors.Is(err, access.ErrBadLogin) {
		r.refused(ctx, actor, userID)
	}
	if err != nil {
		return "", fmt.Errorf("change the own password: %w", err)
	}
	return secret, nil
}

// SetLanguage sets the language in which a user reads the admin pages: "" (the browser's), "en" or "ru". Another change of the user, made at the same
// time by somebody else, is left as it is.
func (r *Registry) SetLanguage(ctx context.Context, actor access.Actor, userID int64, language string) error {
	return r.change(ctx, actor, func(c *change) error {
		u, err := c.User(userID)
		if err != nil {
			return err
		}
		u.Language = language
		_, err = c.updateUser(u)
		return err
	})
}
