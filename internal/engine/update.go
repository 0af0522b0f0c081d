package engine

import (
	"context"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/abode-run/abode/internal/agent"
)

// Update changes a container's limits, at once when it runs, and its restart
// policy, from its next end on. Fields that are zero stay as they are.
func (e *Engine) Update(ctx context.Context, name string, cfg container.UpdateConfig) ([]string, error) {
	c, err := e.containers.find(name)
	if err != nil {
		return nil, err
	}
	if err := c.op.lock(ctx); err != nil {
		return nil, err
	}
	defer c.op.unlock()
	old, st := c.snapshot()
	if st.Phase == phaseRemoving || st.Phase == phaseDead {
		return nil, conflict("Container is marked for removal and cannot be \"update\".")
	}
	given := cfg.Resources
	host := *old.Host
	if err := checkUnsupported(&container.HostConfig{Resources: given}); err != nil {
		return nil, err
	}
	if err := fixedResources(&given); err != nil {
		return nil, err
	}
	if err := updatePolicy(&host, cfg.RestartPolicy); err != nil {
		return nil, err
	}
	mergeResources(&host.Resources, &given)
	warnings, err := checkResources(&host.Resources, old.Isolation)
	if err != nil {
		return nil, err
	}
	wall, err := c.e.wall(old)
	if err != nil {
		return nil, err
	}
	more, err := checkLimits(&host.Resources, wall.Capabilities().Limits, old.Isolation)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, more...)
	if old.ownKernel() && st.Phase.active() && given.Memory > old.Host.Memory && old.Host.Memory > 0 {
		warnings = append(warnings, "the memory of a running virtual machine does not grow; the new limit holds from the next start on")
	}
	rec := *old
	rec.Host = &host
	if client, err := c.running(); err == nil {
		resources, err := linuxResources(&host.Resources)
		if err != nil {
			return nil, err
		}
		req := agent.UpdateRequest{ID: c.id, Resources: resources}
		if err := client.Call(ctx, agent.MethodUpdate, req, nil); err != nil {
			return nil, fromAgent(err)
		}
	}
	if err := c.saveRecord(&rec); err != nil {
		return nil, err
	}
	c.event(events.ActionUpdate, nil)
	return warnings, nil
}

// mergeResources takes over the limits that are given.
func mergeResources(into, given *container.Resources) {
	if given.Memory != 0 {
		into.Memory = given.Memory
		if given.MemorySwap == 0 && into.MemorySwap > 0 && into.MemorySwap < given.Memory {
			into.MemorySwap = 0 // follows from the memory
		}
	}
	if given.MemorySwap != 0 {
		into.MemorySwap = given.MemorySwap
	}
	if given.MemoryReservation != 0 {
		into.MemoryReservation = given.MemoryReservation
	}
	if given.NanoCPUs != 0 {
		into.NanoCPUs = given.NanoCPUs
	}
	if given.CPUShares != 0 {
		into.CPUShares = given.CPUShares
	}
	if given.CPUPeriod != 0 {
		into.CPUPeriod = given.CPUPeriod
	}
	if given.CPUQuota != 0 {
		into.CPUQuota = given.CPUQuota
	}
	if given.CpusetCpus != "" {
		into.CpusetCpus = given.CpusetCpus
	}
	if given.CpusetMems != "" {
		into.CpusetMems = given.CpusetMems
	}
	if given.BlkioWeight != 0 {
		into.BlkioWeight = given.BlkioWeight
	}
	if given.PidsLimit != nil {
		into.PidsLimit = given.PidsLimit
	}
}
