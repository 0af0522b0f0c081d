package main

import "fmt"

// A table is a metric of a case, with a row per contestant and level.
type table struct {
	Case   string
	About  string
	Metric string
	Title  string
	Unit   string
	Note   string `json:",omitempty"` // of what is not as elsewhere
	Rows   []*row
	// Growth is how much faster than its size the worst step of the contestant
	// with the target grew: 1 is linear.
	Growth  float64 `json:",omitempty"`
	Verdict string  `json:",omitempty"` // of Growth

	metric metric
}

// A row is what one contestant did.
type row struct {
	Contestant string
	Level      int       `json:",omitempty"`
	Samples    []float64 `json:",omitempty"`
	Median     float64   `json:",omitempty"`
	P95        float64   `json:",omitempty"`
	// Unmeasured says why there are no samples, Broken why there are no more.
	Unmeasured string  `json:",omitempty"`
	Broken     string  `json:",omitempty"`
	Peer       string  `json:",omitempty"` // whom Ratio compares with
	Ratio      float64 `json:",omitempty"`
	Target     string  `json:",omitempty"`
	Verdict    string  `json:",omitempty"`
}

const (
	pass = "pass"
	miss = "miss"
)

func (t *table) add(who string, level int) {
	t.Rows = append(t.Rows, &row{Contestant: who, Level: level})
}

// row finds a contestant's row, which add has made.
func (t *table) row(who string, level int) *row {
	for _, r := range t.Rows {
		if r.Contestant == who && r.Level == level {
			return r
		}
	}
	return nil
}

// conclude makes the figures of the samples and holds them against the targets.
func (t *table) conclude(accelerator string) {
	for _, r := range t.Rows {
		if len(r.Samples) > 0 {
			r.Median, r.P95 = median(r.Samples), t.worst(r.Samples)
		}
	}
	for _, r := range t.Rows {
		t.compare(r, accelerator)
	}
	if t.metric.linear {
		t.grew()
	}
}

// worst is the 95th percentile, of the side that is bad.
func (t *table) worst(samples []float64) float64 {
	if t.metric.more {
		return quantile(samples, 0.05)
	}
	return quantile(samples, 0.95)
}

// compare holds a row against its target's peer, or the metric's.
func (t *table) compare(r *row, accelerator string) {
	peer := t.metric.peer
	var goal *target
	for _, g := range t.metric.targets {
		if g.who == r.Contestant && (g.factor > 0 || g.limit > 0) && (g.accelerator == "" || g.accelerator == accelerator) {
			goal, peer = &g, g.peer
		}
	}
	if goal != nil {
		r.Target = t.goal(goal)
	}
	if peer == r.Contestant || len(r.Samples) == 0 {
		return
	}
	if other := t.row(peer, r.Level); other != nil && len(other.Samples) > 0 && other.Median > 0 {
		r.Peer, r.Ratio = peer, r.Median/other.Median
	}
	switch {
	case goal == nil:
	case goal.limit > 0:
		r.Verdict = verdict(r.Median <= goal.limit)
	case r.Peer == "":
		r.Verdict = "not measured: no figure of " + peer
	case t.metric.more:
		r.Verdict = verdict(r.Ratio >= goal.factor)
	default:
		r.Verdict = verdict(r.Ratio <= goal.factor)
	}
}

// goal is a target in words.
func (t *table) goal(g *target) string {
	switch {
	case g.limit > 0:
		return fmt.Sprintf("≤ %s %s", figure(g.limit), t.Unit)
	case t.metric.more:
		return fmt.Sprintf("≥ %.3g × %s", g.factor, g.peer)
	}
	return fmt.Sprintf("≤ %.3g × %s", g.factor, g.peer)
}

func verdict(reached bool) string {
	if reached {
		return pass
	}
	return miss
}

// first is a contestant's first row.
func (t *table) first(who string) *row {
	for _, r := range t.Rows {
		if r.Contestant == who {
			return r
		}
	}
	return nil
}

// noise is how much worse than linear a step may look before it is called so:
// a level is measured once, and the first has one container.
const noise = 1.25

// grew finds the worst step of the contestant with the target: a cost may grow
// as the number does, so a rate stays the same. A rate's first step is left
// out: what was made ahead serves a single start, and nothing starts beside it.
func (t *table) grew() {
	var before *row
	for _, r := range t.Rows {
		if len(t.metric.targets) == 0 || r.Contestant != t.metric.targets[0].who || len(r.Samples) == 0 {
			continue
		}
		first := before != nil && before == t.first(r.Contestant) && t.metric.more
		if before != nil && !first && before.Median > 0 && r.Median > 0 {
			step := r.Median / before.Median
			switch {
			case t.metric.more:
				step = 1 / step
			default:
				step *= float64(before.Level) / float64(r.Level)
			}
			t.Growth = max(t.Growth, step)
		}
		before = r
	}
	if t.Growth > 0 {
		t.Verdict = verdict(t.Growth <= noise)
	}
}
