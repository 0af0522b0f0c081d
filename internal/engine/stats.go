package engine

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/agent"
)

// Keys of MemoryStats.Stats, which has room for what Docker has no word for:
// what the hypervisor of a virtual machine and its helpers take of the host.
// The guest is in it, and so is the workload; all are 0 for a container.
const (
	HypervisorMemory = "abode_hypervisor_bytes"           // their share (PSS): what clones have in common is divided
	HypervisorCPU    = "abode_hypervisor_cpu_nanoseconds" // since they started
	// HypervisorCPUBefore is HypervisorCPU of the sample before.
	HypervisorCPUBefore = "abode_hypervisor_precpu_nanoseconds"
	HypervisorPID       = "abode_hypervisor_pid" // on the host
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
	c.mu.Lock()
	rec, k := c.rec, c.kernel
	c.mu.Unlock()
	var beside hostUse
	var hypervisor uint64
	if k != nil {
		pids := k.Processes()
		if beside = useOf(pids); len(pids) > 0 {
			hypervisor = uint64(pids[0])
		}
	}
	res := container.StatsResponse{
		ID: c.id, Name: "/" + rec.Name, OSType: "linux", Read: time.Now().UTC(), // a guest's clock is the guest's
		CPUStats: container.CPUStats{
			CPUUsage:    container.CPUUsage{TotalUsage: s.CPUTotal, UsageInUsermode: s.CPUUser, UsageInKernelmode: s.CPUSystem},
			SystemUsage: s.SystemCPU, OnlineCPUs: s.OnlineCPUs,
		},
		MemoryStats: container.MemoryStats{
			Usage: s.Memory, Limit: s.MemoryLimit,
			// Clients subtract one of these: the former on cgroup v1, the latter on v2.
			// The others are Abode's own: no other field takes them.
			Stats: map[string]uint64{
				"total_inactive_file": s.MemoryCache, "inactive_file": s.MemoryCache,
				HypervisorMemory: beside.memory, HypervisorCPU: beside.cpu, HypervisorPID: hypervisor,
			},
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
