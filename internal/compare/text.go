package compare

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteText prints the report as a table.
func (r *Report) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%s, %s, %s\n\n", r.Image, r.commandText(), r.howOften()+r.legend())
	tw := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	row := func(title string, cell func(*Contestant) string) {
		fmt.Fprint(tw, title)
		for i := range r.Contestants {
			fmt.Fprintf(tw, "\t%s", cell(&r.Contestants[i]))
		}
		fmt.Fprintln(tw)
	}
	row("", func(c *Contestant) string { return c.Name })
	for _, m := range r.measured() {
		row(m.title, func(c *Contestant) string { return m.cell(c) })
	}
	row("image on disk", func(c *Contestant) string { return bytesText(float64(c.ImageBytes)) })
	for i, f := range (&Facts{}).lines() {
		row(f.title, func(c *Contestant) string { return c.Isolation.lines()[i].text })
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, s := range r.Verdict {
		fmt.Fprintln(w, wrap(s, 100))
	}
	if r.Throughput {
		fmt.Fprintf(w, "\n%s\n", wrap(how, 100))
	}
	if gaps := r.gaps(); len(gaps) > 0 {
		fmt.Fprintln(w, "\nNot measured:")
		for _, g := range gaps {
			fmt.Fprintf(w, "  %s: %s\n", g.What, g.Reason)
		}
	}
	return nil
}

// cell is a metric's median and how far its values lie apart.
func (m metric) cell(c *Contestant) string {
	s, ok := c.Metrics[m.key]
	if !ok {
		return "-"
	}
	text := m.text(s.Median)
	if spread := m.spread(s); spread != "" {
		text += " (" + spread + ")"
	}
	return text
}

func (r *Report) commandText() string {
	if len(r.Command) == 0 {
		return "its own command"
	}
	return "command " + strings.Join(r.Command, " ")
}

func (r *Report) howOften() string {
	if r.Repeat == 1 {
		return "1 run of each"
	}
	return fmt.Sprintf("%d runs of each, taking turns", r.Repeat)
}

func (r *Report) legend() string {
	if r.Repeat == 1 {
		return ""
	}
	return ": median (smallest to largest)"
}

// gaps are all that was not measured, those with one reason together.
func (r *Report) gaps() []Missing {
	type gap struct{ who, what []string }
	var reasons []string
	by := map[string]*gap{}
	for _, c := range r.Contestants {
		for _, m := range c.Missing {
			g := by[m.Reason]
			if g == nil {
				g = &gap{}
				by[m.Reason] = g
				reasons = append(reasons, m.Reason)
			}
			if !slices.Contains(g.who, c.Name) {
				g.who = append(g.who, c.Name)
			}
			if !slices.Contains(g.what, m.What) {
				g.what = append(g.what, m.What)
			}
		}
	}
	list := []Missing{}
	for _, reason := range reasons {
		g := by[reason]
		list = append(list, Missing{strings.Join(g.what, ", ") + " (" + strings.Join(g.who, ", ") + ")", reason})
	}
	return append(list, r.Absent...)
}

// wrap breaks a text into lines of width at most, where it has spaces.
func wrap(s string, width int) string {
	var b strings.Builder
	n := 0
	for word := range strings.FieldsSeq(s) {
		switch l := len([]rune(word)); {
		case n == 0:
			n = l
		case n+1+l > width:
			b.WriteByte('\n')
			n = l
		default:
			b.WriteByte(' ')
			n += 1 + l
		}
		b.WriteString(word)
	}
	return b.String()
}
