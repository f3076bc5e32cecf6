package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/openway-access/openway/internal/access"
)

// connectPostgres opens the pool. Nothing depends on the state of a session, so that a pooler in transaction mode may stand
// between: statements go unnamed in one round trip (pgx's exec mode) unless the URL asks otherwise by default_query_exec_mode.
func (s *Store) connectPostgres(ctx context.Context) error {
	cfg, err := pgx.ParseConfig(s.opt.Database)
	if err != nil {
		return errors.New("the URL of the database cannot be read") // pgx's own words may hold the password
	}
	s.appendMode = cfg.DefaultQueryExecMode
	if !strings.Contains(s.opt.Database, "default_query_exec_mode") {
		cfg.DefaultQueryExecMode, s.appendMode = pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	cfg.DialFunc = dialer().DialContext // ConnectTimeout bounds it
	// A server that has become a standby, or read-only, keeps its connections: none of them is to be used again, but the one that is written to now.
	cfg.OnPgError = func(_ *pgconn.PgConn, err *pgconn.PgError) bool {
		return err.Severity != "FATAL" && err.SeverityUnlocalized != "FATAL" && err.Code != readOnlyCode
	}
	// "Cancelling wait for synchronous replication": what was committed is not where it is promised to be, and the server says nothing else of it.
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Routine == "SyncRepWaitForLSN" {
			s.unreplicated.Add(1)
		}
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "openway"
	}
	s.kind = postgresDialect{}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(2*s.opt.Readers + 8)
	db.SetMaxIdleConns(s.opt.Readers + 4)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := db.PingContext(ctx); err != nil {
		return errors.Join(s.kind.fault(err), db.Close())
	}
	s.sizes = postgresSizes
	s.read, s.desk = db, make(chan struct{}, s.opt.Readers)
	return nil
}

// dialer makes connections that end when their peer is gone.
func dialer() *net.Dialer {
	alive := net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 2 * time.Second, Count: 3}
	return &net.Dialer{KeepAliveConfig: alive, Control: endsWithPeer}
}

// idlePatience is how long the server keeps a write transaction, with the locks on the policy's row that it holds, of a client that says nothing:
// one whose machine lost its power would stop all changes until the server's TCP gives up, after hours.
const idlePatience = "30s"

// inTransaction runs fn in a READ COMMITTED transaction, whatever the server's default is, and commits it when fn says so. Nobody waits for
// the disk, or a standby, with a lazy one.
func (s *Store) inTransaction(ctx context.Context, on beginner, d durability, fn func(conn) (commit bool, err error)) error {
	t, err := on.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return fmt.Errorf("begin to write: %w", s.kind.fault(err))
	}
	defer t.Rollback() //nolint:errcheck // after a commit it does nothing
	settings := `SET LOCAL idle_in_transaction_session_timeout = '` + idlePatience + `'`
	if d == lazy {
		settings += `; SET LOCAL synchronous_commit = off`
	}
	if _, err := t.ExecContext(ctx, settings); err != nil {
		return fmt.Errorf("begin to write: %w", s.kind.fault(err))
	}
	commit, err := fn(t)
	if err != nil || !commit {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("commit: %w", s.kind.fault(ctx.Err()))
	}
	unreplicated := s.unreplicated.Load()
	if err := t.Commit(); err != nil {
		if s.kind.unknown(err) {
			return fmt.Errorf("commit: %w: %w", access.ErrOutcomeUnknown, err)
		}
		return fmt.Errorf("commit: %w", s.kind.fault(err))
	}
	if d == durable && s.unreplicated.Load() != unreplicated {
		return fmt.Errorf("commit: %w: %w", access.ErrOutcomeUnknown, errUnreplicated)
	}
	return nil
}

// errUnreplicated is for a commit while which somebody made the server stop waiting for its standby. It may have been another one: none of them is trusted.
var errUnreplicated = errors.New("the server was made to stop waiting for its synchronous standby")
