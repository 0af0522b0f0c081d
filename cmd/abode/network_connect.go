package main

import (
	"context"

	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
)

func newNetworkConnect(a *app) *cobra.Command {
	var e flags.Endpoint
	cmd := &cobra.Command{
		Use: "connect [OPTIONS] NETWORK CONTAINER", Short: "Put a container into a network",
		Long: `Put a container or virtual machine into a network, beside those that it is in.
One that runs gets another interface at once, one that does not at its next start.`,
		Example: `  abode network connect shop web
  abode network connect --alias www --ip 10.9.0.7 shop web`,
		Args: exactly(2),
	}
	f := cmd.Flags()
	f.StringArrayVar(&e.Aliases, "alias", nil, "another name in the network")
	f.StringArrayVar(&e.Links, "link", nil, "what it calls another one there (NAME[:ALIAS])")
	f.StringVar(&e.IP, "ip", "", "IPv4 address in the network")
	f.StringVar(&e.IP6, "ip6", "", "IPv6 address in the network")
	f.IntVar(&e.Priority, "gw-priority", 0, "the network of the highest has the default route")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		ep, err := e.Settings()
		if err != nil {
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
		Use: "disconnect [OPTIONS] NETWORK CONTAINER", Short: "Take a container out of a network",
		Long: `Take a container or virtual machine out of a network. One that runs loses the
interface at once.`,
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
