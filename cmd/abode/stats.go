package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
	"github.com/abode-run/abode/internal/cli/stream"
)

func newStats(a *app) *cobra.Command {
	var all, noStream, noTrunc bool
	var fmtFlag string
	cmd := &cobra.Command{
		Use:   "stats [OPTIONS] [CONTAINER...]",
		Short: "Show what containers use",
		Long: `Show the CPU time, memory, network and disk traffic and the processes of
containers, of all running ones unless some are named. On a terminal the
table is kept up to date until interrupted.`,
		Example: `  abode stats
  abode stats --no-stream --format '{{.Name}} {{.MemUsage}}' web`,
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "stopped containers too")
	f.BoolVar(&noStream, "no-stream", false, "one sample alone")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten IDs")
	f.StringVar(&fmtFlag, "format", "", "json, or a Go template, perhaps after the word table")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		show := func(rows []statsRow) error {
			return format.Write(a.out, fmtFlag, statsTable, statsHeaders, rows)
		}
		names := args
		if noStream {
			if len(args) == 0 {
				var err error
				if names, err = containersFor(ctx, c, all); err != nil {
					return err
				}
			}
			samples, err := sampleAll(ctx, c, names)
			if err != nil && len(args) > 0 {
				return err
			}
			return show(statsRows(samples, noTrunc))
		}
		return a.watch(ctx, c, args, all, noTrunc, fmtFlag)
	})
	return cmd
}

// containersFor are the IDs of the running containers, or of all.
func containersFor(ctx context.Context, c *client.Client, all bool) ([]string, error) {
	r, err := c.ContainerList(ctx, client.ContainerListOptions{All: all})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, item := range r.Items {
		ids = append(ids, item.ID)
	}
	return ids, nil
}

// statsSample is the last sample of a container; nil: there is none (yet).
type statsSample struct {
	name  string
	stats *container.StatsResponse
}

func statsRows(samples []statsSample, noTrunc bool) []statsRow {
	rows := make([]statsRow, 0, len(samples))
	for _, s := range samples {
		if s.stats == nil {
			rows = append(rows, emptyStatsRow(s.name, noTrunc))
		} else {
			rows = append(rows, newStatsRow(s.name, *s.stats, noTrunc))
		}
	}
	return rows
}

// sampleAll takes one sample of each container at the same time. Those that
// fail are left out, the first error is returned.
func sampleAll(ctx context.Context, c *client.Client, names []string) ([]statsSample, error) {
	results, errs := make([]statsSample, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			var s container.StatsResponse
			s, errs[i] = sample(ctx, c, name)
			results[i] = statsSample{name, &s}
		})
	}
	wg.Wait()
	var samples []statsSample
	var first error
	for i, r := range results {
		if errs[i] == nil {
			samples = append(samples, r)
		} else if first == nil {
			first = errs[i]
		}
	}
	return samples, first
}

// sample takes two readings a second apart, so that the CPU's share is known.
func sample(ctx context.Context, c *client.Client, name string) (s container.StatsResponse, err error) {
	r, err := c.ContainerStats(ctx, name, client.ContainerStatsOptions{IncludePreviousSample: true})
	if err != nil {
		return s, err
	}
	defer r.Body.Close()
	err = json.NewDecoder(r.Body).Decode(&s)
	return s, err
}

// board holds the last sample of each container that is watched.
type board struct {
	mu   sync.Mutex
	ids  []string
	last map[string]*container.StatsResponse // nil: nothing is known (yet)
	stop map[string]context.CancelFunc
	err  error
}

func newBoard() *board {
	return &board{last: map[string]*container.StatsResponse{}, stop: map[string]context.CancelFunc{}}
}

// watch shows the rows twice a second. Containers that start are added
// unless some were named; those that end go.
func (a *app) watch(ctx context.Context, c *client.Client, names []string, all, noTrunc bool, fmtFlag string) error {
	b := newBoard()
	terminal := stream.IsTerminal(a.out)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		if n%2 == 0 {
			want := names
			if len(names) == 0 {
				var err error
				if want, err = containersFor(ctx, c, all); err != nil {
					return err
				}
			}
			b.follow(ctx, c, want, len(names) == 0)
		}
		samples, err := b.snapshot()
		if err != nil && len(names) > 0 {
			return err
		}
		rows := statsRows(samples, noTrunc)
		var out bytes.Buffer
		if terminal {
			out.WriteString("\x1b[H") // home; each line, then the rest, is cleared below
		}
		if err := format.Write(&out, fmtFlag, statsTable, statsHeaders, rows); err != nil {
			return err
		}
		text := out.String()
		if terminal {
			if n == 0 {
				text = "\x1b[2J" + text
			}
			text = strings.ReplaceAll(text, "\n", "\x1b[K\n") + "\x1b[J"
		}
		if _, err := io.WriteString(a.out, text); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if len(names) > 0 && b.idle() {
			return nil
		}
	}
}

// follow starts to read the containers that are new, and with forget drops
// those that are gone.
func (b *board) follow(ctx context.Context, c *client.Client, ids []string, forget bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	live := map[string]bool{}
	for _, id := range ids {
		live[id] = true
		if _, ok := b.stop[id]; ok {
			continue
		}
		one, cancel := context.WithCancel(ctx)
		b.ids, b.stop[id] = append(b.ids, id), cancel
		b.last[id] = nil
		go b.read(one, c, id)
	}
	if !forget {
		return
	}
	kept := b.ids[:0]
	for _, id := range b.ids {
		if live[id] {
			kept = append(kept, id)
			continue
		}
		b.stop[id]()
		delete(b.stop, id)
		delete(b.last, id)
	}
	b.ids = kept
}

func (b *board) read(ctx context.Context, c *client.Client, id string) {
	err := func() error {
		r, err := c.ContainerStats(ctx, id, client.ContainerStatsOptions{Stream: true})
		if err != nil {
			return err
		}
		defer r.Body.Close()
		for d := json.NewDecoder(r.Body); ; {
			var s container.StatsResponse
			if err := d.Decode(&s); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			b.mu.Lock()
			if _, ok := b.stop[id]; ok {
				b.last[id] = &s
			}
			b.mu.Unlock()
		}
	}()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil && ctx.Err() == nil && b.err == nil {
		b.err = err
	}
	if ctx.Err() == nil {
		b.last[id] = nil
	}
}

func (b *board) snapshot() ([]statsSample, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	samples := make([]statsSample, 0, len(b.ids))
	for _, id := range b.ids {
		samples = append(samples, statsSample{id, b.last[id]})
	}
	return samples, b.err
}

// idle tells that nothing is watched any more.
func (b *board) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ids) == 0
}
