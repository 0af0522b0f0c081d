package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// stopwatch gathers how long steps take, for the log, a Timing and the Observer.
type stopwatch struct {
	began, last time.Time
	steps       []Step
	timing      *Timing
}

func newStopwatch(ctx context.Context) *stopwatch {
	t, _ := ctx.Value(timingKey{}).(*Timing)
	now := time.Now()
	return &stopwatch{began: now, last: now, timing: t}
}

// lap ends a step.
func (w *stopwatch) lap(step string) {
	w.part(step, time.Since(w.last))
}

// part ends a step that took so long of what has passed since the last.
func (w *stopwatch) part(step string, took time.Duration) {
	took = max(0, min(took, time.Since(w.last))) // an agent says what it likes
	w.steps = append(w.steps, Step{step, took})
	w.last = w.last.Add(took)
	if w.timing != nil {
		w.timing.add(step, took)
	}
}

// attrs are the steps for a log line.
func (w *stopwatch) attrs() []any {
	var list []any
	for _, s := range w.steps {
		list = append(list, s.Name, s.Took.Round(10*time.Microsecond))
	}
	return list
}

// Timing is how long the steps of what was asked of the engine took.
type Timing struct {
	mu    sync.Mutex
	steps []string
}

type timingKey struct{}

// WithTiming returns a context with which the engine's methods say what took
// how long.
func WithTiming(ctx context.Context) (context.Context, *Timing) {
	t := &Timing{}
	return context.WithValue(ctx, timingKey{}, t), t
}

func (t *Timing) add(step string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = append(t.steps, fmt.Sprintf("%s;dur=%.2f", step, float64(took)/float64(time.Millisecond)))
}

// String is the value of a Server-Timing header (W3C Server Timing): steps in
// their order, in milliseconds.
func (t *Timing) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.steps, ", ")
}
