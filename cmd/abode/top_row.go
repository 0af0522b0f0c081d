package main

import (
	"fmt"

	"github.com/docker/go-units"

	"github.com/abode-run/abode/internal/cli/format"
)

var topHeaders = format.Headers{
	"ID": "CONTAINER ID", "Name": "NAME", "Isolation": "ISOLATION", "HostCPU": "HOST CPU", "HostMem": "HOST MEM",
	"CPUPerc": "CPU %", "Mem": "MEM", "HypervisorCPU": "HYPERVISOR CPU", "HypervisorMem": "HYPERVISOR MEM",
	"NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
}

const topTable = "{{.Name}}\t{{.Isolation}}\t{{.HostCPU}}\t{{.HostMem}}\t{{.CPUPerc}}\t{{.Mem}}\t{{.HypervisorCPU}}\t{{.HypervisorMem}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"

// topRow is a container as `top --format` sees it: what its workload uses, and
// what the host pays for it.
type topRow struct {
	ID, Name, Isolation           string
	CPUPerc, Mem                  string // the workload's
	HostCPU, HostMem              string // the host's: for a virtual machine, its hypervisor's
	HypervisorCPU, HypervisorMem  string // the difference; "-" where there is no hypervisor
	BlockIO, NetIO, PIDs          string
	hostCPU, hostMem, beyondCPU   float64
	beyondMem, workCPU, workBytes float64
}

// topRows makes rows of samples. One that is not there is a container that has
// ended meanwhile.
func topRows(samples []statsSample, _ error) []topRow {
	var rows []topRow
	for _, s := range samples {
		if s.stats != nil && !s.stats.Read.IsZero() {
			rows = append(rows, newTopRow(s))
		}
	}
	return rows
}

func newTopRow(s statsSample) topRow {
	common := newStatsRow(s.name, *s.stats, false)
	r := topRow{
		ID: common.ID, Name: common.Name, Isolation: "container", CPUPerc: common.CPUPerc,
		BlockIO: common.BlockIO, NetIO: common.NetIO, PIDs: common.PIDs, HypervisorCPU: "-", HypervisorMem: "-",
		workCPU: cpuPercent(*s.stats), workBytes: memoryUsed(s.stats.MemoryStats),
	}
	r.hostCPU, r.hostMem = r.workCPU, r.workBytes
	if bytes := s.stats.MemoryStats.Stats["abode_hypervisor_bytes"]; bytes > 0 {
		r.Isolation = "vm"
		r.hostCPU, r.hostMem = hypervisorPercent(*s.stats), float64(bytes)
		// The two are measured in two kernels, so a moment apart.
		r.beyondCPU, r.beyondMem = max(r.hostCPU-r.workCPU, 0), max(r.hostMem-r.workBytes, 0)
		r.HypervisorCPU, r.HypervisorMem = percent(r.beyondCPU), units.BytesSize(r.beyondMem)
	}
	r.Mem = units.BytesSize(r.workBytes)
	r.HostCPU, r.HostMem = percent(r.hostCPU), units.BytesSize(r.hostMem)
	return r
}

func percent(f float64) string { return fmt.Sprintf("%.2f%%", f) }

// topSummary is the first line of the list on a terminal.
func topSummary(rows []topRow, order topOrder) string {
	var cpu, mem, beyondCPU, beyondMem float64
	vms := 0
	for _, r := range rows {
		cpu, mem = cpu+r.hostCPU, mem+r.hostMem
		beyondCPU, beyondMem = beyondCPU+r.beyondCPU, beyondMem+r.beyondMem
		if r.Isolation == "vm" {
			vms++
		}
	}
	return fmt.Sprintf("%d running (%d vm), host %s CPU and %s, of it hypervisors %s and %s; by %s (c m n), q leaves",
		len(rows), vms, percent(cpu), units.BytesSize(mem), percent(beyondCPU), units.BytesSize(beyondMem), order.String())
}
