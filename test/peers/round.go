package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// runCase measures a case: round by round, and in each round one contestant
// after the other, so that whatever disturbs the machine disturbs them all.
func (b *bench) runCase(c testCase) {
	begin := time.Now()
	if !c.keep {
		for _, other := range b.contestants {
			b.depopulate(other)
		}
	}
	levels := []int{0}
	if c.levels != nil {
		levels = c.levels(b.scale)
	}
	tables := make([]*table, len(c.metrics))
	for i, m := range c.metrics {
		tables[i] = &table{Case: c.name, About: c.about, Metric: m.name, Title: m.title, Unit: m.unit, metric: m}
		b.report.Tables = append(b.report.Tables, tables[i])
	}
	out := map[string]bool{} // contestants that failed
	for _, level := range levels {
		b.runLevel(c, level, tables, out)
	}
	if c.finish != nil {
		for _, who := range b.in(c) {
			c.finish(b, who)
		}
	}
	for _, t := range tables {
		t.conclude(b.report.Accelerator)
		if c.note != nil {
			t.Note = c.note(b)
		}
	}
	b.say("%-14s %4.0f s", c.name, time.Since(begin).Seconds())
}

// in lists a case's contestants, of those that could be made ready.
func (b *bench) in(c testCase) (in []contestant) {
	for _, who := range b.contestants {
		if slices.Contains(c.who, who.name()) && b.absent[who.name()] == nil {
			in = append(in, who)
		}
	}
	return in
}

func (b *bench) runLevel(c testCase, level int, tables []*table, out map[string]bool) {
	fail := func(who contestant, err error) {
		out[who.name()] = true
		for _, t := range tables {
			if row := t.row(who.name(), level); len(row.Samples) == 0 {
				row.Unmeasured = reason(err)
			} else {
				row.Broken = reason(err)
			}
		}
		b.say("%s: %s: %s", c.name, titles[who.name()], reason(err))
	}
	contestants := b.in(c)
	for _, who := range contestants {
		for _, t := range tables {
			t.add(who.name(), level)
		}
		var err error
		if out[who.name()] {
			err = absence("it failed at a smaller number")
		}
		if err == nil && c.prepare != nil {
			b.progress("%s: preparing %s", c.name, titles[who.name()])
			err = c.prepare(b, who, level)
		}
		if err != nil {
			fail(who, err)
		}
	}
	runs := c.runs(b.scale)
	for round := range runs {
		for i := range contestants {
			// Another one comes first in each round, and after another: what
			// one leaves for the disk to do is not always the same one's.
			who := contestants[(i+round)%len(contestants)]
			if out[who.name()] || b.ctx.Err() != nil {
				continue
			}
			b.progress("%s%s: round %d of %d: %s", c.name, ofLevel(level), round+1, runs, titles[who.name()])
			b.calm()
			figures, err := c.sample(b, who, level)
			if err != nil {
				fail(who, err)
				continue
			}
			for i, t := range tables {
				row := t.row(who.name(), level)
				row.Samples = append(row.Samples, figures[i])
			}
		}
	}
}

func ofLevel(level int) string {
	if level == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d)", level)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quantile is the smallest sample that is not below the share q of them.
func quantile(samples []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(samples))
	return s[max(0, int(math.Ceil(q*float64(len(s))))-1)]
}

func median(samples []float64) float64 {
	s := slices.Sorted(slices.Values(samples))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// progress replaces the line that says what happens now; where that is no
// terminal it says nothing of what is short-lived.
func (b *bench) progress(format string, args ...any) {
	if fi, err := os.Stderr.Stat(); err != nil || fi.Mode()&os.ModeCharDevice == 0 {
		return
	}
	fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
}

// say prints a line that stays.
func (b *bench) say(format string, args ...any) {
	b.progress("")
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}
