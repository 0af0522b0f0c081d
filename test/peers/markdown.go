package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// markdown writes the report for people; charts are files beside it, by case
// and metric.
func (r *report) markdown(w io.Writer, charts map[*table]string) {
	kind := "full"
	if r.Quick {
		kind = "quick: few runs and small counts, so a look and not a measurement"
	}
	fmt.Fprintf(w, "# Abode beside its peers\n\n%s, %s (%s).\n\n", r.Began.Format(time.RFC3339), r.Took, kind)
	reached, all := r.score()
	fmt.Fprintf(w, "%d of %d targets reached. p95 is on the bad side; ratios are of medians of this run.\n\n", reached, all)
	fmt.Fprintf(w, "| machine | |\n| --- | --- |\n")
	for _, f := range r.Machine.facts() {
		fmt.Fprintf(w, "| %s | %s |\n", f[0], cell(f[1]))
	}
	for _, c := range r.Contestants {
		fmt.Fprintf(w, "| %s | %s |\n", c.Title, cell(c.Version))
	}
	for _, t := range r.Tables {
		head := t.header()
		fmt.Fprintf(w, "\n## %s: %s\n\n%s.\n\n| %s |\n| --- |%s\n", t.Case, t.Title, upper(t.About), strings.Join(head, " | "), strings.Repeat(" --- |", len(head)-1))
		for _, row := range t.Rows {
			cells := t.cells(row)
			if row.Unmeasured != "" {
				cells[2] += ": " + row.Unmeasured
			}
			for i, c := range cells {
				cells[i] = cell(c)
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		}
		if t.Note != "" {
			fmt.Fprintf(w, "\n%s.\n", upper(t.Note))
		}
		if g := t.growth(); g != "" {
			fmt.Fprintf(w, "\n%s\n", upper(g))
		}
		if file := charts[t]; file != "" {
			fmt.Fprintf(w, "\n![%s](%s)\n", t.Title, file)
		}
	}
	fmt.Fprintf(w, "\n## Not measured\n\n")
	for _, m := range r.Missing {
		fmt.Fprintf(w, "- %s: %s\n", m.What, m.Reason)
	}
}

// cell keeps text inside its cell of a table.
func cell(s string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s) }

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
