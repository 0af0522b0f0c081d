package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// testImage is the image that most cases run: one static program.
const testImage = "bench:latest"

// A bench is one run of the benchmark.
type bench struct {
	*place
	scale
	contestants []contestant
	absent      map[string]error    // contestants that could not be made ready, and why
	population  map[string][]string // names of the idle containers of each
	born        int
	registry    *registry
	tools       map[string]bool // who has the image with fio and iperf3
	iperf       *daemon
	nested      *nested
	plain       *engine // nil while it is not needed
	report      *report
}

// measure runs the cases that were asked for and writes the reports.
func measure(ctx context.Context, o options) error {
	b := &bench{
		place: &place{options: o, ctx: ctx, dir: o.inside}, scale: full,
		absent: map[string]error{}, population: map[string][]string{}, tools: map[string]bool{},
		report: &report{Quick: o.quick, Began: time.Now().Truncate(time.Second)},
	}
	if o.quick {
		b.scale = quick
	}
	if o.runs > 0 {
		b.scale.runs, b.scale.insides = o.runs, o.runs
	}
	for _, dir := range []*string{&b.bin, &b.cache, &b.results} {
		var err error
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	b.contestants = contestants(b.place)
	b.registry = &registry{place: b.place}
	b.makeReady()
	b.say("%-14s %4.0f s", "making ready", time.Since(b.report.Began).Seconds())
	if len(b.absent) == len(b.contestants) && ctx.Err() == nil {
		return errors.New("no contestant could be made ready")
	}
	for _, c := range cases {
		if ctx.Err() == nil && o.only.MatchString(c.name) {
			b.runCase(c)
		}
	}
	if ctx.Err() != nil {
		return errors.New("interrupted: no report is written")
	}
	b.report.Took = time.Since(b.report.Began).Truncate(time.Second).String()
	b.report.conclude()
	b.progress("")
	return b.report.write(b.results, os.Stdout)
}

// makeReady starts the contestants and runs each once, so that nothing is
// measured that happens once in a lifetime, such as the making of a template.
func (b *bench) makeReady() {
	b.report.Machine = describeMachine()
	for _, c := range b.contestants {
		b.progress("making ready: %s", titles[c.name()])
		version, err := c.ready()
		if err == nil {
			err = b.warmUp(c)
		}
		who := party{Name: c.name(), Title: titles[c.name()], Version: version}
		if err != nil {
			b.absent[c.name()], who.Absent = err, reason(err)
			b.say("%s does not take part: %s", titles[c.name()], reason(err))
		}
		b.report.Contestants = append(b.report.Contestants, who)
		if c.name() == "vm" {
			b.report.Accelerator = accelerator(version)
			b.report.Machine.KVM = "not usable: see " + titles["vm"]
			if b.report.Accelerator == "kvm" {
				b.report.Machine.KVM = "usable"
			}
		}
	}
}

func accelerator(version string) string {
	if strings.Contains(version, "accelerator kvm") {
		return "kvm"
	}
	return "tcg"
}

func (b *bench) warmUp(c contestant) error {
	for _, network := range []bool{true, false} {
		cmd, err := c.run(testImage, network, "true")
		var a absence
		if errors.As(err, &a) {
			continue
		}
		if err != nil {
			return err
		}
		if err := b.do(cmd); err != nil {
			return err
		}
	}
	return nil
}

// populate sees to it that a contestant has n idle containers, and says how
// long the new ones took.
func (b *bench) populate(c contestant, n int) (time.Duration, error) {
	have := len(b.population[c.name()])
	if have >= n {
		return 0, nil
	}
	var mu sync.Mutex
	var done int
	first := b.born
	b.born += n - have
	begin := time.Now()
	err := b.eachAtOnce(n-have, b.inFlight, func(i int) error {
		name := fmt.Sprintf("idle-%d", first+i)
		if err := c.idle(name); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		b.population[c.name()] = append(b.population[c.name()], name)
		if done++; done%10 == 0 {
			b.progress("%s: %d of %d are up", titles[c.name()], have+done, n)
		}
		return nil
	})
	return time.Since(begin), err
}

// depopulate removes them, some with each of several calls at once.
func (b *bench) depopulate(c contestant) {
	names := b.population[c.name()]
	delete(b.population, c.name())
	parts := slices.Collect(slices.Chunk(names, 20))
	if err := b.eachAtOnce(len(parts), 8, func(i int) error { return c.remove(parts[i]) }); err != nil {
		b.say("%s: %s", titles[c.name()], reason(err))
	}
}

// engine is Abode's, which both of its walls share; nil: neither takes part.
func (b *bench) engine() *engine {
	for _, c := range b.contestants {
		if w, is := c.(*wall); is && b.absent[c.name()] == nil {
			return w.engine
		}
	}
	return nil
}

// eachAtOnce calls f for 0 to n-1, so many at a time, until one fails, and joins
// the errors.
func (b *bench) eachAtOnce(n, inFlight int, f func(int) error) error {
	var wait sync.WaitGroup
	errs := make([]error, n)
	tickets := make(chan struct{}, inFlight)
	var failed atomic.Bool
	for i := range n {
		tickets <- struct{}{}
		if failed.Load() {
			break
		}
		wait.Go(func() {
			defer func() { <-tickets }()
			if b.ctx.Err() == nil {
				if errs[i] = f(i); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(append(errs, b.ctx.Err())...)
}
