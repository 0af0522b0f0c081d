package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
	"github.com/abode-run/abode/internal/cli/progress"
	"github.com/abode-run/abode/internal/cli/stream"
)

func newLoad(a *app) *cobra.Command {
	var input, platform string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "load [OPTIONS]",
		Short: "Load images from an archive",
		Long: `Load images from an archive that 'abode save', 'docker save' or a builder of
OCI archives wrote: from a file, else from stdin. It may be compressed.`,
		Example: `  abode load -i image.tar
  docker save nginx | abode load`,
		Args: exactly(0),
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "file to read in place of stdin")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print no progress")
	cmd.Flags().StringVar(&platform, "platform", "", "load this platform alone (OS/ARCH[/VARIANT])")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		in := a.in
		switch {
		case input != "" && input != "-":
			f, err := os.Open(input)
			if err != nil {
				return err
			}
			defer f.Close()
			in = f
		case stream.IsTerminal(a.in):
			return errors.New("requested load from stdin, but stdin is a terminal; give a file with -i, or pipe the archive in")
		}
		options := []client.ImageLoadOption{client.ImageLoadWithQuiet(quiet || !stream.IsTerminal(a.out))}
		if platform != "" {
			p, err := flags.Platform(platform)
			if err != nil {
				return err
			}
			options = append(options, client.ImageLoadWithPlatforms([]ocispec.Platform{*p}...))
		}
		r, err := c.ImageLoad(ctx, in, options...)
		if err != nil {
			return err
		}
		defer r.Close()
		return progress.Show(progress.Messages(r), a.out, nil)
	})
	return cmd
}

func newSave(a *app) *cobra.Command {
	var output, platform string
	cmd := &cobra.Command{
		Use:   "save [OPTIONS] IMAGE [IMAGE...]",
		Short: "Save images to an archive",
		Long: `Save images, with their names and all layers, to an archive on stdout or in a
file. 'abode load' and 'docker load' read it.`,
		Example: `  abode save -o nginx.tar nginx:latest
  abode save nginx | ssh host abode load`,
		Args: atLeast(1),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write in place of stdout")
	cmd.Flags().StringVar(&platform, "platform", "", "save this platform alone (OS/ARCH[/VARIANT])")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		var options []client.ImageSaveOption
		if platform != "" {
			p, err := flags.Platform(platform)
			if err != nil {
				return err
			}
			options = append(options, client.ImageSaveWithPlatforms(*p))
		}
		return a.archive(output, func() (io.ReadCloser, error) { return c.ImageSave(ctx, args, options...) })
	})
	return cmd
}

// archive writes what open gives to a file that appears whole or not at all,
// or to stdout unless that is a terminal.
func (a *app) archive(output string, open func() (io.ReadCloser, error)) error {
	if output == "" || output == "-" {
		if stream.IsTerminal(a.out) {
			return errors.New("cowardly refusing to save to a terminal; use the -o flag or redirect")
		}
		r, err := open()
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(a.out, r)
		return err
	}
	if st, err := os.Stat(output); err == nil && !st.Mode().IsRegular() {
		return a.archiveInto(output, open) // a device or a pipe is not replaced
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	return writeWhole(output, r)
}

func (a *app) archiveInto(output string, open func() (io.ReadCloser, error)) error {
	f, err := os.OpenFile(output, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cannot write the archive: %w", err)
	}
	defer f.Close()
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(f, r)
	return err
}
