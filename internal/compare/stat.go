package compare

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Stat is a metric's values in short.
type Stat struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`

	values []float64
}

// newStat needs one value at least.
func newStat(values []float64) Stat {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Stat{N: n, Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1], values: v}
}

// significant is the chance below which values are called different.
const significant = 0.05

// fewest is how many runs of each it takes for that to be possible.
const fewest = 4

// apart tells that the values of s and o differ, and not by chance.
func (s Stat) apart(o Stat) bool {
	return chance(s.values, o.values) < significant && !s.near(o)
}

// near tells that the medians differ by less than a tenth, which is not called
// a difference.
func (s Stat) near(o Stat) bool {
	return max(s.Median, o.Median) <= 1.1*min(s.Median, o.Median)
}

// text is a number of the metric's in the unit that suits it.
func (m metric) text(v float64) string {
	switch {
	case m.kind == size:
		return bytesText(v)
	case m.kind == speed:
		return bytesText(v) + "/s"
	case m.kind == bandwidth:
		return bitsText(v)
	case m.kind == rate:
		return countText(v) + "/s"
	case m.key == "cpu" && v < 1.0/ticks:
		return "under 10 ms"
	default:
		return secondsText(v)
	}
}

func bitsText(v float64) string {
	switch {
	case v < 1e6:
		return figures(v/1e3) + " kbit/s"
	case v < 1e9:
		return figures(v/1e6) + " Mbit/s"
	default:
		return figures(v/1e9) + " Gbit/s"
	}
}

// countText parts the thousands.
func countText(v float64) string {
	if v < 1000 {
		return figures(v)
	}
	// Three figures count, as everywhere.
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	n := int64(math.Round(v/unit) * unit)
	s := ""
	for ; n >= 1000; n /= 1000 {
		s = fmt.Sprintf(",%03d", n%1000) + s
	}
	return fmt.Sprint(n) + s
}

func secondsText(v float64) string {
	switch {
	case v == 0:
		return "0 s"
	case v < 0.001:
		return figures(v*1e6) + " µs"
	case v < 0.9995:
		return figures(v*1e3) + " ms"
	default:
		return figures(v) + " s"
	}
}

func bytesText(v float64) string {
	switch {
	case v < 1<<10:
		return figures(v) + " B"
	case v < 1<<20:
		return figures(v/(1<<10)) + " KiB"
	case v < 1<<30:
		return figures(v/(1<<20)) + " MiB"
	default:
		return figures(v/(1<<30)) + " GiB"
	}
}

// figures writes three significant figures at most, and no exponent.
func figures(v float64) string {
	digits := 2
	switch {
	case v >= 99.95:
		digits = 0
	case v >= 9.995:
		digits = 1
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// spread is the smallest and the largest value, where there are several.
func (m metric) spread(s Stat) string {
	if s.N < 2 {
		return ""
	}
	return m.text(s.Min) + " to " + m.text(s.Max)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
