package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/openway-access/openway/internal/access"
)

// Each event is one execution of a prepared single-row INSERT, straight on the driver. Measured against it (64 events, no
// fsync): several rows in one statement cost 10 to 40 % more, since SQLite passes such rows through a coroutine; one JSON
// parameter twice as much; database/sql's own Stmt a tenth more and 1,000 more allocations with $1 in place of ?, because
// the driver asks SQLite for the name of each parameter.

const (
	insertBatchSQLite = `INSERT INTO event_batch (writer_id, seq, policy_version, count, oldest_at, recorded_at)
		SELECT ?, ?, version, ?, ?, ? FROM policy WHERE id = 1 AND version = ? AND stamp = ?`
	eventColumnCount = 20
)

// batchStatements are the statements of each batch, kept prepared on the writer's connection.
type batchStatements struct {
	begin, commit *sql.Stmt
	batch, event  driver.Stmt
	args          [eventColumnCount]driver.NamedValue
}

func (b *batchStatements) prepare(ctx context.Context, c *sql.Conn) (err error) {
	for i := range b.args {
		b.args[i].Ordinal = i + 1
	}
	if b.begin, err = c.PrepareContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	if b.commit, err = c.PrepareContext(ctx, `COMMIT`); err != nil {
		return err
	}
	return nil
}

// prepareEvents prepares what needs tables, which a new database does not have yet.
func (b *batchStatements) prepareEvents(dc any) (err error) {
	if b.event != nil {
		return nil
	}
	p, ok := dc.(driver.Conn)
	if !ok {
		return fmt.Errorf("the driver's connection is a %T", dc)
	}
	if b.batch, err = p.Prepare(insertBatchSQLite); err != nil {
		return err
	}
	b.event, err = p.Prepare(`INSERT INTO events (` + eventInsertColumns + `) VALUES (?` + strings.Repeat(", ?", eventColumnCount-1) + `)`)
	return err
}

func (b *batchStatements) close() {
	for _, s := range []*sql.Stmt{b.begin, b.commit} {
		if s != nil {
			s.Close() //nolint:errcheck // the connection goes with it
		}
	}
	for _, s := range []driver.Stmt{b.batch, b.event} {
		if s != nil {
			s.Close() //nolint:errcheck // the connection goes with it
		}
	}
}

// exec runs a driver statement with the first values of args, without a context: inside a transaction of ours nothing waits
// for anybody, and a context would cost a goroutine for each statement.
func (b *batchStatements) exec(s driver.Stmt, values ...driver.Value) (driver.Result, error) {
	for i, v := range values {
		b.args[i].Value = v
	}
	run, ok := s.(driver.StmtExecContext)
	if !ok {
		return nil, fmt.Errorf("the driver's statement is a %T", s)
	}
	return run.ExecContext(context.Background(), b.args[:len(values)])
}

// appendSQLite writes a batch in a transaction of its own.
func (s *Store) appendSQLite(ctx context.Context, head batchHead, b *access.EventBatch) (landed bool, err error) {
	var last int64
	err = s.write.do(ctx, durable, func(*sql.Conn) (bool, error) {
		var err error
		last, err = s.write.insert(head, b)
		return last > 0, s.kind.fault(err)
	})
	if err != nil || last == 0 {
		return false, err
	}
	s.fresh.add(last, b)
	return true, nil
}

// appendHeldSQLite runs held while nobody else writes.
func (s *Store) appendHeldSQLite(ctx context.Context, held func(on conn, insert func(batchHead, *access.EventBatch) (bool, error)) (bool, error)) error {
	var last int64
	var batch *access.EventBatch
	err := s.write.do(ctx, durable, func(c *sql.Conn) (bool, error) {
		return held(c, func(head batchHead, b *access.EventBatch) (_ bool, err error) {
			batch = b
			last, err = s.write.insert(head, b)
			return last > 0, err
		})
	})
	if err == nil && last > 0 {
		s.fresh.add(last, batch)
	}
	return err
}

// insert writes a batch into the transaction that is open, and returns the id of its last event; 0 when the policy has moved. The ids of a
// batch follow one another, because nobody else writes meanwhile.
func (w *writer) insert(head batchHead, b *access.EventBatch) (last int64, err error) {
	st := &w.stmt
	err = w.conn.Raw(func(dc any) error {
		if err := st.prepareEvents(dc); err != nil {
			return err
		}
		r, err := st.exec(st.batch, head.writer, head.seq, int64(len(b.Events)), head.oldestAt, head.recordedAt, b.Policy.Version, b.Policy.Stamp)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		for _, e := range b.Events {
			if r, err = st.exec(st.event, string(e.Kind), micros(e.At), head.recordedAt, head.writer, head.seq,
				orNull(e.GateID), textOrNull(e.PresentedGate), orNull(e.UserID), orNull(e.CredentialID), orNull(e.DeviceID), orNull(e.PermissionID),
				orNull(e.ControllerID), e.PolicyVersion, string(e.Decision), string(e.Reason), countOf(e), instantOrNull(e.Until),
				e.Address, e.RequestID, e.Fingerprint); err != nil {
				return err
			}
		}
		last, err = r.LastInsertId()
		return err
	})
	if errors.Is(err, driver.ErrBadConn) {
		err = unavailable(err)
	}
	return last, err
}
