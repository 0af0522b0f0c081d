package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// cells are what a row shows, in the columns of header.
func (t *table) cells(r *row) []string {
	name := titles[r.Contestant]
	if r.Level > 0 {
		name += fmt.Sprintf(" (%d)", r.Level)
	}
	if r.Unmeasured != "" {
		return []string{name, "", "not measured", "", "", r.Target, ""}
	}
	if len(r.Samples) == 0 {
		return []string{name, "", "", "", "", r.Target, ""}
	}
	ratio := ""
	if r.Peer != "" {
		ratio = figure(r.Ratio) + " × " + r.Peer
	}
	return []string{name, fmt.Sprint(len(r.Samples)), figure(r.Median), figure(r.P95), ratio, r.Target, r.Verdict}
}

func (t *table) header() []string {
	return []string{fmt.Sprintf("%s (%s)", t.Title, t.Unit), "runs", "median", "p95", "ratio", "target", ""}
}

// figure is a number with three digits that mean something.
func figure(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	case v < 0.1 && v > -0.1:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// growth says how the costs grew, where that is a target.
func (t *table) growth() string {
	if t.Verdict == "" {
		return ""
	}
	from := ""
	if t.metric.more {
		from = " after the first, which finds what was made ahead"
	}
	return fmt.Sprintf("%s: worst step%s %s × linear: %s", titles[t.metric.targets[0].who], from, figure(t.Growth), t.Verdict)
}

func (r *report) text(w io.Writer) {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range r.Tables {
		fmt.Fprintln(out, strings.Join(t.header(), "\t"))
		for _, row := range t.Rows {
			fmt.Fprintln(out, "  "+strings.Join(t.cells(row), "\t"))
		}
		if t.Note != "" {
			fmt.Fprintln(out, "  "+t.Note)
		}
		if g := t.growth(); g != "" {
			fmt.Fprintln(out, "  "+g)
		}
		fmt.Fprintln(out)
	}
	out.Flush()
	fmt.Fprintln(w, "not measured:")
	for _, m := range r.Missing {
		fmt.Fprintf(w, "  %s: %s\n", m.What, m.Reason)
	}
	reached, all := r.score()
	fmt.Fprintf(w, "\n%d of %d targets reached, in %s\n", reached, all, r.Took)
}

// score counts the targets that were held against figures.
func (r *report) score() (reached, all int) {
	for _, t := range r.Tables {
		verdicts := []string{t.Verdict}
		for _, row := range t.Rows {
			verdicts = append(verdicts, row.Verdict)
		}
		for _, v := range verdicts {
			if v == pass {
				reached++
			}
			if v == pass || v == miss {
				all++
			}
		}
	}
	return reached, all
}
