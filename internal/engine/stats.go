package engine

import (
	"context"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/agent"
)

// Stats takes one sample of what a running container uses. What it is to be
// compared with (PreRead, PreCPUStats) is the caller's to fill in.
func (e *Engine) Stats(ctx context.Context, name string) (container.StatsResponse, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return container.StatsResponse{}, err
	}
	client, err := c.running()
	if err != nil {
		return container.StatsResponse{}, err
	}
	var s agent.StatsResponse
	if err := client.Call(ctx, agent.MethodStats, agent.IDRequest{ID: c.id}, &s); err != nil {
		return container.StatsResponse{}, fromAgent(err)
	}
	rec, _ := c.snapshot()
	res := container.StatsResponse{
		ID: c.id, Name: "/" + rec.Name, OSType: "linux", Read: s.Read,
		CPUStats: container.CPUStats{
			CPUUsage:    container.CPUUsage{TotalUsage: s.CPUTotal, UsageInUsermode: s.CPUUser, UsageInKernelmode: s.CPUSystem},
			SystemUsage: s.SystemCPU, OnlineCPUs: s.OnlineCPUs,
		},
		MemoryStats: container.MemoryStats{
			Usage: s.Memory, Limit: s.MemoryLimit,
			// Clients subtract one of these: the former on cgroup v1, the latter on v2.
			Stats: map[string]uint64{"total_inactive_file": s.MemoryCache, "inactive_file": s.MemoryCache},
		},
		PidsStats: container.PidsStats{Current: s.PIDs, Limit: s.PIDsLimit},
		BlkioStats: container.BlkioStats{IoServiceBytesRecursive: []container.BlkioStatEntry{
			{Op: "read", Value: s.BlockRead}, {Op: "write", Value: s.BlockWrite},
		}},
	}
	for nic, n := range s.Networks {
		if res.Networks == nil {
			res.Networks = map[string]container.NetworkStats{}
		}
		res.Networks[nic] = container.NetworkStats{
			RxBytes: n.RxBytes, RxPackets: n.RxPackets, RxErrors: n.RxErrors, RxDropped: n.RxDropped,
			TxBytes: n.TxBytes, TxPackets: n.TxPackets, TxErrors: n.TxErrors, TxDropped: n.TxDropped,
		}
	}
	return res, nil
}
