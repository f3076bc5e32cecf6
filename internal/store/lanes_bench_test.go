package store_test

import (
	"database/sql"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// The benchmarks below ran with -events 5000000 for ADR 11.
var benchEvents = flag.Int("events", 200_000, "how many events stand in the log of a benchmark")

// BenchmarkLog reads the batches at the end of a long log, as the live feed does, and counts what is not counted.
func BenchmarkLog(b *testing.B) {
	for _, engine := range storetest.Engines() {
		db := storetest.New(b, engine)
		driver, dsn := "pgx", db.DSN
		if engine == store.SQLite {
			driver, dsn = "sqlite", "file:"+db.DSN+"?_pragma=synchronous(OFF)"
		}
		r, err := sql.Open(driver, dsn)
		if err != nil {
			b.Fatal(err)
		}
		n := *benchEvents
		for _, q := range []string{
			`INSERT INTO writer (host, pid, started_at) VALUES ('h', 1, 1)`,
			`WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $N) INSERT INTO event_batch (writer_id, seq, policy_version, count, oldest_at, recorded_at, first_id)
				SELECT 1, i, 1, 5, i * 5000 - 4000, i * 5000, i * 5 - 4 FROM n WHERE i <= $N / 5`,
			`WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $N) INSERT INTO events (kind, occurred_at, recorded_at, writer_id, seq, gate_id, user_id,
				policy_version, decision, reason, count, address, request_id, fingerprint)
				SELECT 'decision', i * 1000, i * 1000, 1, (i + 4) / 5, i % 100 + 1, i * 37 % 10000 + 1, 1, 'ALLOW', 'OK', 1, '192.0.2.7', '0197b6a2-7f9c-7a10-8e2a-0d6f0c0a9b11', '' FROM n`,
		} {
			if _, err := r.Exec(strings.ReplaceAll(q, "$N", fmt.Sprint(n))); err != nil {
				b.Fatal(err)
			}
		}
		if engine == store.Postgres {
			if _, err := r.Exec(`ANALYZE`); err != nil {
				b.Fatal(err)
			}
		}
		s := storetest.OpenWith(b, store.Options{Database: db.DSN})
		if err := s.IndexEvents(b.Context()); err != nil {
			b.Fatal(err)
		}
		last := int64(n / 5)
		for _, at := range []struct {
			where string
			after int64
		}{{"newest", last - 1}, {"newest-20", last - 20}, {"middle-20", last / 2}} {
			b.Run(engine+"/"+at.where, func(b *testing.B) {
				for b.Loop() {
					batches, events, err := s.LaneEvents(b.Context(), 1, at.after, 20, 1000)
					if err != nil || len(events) != 5*len(batches) || len(batches) == 0 {
						b.Fatal(len(batches), len(events), err)
					}
				}
			})
		}
		b.Run(engine+"/count", func(b *testing.B) {
			counted := 0
			for b.Loop() {
				k, more, err := s.CountEvents(b.Context())
				if err != nil || k == 0 && !more {
					b.Fatal(k, err, "too few events: give more by -events")
				}
				counted += k
			}
			b.ReportMetric(float64(counted)/b.Elapsed().Seconds(), "events/s")
		})
		r.Close()
	}
}
