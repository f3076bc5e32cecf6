package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
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
	// A server that has become a standby, or read-only, keeps its connections. None of those that are open is used again, not even to read: what is read
	// there is the policy of yesterday. Where the URL names no other server, there is nothing to be won by that.
	var left atomic.Int64
	cfg.OnPgError = func(_ *pgconn.PgConn, err *pgconn.PgError) bool {
		if err.Code == readOnlyCode && severalServers(cfg) {
			left.Add(1)
			return false
		}
		return err.Severity != "FATAL" && err.SeverityUnlocalized != "FATAL"
	}
	const madeAt = "openway: how often a server had been left"
	made := stdlib.OptionAfterConnect(func(_ context.Context, c *pgx.Conn) error {
		c.PgConn().CustomData()[madeAt] = left.Load()
		return nil
	})
	reuse := stdlib.OptionResetSession(func(_ context.Context, c *pgx.Conn) error {
		if c.PgConn().CustomData()[madeAt] != left.Load() {
			return driver.ErrBadConn
		}
		return nil
	})
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
	db := stdlib.OpenDB(*cfg, made, reuse)
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

// severalServers reports whether a URL names more than one server.
func severalServers(cfg *pgx.ConnConfig) bool {
	for _, f := range cfg.Fallbacks { // the same server without TLS is one, too
		if f.Host != cfg.Host || f.Port != cfg.Port {
			return true
		}
	}
	return false
}

// dialer makes connections that end when their peer is gone.
func dialer() *net.Dialer {
	alive := net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: 2 * time.Second, Count: 3} // a lost probe or two end nothing
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
