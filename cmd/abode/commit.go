package main

import (
	"context"
	"fmt"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newCommit(a *app) *cobra.Command {
	var o client.ContainerCommitOptions
	var pause bool
	cmd := &cobra.Command{
		Use:   "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short: "Make an image of a container's changes",
		Long: `Make an image of a container: of its image and what it has changed in its
files, without volumes and other mounts. Print the image's ID. A running
container is paused meanwhile.`,
		Example: `  abode commit web web:patched
  abode commit -m 'with curl' -c 'CMD ["sh"]' --pause=false web tools`,
		Args: between(1, 2),
	}
	f := cmd.Flags()
	f.StringVarP(&o.Author, "author", "a", "", "author of the image")
	f.StringArrayVarP(&o.Changes, "change", "c", nil, "apply a Dockerfile instruction to the image's config")
	f.StringVarP(&o.Comment, "message", "m", "", "message for the image's history")
	f.BoolVarP(&pause, "pause", "p", true, "pause the container during the commit")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) == 2 {
			o.Reference = args[1]
		}
		o.NoPause = !pause
		r, err := c.ContainerCommit(ctx, args[0], o)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, r.ID)
		return nil
	})
	return cmd
}
