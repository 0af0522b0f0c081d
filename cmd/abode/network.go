package main

import (
	"context"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
)

func newNetwork(a *app) *cobra.Command {
	return group("network", "Manage networks", newNetworkCreate(a), newNetworkLs(a), newInspectOf(a, "network"), newNetworkRm(a), newNetworkPrune(a),
		newNetworkConnect(a), newNetworkDisconnect(a))
}

var networkHeaders = format.Headers{
	"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv6": "IPV6",
	"Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
}

// networkRow is a network as `network ls --format` sees it.
type networkRow struct {
	CreatedAt, Driver, ID, IPv6, Internal, Labels, Name, Scope string
	labels                                                     map[string]string
}

// Label is the value of one label.
func (r networkRow) Label(name string) string { return r.labels[name] }

func newNetworkLs(a *app) *cobra.Command {
	var quiet, noTrunc bool
	var fmtFlag string
	var filter []string
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: "List networks",
		Long: `List networks. Filters: name, id, driver, label, scope, type (builtin,
custom), dangling=true|false.`,
		Example: `  abode network ls
  abode network ls -q --filter type=custom`,
		Args: exactly(0),
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "IDs alone")
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "do not shorten IDs")
	cmd.Flags().StringVar(&fmtFlag, "format", "", "json, or a Go template, perhaps after the word table")
	cmd.Flags().StringArrayVarP(&filter, "filter", "f", nil, "those that match (NAME=VALUE)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		fs, err := filters(filter)
		if err != nil {
			return err
		}
		r, err := c.NetworkList(ctx, client.NetworkListOptions{Filters: fs})
		if err != nil {
			return err
		}
		slices.SortFunc(r.Items, func(x, y network.Summary) int { return strings.Compare(x.Name, y.Name) })
		var rows []networkRow
		for _, n := range r.Items {
			row := networkRow{
				ID: n.ID, Name: n.Name, Driver: n.Driver, Scope: n.Scope, CreatedAt: n.Created.String(),
				IPv6: yesNo(n.EnableIPv6), Internal: yesNo(n.Internal), Labels: joinMap(n.Labels), labels: n.Labels,
			}
			if !noTrunc {
				row.ID = format.ShortID(n.ID)
			}
			rows = append(rows, row)
		}
		if quiet && fmtFlag == "" {
			fmtFlag = "{{.ID}}"
		}
		return format.Write(a.out, fmtFlag, "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}", networkHeaders, rows)
	})
	return cmd
}

func yesNo(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
