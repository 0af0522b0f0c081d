package main

import (
	"fmt"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"

	"github.com/abode-run/abode/internal/cli/format"
)

var statsHeaders = format.Headers{
	"Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
	"MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
	"Hypervisor": "HYPERVISOR CPU / MEM", "HypervisorCPU": "HYPERVISOR CPU", "HypervisorMem": "HYPERVISOR MEM",
}

const statsTable = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}\t{{.Hypervisor}}"

// statsRow is what a container uses, as `stats --format` sees it.
type statsRow struct {
	BlockIO, CPUPerc, Container, ID, MemPerc, MemUsage, Name, NetIO, PIDs string

	// What the host has to do for a virtual machine, the workload included; "-"
	// where there is none.
	Hypervisor, HypervisorCPU, HypervisorMem string
}

// emptyStatsRow stands for a container of which nothing is known (yet).
func emptyStatsRow(id string, noTrunc bool) statsRow {
	r := statsRow{
		Container: id, ID: id, Name: "--", CPUPerc: "--", MemUsage: "-- / --", MemPerc: "--", NetIO: "-- / --", BlockIO: "-- / --", PIDs: "--",
		Hypervisor: "--", HypervisorCPU: "--", HypervisorMem: "--",
	}
	if !noTrunc {
		r.ID = format.ShortID(id)
	}
	return r
}

func newStatsRow(name string, s container.StatsResponse, noTrunc bool) statsRow {
	r := statsRow{Container: name, ID: s.ID, Name: strings.TrimPrefix(s.Name, "/"), PIDs: fmt.Sprint(s.PidsStats.Current)}
	if !noTrunc {
		r.ID = format.ShortID(s.ID)
	}
	r.CPUPerc = fmt.Sprintf("%.2f%%", cpuPercent(s))
	used, limit := memoryUsed(s.MemoryStats), float64(s.MemoryStats.Limit)
	r.MemUsage = units.BytesSize(used) + " / " + units.BytesSize(limit)
	r.MemPerc = "0.00%"
	if limit > 0 {
		r.MemPerc = fmt.Sprintf("%.2f%%", used/limit*100)
	}
	var rx, tx, read, written float64
	for _, n := range s.Networks {
		rx += float64(n.RxBytes)
		tx += float64(n.TxBytes)
	}
	for _, e := range s.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(e.Op) {
		case "read":
			read += float64(e.Value)
		case "write":
			written += float64(e.Value)
		}
	}
	r.NetIO, r.BlockIO = both(rx, tx), both(read, written)
	r.Hypervisor, r.HypervisorCPU, r.HypervisorMem = "-", "-", "-"
	if bytes := s.MemoryStats.Stats["abode_hypervisor_bytes"]; bytes > 0 {
		r.HypervisorCPU, r.HypervisorMem = fmt.Sprintf("%.2f%%", hypervisorPercent(s)), units.BytesSize(float64(bytes))
		r.Hypervisor = r.HypervisorCPU + " / " + r.HypervisorMem
	}
	return r
}

// hypervisorPercent is what the hypervisor took of the host's CPUs since the
// sample before, 100 for each CPU that is busy.
func hypervisorPercent(s container.StatsResponse) float64 {
	now, before := s.MemoryStats.Stats["abode_hypervisor_cpu_nanoseconds"], s.MemoryStats.Stats["abode_hypervisor_precpu_nanoseconds"]
	took := s.Read.Sub(s.PreRead)
	if before == 0 || now <= before || took <= 0 {
		return 0
	}
	return float64(now-before) / float64(took) * 100
}

func both(a, b float64) string {
	return units.HumanSizeWithPrecision(a, 3) + " / " + units.HumanSizeWithPrecision(b, 3)
}

// cpuPercent is the share of CPU time since the sample before, 100 for each
// CPU that is busy. The first sample of a stream has none before it.
func cpuPercent(s container.StatsResponse) float64 {
	used := float64(s.CPUStats.CPUUsage.TotalUsage) - float64(s.PreCPUStats.CPUUsage.TotalUsage)
	total := float64(s.CPUStats.SystemUsage) - float64(s.PreCPUStats.SystemUsage)
	cpus := float64(s.CPUStats.OnlineCPUs)
	if cpus == 0 {
		cpus = float64(len(s.CPUStats.CPUUsage.PercpuUsage))
	}
	if used <= 0 || total <= 0 {
		return 0
	}
	return used / total * cpus * 100
}

// memoryUsed leaves out the page cache that can be given up at once, as
// Docker does: total_inactive_file on cgroup v1, inactive_file on v2.
func memoryUsed(m container.MemoryStats) float64 {
	for _, name := range []string{"total_inactive_file", "inactive_file"} {
		if v, ok := m.Stats[name]; ok {
			if v < m.Usage {
				return float64(m.Usage - v)
			}
			break
		}
	}
	return float64(m.Usage)
}
