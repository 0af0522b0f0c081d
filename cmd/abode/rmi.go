package main

import (
	"context"
	"errors"
	"strings"

	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
)

func newRmi(a *app, use string, aliases ...string) *cobra.Command {
	var force, noPrune bool
	var platform string
	cmd := &cobra.Command{
		Use: use + " [OPTIONS] IMAGE [IMAGE...]", Aliases: aliases,
		Short: "Remove images",
		Long: `Remove names of images, and an image with its last name. One that a container
uses is refused; --force takes its names, but not its content, from a stopped
container.`,
		Example: `  abode rmi nginx:1.25
  abode rmi $(abode images -q --filter dangling=true)`,
		Args: atLeast(1),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "remove it even if it is used or has several names")
	cmd.Flags().BoolVar(&noPrune, "no-prune", false, "keep parents without a name")
	cmd.Flags().StringVar(&platform, "platform", "", "remove this platform alone (OS/ARCH[/VARIANT])")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		p, err := flags.Platform(platform)
		if err != nil {
			return err
		}
		o := client.ImageRemoveOptions{Force: force, PruneChildren: !noPrune}
		if p != nil {
			o.Platforms = []ocispec.Platform{*p}
		}
		var failed []string
		for _, name := range args {
			r, err := c.ImageRemove(ctx, name, o)
			if err = a.tolerate(err, force); errors.Is(err, errTolerated) {
				continue
			}
			if err != nil {
				if a.unreachable(err) != nil {
					return err
				}
				failed = append(failed, a.explain(err))
				continue
			}
			a.removedImages(r.Items)
		}
		if failed != nil {
			return errors.New(strings.Join(failed, "\nabode: "))
		}
		return nil
	})
	return cmd
}

func newTag(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short: "Give an image another name",
		Long:  `Give an image another name; the old one stays. A name that another image has moves.`,
		Example: `  abode tag nginx:latest registry.example.org/nginx:1
  abode tag 0e5574283393 app:tested`,
		Args: exactly(2),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			_, err := c.ImageTag(ctx, client.ImageTagOptions{Source: args[0], Target: args[1]})
			return err
		}),
	}
}
