package store

import (
	"context"
	"fmt"
	"time"
)

// Durability is how a database keeps what it acknowledged.
type Durability struct {
	Version string // of the engine, such as "15.18" or "3.51.0"
	// Unsafe are the settings under which acknowledged events can be lost in a crash, as NAME=value; empty when there are none.
	Unsafe []string
	// Standbys is PostgreSQL's synchronous_standby_names: those that have a commit before it is acknowledged; "" = none.
	Standbys string
	// Clock is the database server's; zero on SQLite, which has none of its own.
	Clock time.Time
}

// Durability asks the database how safe its commits are.
func (s *Store) Durability(ctx context.Context) (d Durability, err error) {
	if s.write == nil {
		d, err = s.postgresDurability(ctx)
	} else {
		d, err = s.sqliteDurability(ctx)
	}
	if err != nil {
		return Durability{}, fmt.Errorf("ask how safe commits are: %w", s.kind.fault(err))
	}
	return d, nil
}

func (s *Store) postgresDurability(ctx context.Context) (d Durability, err error) {
	var fsync, fullPages, commit string
	var now float64
	err = s.read.QueryRowContext(ctx, `SELECT current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes'),
		current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), EXTRACT(EPOCH FROM clock_timestamp())::float8`).
		Scan(&d.Version, &fsync, &fullPages, &commit, &d.Standbys, &now)
	if err != nil {
		return d, err
	}
	d.Clock = time.UnixMicro(int64(now * 1e6))
	for name, value := range map[string]string{"fsync": fsync, "full_page_writes": fullPages, "synchronous_commit": commit} {
		if value == "off" {
			d.Unsafe = append(d.Unsafe, name+"=off")
		}
	}
	return d, nil
}

// sqliteDurability: the settings that matter are ours and set on each connection; that they are in force is looked at all the same.
func (s *Store) sqliteDurability(ctx context.Context) (d Durability, err error) {
	var journal string
	var synchronous int
	if err := s.read.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&d.Version); err != nil {
		return d, err
	}
	err = s.inWrite(ctx, func(tx *Tx) (bool, error) {
		if err := tx.queryRow(`PRAGMA synchronous`).Scan(&synchronous); err != nil {
			return false, err
		}
		return false, tx.queryRow(`PRAGMA journal_mode`).Scan(&journal)
	})
	if err != nil {
		return d, err
	}
	if synchronous < 1 { // what NORMAL leaves out is ours to do (wal.go)
		d.Unsafe = append(d.Unsafe, fmt.Sprintf("synchronous=%d", synchronous))
	}
	if journal != "wal" {
		d.Unsafe = append(d.Unsafe, "journal_mode="+journal)
	}
	return d, nil
}
