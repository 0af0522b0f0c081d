package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
	"github.com/abode-run/abode/internal/cli/stream"
	"github.com/abode-run/abode/internal/compare"
)

// compareFlags are the flags of `compare`.
type compareFlags struct {
	repeat              int
	with, env           []string
	http, html          string
	rest, settle, limit time.Duration
	json, quiet         bool
	throughput          bool
}

func newCompare(a *app) *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare [OPTIONS] IMAGE [-- COMMAND [ARG...]]",
		Short: "Measure what each wall costs on this machine",
		Long: `Run an image behind each wall that this machine has, taking turns, and print
what that costs: the time of a start, of the first output or HTTP answer and of
the run, the memory with hypervisor and guest kernel, CPU time; what the wall
keeps apart, down to the system calls of the host's kernel that the workload
can reach; and a verdict in words. --with adds other engines, --throughput the
speed and latency of disk and network.

A command that ends is waited for, up to --limit; one that does not is removed
once it was measured. All containers that this makes are removed, also when it
is interrupted. Most of it needs root, and the engine on this machine.`,
		Example: `  abode compare alpine -- echo hello
  abode compare --http 80 --html nginx.html nginx
  abode compare --throughput alpine -- true
  abode compare --with docker --repeat 20 --json alpine -- true`,
		Args: atLeast(1),
	}
	s := cmd.Flags()
	s.IntVarP(&f.repeat, "repeat", "n", 5, "runs of each contestant")
	s.StringSliceVar(&f.with, "with", nil, "compare with another engine too (docker, podman)")
	s.StringVar(&f.http, "http", "", "wait for an HTTP answer on a port of the container (PORT[/PATH])")
	s.StringArrayVarP(&f.env, "env", "e", nil, "set an environment variable (NAME=VALUE, or NAME for the caller's)")
	s.BoolVar(&f.throughput, "throughput", false, "measure disk and network too, which takes some seconds more for each run")
	s.DurationVar(&f.rest, "rest", time.Second, "time between runs, in which the engines finish what the last one left")
	s.DurationVar(&f.settle, "settle", 2*time.Second, "time from ready to the measurement of memory")
	s.DurationVar(&f.limit, "limit", 0, "time until a command that neither ended nor answered is ended (default 10s, with --http 1m)")
	s.BoolVar(&f.json, "json", false, "print one JSON document")
	s.StringVar(&f.html, "html", "", "write a page with charts to this file too")
	s.BoolVarP(&f.quiet, "quiet", "q", false, "do not tell what is under way")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		p, err := f.plan(args, cmd.ArgsLenAtDash())
		if err != nil {
			return exit(125, usage(cmd, err))
		}
		return a.compare(ctx, c, &f, p)
	})
	return cmd
}

// plan makes a plan of the flags; dash is how many arguments stand before --.
func (f *compareFlags) plan(args []string, dash int) (*compare.Plan, error) {
	image, command := args[0], args[1:]
	switch {
	case dash == 0:
		return nil, errors.New("the image is missing: it stands before the --")
	case dash > 1 || dash < 0 && len(command) > 0:
		return nil, fmt.Errorf("put -- before the command: abode compare %s -- %s", image, strings.Join(command, " "))
	case f.repeat < 1 || f.repeat > 1000:
		return nil, fmt.Errorf("invalid --repeat %d: give a number from 1 to 1000", f.repeat)
	case f.rest < 0 || f.settle < 0 || f.limit < 0:
		return nil, errors.New("--rest, --settle and --limit cannot be negative")
	}
	env, err := flags.Env(nil, f.env, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	p := &compare.Plan{
		ID: rand.Text(), Image: image, Command: command, Env: env, Repeat: f.repeat, Rest: f.rest, Settle: f.settle, Limit: f.limit,
		Host:       &compare.Host{Proc: "/proc"},
		Throughput: f.throughput, Program: "/proc/self/exe", Gauge: []string{gaugeName},
	}
	if f.http != "" {
		if p.HTTP, err = compare.ParseTarget(f.http); err != nil {
			return nil, err
		}
	}
	if p.Limit == 0 {
		p.Limit = 10 * time.Second
		if p.HTTP != nil {
			p.Limit = time.Minute
		}
	}
	return p, nil
}

func (a *app) compare(ctx context.Context, c *client.Client, f *compareFlags, p *compare.Plan) (err error) {
	var page *os.File
	if f.html != "" { // before anything runs: who cannot write it learns that now
		if page, err = os.CreateTemp(filepath.Dir(f.html), ".compare-*"); err != nil {
			if e := (*os.PathError)(nil); errors.As(err, &e) {
				err = e.Err // without the temporary name
			}
			return fmt.Errorf("cannot write %s: %w; choose another file for --html", f.html, err)
		}
		defer func() {
			page.Close()
			os.Remove(page.Name())
		}()
	}
	if err := a.compareImage(ctx, c, f, p.Image); err != nil {
		return err
	}
	entrants, absent, err := a.walls(ctx, c)
	if err != nil {
		return err
	}
	others, more, err := peers(ctx, f.with)
	if err != nil {
		return err
	}
	p.Say = a.sayer(f.quiet)
	r, err := compare.Compare(ctx, p, append(entrants, others...), append(absent, more...))
	p.Say("")
	if err != nil {
		return err
	}
	if page != nil {
		if err := errors.Join(r.WriteHTML(page), page.Chmod(0o644), os.Rename(page.Name(), f.html)); err != nil {
			return fmt.Errorf("cannot write %s: %w", f.html, err)
		}
	}
	if f.json {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.WriteText(a.out)
}

// compareImage pulls the image when it is missing, so that no run does.
func (a *app) compareImage(ctx context.Context, c *client.Client, f *compareFlags, image string) error {
	_, err := c.ImageInspect(ctx, image)
	if errdefs.IsNotFound(err) {
		fmt.Fprintf(a.err, "Unable to find image '%s' locally\n", familiar(image))
		return a.pull(ctx, c, image, nil, f.quiet, a.err)
	}
	return err
}

// sayer tells on a terminal what is under way, in one line; "" wipes it.
func (a *app) sayer(quiet bool) func(string) {
	if quiet || !stream.IsTerminal(a.err) {
		return func(string) {}
	}
	return func(s string) { fmt.Fprintf(a.err, "\r\x1b[K%s", s) }
}
