package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/format"
)

var psHeaders = format.Headers{
	"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED",
	"Status": "STATUS", "State": "STATE", "Ports": "PORTS", "Names": "NAMES", "Labels": "LABELS", "Mounts": "MOUNTS",
	"LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Size": "SIZE", "Isolation": "ISOLATION",
}

const psTable = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Isolation}}\t{{.Names}}"

// psRow is a container as `ps --format` sees it.
type psRow struct {
	Command, CreatedAt, ID, Image, Isolation, Labels, LocalVolumes, Mounts string
	Names, Networks, Ports, RunningFor, Size, State, Status                string
	labels                                                                 map[string]string
}

// Label is the value of one label.
func (r psRow) Label(name string) string { return r.labels[name] }

func newPs(a *app, use string, aliases ...string) *cobra.Command {
	var all, latest, noTrunc, quiet, size bool
	var last int
	var fmtFlag string
	var filter []string
	cmd := &cobra.Command{
		Use: use + " [OPTIONS]", Aliases: aliases,
		Short: "List containers",
		Long: `List the running containers, or all with -a.

Filters: id, name, label, status, exited, ancestor, before, since, volume,
network, publish, expose, health, isolation.`,
		Example: `  abode ps -a
  abode ps --filter status=exited -q
  abode ps --filter health=unhealthy
  abode ps --format 'table {{.Names}}\t{{.Isolation}}\t{{.Status}}'`,
		Args: exactly(0),
	}
	f := cmd.Flags()
	f.BoolVarP(&all, "all", "a", false, "all containers, not only the running ones")
	f.BoolVarP(&latest, "latest", "l", false, "the one created last, in any state")
	f.IntVarP(&last, "last", "n", -1, "the N created last, in any state")
	f.BoolVar(&noTrunc, "no-trunc", false, "do not shorten anything")
	f.BoolVarP(&quiet, "quiet", "q", false, "IDs alone")
	f.BoolVarP(&size, "size", "s", false, "sizes too")
	f.StringVar(&fmtFlag, "format", "", "json, or a Go template, perhaps after the word table")
	f.StringArrayVarP(&filter, "filter", "f", nil, "those that match (NAME=VALUE)")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
		fs, err := filters(filter)
		if err != nil {
			return err
		}
		if latest {
			last = 1
		}
		o := client.ContainerListOptions{
			All: all, Limit: max(last, 0), Filters: fs, Size: size || strings.Contains(fmtFlag, ".Size"),
		}
		r, err := c.ContainerList(ctx, o)
		if err != nil {
			return err
		}
		var vms map[string]bool
		if len(r.Items) > 0 && showsIsolation(fmtFlag, quiet) {
			if vms, err = vmsAmong(ctx, c, o); err != nil {
				return err
			}
		}
		var rows []psRow
		for _, item := range r.Items {
			row := newPsRow(item, noTrunc)
			row.Isolation = "container"
			if vms[item.ID] {
				row.Isolation = "vm"
			}
			rows = append(rows, row)
		}
		table := psTable
		if size {
			table += "\t{{.Size}}"
		}
		if quiet && fmtFlag == "" {
			fmtFlag = "{{.ID}}"
		}
		return format.Write(a.out, fmtFlag, table, psHeaders, rows)
	})
	return cmd
}

// showsIsolation tells whether a list with these flags has the isolation in it.
func showsIsolation(format string, quiet bool) bool {
	switch format {
	case "":
		return !quiet
	case "table", "json":
		return true
	}
	return strings.Contains(format, ".Isolation") || strings.Contains(format, "json .")
}

// vmsAmong are the IDs of the containers in a list that have a kernel of
// their own. Docker's summary has no field for the isolation, but the engine
// has a filter; one that refuses the filter is not Abode's, and has no VMs.
func vmsAmong(ctx context.Context, c *client.Client, o client.ContainerListOptions) (map[string]bool, error) {
	o.Size, o.Limit = false, 0
	if o.Filters = o.Filters.Clone(); o.Filters == nil {
		o.Filters = client.Filters{}
	}
	o.All = true // a container may have ended since
	o.Filters["isolation"] = map[string]bool{"vm": true}
	r, err := c.ContainerList(ctx, o)
	if errdefs.IsInvalidArgument(err) {
		return nil, nil
	}
	vms := make(map[string]bool, len(r.Items))
	for _, item := range r.Items {
		vms[item.ID] = true
	}
	return vms, err
}

func newPsRow(s container.Summary, noTrunc bool) psRow {
	created := time.Unix(s.Created, 0)
	r := psRow{
		ID: s.ID, Image: s.Image, Status: s.Status, State: string(s.State), labels: s.Labels,
		CreatedAt: created.String(), RunningFor: ago(created), Ports: ports(s.Ports), Labels: joinMap(s.Labels),
		Size: containerSize(s.SizeRw, s.SizeRootFs),
	}
	if r.Image == "" {
		r.Image = "<no image>"
	}
	command := s.Command
	if !noTrunc {
		r.ID, command = format.ShortID(s.ID), format.Ellipsis(command, 20)
		if strings.HasPrefix(r.Image, "sha256:") {
			r.Image = format.ShortID(r.Image)
		}
	}
	r.Command = strconv.Quote(command)
	names := make([]string, 0, len(s.Names))
	for _, n := range s.Names {
		names = append(names, strings.TrimPrefix(n, "/"))
	}
	r.Names = strings.Join(names, ",")
	var mounts []string
	local := 0
	for _, m := range s.Mounts {
		name := m.Name
		if name == "" {
			name = m.Source
		}
		if !noTrunc {
			name = format.Ellipsis(name, 15)
		}
		mounts = append(mounts, name)
		if m.Driver == "local" {
			local++
		}
	}
	r.Mounts, r.LocalVolumes = strings.Join(mounts, ","), strconv.Itoa(local)
	if s.NetworkSettings != nil {
		var networks []string
		for n := range s.NetworkSettings.Networks {
			networks = append(networks, n)
		}
		slices.Sort(networks)
		r.Networks = strings.Join(networks, ",")
	}
	return r
}

// ago is how long ago t was, in words.
func ago(t time.Time) string { return units.HumanDuration(time.Since(t)) + " ago" }

func containerSize(rw, root int64) string {
	s := units.HumanSizeWithPrecision(float64(rw), 3)
	if root > 0 {
		s += " (virtual " + units.HumanSizeWithPrecision(float64(root), 3) + ")"
	}
	return s
}

func joinMap(m map[string]string) string {
	var out []string
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
