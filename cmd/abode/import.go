package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
	"github.com/abode-run/abode/internal/cli/progress"
)

func newImport(a *app) *cobra.Command {
	var o client.ImageImportOptions
	var platform string
	cmd := &cobra.Command{
		Use:   "import [OPTIONS] FILE|- [REPOSITORY[:TAG]]",
		Short: "Make an image of a file system archive",
		Long: `Make an image of one layer from a tar archive of a file system, such as one
that 'abode export' wrote, and print its ID. '-' stands for stdin. A URL is
not fetched: download it and import the file.`,
		Example: `  abode import rootfs.tar.gz base:1
  abode export web | abode import -c 'CMD ["nginx"]' - web:snapshot
  curl -fsS https://example.org/rootfs.tar | abode import - base`,
		Args: between(1, 2),
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.Changes, "change", "c", nil, "apply a Dockerfile instruction to the image's config")
	f.StringVarP(&o.Message, "message", "m", "", "message for the image's history")
	f.StringVar(&platform, "platform", "", "platform of the image (OS/ARCH[/VARIANT])")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		p, err := flags.Platform(platform)
		if err != nil {
			return err
		}
		if p != nil {
			o.Platform = *p
		}
		var ref string
		if len(args) == 2 {
			ref = args[1]
		}
		source := client.ImageImportSource{SourceName: "-", Source: a.in}
		switch name := args[0]; {
		case strings.Contains(name, "://"):
			return fmt.Errorf("cannot import from a URL; fetch it here: curl -fsS '%s' | abode import - %s", name, cmp.Or(ref, "NAME"))
		case name != "-":
			file, err := os.Open(name)
			if err != nil {
				return err
			}
			defer file.Close()
			if st, err := file.Stat(); err == nil && st.IsDir() {
				return errors.New(name + " is a directory; import a tar of it: tar -C " + name + " -c . | abode import -")
			}
			source.Source = file
		}
		r, err := c.ImageImport(ctx, source, ref, o)
		if err != nil {
			return err
		}
		defer r.Close()
		return progress.Show(progress.Messages(r), a.out, nil)
	})
	return cmd
}
