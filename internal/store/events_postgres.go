package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/openway-access/openway/internal/access"
)

// appendSQL is a whole batch in one statement, which commits by itself: one round trip, and no transaction that a lost
// connection could leave open. It returns the ids of the events in their order, none when the policy has moved.
const appendSQL = `WITH batch AS (
	INSERT INTO event_batch (writer_id, seq, policy_version, count, oldest_at, recorded_at, first_id)
	SELECT $1::bigint, $2::bigint, version, $3::bigint, $4::bigint, $5::bigint, NULLIF($25::bigint, 0) FROM policy WHERE id = 1 AND version = $6::bigint AND stamp = $7::bigint
	RETURNING 1)
INSERT INTO events (` + eventInsertColumns + `)
SELECT unnest($8::text[]), unnest($9::bigint[]), $5, $1, $2, NULLIF(unnest($10::bigint[]), 0), NULLIF(unnest($11::text[]), ''), NULLIF(unnest($12::bigint[]), 0),
	NULLIF(unnest($13::bigint[]), 0), NULLIF(unnest($14::bigint[]), 0), NULLIF(unnest($15::bigint[]), 0), NULLIF(unnest($16::bigint[]), 0),
	unnest($17::bigint[]), unnest($18::text[]), unnest($19::text[]), unnest($20::bigint[]), NULLIF(unnest($21::bigint[]), 0),
	unnest($22::text[]), unnest($23::text[]), unnest($24::text[])
FROM batch
RETURNING id`

// eventColumns are the events of a batch, column by column.
type eventColumns struct {
	kind, presentedGate, decision, reason, address, requestID, fingerprint                   []string
	occurredAt, gate, user, credential, device, permission, controller, policy, count, until []int64
	wire                                                                                     []byte // the same, encoded
	values                                                                                   [][]byte
	ends                                                                                     []int
}

// args are an empty place for the mode of execution, and the parameters of appendSQL. The columns keep their memory from batch to batch.
func (c *eventColumns) args(head batchHead, b *access.EventBatch) []any {
	for _, texts := range []*[]string{&c.kind, &c.presentedGate, &c.decision, &c.reason, &c.address, &c.requestID, &c.fingerprint} {
		*texts = (*texts)[:0]
	}
	for _, numbers := range []*[]int64{
		&c.occurredAt, &c.gate, &c.user, &c.credential, &c.device, &c.permission, &c.controller, &c.policy, &c.count, &c.until,
	} {
		*numbers = (*numbers)[:0]
	}
	for _, e := range b.Events {
		c.kind = append(c.kind, string(e.Kind))
		c.occurredAt = append(c.occurredAt, micros(e.At))
		c.gate = append(c.gate, e.GateID)
		c.presentedGate = append(c.presentedGate, e.PresentedGate)
		c.user = append(c.user, e.UserID)
		c.credential = append(c.credential, e.CredentialID)
		c.device = append(c.device, e.DeviceID)
		c.permission = append(c.permission, e.PermissionID)
		c.controller = append(c.controller, e.ControllerID)
		c.policy = append(c.policy, e.PolicyVersion)
		c.decision = append(c.decision, string(e.Decision))
		c.reason = append(c.reason, string(e.Reason))
		c.count = append(c.count, countOf(e))
		until := int64(0)
		if !e.Until.IsZero() {
			until = micros(e.Until)
		}
		c.until = append(c.until, until)
		c.address = append(c.address, e.Address)
		c.requestID = append(c.requestID, e.RequestID)
		c.fingerprint = append(c.fingerprint, e.Fingerprint)
	}
	return []any{
		nil, head.writer, head.seq, int64(len(b.Events)), head.oldestAt, head.recordedAt, b.Policy.Version, b.Policy.Stamp,
		c.kind, c.occurredAt, c.gate, c.presentedGate, c.user, c.credential, c.device, c.permission, c.controller, c.policy,
		c.decision, c.reason, c.count, c.until, c.address, c.requestID, c.fingerprint, head.firstID,
	}
}

// encode writes the parameters in PostgreSQL's binary form, as pgx would, which looks up how to write each element: those of a statement for
// one event without the arrays around them. The result is valid until the next call.
func (c *eventColumns) encode(parameters []any, one bool) [][]byte {
	c.wire, c.values = c.wire[:0], c.values[:0]
	number := func(n int) { c.wire = binary.BigEndian.AppendUint32(c.wire, uint32(n)) }
	array := func(element, n int) { // of one dimension, without NULL, counted from 1
		if one {
			return
		}
		for _, n := range [...]int{1, 0, element, n, 1} {
			number(n)
		}
	}
	length := func(n int) { // of an element
		if !one {
			number(n)
		}
	}
	ends := c.ends[:0]
	for _, p := range parameters {
		switch p := p.(type) {
		case int64:
			c.wire = binary.BigEndian.AppendUint64(c.wire, uint64(p))
		case []int64:
			array(pgtype.Int8OID, len(p))
			for _, v := range p {
				length(8)
				c.wire = binary.BigEndian.AppendUint64(c.wire, uint64(v))
			}
		case []string:
			array(pgtype.TextOID, len(p))
			for _, v := range p {
				length(len(v))
				c.wire = append(c.wire, v...)
			}
		}
		ends = append(ends, len(c.wire))
	}
	begin := 0
	for _, end := range ends {
		c.values = append(c.values, c.wire[begin:end])
		begin = end
	}
	c.ends = ends
	return c.values
}

// appendForm is appendSQL for batches of many events, or of one, as most are where few gates ask at a time: it spares PostgreSQL a tenth of its work.
type appendForm struct {
	name  string // on the connection of a lane
	sql   string
	one   bool
	types []uint32 // of the parameters, which all are binary
}

var (
	appendMany = appendForm{"openway_append", appendSQL, false, appendTypes(pgtype.TextArrayOID, pgtype.Int8ArrayOID)}
	appendOne  = appendForm{"openway_append_one", regexp.MustCompile(`unnest\((\$\d+::\w+)\[\]\)`).ReplaceAllString(appendSQL, "$1"), true, appendTypes(pgtype.TextOID, pgtype.Int8OID)}

	appendFormats = []int16{pgx.BinaryFormatCode}
)

func appendTypes(text, number uint32) []uint32 {
	return slices.Concat(slices.Repeat([]uint32{pgtype.Int8OID}, 7), []uint32{text}, slices.Repeat([]uint32{number}, 2),
		[]uint32{text}, slices.Repeat([]uint32{number}, 6), slices.Repeat([]uint32{text}, 2),
		slices.Repeat([]uint32{number}, 2), slices.Repeat([]uint32{text}, 3), []uint32{pgtype.Int8OID})
}

// idleCheck: a connection that rested this long is asked for an answer before it is used, at most for pingPatience, because a server that went away
// meanwhile would otherwise cost a batch its certainty: the first write to a dead connection succeeds.
const (
	idleCheck    = time.Second
	pingPatience = 2 * time.Second // a new connection may still be made, and the batch written, before its time is up
)

// open makes sure that the lane has a connection that was alive a moment ago.
func (l *lane) open(ctx context.Context, s *Store) error {
	if l.conn != nil && time.Since(l.used) > idleCheck {
		short, cancel := context.WithTimeout(ctx, pingPatience)
		if err := l.raw(func(c *pgx.Conn) error { return c.Ping(short) }); err != nil {
			l.drop()
		}
		cancel()
	}
	if l.conn == nil {
		c, err := s.read.Conn(ctx)
		if err != nil {
			return fmt.Errorf("connect: %w", s.kind.fault(err))
		}
		l.conn = c
	}
	l.used = time.Now()
	return nil
}

// raw runs fn with pgx's own connection, and gives the connection up when fn has left it closed.
func (l *lane) raw(fn func(c *pgx.Conn) error) error {
	var failed error
	err := l.conn.Raw(func(dc any) error {
		c, ok := dc.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the driver's connection is a %T", dc)
		}
		if c.Conn().IsClosed() {
			failed = errNotSent
			return driver.ErrBadConn
		}
		if failed = fn(c.Conn()); failed != nil && c.Conn().IsClosed() {
			return driver.ErrBadConn // tells the pool not to keep it
		}
		return nil
	})
	if errors.Is(err, driver.ErrBadConn) && failed != nil {
		l.drop()
		return failed
	}
	return errors.Join(failed, err)
}

// appendPostgres writes a batch by one statement. It is kept prepared under a name, which saves parsing and planning it for
// each batch; where a pooler in transaction mode has no such name on the next server connection, the server's error says
// so before anything ran, and from then on the lane sends the statement unnamed. default_query_exec_mode in the URL decides otherwise.
func (s *Store) appendPostgres(ctx context.Context, l *lane, head batchHead, b *access.EventBatch) (landed bool, err error) {
	if err := l.open(ctx, s); err != nil {
		return false, err
	}
	args := l.columns.args(head, b)
	form := appendMany
	if len(b.Events) == 1 {
		form = appendOne
	}
	run := func(mode pgx.QueryExecMode) error {
		l.ids = l.ids[:0]
		return l.raw(func(c *pgx.Conn) error {
			switch mode {
			case pgx.QueryExecModeCacheStatement:
				statement, err := c.Prepare(ctx, form.name, form.sql) // known after the first time
				if err != nil {
					return err
				}
				return l.readIDs(c.PgConn().ExecStatement(ctx, statement, l.columns.encode(args[1:], form.one), appendFormats, appendFormats))
			case pgx.QueryExecModeExec:
				return l.readIDs(c.PgConn().ExecParams(ctx, form.sql, l.columns.encode(args[1:], form.one), form.types, appendFormats, appendFormats))
			default:
				args[0] = mode
				rows, err := c.Query(ctx, appendSQL, args...)
				if err != nil {
					return err
				}
				l.ids, err = pgx.AppendRows(l.ids, rows, pgx.RowTo[int64])
				return err
			}
		})
	}
	mode := s.appendMode
	if l.unnamed {
		mode = pgx.QueryExecModeExec
	}
	unreplicated := s.unreplicated.Load()
	err = run(mode)
	if err != nil && !l.unnamed && lostStatement(err) {
		l.unnamed = true
		err = run(pgx.QueryExecModeExec)
	}
	switch {
	case err == nil && s.unreplicated.Load() != unreplicated:
		return false, fmt.Errorf("%w: %w", access.ErrOutcomeUnknown, errUnreplicated)
	case err == nil:
		return s.identified(l, head, b)
	case s.kind.unknown(err):
		l.drop()
		return false, fmt.Errorf("%w: %w", access.ErrOutcomeUnknown, err)
	}
	return false, s.kind.fault(err)
}

// readIDs reads the ids that an append returns.
func (l *lane) readIDs(r *pgconn.ResultReader) error {
	for r.NextRow() {
		l.ids = append(l.ids, int64(binary.BigEndian.Uint64(r.Values()[0])))
	}
	_, err := r.Close()
	return err
}

// identified gives the events of a batch the ids that its statement returned, and takes note of it. It reports whether the batch landed: none were
// returned otherwise.
func (s *Store) identified(l *lane, head batchHead, b *access.EventBatch) (landed bool, err error) {
	switch len(l.ids) {
	case 0:
		return false, nil
	case len(b.Events):
	default: // a trigger that is not ours
		return false, fmt.Errorf("%w: %d of %d events are in the database", access.ErrOutcomeUnknown, len(l.ids), len(b.Events))
	}
	for i, e := range b.Events {
		e.ID = l.ids[i]
	}
	s.lastID.Store(l.ids[len(l.ids)-1])
	s.landed(l, head, b)
	return true, nil
}

// lostStatement reports whether the server does not know a prepared statement by its name, or knows another one by it.
func lostStatement(err error) bool {
	var reply *pgconn.PgError
	return errors.As(err, &reply) && (reply.Code == "26000" || reply.Code == "42P05")
}

// appendHeldPostgres runs held in a transaction of the lane's connection.
func (s *Store) appendHeldPostgres(ctx context.Context, l *lane, held func(on conn, insert func(batchHead, *access.EventBatch) (bool, error)) (bool, error)) error {
	if err := l.open(ctx, s); err != nil {
		return err
	}
	var head batchHead
	var batch *access.EventBatch
	err := s.inTransaction(ctx, l.conn, durable, func(on conn) (bool, error) {
		return held(on, func(h batchHead, b *access.EventBatch) (bool, error) {
			head, batch, l.ids = h, b, l.ids[:0]
			rows, err := on.QueryContext(ctx, appendSQL, l.columns.args(h, b)[1:]...)
			if err != nil {
				return false, err
			}
			defer rows.Close()
			for rows.Next() {
				var id int64
				if err := rows.Scan(&id); err != nil {
					return false, err
				}
				l.ids = append(l.ids, id)
			}
			return len(l.ids) > 0, rows.Err()
		})
	})
	if err == nil && batch != nil {
		_, err = s.identified(l, head, batch)
	}
	if err != nil && l.conn != nil && (errors.Is(err, access.ErrOutcomeUnknown) || errors.Is(err, access.ErrUnavailable)) {
		l.drop()
	}
	return err
}

// beginner is a *sql.DB or a *sql.Conn.
type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}
