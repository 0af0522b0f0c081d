package main

import (
	"context"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newRm(a *app) *cobra.Command {
	var force, volumes bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] CONTAINER [CONTAINER...]", Aliases: []string{"remove"},
		Short: "Remove containers",
		Long: `Remove containers with what they have written. A running one is refused, or
with --force killed first. Anonymous volumes go with --volumes alone.`,
		Example: `  abode rm -f web
  abode rm $(abode ps -aq --filter status=exited)`,
		Args: atLeast(1),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill a running container first")
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "remove its anonymous volumes too")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		return a.each(args, func(name string) error {
			_, err := c.ContainerRemove(ctx, name, client.ContainerRemoveOptions{Force: force, RemoveVolumes: volumes})
			return a.tolerate(err, force)
		})
	})
	return cmd
}
