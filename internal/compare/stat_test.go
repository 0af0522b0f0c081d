package compare

import (
	"math"
	"testing"
)

func TestStat(t *testing.T) {
	for _, c := range []struct {
		values           []float64
		median, min, max float64
	}{
		{[]float64{3}, 3, 3, 3},
		{[]float64{4, 1}, 2.5, 1, 4},
		{[]float64{9, 1, 2}, 2, 1, 9},
		{[]float64{4, 3, 2, 1}, 2.5, 1, 4},
	} {
		s := newStat(c.values)
		if s.Median != c.median || s.Min != c.min || s.Max != c.max || s.N != len(c.values) {
			t.Errorf("%v: %+v", c.values, s)
		}
	}
}

// The chances are those of published tables of the exact test.
func TestChance(t *testing.T) {
	for _, c := range []struct {
		a, b []float64
		want float64
	}{
		{nil, []float64{1}, 1},
		{[]float64{1}, []float64{2}, 1},
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 0.1},
		{[]float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, 2.0 / 70},
		{[]float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 2.0 / 252},
		{[]float64{1, 2, 3, 4, 8.5}, []float64{6, 7, 8, 9, 10}, 2.0 * 7 / 252}, // U = 3
		{[]float64{5, 5, 5, 5}, []float64{5, 5, 5, 5}, 1},
	} {
		if got := chance(c.a, c.b); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("chance(%v, %v) = %v, want %v", c.a, c.b, got, c.want)
		}
		if x, y := chance(c.a, c.b), chance(c.b, c.a); x != y {
			t.Errorf("chance(%v, %v) depends on the order: %v, %v", c.a, c.b, x, y)
		}
	}
	// Beyond what is counted the normal curve takes over without a step.
	var a, b []float64
	for i := range exactRuns {
		a, b = append(a, float64(i)), append(b, float64(i)+5.5)
	}
	exact := chance(a, b)
	if approx := chance(append(a, -1), append(b, 30)); approx > exact || approx < exact/5 {
		t.Errorf("%v with %d runs, %v with one more", exact, exactRuns, approx)
	}
}

func TestUnits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0 s", 0.0000123: "12.3 µs", 0.0474: "47.4 ms", 0.1234: "123 ms", 0.9999: "1 s", 1.5: "1.5 s", 61.04: "61 s", 1234: "1234 s",
	} {
		if got := secondsText(v); got != want {
			t.Errorf("%v s: %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0 B", 1536: "1.5 KiB", 2 << 20: "2 MiB", 1.25 * (1 << 30): "1.25 GiB"} {
		if got := bytesText(v); got != want {
			t.Errorf("%v bytes: %q, want %q", v, got, want)
		}
	}
}
