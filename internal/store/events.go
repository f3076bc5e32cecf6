package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/openway-access/openway/internal/access"
)

// Appending: one batch is one commit. The batch's row lands only where the policy row still bears the mark that decided the
// batch, and its events only with it. (writer, seq) is the primary key of batches, so that a batch can land once only, and a
// fence, which is a batch of no events, keeps out one that is still on its way.

// appendPatience bounds an append whose caller set no nearer deadline.
const appendPatience = 10 * time.Second

// lane is a writer that this process claimed. On PostgreSQL it has a connection of its own, made again when it broke.
type lane struct {
	mu     sync.Mutex // one batch in flight
	conn   *sql.Conn  // nil on SQLite, and until the next use after a failure
	used   time.Time
	landed landed
	// columns are the parameters of the last batch, and ids what its events got, for their memory.
	columns eventColumns
	ids     []int64
	// unnamed: a pooler has lost our prepared statement, so none is used any more.
	unnamed bool
}

func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

func (l *lane) drop() {
	if l.conn != nil {
		l.conn.Close() //nolint:errcheck // it is gone either way
		l.conn = nil
	}
}

// ClaimWriter makes a lane for this process: its batches are numbered (seq) by the caller, from 1, without gaps, one in flight.
func (s *Store) ClaimWriter(ctx context.Context) (id int64, err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	err = s.inWrite(ctx, func(tx *Tx) (bool, error) {
		if err := tx.warnOfLateCommits(); err != nil {
			return false, err
		}
		return true, tx.queryRow(`INSERT INTO writer (host, pid, started_at) VALUES ($1, $2, $3) RETURNING id`, host, os.Getpid(), micros(tx.Now)).Scan(&id)
	})
	if err != nil {
		return 0, fmt.Errorf("claim a writer: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, fmt.Errorf("claim a writer: %w", unavailable(sql.ErrConnDone))
	}
	s.lanes[id] = &lane{}
	s.beginUpkeep()
	return id, nil
}

// warnOfLateCommits tells the operator when PostgreSQL acknowledges commits before they are on the disk: a crash of it would
// then lose events of decisions that were answered. (On SQLite the setting is ours.)
func (tx *Tx) warnOfLateCommits() error {
	if tx.s.write != nil {
		return nil
	}
	var setting string
	if err := tx.queryRow(`SELECT current_setting('synchronous_commit')`).Scan(&setting); err != nil {
		return err
	}
	if setting == "off" {
		tx.s.log.WarnContext(tx.ctx, "PostgreSQL has synchronous_commit off: answered decisions can be lost when it crashes; set it on for this database")
	}
	return nil
}

// RetireWriter ends a lane: nothing is appended under its id any more.
func (s *Store) RetireWriter(ctx context.Context, id int64) error {
	s.mu.Lock()
	l := s.lanes[id]
	delete(s.lanes, id)
	s.mu.Unlock()
	if l != nil {
		l.close()
	}
	err := s.inWrite(ctx, func(tx *Tx) (bool, error) {
		_, err := tx.exec(`UPDATE writer SET retired_at = $1 WHERE id = $2 AND retired_at IS NULL`, micros(tx.Now), id)
		return true, err
	})
	if err != nil {
		return fmt.Errorf("retire writer %d: %w", id, err)
	}
	return nil
}

// RetireAbandoned ends the lanes that killed processes left open on SQLite. It is for whoever holds LockForServing: then nobody else has a
// lane, and as this waits for its turn to write, no commit of a dead process is under way. On PostgreSQL, where other servers
// may write and a commit may outlive its process, it does nothing.
func (s *Store) RetireAbandoned(ctx context.Context) error {
	if s.write == nil {
		return nil
	}
	s.mu.Lock()
	own := slices.Collect(maps.Keys(s.lanes))
	s.mu.Unlock()
	err := s.inWrite(ctx, func(tx *Tx) (bool, error) {
		query := `UPDATE writer SET retired_at = $1 WHERE retired_at IS NULL`
		if len(own) > 0 {
			query += ` AND id NOT IN ` + idList(own)
		}
		n, err := tx.exec(query, micros(tx.Now))
		return n > 0, err
	})
	if err != nil {
		return fmt.Errorf("retire the lanes of ended processes: %w", err)
	}
	return nil
}

func (s *Store) laneOf(writer int64) (*lane, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[writer]; l != nil {
		return l, nil
	}
	if s.closed {
		return nil, unavailable(sql.ErrConnDone)
	}
	return nil, fmt.Errorf("writer %d is not claimed by this process: %w", writer, access.ErrNotFound)
}

// AppendBatch writes b as batch seq of a lane in one transaction, if the policy is still b.Policy; else nothing is written and
// landed is false. It fills in RecordedAt, WriterID and Seq of the events, and ID when it landed.
//
// err wraps access.ErrOutcomeUnknown when the fate of the commit is unknown (then the lane is to be retired, and FenceBatch tells);
// after any other error surely nothing was written, and seq may be used again.
func (s *Store) AppendBatch(ctx context.Context, writer, seq int64, b *access.EventBatch) (landed bool, err error) {
	if len(b.Events) == 0 {
		return false, errors.New("append a batch: it has no events")
	}
	l, err := s.laneOf(writer)
	if err != nil {
		return false, fmt.Errorf("append a batch: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, appendPatience)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	head := s.stamp(writer, seq, b)
	if s.write != nil {
		landed, err = s.appendSQLite(ctx, l, head, b)
	} else {
		landed, err = s.appendPostgres(ctx, l, head, b)
	}
	if err != nil {
		return false, fmt.Errorf("append batch %d of writer %d: %w", seq, writer, err)
	}
	return landed, nil
}

// AppendBatchHeld keeps the policy from moving (PostgreSQL: FOR SHARE; SQLite: nobody else writes), calls decide with the mark
// that now stands, and writes what decide returns as batch seq. Nothing is written when that is nil or empty. decide may read
// with other methods, but must not write, and its batch must bear the mark that it was given.
//
// Errors are those of AppendBatch; decide's own are returned as they are.
func (s *Store) AppendBatchHeld(ctx context.Context, writer, seq int64, decide func(ctx context.Context, now access.PolicyMark) (*access.EventBatch, error)) error {
	l, err := s.laneOf(writer)
	if err != nil {
		return fmt.Errorf("append a batch: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, appendPatience)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	held := func(on conn, insert func(head batchHead, b *access.EventBatch) (bool, error)) (bool, error) {
		var mark access.PolicyMark
		row := on.QueryRowContext(ctx, `SELECT version, stamp FROM policy WHERE id = 1`+s.kind.forShare())
		if err := s.kind.fault(row.Scan(&mark.Version, &mark.Stamp)); err != nil {
			return false, fmt.Errorf("hold the policy: %w", err)
		}
		b, err := decide(ctx, mark)
		if err != nil || b == nil || len(b.Events) == 0 {
			return false, err
		}
		if b.Policy != mark {
			return false, fmt.Errorf("append batch %d of writer %d: decided by policy %d, but %d is held", seq, writer, b.Policy.Version, mark.Version)
		}
		landed, err := insert(s.stamp(writer, seq, b), b)
		if err == nil && !landed {
			err = errors.New("the policy moved although it was held")
		}
		if err != nil {
			return false, fmt.Errorf("append batch %d of writer %d: %w", seq, writer, s.kind.fault(err))
		}
		return true, nil
	}
	if s.write != nil {
		return s.appendHeldSQLite(ctx, l, held)
	}
	return s.appendHeldPostgres(ctx, l, held)
}

// landed remembers a batch for those who would have to read it otherwise: the index, and the sums.
func (s *Store) landed(l *lane, head batchHead, b *access.EventBatch) {
	s.fresh.add(b)
	l.landed.add(head.seq, b)
}

// FenceBatch settles a batch whose outcome is unknown: it waits for a commit that is still running (or fails at ctx's end, and
// may be called again), and then says whether the batch landed, and with how many events. If it did not it never will: an empty
// batch stands in its place.
func (s *Store) FenceBatch(ctx context.Context, writer, seq int64) (landed bool, count int, err error) {
	err = s.inWrite(ctx, func(tx *Tx) (bool, error) {
		_, err := tx.exec(`INSERT INTO event_batch (writer_id, seq, policy_version, count, oldest_at, recorded_at)
			SELECT $1, $2, version, 0, $3, $4 FROM policy WHERE id = 1 ON CONFLICT (writer_id, seq) DO NOTHING`, writer, seq, micros(tx.Now), micros(tx.Now))
		if err != nil {
			return false, err
		}
		return true, tx.queryRow(`SELECT count FROM event_batch WHERE writer_id = $1 AND seq = $2`, writer, seq).Scan(&count)
	})
	if err != nil {
		return false, 0, fmt.Errorf("fence batch %d of writer %d: %w", seq, writer, err)
	}
	return count > 0, count, nil
}

// batchHead is a row of event_batch.
type batchHead struct {
	writer, seq, recordedAt, oldestAt int64
	firstID                           int64 // no event of it has a lower id; 0 = not known
}

// stamp fills in what the store knows of a batch's events.
func (s *Store) stamp(writer, seq int64, b *access.EventBatch) batchHead {
	now := s.now()
	h := batchHead{writer: writer, seq: seq, recordedAt: micros(now), oldestAt: micros(b.Events[0].At)}
	if last := s.lastID.Load(); last != 0 {
		h.firstID = last + 1
	}
	for _, e := range b.Events {
		e.RecordedAt, e.WriterID, e.Seq = now, writer, seq
		h.oldestAt = min(h.oldestAt, micros(e.At))
	}
	return h
}

// eventInsertColumns are the columns that an append writes, in the order of its parameters.
const eventInsertColumns = `kind, occurred_at, recorded_at, writer_id, seq, gate_id, presented_gate, user_id, credential_id, device_id, permission_id,
	controller_id, policy_version, decision, reason, count, until, address, request_id, fingerprint`

// countOf is an event's count, which is at least the event itself, and at most what the column holds.
func countOf(e *access.Event) int64 { return int64(min(max(e.Count, 1), math.MaxInt32)) }
