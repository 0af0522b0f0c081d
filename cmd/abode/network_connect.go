package main

import (
	"context"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newNetworkConnect(a *app) *cobra.Command {
	var aliases []string
	var ip, ip6 string
	cmd := &cobra.Command{
		Use: "connect [OPTIONS] NETWORK CONTAINER", Short: "Put a container that does not run into a network",
		Long: `Put a container or virtual machine that does not run, and is in no network, into
one. It is there from its next start on.`,
		Example: `  abode network disconnect bridge web
  abode network connect --alias www shop web`,
		Args: exactly(2),
	}
	cmd.Flags().StringArrayVar(&aliases, "alias", nil, "another name in the network")
	cmd.Flags().StringVar(&ip, "ip", "", "address in the network")
	cmd.Flags().StringVar(&ip6, "ip6", "", "IPv6 address in the network")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		ep := &network.EndpointSettings{Aliases: aliases}
		var err error
		if ep.IPAMConfig, err = fixedAddresses(ip, ip6); err != nil {
			return err
		}
		_, err = c.NetworkConnect(ctx, args[0], client.NetworkConnectOptions{Container: args[1], EndpointConfig: ep})
		return err
	})
	return cmd
}

func newNetworkDisconnect(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "disconnect [OPTIONS] NETWORK CONTAINER", Short: "Take a container that does not run out of its network",
		Long: `Take a container or virtual machine that does not run out of its network. It is
in none then, until it is connected to one.`,
		Example: `  abode network disconnect bridge web`,
		Args:    exactly(2),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "for docker's sake: nothing holds a container in its network")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		_, err := c.NetworkDisconnect(ctx, args[0], client.NetworkDisconnectOptions{Container: args[1], Force: force})
		return err
	})
	return cmd
}
