package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/openway-access/openway/internal/access"
)

// What a failed commit or statement of PostgreSQL means.
func TestPostgresErrors(t *testing.T) {
	reply := func(severity, code string) error {
		return fmt.Errorf("exec: %w", &pgconn.PgError{Severity: severity, SeverityUnlocalized: severity, Code: code})
	}
	tests := []struct {
		name    string
		err     error
		unknown bool
		kind    error // nil: of no kind
	}{
		{"a constraint", reply("ERROR", "23505"), false, nil},
		{"a deadlock", reply("ERROR", "40P01"), false, access.ErrUnavailable},
		{"cancelled by an administrator", reply("ERROR", "57014"), false, access.ErrUnavailable},
		{"disk full", reply("ERROR", "53100"), false, access.ErrUnavailable},
		{"a standby", reply("ERROR", "25006"), false, access.ErrUnavailable},
		{"shut down", reply("FATAL", "57P01"), true, access.ErrUnavailable},
		{"crashed", reply("PANIC", "58030"), true, access.ErrUnavailable},
		{"a reply without severity", reply("", "23505"), true, nil},
		{"cut", io.ErrUnexpectedEOF, true, access.ErrUnavailable},
		{"reset", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, true, access.ErrUnavailable},
		{"a deadline", context.DeadlineExceeded, true, access.ErrUnavailable},
		{"cancelled by us", context.Canceled, true, context.Canceled},
		{"closed before", errNotSent, false, access.ErrUnavailable},
		{"closed some time", fmt.Errorf("x: %w", pgconn.ErrConnClosed), true, access.ErrUnavailable},
		{"bad some time", driver.ErrBadConn, true, access.ErrUnavailable},
		{"given back some time", sql.ErrConnDone, true, access.ErrUnavailable},
		{"rolled back before", pgx.ErrTxCommitRollback, false, nil},
		{"anything else", errors.New("?"), true, nil},
	}
	for _, tt := range tests {
		d := postgresDialect{}
		if got := d.unknown(tt.err); got != tt.unknown {
			t.Errorf("%s: unknown(%v) = %v, want %v", tt.name, tt.err, got, tt.unknown)
		}
		got := d.fault(tt.err)
		if !errors.Is(got, tt.err) || (tt.kind != nil && !errors.Is(got, tt.kind)) || (tt.kind == nil && errors.Is(got, access.ErrUnavailable)) {
			t.Errorf("%s: fault(%v) = %v, want kind %v", tt.name, tt.err, got, tt.kind)
		}
		if again := d.fault(got); again != got { //nolint:errorlint // the very same
			t.Errorf("%s: a second fault changed %v to %v", tt.name, got, again)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"data/openway.db":                     "data/openway.db",
		"postgres://u:secret@h/d":             "postgres://u:xxxxx@h/d",
		"postgres://u@h/d?password=secret":    "postgres://u@h/d?password=xxxxx",
		"postgresql://u:sec%zzret@h/d":        "postgres://…",
		"postgres://u:secret@h,i:5433/d?x=y&": "postgres://u:xxxxx@h,i:5433/d?x=y&",
	} {
		if got := redact(in); got != want {
			t.Errorf("redact(%q) = %q, want %q", in, got, want)
		}
	}
}
