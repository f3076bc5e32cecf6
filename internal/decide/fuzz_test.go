package decide

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/openway-access/openway/internal/access"
)

// FuzzWith lets the fuzzer choose policies and changes of them, and compares with the model.
func FuzzWith(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		m := modelOf(5, access.PolicyDelta{})
		m.apply(drawDelta(t, m, 8))
		s := m.compile(slices.Clone[[]int])
		at, known := drawAt(t)
		for range 3 {
			d := drawDelta(t, m, 6)
			s = s.With(d)
			m.apply(d)
			compare(t, "after the change", m, s, at, known)
		}
	}))
}
