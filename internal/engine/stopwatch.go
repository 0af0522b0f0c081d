package engine

import "time"

// stopwatch gathers how long steps take, for the log.
type stopwatch struct {
	last  time.Time
	attrs []any
}

func newStopwatch() *stopwatch { return &stopwatch{last: time.Now()} }

// lap ends a step.
func (w *stopwatch) lap(step string) {
	now := time.Now()
	w.attrs = append(w.attrs, step, now.Sub(w.last).Round(10*time.Microsecond))
	w.last = now
}
