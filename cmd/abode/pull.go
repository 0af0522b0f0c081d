package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/dockerconfig"
	"github.com/abode-run/abode/internal/cli/flags"
	"github.com/abode-run/abode/internal/cli/progress"
)

func newPull(a *app) *cobra.Command {
	var platform string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		Short: "Download an image from a registry",
		Long: `Download an image from a registry. Without a registry the name is one of
docker.io; without a tag it is 'latest'. Credentials are those of Docker's
config.json, which 'abode login' writes.`,
		Example: `  abode pull nginx
  abode pull --platform linux/arm64 registry.example.org/team/app:1.2`,
		Args: exactly(1),
	}
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		p, err := flags.Platform(platform)
		if err != nil {
			return err
		}
		ref, err := reference.ParseNormalizedNamed(args[0])
		if err != nil {
			return err
		}
		if reference.IsNameOnly(ref) && !quiet {
			fmt.Fprintln(a.out, "Using default tag: latest")
		}
		if err := a.pull(ctx, c, args[0], p, quiet, a.out); err != nil {
			return err
		}
		fmt.Fprintln(a.out, reference.TagNameOnly(ref))
		return nil
	})
	cmd.Flags().StringVar(&platform, "platform", "", "platform of the image (OS/ARCH[/VARIANT])")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the name alone")
	return cmd
}

// pull pulls an image and shows the progress on out unless quiet.
func (a *app) pull(ctx context.Context, c *client.Client, image string, p *ocispec.Platform, quiet bool, out io.Writer) error {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return fmt.Errorf("invalid image reference %q: %w", image, err)
	}
	auth, err := a.registryAuth(reference.Domain(ref))
	if err != nil {
		return err
	}
	o := client.ImagePullOptions{RegistryAuth: auth}
	if p != nil {
		o.Platforms = []ocispec.Platform{*p}
	}
	r, err := c.ImagePull(ctx, reference.TagNameOnly(ref).String(), o)
	if err != nil {
		return pullHint(err, reference.Domain(ref))
	}
	defer r.Close()
	if quiet {
		out = io.Discard
	}
	if err := progress.Show(r.JSONMessages(ctx), out, nil); err != nil {
		return pullHint(err, reference.Domain(ref))
	}
	return nil
}

// pullHint adds the next step to an error about credentials.
func pullHint(err error, registry string) error {
	text := strings.ToLower(err.Error())
	for _, s := range []string{"unauthorized", "authentication required", "access denied", "no basic auth"} {
		if strings.Contains(text, s) && !strings.Contains(text, "abode login") {
			return fmt.Errorf("%w; if the image is private, log in with 'abode login %s'", err, registry)
		}
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return err
}

// registryAuth is the header with the credentials for a registry host.
func (a *app) registryAuth(host string) (string, error) {
	f, err := loadConfig()
	if err != nil {
		return "", err
	}
	auth, err := f.Get(host)
	if err != nil {
		return "", err
	}
	return authconfig.Encode(auth)
}

func loadConfig() (*dockerconfig.File, error) {
	path, err := dockerconfig.Path()
	if err != nil {
		return nil, err
	}
	return dockerconfig.Load(path)
}
