package main

import (
	"context"
	"fmt"
	"io"

	"github.com/distribution/reference"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
	"github.com/abode-run/abode/internal/cli/progress"
)

func newPush(a *app) *cobra.Command {
	var o client.ImagePushOptions
	var platform string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "push [OPTIONS] NAME[:TAG]",
		Short: "Upload an image to a registry",
		Long: `Upload an image to the registry that its name begins with, docker.io without
one. Give an image a name with 'abode tag' first. Credentials are those of
Docker's config.json, which 'abode login' writes.`,
		Example: `  abode push registry.example.org/team/app:1.2
  abode push --all-tags registry.example.org/team/app`,
		Args: exactly(1),
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) (err error) {
		if o.Platform, err = flags.Platform(platform); err != nil {
			return err
		}
		ref, err := reference.ParseNormalizedNamed(args[0])
		switch {
		case err != nil:
			return fmt.Errorf("invalid image reference %q: %w", args[0], err)
		case o.All && !reference.IsNameOnly(ref):
			return fmt.Errorf("tag can't be used with --all-tags/-a")
		case !o.All && reference.IsNameOnly(ref):
			ref = reference.TagNameOnly(ref)
			if !quiet {
				fmt.Fprintln(a.out, "Using default tag: latest")
			}
		}
		if o.RegistryAuth, err = a.registryAuth(reference.Domain(ref)); err != nil {
			return err
		}
		r, err := c.ImagePush(ctx, ref.String(), o)
		if err != nil {
			return pullHint(err, reference.Domain(ref))
		}
		defer r.Close()
		var out io.Writer = a.out
		if quiet {
			out = io.Discard
		}
		if err := progress.Show(r.JSONMessages(ctx), out, nil); err != nil {
			return pullHint(err, reference.Domain(ref))
		}
		if quiet {
			fmt.Fprintln(a.out, ref)
		}
		return nil
	})
	f := cmd.Flags()
	f.BoolVarP(&o.All, "all-tags", "a", false, "push all tags of the repository")
	f.StringVar(&platform, "platform", "", "platform of the image (OS/ARCH[/VARIANT])")
	f.BoolVarP(&quiet, "quiet", "q", false, "print the name alone")
	return cmd
}
