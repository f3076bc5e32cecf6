package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/openway-access/openway/internal/access"
	"github.com/openway-access/openway/internal/store"
	"github.com/openway-access/openway/internal/storetest"
)

// BenchmarkAppendBatch is a durable commit of a lane, by the size of its batch.
func BenchmarkAppendBatch(b *testing.B) {
	for _, engine := range storetest.Engines() {
		for _, size := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", engine, size), func(b *testing.B) {
				benchmarkAppend(b, storetest.New(b, engine).DSN, size)
			})
		}
	}
	// What a pooler without prepared statements costs.
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("postgres-unnamed/%d", size), func(b *testing.B) {
			dsn := storetest.New(b, store.Postgres).DSN
			benchmarkAppend(b, dsn+map[bool]string{true: "&", false: "?"}[strings.Contains(dsn, "?")]+"default_query_exec_mode=exec", size)
		})
	}
}

func benchmarkAppend(b *testing.B, dsn string, size int) {
	s := storetest.OpenWith(b, store.Options{Database: dsn})
	mark, err := s.PolicyMark(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	lane := mustClaim(b, s)
	batch := &access.EventBatch{Policy: mark}
	for i := range size {
		e := allowed(mark, "0197b6a2-7f9c-7a10-8e2a-0d6f0c0a9b11")
		e.GateID, e.UserID, e.CredentialID = int64(i%100+1), int64(i*37%10000+1), int64(i*37%10000+1)
		batch.Events = append(batch.Events, e)
	}
	b.ReportAllocs()
	seq := int64(0)
	for b.Loop() {
		seq++
		mustAppend(b, s, lane, seq, batch)
	}
	b.ReportMetric(float64(seq)*float64(size)/b.Elapsed().Seconds(), "events/s")
}
