package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A report is all that a run found out.
type report struct {
	Began       time.Time
	Took        string
	Quick       bool
	Machine     machine
	Accelerator string // of virtual machines
	Contestants []party
	Tables      []*table
	Missing     []missing // what was not measured
}

// A party is a contestant as the report names it.
type party struct {
	Name, Title, Version string
	Absent               string `json:",omitempty"` // why it did not take part
}

// missing is something that the benchmark should measure, and why it did not.
type missing struct{ What, Reason string }

// conclude lists all that is not measured, also what no case exists for.
func (r *report) conclude() {
	for _, c := range r.Contestants {
		if c.Absent != "" {
			r.Missing = append(r.Missing, missing{"everything with " + c.Title, c.Absent})
		}
	}
	for _, t := range r.Tables {
		for _, row := range t.Rows {
			what := fmt.Sprintf("%s: %s%s", t.Title, titles[row.Contestant], ofLevel(row.Level))
			if row.Unmeasured != "" {
				r.Missing = append(r.Missing, missing{what, row.Unmeasured})
			}
			if row.Broken != "" {
				r.Missing = append(r.Missing, missing{what, fmt.Sprintf("stopped after %d runs: %s", len(row.Samples), row.Broken)})
			}
		}
	}
	var left []string
	for _, c := range cases {
		if !r.has(c.name) {
			left = append(left, c.name)
		}
	}
	if left != nil {
		r.Missing = append(r.Missing, missing{strings.Join(left, ", "), "left out by --only"})
	}
	for _, name := range everybody {
		if !slices.ContainsFunc(r.Contestants, func(p party) bool { return p.Name == name }) {
			r.Missing = append(r.Missing, missing{"everything with " + titles[name], "left out by --contestants"})
		}
	}
	if r.Accelerator != "kvm" {
		r.Missing = append(r.Missing, missing{"start-vm with KVM", "this machine's KVM is not usable; start-kvm measures KVM in an emulated machine"})
	}
}

func (r *report) has(name string) bool {
	for _, t := range r.Tables {
		if t.Case == name {
			return true
		}
	}
	return false
}

// write prints the tables and leaves them, the samples and the charts in dir.
func (r *report) write(dir string, w io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r.text(w)
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	charts, err := r.charts(dir)
	if err != nil {
		return fmt.Errorf("cannot draw the charts: %w", err)
	}
	md, err := os.Create(filepath.Join(dir, "latest.md"))
	if err != nil {
		return err
	}
	r.markdown(md, charts)
	err = errors.Join(md.Close(), os.WriteFile(filepath.Join(dir, "latest.json"), append(b, '\n'), 0o644))
	if err == nil {
		fmt.Fprintf(w, "\nwritten: %s\n", filepath.Join(dir, "latest.{json,md}, *.svg"))
	}
	return err
}
