package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Tx is one transaction with one clock. Methods on it are the parts of which changes are made.
type Tx struct {
	// Now is the instant of everything in this transaction.
	Now time.Time
	// Mark is the policy that a Change is making, or the one that stands in a Note or View.
	Mark access.PolicyMark
	// Was is the policy that a Change found: all that earlier changes made, and nothing else, is in it.
	Was access.PolicyMark
	// Actor is who makes the change; empty in a View.
	Actor access.Actor

	ctx      context.Context
	s        *Store
	on       conn
	moves    bool // a Change: recorded lines are part of the policy feed
	recorded int
}

// conn is what *sql.Tx and *sql.Conn have in common.
type conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// exec runs a statement and returns how many rows it touched. Errors have their kind (fault) already.
func (tx *Tx) exec(query string, args ...any) (int64, error) {
	r, err := tx.on.ExecContext(tx.ctx, query, args...)
	if err != nil {
		return 0, tx.s.kind.fault(err)
	}
	return r.RowsAffected()
}

// query runs a query. The caller closes the rows, and gives rows.Err to fault; each does both, and is the usual way.
func (tx *Tx) query(query string, args ...any) (*sql.Rows, error) {
	rows, err := tx.on.QueryContext(tx.ctx, query, args...)
	if err != nil {
		return nil, tx.s.kind.fault(err)
	}
	return rows, nil
}

// each runs a query and calls scan for every row, with the row's Scan.
func (tx *Tx) each(query string, args []any, scan func(row scanner) error) error {
	var rows *sql.Rows
	var err error
	if p, ok := tx.on.(prepared); ok {
		var back func()
		rows, back, err = p.rows(tx.ctx, query, args)
		defer back()
	} else {
		rows, err = tx.on.QueryContext(tx.ctx, query, args...)
	}
	if err != nil {
		return tx.s.kind.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return tx.s.kind.fault(rows.Err())
}

// queryRow runs a query for at most one row. The error of its Scan is access.ErrNotFound when there is none.
func (tx *Tx) queryRow(query string, args ...any) scanner {
	return row{tx.on.QueryRowContext(tx.ctx, query, args...), tx.s.kind}
}

// scanner is one row: a *sql.Rows that stands on it, or what queryRow returns.
type scanner interface{ Scan(dest ...any) error }

type row struct {
	r    *sql.Row
	kind dialect
}

func (r row) Scan(dest ...any) error { return r.kind.fault(r.r.Scan(dest...)) }

// taken reports whether err says that a row of this table would break one of its unique indexes. On PostgreSQL the
// transaction is lost then: return an error from fn, or avoid it by ON CONFLICT.
func (tx *Tx) taken(err error, table string) bool { return tx.s.kind.taken(err, table) }

func (tx *Tx) readMark() error {
	err := tx.queryRow(`SELECT version, stamp FROM policy WHERE id = 1`).Scan(&tx.Mark.Version, &tx.Mark.Stamp)
	if err != nil {
		return fmt.Errorf("read the policy's mark: %w", err)
	}
	return nil
}

// Record writes an audit line of this transaction; in a Change it is an entry of the policy feed as well, and replicas
// will re-read the object it names. before and after hold only what differs, never a secret; nil is fine.
func (tx *Tx) Record(object string, id int64, action string, before, after access.Fields) error {
	detail, err := detailOf(before, after)
	if err != nil {
		return fmt.Errorf("record %s of %s %d: %w", action, object, id, err)
	}
	a := tx.Actor
	_, err = tx.exec(`INSERT INTO change (version, stamp, at, actor_kind, actor_user_id, actor_label, address, request_id, session_id, object, object_id, action, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		tx.Mark.Version, tx.Mark.Stamp, micros(tx.Now), a.Kind, orNull(a.UserID), a.Label, a.Address, a.RequestID, orNull(a.SessionID), object, id, action, detail)
	if err != nil {
		return fmt.Errorf("record %s of %s %d: %w", action, object, id, err)
	}
	tx.recorded++
	return nil
}

// changeDetail is the JSON in change.detail.
type changeDetail struct {
	Before access.Fields `json:"before,omitempty"`
	After  access.Fields `json:"after,omitempty"`
}

// detailOf is the column of two sides of a change.
func detailOf(before, after access.Fields) (string, error) {
	if len(before)+len(after) == 0 {
		return "", nil
	}
	b, err := json.Marshal(changeDetail{before, after})
	return string(b), err
}

// micros is t as the database keeps instants: Unix microseconds UTC.
func micros(t time.Time) int64 { return t.UnixMicro() }

// orNull is a number for an optional column: 0 is NULL.
func orNull(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

// instantOrNull is an instant for an optional column: the zero time is NULL.
func instantOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// textOrNull is a text for an optional column: "" is NULL.
func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// instant scans an instant column into a time.Time; NULL becomes the zero time.
type instant struct{ t *time.Time }

func asTime(t *time.Time) instant { return instant{t} }

// Scan implements sql.Scanner.
func (i instant) Scan(v any) error {
	var n sql.NullInt64
	if err := n.Scan(v); err != nil {
		return err
	}
	*i.t = time.Time{}
	if n.Valid {
		*i.t = time.UnixMicro(n.Int64).UTC()
	}
	return nil
}

// number scans an optional number; NULL becomes 0.
type number[T int | int32 | int64] struct{ n *T }

func asNumber[T int | int32 | int64](n *T) number[T] { return number[T]{n} }

// Scan implements sql.Scanner.
func (o number[T]) Scan(v any) error {
	var n sql.NullInt64
	if err := n.Scan(v); err != nil {
		return err
	}
	*o.n = T(n.Int64)
	return nil
}

// text scans an optional text; NULL becomes "".
type text struct{ s *string }

func asText(s *string) text { return text{s} }

// Scan implements sql.Scanner.
func (t text) Scan(v any) error {
	var s sql.NullString
	if err := s.Scan(v); err != nil {
		return err
	}
	*t.s = s.String
	return nil
}
