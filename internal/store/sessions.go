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
	s := Session{Lookup: l}
	err := tx.queryRow(`SELECT id, user_id, created_at, seen_at, expires_at, address, agent FROM session WHERE lookup = $1 AND expires_at > $2`, l[:], micros(tx.Now)).
		Scan(&s.ID, &s.UserID, asTime(&s.CreatedAt), asTime(&s.SeenAt), asTime(&s.ExpiresAt), &s.Address, &s.Agent)
	if err != nil {
		return Session{}, fmt.Errorf("session: %w", err)
	}
	return s, nil
}

// DeleteSessionsOf ends all sessions of a user and says how many there were.
func (tx *Tx) DeleteSessionsOf(userID int64) (int, error) {
	n, err := tx.exec(`DELETE FROM session WHERE user_id = $1`, userID)
	if err != nil {
		return 0, fmt.Errorf("end the sessions of user %d: %w", userID, err)
	}
	return int(n), nil
}
