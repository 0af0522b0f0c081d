package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newTop(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top CONTAINER [PS OPTIONS]",
		Short: "List the processes of a container",
		Long:  `List the processes of a container. What follows its name are options of ps.`,
		Example: `  abode top web
  abode top web -o pid,args`,
		Args: atLeast(1),
	}
	cmd.Flags().SetInterspersed(false)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
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
	})
	return cmd
}
