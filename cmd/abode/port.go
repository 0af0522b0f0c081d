package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

func newPort(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "port CONTAINER [PORT[/PROTOCOL]]",
		Short: "List where the ports of a container are published",
		Long:  `List where the ports of a container are published, or where one of them is.`,
		Example: `  abode port web
  abode port web 80/tcp`,
		Args: between(1, 2),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.ContainerInspect(ctx, args[0], client.ContainerInspectOptions{})
			if err != nil {
				return err
			}
			var published network.PortMap
			if s := r.Container.NetworkSettings; s != nil {
				published = s.Ports
			}
			if len(args) == 1 {
				for _, line := range portLines(published) {
					fmt.Fprintln(a.out, line)
				}
				return nil
			}
			port, err := network.ParsePort(args[1])
			if err != nil {
				return err
			}
			if len(published[port]) == 0 {
				return fmt.Errorf("no public port '%s' published for %s", port, args[0])
			}
			for _, b := range published[port] {
				fmt.Fprintln(a.out, hostPort(b.HostIP, b.HostPort))
			}
			return nil
		}),
	}
}

func portLines(published network.PortMap) []string {
	ports := make([]network.Port, 0, len(published))
	for p := range published {
		ports = append(ports, p)
	}
	slices.SortFunc(ports, func(a, b network.Port) int {
		if a.Num() != b.Num() {
			return int(a.Num()) - int(b.Num())
		}
		return slices.Compare([]byte(a.Proto()), []byte(b.Proto()))
	})
	var lines []string
	for _, p := range ports {
		for _, b := range published[p] {
			lines = append(lines, fmt.Sprintf("%s -> %s", p, hostPort(b.HostIP, b.HostPort)))
		}
	}
	return lines
}
