package compare

import (
	"fmt"

	"github.com/abode-run/abode/internal/compare/reach"
)

// chart is a metric's, or that of the system calls. Lengths are of its viewBox.
type chart struct {
	Title, About string
	Height       int
	Bars         []bar
}

type bar struct {
	Name, Class, Text, Spread string
	Y, Base                   int     // of the bar, and of the words beside it
	Width, Part, Whole, End   float64 // Part and Whole are fainter, behind Width
	Dots                      []float64
}

const (
	barHeight = 26
	barPitch  = 44
	barLeft   = 96.0  // where bars begin
	barRoom   = 270.0 // that the longest one takes
)

// chart draws a metric: a bar to the median, a dot for every run.
func (r *Report) chart(m metric) chart {
	ch := chart{Title: sentence(m.title), About: m.about}
	if m.kind.more() {
		ch.About += "; more is better"
	}
	most := 0.0
	for _, c := range r.Contestants {
		most = max(most, c.Metrics[m.key].Max)
	}
	scale := 0.0
	if most > 0 {
		scale = barRoom / most
	}
	for i := range r.Contestants {
		c := &r.Contestants[i]
		b := newBar(i, c.Name, class(c.Name))
		if s, ok := c.Metrics[m.key]; ok {
			b.Text, b.Spread = m.text(s.Median), m.spread(s)
			b.Width = max(s.Median*scale, 1)
			b.End = barLeft + max(s.Max*scale, b.Width)
			for j := range c.Runs {
				if v := m.get(&c.Runs[j]); v != nil {
					b.Dots = append(b.Dots, barLeft+*v*scale)
				}
			}
		} else {
			b.End = barLeft
		}
		b.End += 12
		ch.Bars = append(ch.Bars, b)
	}
	ch.Height = len(r.Contestants)*barPitch + 4
	return ch
}

func newBar(i int, name, class string) bar {
	return bar{Name: name, Class: class, Y: i*barPitch + 8, Base: i*barPitch + 8 + barHeight/2, Text: "not measured", End: barLeft + 12}
}

// callsChart draws how many of the host's system calls can be made; nil if
// nobody's are known.
func (r *Report) callsChart() *chart {
	ch := &chart{Title: "System calls of the host's kernel", About: "that can be made: fully, in part (paler), or not at all (outline)"}
	known := false
	add := func(name, class string, c *reach.Calls) {
		b := newBar(len(ch.Bars), name, class)
		if c != nil && c.Total > 0 {
			known = true
			scale := barRoom / float64(c.Total)
			b.Width, b.Part, b.Whole = float64(c.Allowed)*scale, float64(c.Allowed+len(c.Conditional))*scale, barRoom
			b.Text, b.End = passText(c), barLeft+barRoom+12
			if n := len(c.Conditional); n > 0 { // short, beside a full bar
				b.Text = fmt.Sprintf("%d + %d of %d", c.Allowed, n, c.Total)
			}
		}
		ch.Bars = append(ch.Bars, b)
	}
	for i := range r.Contestants {
		c := &r.Contestants[i]
		add(c.Name, class(c.Name), c.Isolation.Calls)
		if c.Isolation.Kernel != kernelOwn {
			continue
		}
		ch.Bars[len(ch.Bars)-1].Text = "none: its own kernel answers"
		if n := c.Isolation.HypervisorCalls; n != nil {
			add("hypervisor", class(c.Name), n)
		}
	}
	ch.Height = len(ch.Bars)*barPitch + 4
	if !known {
		return nil
	}
	return ch
}
