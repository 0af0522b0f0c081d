package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newRename(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rename CONTAINER NEW_NAME",
		Short:   "Give a container another name",
		Long:    `Give a container another name. Its DNS name changes with it.`,
		Example: `  abode rename web web-old`,
		Args:    exactly(2),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			if strings.TrimSpace(args[0]) == "" || strings.TrimSpace(args[1]) == "" {
				return errors.New("neither old nor new names may be empty")
			}
			_, err := c.ContainerRename(ctx, args[0], client.ContainerRenameOptions{NewName: args[1]})
			return err
		}),
	}
}

func newDiff(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "diff CONTAINER",
		Short: "List what a container changed in its file system",
		Long: `List what a container changed in its file system against its image: A for
added, C for changed, D for deleted.`,
		Example: `  abode diff web`,
		Args:    exactly(1),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.ContainerDiff(ctx, args[0], client.ContainerDiffOptions{})
			if err != nil {
				return err
			}
			for _, change := range r.Changes {
				fmt.Fprintln(a.out, changeLetter(change.Kind), change.Path)
			}
			return nil
		}),
	}
}

func changeLetter(k container.ChangeType) string {
	switch k {
	case container.ChangeModify:
		return "C"
	case container.ChangeAdd:
		return "A"
	case container.ChangeDelete:
		return "D"
	}
	return "?"
}

func newExport(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "export [OPTIONS] CONTAINER",
		Short: "Write a container's file system to an archive",
		Long: `Write a container's file system as a tar archive to stdout or a file. Volumes
are not part of it. 'abode import' makes an image of it.`,
		Example: `  abode export -o web.tar web
  abode export web | tar -t`,
		Args: exactly(1),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write in place of stdout")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		return a.archive(output, func() (io.ReadCloser, error) {
			return c.ContainerExport(ctx, args[0], client.ContainerExportOptions{})
		})
	})
	return cmd
}
