package main

import "testing"

func TestProportion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 1000}, {1 << 20, 1000}, {4 << 20, 400}, {16 << 20, 100}, {80 << 20, 20}, {160 << 20, 10}, {10 << 30, 10},
	} {
		if got := proportion(c.live); got != c.want {
			t.Errorf("proportion(%d MB) = %d, want %d", c.live>>20, got, c.want)
		}
	}
}
