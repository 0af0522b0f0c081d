package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
	"github.com/abode-run/abode/internal/cli/format"
)

func newVolume(a *app) *cobra.Command {
	return group("volume", "Manage volumes", newVolumeCreate(a), newVolumeLs(a), newInspectOf(a, "volume"), newVolumeRm(a), newVolumePrune(a))
}

func newVolumeCreate(a *app) *cobra.Command {
	o := client.VolumeCreateOptions{}
	var labels, options []string
	cmd := &cobra.Command{
		Use: "create [OPTIONS] [VOLUME]", Short: "Create a volume",
		Long: `Create a volume and print its name; without one the engine chooses it. A volume
that exists already stays as it is.`,
		Example: `  abode volume create data
  abode run --rm -v data:/data alpine touch /data/x`,
		Args: between(0, 1),
	}
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", "", "name of the volume")
	_ = f.MarkHidden("name")
	f.StringVarP(&o.Driver, "driver", "d", "local", "driver of the volume")
	f.StringArrayVar(&labels, "label", nil, "set a label (KEY=VALUE)")
	f.StringArrayVarP(&options, "opt", "o", nil, "option of the driver (NAME=VALUE)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) (err error) {
		if len(args) == 1 {
			if o.Name != "" {
				return fmt.Errorf("conflicting options: cannot specify a volume-name through both --name and as a positional arg")
			}
			o.Name = args[0]
		}
		if o.Labels, err = flags.Labels(nil, labels); err != nil {
			return err
		}
		if o.DriverOpts, err = flags.Map("option", options); err != nil {
			return err
		}
		r, err := c.VolumeCreate(ctx, o)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, r.Volume.Name)
		return nil
	})
	return cmd
}

var volumeHeaders = format.Headers{
	"Name": "VOLUME NAME", "Driver": "DRIVER", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS", "Links": "LINKS", "Size": "SIZE",
}

// volumeRow is a volume as `volume ls --format` sees it.
type volumeRow struct {
	Driver, Labels, Links, Mountpoint, Name, Scope, Size string
	labels                                               map[string]string
}

// Label is the value of one label.
func (r volumeRow) Label(name string) string { return r.labels[name] }

func newVolumeLs(a *app) *cobra.Command {
	var quiet bool
	var fmtFlag string
	var filter []string
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List volumes",
		Long: `List volumes. Filters: name, label, dangling=true|false, driver.`,
		Example: `  abode volume ls
  abode volume ls -q --filter dangling=true`,
		Args: exactly(0),
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "names alone")
	cmd.Flags().StringVar(&fmtFlag, "format", "", "json, or a Go template, perhaps after the word table")
	cmd.Flags().StringArrayVarP(&filter, "filter", "f", nil, "those that match (NAME=VALUE)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		fs, err := filters(filter)
		if err != nil {
			return err
		}
		r, err := c.VolumeList(ctx, client.VolumeListOptions{Filters: fs})
		if err != nil {
			return err
		}
		a.warn(r.Warnings)
		slices.SortFunc(r.Items, func(x, y volume.Volume) int { return strings.Compare(x.Name, y.Name) })
		var rows []volumeRow
		for _, v := range r.Items {
			row := volumeRow{
				Name: v.Name, Driver: v.Driver, Scope: v.Scope, Mountpoint: v.Mountpoint,
				Labels: joinMap(v.Labels), Links: "N/A", Size: "N/A", labels: v.Labels,
			}
			if v.UsageData != nil {
				row.Links, row.Size = count(v.UsageData.RefCount), size(v.UsageData.Size)
			}
			rows = append(rows, row)
		}
		if quiet && fmtFlag == "" {
			fmtFlag = "{{.Name}}"
		}
		return format.Write(a.out, fmtFlag, "{{.Driver}}\t{{.Name}}", volumeHeaders, rows)
	})
	return cmd
}

func newVolumeRm(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] VOLUME [VOLUME...]", Aliases: []string{"remove"}, Short: "Remove volumes",
		Long:    `Remove volumes with what is in them. One that a container uses is refused.`,
		Example: `  abode volume rm data`,
		Args:    atLeast(1),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "no error for one that doesn't exist")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		return a.each(args, func(name string) error {
			_, err := c.VolumeRemove(ctx, name, client.VolumeRemoveOptions{Force: force})
			return err
		})
	})
	return cmd
}

func newVolumePrune(a *app) *cobra.Command {
	var p pruneFlags
	var all bool
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove unused volumes",
		Long:    `Remove anonymous volumes that no container uses; with -a named ones too.`,
		Example: `  abode volume prune -f`,
		Args:    exactly(0),
	}
	p.register(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "named volumes too")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		warning := "This will remove anonymous local volumes not used by at least one container."
		if all {
			warning = "This will remove all local volumes not used by at least one container."
		}
		if !p.ask(a, warning) {
			return nil
		}
		n, err := a.pruneVolumes(ctx, c, all, p.filter)
		return a.reclaimed(n, err)
	})
	return cmd
}
