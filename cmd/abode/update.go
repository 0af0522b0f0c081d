package main

import (
	"context"
	"errors"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/spf13/cobra"

	"github.com/abode-run/abode/internal/cli/flags"
)

func newUpdate(a *app) *cobra.Command {
	var memory, swap, reservation flags.Bytes
	var cpus flags.CPUs
	var shares, pids, period, quota int64
	var cpuset, restart string
	cmd := &cobra.Command{
		Use:   "update [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Change the limits and restart policies of containers",
		Long: `Change the limits and restart policies of containers, running ones too. What
is not given stays as it is; a policy decides from the next end on.`,
		Example: `  abode update -m 1g --memory-swap 1g web
  abode update --restart unless-stopped web db`,
		Args: atLeast(1),
	}
	f := cmd.Flags()
	f.VarP(&memory, "memory", "m", "memory limit, such as 512m")
	f.Var(&swap, "memory-swap", "limit of memory and swap together; -1 for no limit")
	f.Var(&reservation, "memory-reservation", "soft limit of memory")
	f.Var(&cpus, "cpus", "number of CPUs, such as 1.5")
	f.Int64VarP(&shares, "cpu-shares", "c", 0, "relative weight of CPU time")
	f.Int64Var(&period, "cpu-period", 0, "period of the CPU limit, in microseconds")
	f.Int64Var(&quota, "cpu-quota", 0, "CPU time in a period, in microseconds")
	f.StringVar(&cpuset, "cpuset-cpus", "", "CPUs to run on, such as 0-2 or 0,1")
	f.Int64Var(&pids, "pids-limit", 0, "number of processes at most; -1 for no limit")
	f.StringVar(&restart, "restart", "", "when to restart it (no, always, unless-stopped, on-failure[:TIMES])")
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		if f.NFlag() == 0 {
			return usage(cmd, errors.New("you must provide one or more flags when using this command"))
		}
		r := container.Resources{
			Memory: int64(memory), MemorySwap: int64(swap), MemoryReservation: int64(reservation),
			NanoCPUs: int64(cpus), CPUShares: shares, CPUPeriod: period, CPUQuota: quota, CpusetCpus: cpuset,
		}
		if f.Changed("pids-limit") {
			r.PidsLimit = &pids
		}
		o := client.ContainerUpdateOptions{Resources: &r}
		if restart != "" {
			p, err := flags.Restart(restart)
			if err != nil {
				return err
			}
			o.RestartPolicy = &p
		}
		return a.each(args, func(name string) error {
			u, err := c.ContainerUpdate(ctx, name, o)
			a.warn(u.Warnings)
			return err
		})
	})
	return cmd
}
