package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

func newCreate(a *app) *cobra.Command {
	var flags createFlags
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Create a container without starting it",
		Long: `Create a container from an image without starting it, and print its ID. The
image is pulled when it is missing. Start the container with 'abode start'.`,
		Example: `  abode create --name web -p 8080:80 nginx
  abode start web`,
		Args: atLeast(1),
	}
	cmd.Flags().Bool("help", false, "print this help")
	flags.register(cmd.Flags())
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		o, err := flags.options(cmd.Flags(), args, false)
		if err != nil {
			return exit(125, usage(cmd, err))
		}
		id, err := a.create(ctx, c, &flags, o)
		if err != nil {
			return exit(125, err)
		}
		fmt.Fprintln(a.out, id)
		return nil
	})
	return cmd
}

// usage adds where the flags are explained.
func usage(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())
}

// create creates a container, after pulling its image if --pull says so, and
// writes its ID to --cidfile. When ctx ends meanwhile, no container with --rm
// is left behind: it would never run, so never be removed.
func (a *app) create(ctx context.Context, c *client.Client, f *createFlags, o client.ContainerCreateOptions) (string, error) {
	cid, err := newCIDFile(f.cidFile)
	if err != nil {
		return "", err
	}
	defer cid.close()
	image := o.Config.Image
	if f.pull == "always" {
		if err := a.pullFor(ctx, c, f, o.Platform, image); err != nil {
			return "", err
		}
	}
	create := func() (client.ContainerCreateResult, error) {
		if err := ctx.Err(); err != nil {
			return client.ContainerCreateResult{}, err
		}
		// Not cut short: the engine would go on, and the ID be lost.
		return c.ContainerCreate(context.WithoutCancel(ctx), o)
	}
	r, err := create()
	if err != nil && f.pull == "missing" && noSuchImage(err) {
		switch {
		case f.quiet:
		case strings.Contains(err.Error(), "does not match"): // one of another platform is here
			fmt.Fprintln(a.err, a.explain(err))
		default:
			fmt.Fprintf(a.err, "Unable to find image '%s' locally\n", familiar(image))
		}
		if err := a.pullFor(ctx, c, f, o.Platform, image); err != nil {
			return "", err
		}
		r, err = create()
	}
	if err != nil {
		return "", err
	}
	a.warn(r.Warnings)
	if err := ctx.Err(); err != nil && o.HostConfig.AutoRemove {
		a.discard(ctx, c, r.ID)
		return "", err
	}
	return r.ID, cid.write(r.ID)
}

// discard removes a container that was to be removed at its end, but has
// not started. That it is gone already is fine.
func (a *app) discard(ctx context.Context, c *client.Client, id string) {
	_, err := c.ContainerRemove(context.WithoutCancel(ctx), id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // conflict: its removal is under way
		return
	}
	fmt.Fprintf(a.err, "abode: cannot remove container %s: %s\n", id, a.explain(err))
}

func (a *app) pullFor(ctx context.Context, c *client.Client, f *createFlags, p *ocispec.Platform, image string) error {
	return a.pull(ctx, c, image, p, f.quiet, a.err)
}

// noSuchImage tells that creation failed for want of the image, as against
// a network, a volume or another container.
func noSuchImage(err error) bool {
	return errdefs.IsNotFound(err) && strings.Contains(strings.ToLower(err.Error()), "image")
}

// familiar is a reference as users write it, with its tag.
func familiar(image string) string {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.FamiliarString(reference.TagNameOnly(ref))
}

// cidFile is the file of --cidfile; its zero value is none.
type cidFile struct {
	path    string
	file    *os.File
	written bool
}

func newCIDFile(path string) (*cidFile, error) {
	if path == "" {
		return &cidFile{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("container ID file found, make sure the other container isn't running or delete %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to create the container ID file: %w", err)
	}
	return &cidFile{path: path, file: f}, nil
}

func (c *cidFile) write(id string) error {
	if c.file == nil {
		return nil
	}
	if _, err := c.file.WriteString(id); err != nil {
		return fmt.Errorf("failed to write the container ID file: %w", err)
	}
	c.written = true
	return nil
}

// close removes a file that was not written.
func (c *cidFile) close() {
	if c.file == nil {
		return
	}
	c.file.Close()
	if !c.written {
		os.Remove(c.path)
	}
}
