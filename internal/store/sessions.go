package store

import (
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Session is a session of the admin pages. Its secret lies with the browser; Lookup is its SHA-256.
type Session struct {
	ID        int64
	Lookup    access.Lookup
	UserID    int64
	CreatedAt time.Time
	SeenAt    time.Time // at most once a minute
	ExpiresAt time.Time
	Address   string
	Agent     string
}

const sessionColumns = `id, user_id, created_at, seen_at, expires_at, address, agent`

func scanSession(row scanner) (s Session, err error) {
	err = row.Scan(&s.ID, &s.UserID, asTime(&s.CreatedAt), asTime(&s.SeenAt), asTime(&s.ExpiresAt), &s.Address, &s.Agent)
	return s, err
}

// InsertSession writes a new session and sets its ID, CreatedAt and SeenAt.
func (tx *Tx) InsertSession(s *Session) error {
	err := tx.queryRow(`INSERT INTO session (lookup, user_id, created_at, seen_at, expires_at, address, agent) VALUES ($1, $2, $3, $3, $4, $5, $6) RETURNING id`,
		s.Lookup[:], s.UserID, micros(tx.Now), micros(s.ExpiresAt), s.Address, s.Agent).Scan(&s.ID)
	if err != nil {
		return fmt.Errorf("insert a session of user %d: %w", s.UserID, err)
	}
	s.CreatedAt, s.SeenAt = tx.Now, tx.Now
	return nil
}

// SessionByLookup returns the session with this digest if it has not expired.
func (tx *Tx) SessionByLookup(l access.Lookup) (Session, error) {
	s, err := scanSession(tx.queryRow(`SELECT `+sessionColumns+` FROM session WHERE lookup = $1 AND expires_at > $2`, l[:], micros(tx.Now)))
	if err != nil {
		return Session{}, fmt.Errorf("session: %w", err)
	}
	s.Lookup = l
	return s, nil
}

// SessionsOf lists the sessions of a user that have not expired and were seen since an instant, the one seen last first, at most 100.
// Their Lookup is not filled in.
func (tx *Tx) SessionsOf(userID int64, seenSince time.Time) ([]Session, error) {
	var all []Session
	err := tx.each(`SELECT `+sessionColumns+` FROM session WHERE user_id = $1 AND expires_at > $2 AND seen_at > $3 ORDER BY seen_at DESC, id DESC LIMIT 100`,
		[]any{userID, micros(tx.Now), micros(seenSince)}, func(row scanner) error {
			s, err := scanSession(row)
			all = append(all, s)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("list the sessions of user %d: %w", userID, err)
	}
	return all, nil
}

// SessionSeen notes that a session is used now.
func (tx *Tx) SessionSeen(id int64) error {
	if _, err := tx.exec(`UPDATE session SET seen_at = $1 WHERE id = $2 AND seen_at < $1`, micros(tx.Now), id); err != nil {
		return fmt.Errorf("note the use of session %d: %w", id, err)
	}
	return nil
}

// DeleteSession ends one session of a user; deleted is false when there was none.
func (tx *Tx) DeleteSession(userID, id int64) (deleted bool, err error) {
	n, err := tx.exec(`DELETE FROM session WHERE id = $1 AND user_id = $2`, id, userID)
	if err != nil {
		return false, fmt.Errorf("end session %d of user %d: %w", id, userID, err)
	}
	return n > 0, nil
}

// DeleteSessionsOf ends all sessions of a user and says how many there were.
func (tx *Tx) DeleteSessionsOf(userID int64) (int, error) {
	n, err := tx.exec(`DELETE FROM session WHERE user_id = $1`, userID)
	if err != nil {
		return 0, fmt.Errorf("end the sessions of user %d: %w", userID, err)
	}
	return int(n), nil
}

// DeleteStaleSessions removes what is left of a user's sessions that expired or were last seen before an instant.
func (tx *Tx) DeleteStaleSessions(userID int64, seenBefore time.Time) error {
	if _, err := tx.exec(`DELETE FROM session WHERE user_id = $1 AND (expires_at <= $2 OR seen_at <= $3)`, userID, micros(tx.Now), micros(seenBefore)); err != nil {
		return fmt.Errorf("remove old sessions of user %d: %w", userID, err)
	}
	return nil
}
