package compare

import "math"

// chance is how likely ranks as far apart as those of a and b are if nothing
// but chance is at work: the two-sided test of Mann, Whitney and Wilcoxon. It
// looks at the order of values alone, so that one that is far off, as times
// often are, doesn't decide.
func chance(a, b []float64) float64 {
	n, m := len(a), len(b)
	if n == 0 || m == 0 {
		return 1
	}
	u := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x < y:
				u++
			case x == y:
				u += 0.5
			}
		}
	}
	u = min(u, float64(n*m)-u)
	if n > exactRuns || m > exactRuns {
		mean := float64(n*m) / 2
		deviation := math.Sqrt(float64(n*m*(n+m+1)) / 12)
		return min(1, math.Erfc((mean-u-0.5)/deviation/math.Sqrt2))
	}
	// Rounded up: ties then speak against a difference.
	below := 0.0
	ways := orders(n, m)
	for i := 0; i <= int(math.Ceil(u)); i++ {
		below += ways[i]
	}
	total := 0.0
	for _, w := range ways {
		total += w
	}
	return min(1, 2*below/total)
}

// exactRuns is up to how many runs the orders are counted.
const exactRuns = 20

// orders counts, for each U, the orders of n and m values that have it.
func orders(n, m int) []float64 {
	// ways[j][u]: with i values of the one and j of the other. A value more of
	// the one at the end is above all j; one of the other adds nothing.
	prev := make([][]float64, m+1)
	for j := range prev {
		prev[j] = make([]float64, n*m+1)
		prev[j][0] = 1
	}
	for range n {
		next := make([][]float64, m+1)
		for j := range next {
			next[j] = make([]float64, n*m+1)
			for u := range next[j] {
				if u >= j {
					next[j][u] += prev[j][u-j]
				}
				if j > 0 {
					next[j][u] += next[j-1][u]
				}
			}
		}
		prev = next
	}
	return prev[m]
}
