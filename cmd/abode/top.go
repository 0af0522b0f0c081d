package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
	"github.com/abode-run/abode/internal/cli/stream"
)

func newTop(a *app) *cobra.Command {
	var fmtFlag string
	order := topOrder("cpu")
	cmd := &cobra.Command{
		Use:   "top [OPTIONS] [CONTAINER [PS OPTIONS]]",
		Short: "Show what containers take of the host, or the processes of one",
		Long: `Show what the running containers take of the host, those that take most
first: what the workload uses, and what the host pays for it. For a virtual
machine the difference is the hypervisor's share. On a terminal the list is
kept up to date; c, m and n sort it by CPU, memory and name, and q leaves.
Elsewhere it is printed once.

With a container, list its processes. What follows its name are options of ps.`,
		Example: `  abode top
  abode top --format json
  abode top web
  abode top web -o pid,args`,
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&fmtFlag, "format", "", "print once: json, or a Go template, perhaps after the word table")
	f.Var(&order, "sort", "what comes first: cpu, memory or name")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		switch {
		case len(args) > 0 && (f.Changed("format") || f.Changed("sort")):
			return errors.New("--format and --sort are for the list of containers; for the processes of one, give options of ps after its name")
		case len(args) > 0:
			return a.processes(ctx, c, args)
		case !f.Changed("format") && stream.IsTerminal(a.out):
			return a.watchTop(ctx, c, order)
		}
		ids, err := containersFor(ctx, c, false)
		if err != nil {
			return err
		}
		rows := topRows(sampleAll(ctx, c, ids))
		order.sort(rows)
		return format.Write(a.out, fmtFlag, topTable, topHeaders, rows)
	})
	return cmd
}

// processes lists those of one container.
func (a *app) processes(ctx context.Context, c *client.Client, args []string) error {
	r, err := c.ContainerTop(ctx, args[0], client.ContainerTopOptions{Arguments: args[1:]})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.out, 20, 1, 3, ' ', 0)
	fmt.Fprintln(w, strings.Join(r.Titles, "\t"))
	for _, p := range r.Processes {
		fmt.Fprintln(w, strings.Join(p, "\t"))
	}
	return w.Flush()
}

// topOrder is what `top` sorts by.
type topOrder string

func (o *topOrder) String() string { return string(*o) }
func (o *topOrder) Type() string   { return "string" }

func (o *topOrder) Set(s string) error {
	switch s {
	case "cpu", "memory", "name":
		*o = topOrder(s)
		return nil
	}
	return errors.New("choose cpu, memory or name")
}

// sort puts what takes most first; equals are in the order of their names.
func (o topOrder) sort(rows []topRow) {
	slices.SortStableFunc(rows, func(a, b topRow) int {
		var more float64
		switch o {
		case "cpu":
			more = b.hostCPU - a.hostCPU
		case "memory":
			more = b.hostMem - a.hostMem
		}
		switch {
		case more > 0:
			return 1
		case more < 0:
			return -1
		}
		return strings.Compare(a.Name, b.Name)
	})
}
