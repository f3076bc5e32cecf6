package store

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"pgregory.net/rapid"

	"github.com/openway-access/openway/internal/access"
)

// The parameters of an append are encoded as pgx encodes them, whatever was encoded in the same memory before.
func TestEncodeAsPgx(t *testing.T) {
	var columns, plain eventColumns
	m := pgtype.NewMap()
	text := rapid.String()
	number := rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{0, 1, -1, math.MaxInt64, math.MinInt64}))
	rapid.Check(t, func(r *rapid.T) {
		b := &access.EventBatch{Policy: access.PolicyMark{Version: number.Draw(r, "version"), Stamp: number.Draw(r, "stamp")}}
		for range rapid.IntRange(1, 5).Draw(r, "events") {
			b.Events = append(b.Events, &access.Event{
				Kind: access.EventKind(text.Draw(r, "kind")), At: time.UnixMicro(number.Draw(r, "at")), GateID: number.Draw(r, "gate"), PresentedGate: text.Draw(r, "presented"),
				UserID: number.Draw(r, "user"), CredentialID: number.Draw(r, "credential"), DeviceID: number.Draw(r, "device"), PermissionID: number.Draw(r, "permission"),
				Decision: access.Outcome(text.Draw(r, "decision")), Reason: access.Reason(text.Draw(r, "reason")), Count: rapid.Int().Draw(r, "count"),
				Address: text.Draw(r, "address"), RequestID: text.Draw(r, "request"), Fingerprint: text.Draw(r, "fingerprint"),
			})
		}
		head := batchHead{writer: number.Draw(r, "writer"), seq: number.Draw(r, "seq")}
		forms := []appendForm{appendMany}
		if len(b.Events) == 1 {
			forms = append(forms, appendOne)
		}
		for _, form := range forms {
			got := columns.encode(columns.args(head, b)[1:], form.one)
			args := plain.args(head, b)[1:]
			if len(got) != len(args) || len(args) != len(form.types) {
				r.Fatalf("%d values and %d types for %d parameters", len(got), len(form.types), len(args))
			}
			for i, arg := range args {
				if form.one {
					arg = onlyElement(arg)
				}
				want, err := m.Encode(form.types[i], pgtype.BinaryFormatCode, arg, nil)
				if err != nil || got[i] == nil || !bytes.Equal(got[i], want) {
					r.Fatalf("%s: parameter %d is % x, pgx says % x, %v", form.name, i+1, got[i], want, err)
				}
			}
		}
	})
	if strings.Contains(appendOne.sql, "unnest") || strings.Contains(appendOne.sql, "[]") {
		t.Errorf("the statement for one event takes arrays:\n%s", appendOne.sql)
	}
}

// onlyElement is that of a column of one event.
func onlyElement(arg any) any {
	switch a := arg.(type) {
	case []int64:
		return a[0]
	case []string:
		return a[0]
	}
	return arg
}
