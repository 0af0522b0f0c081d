package main

import (
	"context"
	"fmt"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
)

func newNetworkCreate(a *app) *cobra.Command {
	var o client.NetworkCreateOptions
	var labels, options []string
	var four, six bool
	var subnets, ranges, gateways []string
	cmd := &cobra.Command{
		Use: "create [OPTIONS] NETWORK", Short: "Create a network",
		Long: `Create a network and print its ID. Containers and virtual machines that join it
with --network find each other by name and by --network-alias there. Other
networks do not reach them.`,
		Example: `  abode network create shop
  abode run -d --network shop --network-alias db postgres
  abode network create --internal --subnet 10.9.0.0/24 vault
  abode network create --ipv6 --subnet 10.9.1.0/24 --subnet fd00:9::/64 both`,
		Args: exactly(1),
	}
	f := cmd.Flags()
	f.StringVarP(&o.Driver, "driver", "d", "bridge", "driver of the network")
	f.BoolVar(&o.Internal, "internal", false, "nothing gets out of the network or in")
	f.BoolVar(&o.Attachable, "attachable", false, "for docker's sake: any container may join")
	f.BoolVar(&four, "ipv4", true, "addresses of IPv4, which every network has")
	f.BoolVar(&six, "ipv6", false, "addresses of IPv6 too")
	f.StringSliceVar(&subnets, "subnet", nil, "subnet, such as 10.9.0.0/24; with --ipv6 one of each kind")
	f.StringSliceVar(&gateways, "gateway", nil, "address of the gateway in a subnet")
	f.StringSliceVar(&ranges, "ip-range", nil, "part of a subnet to choose addresses from")
	f.StringArrayVar(&labels, "label", nil, "set a label (KEY=VALUE)")
	f.StringArrayVarP(&options, "opt", "o", nil, "option of the driver (NAME=VALUE)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) (err error) {
		if o.Labels, err = flags.Labels(nil, labels); err != nil {
			return err
		}
		if o.Options, err = flags.Map("option", options); err != nil {
			return err
		}
		if o.IPAM, err = ipam(subnets, ranges, gateways); err != nil {
			return err
		}
		if f.Changed("ipv4") {
			o.EnableIPv4 = &four
		}
		if f.Changed("ipv6") {
			o.EnableIPv6 = &six
		}
		r, err := c.NetworkCreate(ctx, args[0], o)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, r.ID)
		return nil
	})
	return cmd
}

func newNetworkRm(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "rm [OPTIONS] NETWORK [NETWORK...]", Aliases: []string{"remove"}, Short: "Remove networks",
		Long:    `Remove networks. One that a running container is in is refused.`,
		Example: `  abode network rm shop`,
		Args:    atLeast(1),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "no error for one that doesn't exist")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		return a.each(args, func(name string) error {
			_, err := c.NetworkRemove(ctx, name, client.NetworkRemoveOptions{})
			return a.tolerate(err, force)
		})
	})
	return cmd
}

func newNetworkPrune(a *app) *cobra.Command {
	var p pruneFlags
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", Short: "Remove unused networks",
		Long:    `Remove networks that no running container is in.`,
		Example: `  abode network prune -f --filter label=project=shop`,
		Args:    exactly(0),
	}
	p.register(cmd)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		if !p.ask(a, "This will remove all custom networks not used by at least one container.") {
			return nil
		}
		return a.pruneNetworks(ctx, c, p.filter)
	})
	return cmd
}

func (a *app) pruneNetworks(ctx context.Context, c *client.Client, filter []string) error {
	f, err := filters(filter)
	if err != nil {
		return err
	}
	r, err := c.NetworkPrune(ctx, client.NetworkPruneOptions{Filters: f})
	a.deleted("Networks", r.Report.NetworksDeleted)
	return err
}
