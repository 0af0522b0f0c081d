package main

import (
	"context"
	"io"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newLogs(a *app) *cobra.Command {
	o := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true}
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] CONTAINER",
		Short: "Print what a container has written",
		Long: `Print what a container has written to stdout and stderr, each on the same
stream here. Times are given as RFC 3339, as Unix seconds, or as a duration
back from now.`,
		Example: `  abode logs -f --tail 20 web
  abode logs --since 10m -t web`,
		Args: exactly(1),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on with what comes")
	f.StringVarP(&o.Tail, "tail", "n", "all", "the last N lines alone")
	f.StringVar(&o.Since, "since", "", "what came after a time (2026-01-02T13:23:37Z or 42m)")
	f.StringVar(&o.Until, "until", "", "what came before a time (2026-01-02T13:23:37Z or 42m)")
	f.BoolVarP(&o.Timestamps, "timestamps", "t", false, "print the time of each line")
	f.BoolVar(&o.Details, "details", false, "print each line behind its details (--log-opt labels=, env=, tag=)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		i, err := c.ContainerInspect(ctx, args[0], client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		r, err := c.ContainerLogs(ctx, i.Container.ID, o)
		if err != nil {
			return err
		}
		defer r.Close()
		if i.Container.Config != nil && i.Container.Config.Tty {
			_, err = io.Copy(a.out, r)
		} else {
			_, err = stdcopy.StdCopy(a.out, a.err, r)
		}
		return err
	})
	return cmd
}
