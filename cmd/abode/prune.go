package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// pruneFlags are those that every prune has.
type pruneFlags struct {
	force  bool
	filter []string
}

func (p *pruneFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&p.force, "force", "f", false, "do not ask")
	cmd.Flags().StringArrayVar(&p.filter, "filter", nil, "those that match (until=TIME, label=KEY[=VALUE])")
}

// ask warns and asks, unless --force.
func (p *pruneFlags) ask(a *app, warning string) bool {
	return p.force || a.confirm("WARNING! "+warning+"\nAre you sure you want to continue?")
}

func newContainerPrune(a *app) *cobra.Command {
	var p pruneFlags
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove all stopped containers",
		Long:    `Remove all stopped containers with what they have written.`,
		Example: `  abode container prune -f --filter until=24h`,
		Args:    exactly(0),
	}
	p.register(cmd)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		if !p.ask(a, "This will remove all stopped containers.") {
			return nil
		}
		n, err := a.pruneContainers(ctx, c, p.filter)
		return a.reclaimed(n, err)
	})
	return cmd
}

func (a *app) pruneContainers(ctx context.Context, c *client.Client, filter []string) (uint64, error) {
	f, err := filters(filter)
	if err != nil {
		return 0, err
	}
	r, err := c.ContainerPrune(ctx, client.ContainerPruneOptions{Filters: f})
	a.deleted("Containers", r.Report.ContainersDeleted)
	return r.Report.SpaceReclaimed, err
}

func newImagePrune(a *app) *cobra.Command {
	var p pruneFlags
	var all bool
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove unused images",
		Long:    `Remove images that have no name, or with -a all that no container uses.`,
		Example: `  abode image prune -a -f`,
		Args:    exactly(0),
	}
	p.register(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "all that no container uses, not only those without a name")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		if !p.ask(a, imageWarning(all)) {
			return nil
		}
		n, err := a.pruneImages(ctx, c, all, p.filter)
		return a.reclaimed(n, err)
	})
	return cmd
}

func imageWarning(all bool) string {
	if all {
		return "This will remove all images without at least one container associated to them."
	}
	return "This will remove all dangling images."
}

func (a *app) pruneImages(ctx context.Context, c *client.Client, all bool, filter []string) (uint64, error) {
	f, err := filters(filter)
	if err != nil {
		return 0, err
	}
	f.Add("dangling", fmt.Sprint(!all))
	r, err := c.ImagePrune(ctx, client.ImagePruneOptions{Filters: f})
	if len(r.Report.ImagesDeleted) > 0 {
		fmt.Fprintln(a.out, "Deleted Images:")
		a.removedImages(r.Report.ImagesDeleted)
		fmt.Fprintln(a.out)
	}
	return r.Report.SpaceReclaimed, err
}

func (a *app) removedImages(list []image.DeleteResponse) {
	for _, d := range list {
		if d.Deleted != "" {
			fmt.Fprintln(a.out, "Deleted:", d.Deleted)
		} else {
			fmt.Fprintln(a.out, "Untagged:", d.Untagged)
		}
	}
}

func (a *app) pruneVolumes(ctx context.Context, c *client.Client, all bool, filter []string) (uint64, error) {
	f, err := filters(filter)
	if err != nil {
		return 0, err
	}
	r, err := c.VolumePrune(ctx, client.VolumePruneOptions{All: all, Filters: f})
	a.deleted("Volumes", r.Report.VolumesDeleted)
	return r.Report.SpaceReclaimed, err
}

func newSystemPrune(a *app) *cobra.Command {
	var p pruneFlags
	var all, volumes bool
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove all that is unused",
		Long: `Remove stopped containers, networks that no running container is in, and images
without a name; with -a all images that no container uses; with --volumes unused
anonymous volumes too.`,
		Example: `  abode system prune -f
  abode system prune -a --volumes`,
		Args: exactly(0),
	}
	p.register(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "all images that no container uses")
	cmd.Flags().BoolVar(&volumes, "volumes", false, "anonymous volumes too")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		warning := "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n"
		if volumes {
			warning += "  - all anonymous volumes not used by at least one container\n"
		}
		if all {
			warning += "  - all images without at least one container associated to them\n"
		} else {
			warning += "  - all dangling images\n"
		}
		if !p.ask(a, warning) {
			return nil
		}
		total, err := a.pruneContainers(ctx, c, p.filter)
		if err == nil {
			err = a.pruneNetworks(ctx, c, p.filter)
		}
		if err == nil && volumes {
			var n uint64
			n, err = a.pruneVolumes(ctx, c, false, nil)
			total += n
		}
		if err == nil {
			var n uint64
			n, err = a.pruneImages(ctx, c, all, p.filter)
			total += n
		}
		return a.reclaimed(total, err)
	})
	return cmd
}

func (a *app) deleted(what string, names []string) {
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(a.out, "Deleted %s:\n", what)
	slices.Sort(names)
	for _, n := range names {
		fmt.Fprintln(a.out, n)
	}
	fmt.Fprintln(a.out)
}

func (a *app) reclaimed(n uint64, err error) error {
	if err == nil {
		fmt.Fprintln(a.out, "Total reclaimed space:", units.HumanSize(float64(n)))
	}
	return err
}
