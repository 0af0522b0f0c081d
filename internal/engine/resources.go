package engine

import (
	"runtime"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/abode-run/abode/internal/kernel"
)

const minMemory = 6 << 20

// checkResources validates limits with Docker's texts and fills in what
// follows from them.
func checkResources(r *container.Resources, wall kernel.Isolation) (warnings []string, err error) {
	switch {
	case r.Memory < 0:
		return nil, invalid("Memory limit can not be negative")
	case r.Memory > 0 && r.Memory < minMemory:
		return nil, invalid("Minimum memory limit allowed is 6MB")
	case r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory:
		return nil, invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.Memory == 0 && r.MemorySwap > 0:
		return nil, invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
	case r.MemoryReservation < 0 || r.MemoryReservation > 0 && r.MemoryReservation < minMemory:
		return nil, invalid("Minimum memory reservation allowed is 6MB")
	case r.Memory > 0 && r.MemoryReservation > r.Memory:
		return nil, invalid("Minimum memory limit can not be less than memory reservation limit, see usage")
	case r.NanoCPUs > 0 && (r.CPUPeriod != 0 || r.CPUQuota != 0):
		return nil, invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set.")
	case r.NanoCPUs < 0 || r.NanoCPUs > int64(runtime.NumCPU())*1e9 || r.NanoCPUs > 0 && r.NanoCPUs < 1e7:
		return nil, invalid("Range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", runtime.NumCPU(), runtime.NumCPU())
	case r.CPUPeriod != 0 && (r.CPUPeriod < 1000 || r.CPUPeriod > 1000000):
		return nil, invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case r.CPUQuota > 0 && r.CPUQuota < 1000:
		return nil, invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case r.CPUShares < 0:
		return nil, invalid("CPU shares can not be negative")
	}
	if wall == kernel.VM && (r.CpusetCpus != "" || r.CpusetMems != "") {
		return nil, invalid("cannot use --cpuset-cpus or --cpuset-mems with isolation %q: they number the host's processors, which a guest does not see; use --cpus", wall)
	}
	if err := checkSet(r.CpusetCpus, "cpus", runtime.NumCPU()); err != nil {
		return nil, err
	}
	if err := checkSet(r.CpusetMems, "mems", 1<<10); err != nil {
		return nil, err
	}
	for _, u := range r.Ulimits {
		if u == nil {
			return nil, invalid("invalid ulimit")
		}
		if _, ok := rlimits["RLIMIT_"+strings.ToUpper(u.Name)]; !ok {
			return nil, invalid("invalid ulimit type: %s", u.Name)
		}
		if u.Hard != -1 && (u.Soft == -1 || u.Soft > u.Hard) {
			return nil, invalid("ulimit soft limit must be less than or equal to hard limit: %d > %d", u.Soft, u.Hard)
		}
	}
	if r.Memory > 0 && r.MemorySwap == 0 {
		r.MemorySwap = 2 * r.Memory
	}
	return warnings, nil
}

// rlimits are those that a process has (getrlimit(2)).
var rlimits = map[string]bool{
	"RLIMIT_AS": true, "RLIMIT_CORE": true, "RLIMIT_CPU": true, "RLIMIT_DATA": true, "RLIMIT_FSIZE": true,
	"RLIMIT_LOCKS": true, "RLIMIT_MEMLOCK": true, "RLIMIT_MSGQUEUE": true, "RLIMIT_NICE": true, "RLIMIT_NOFILE": true,
	"RLIMIT_NPROC": true, "RLIMIT_RSS": true, "RLIMIT_RTPRIO": true, "RLIMIT_RTTIME": true, "RLIMIT_SIGPENDING": true,
	"RLIMIT_STACK": true,
}

// checkSet validates a list such as 0-2,4 of numbers below n.
func checkSet(s, what string, n int) error {
	if s == "" {
		return nil
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || b < a {
			return invalid("Invalid value %s for cpuset %s.", s, what)
		}
		if b >= uint64(n) {
			return invalid("Requested CPUs are not available - requested %s, available: 0-%d", s, n-1)
		}
	}
	return nil
}

// linuxResources is the part of the runtime specification for limits.
func linuxResources(r *container.Resources) (res *specs.LinuxResources, err error) {
	res = &specs.LinuxResources{}
	if res.BlockIO, err = blockIO(r); err != nil {
		return nil, err
	}
	if res.Devices, err = deviceRules(r.DeviceCgroupRules); err != nil {
		return nil, err
	}
	off := r.OomKillDisable != nil && *r.OomKillDisable
	if r.Memory > 0 || r.MemoryReservation > 0 || r.MemorySwap != 0 || r.MemorySwappiness != nil || off {
		m := &specs.LinuxMemory{}
		if off {
			m.DisableOOMKiller = &off
		}
		if r.MemorySwappiness != nil {
			swappiness := uint64(*r.MemorySwappiness)
			m.Swappiness = &swappiness
		}
		if r.Memory > 0 {
			m.Limit = &r.Memory
		}
		if r.MemoryReservation > 0 {
			m.Reservation = &r.MemoryReservation
		}
		if r.MemorySwap != 0 {
			m.Swap = &r.MemorySwap
		}
		res.Memory = m
	}
	cpu := specs.LinuxCPU{Cpus: r.CpusetCpus, Mems: r.CpusetMems}
	if r.CPUShares > 0 {
		shares := uint64(r.CPUShares)
		cpu.Shares = &shares
	}
	if r.NanoCPUs > 0 {
		period := uint64(100000)
		quota := r.NanoCPUs * int64(period) / 1e9
		cpu.Period, cpu.Quota = &period, &quota
	}
	if r.CPUPeriod > 0 {
		period := uint64(r.CPUPeriod)
		cpu.Period = &period
	}
	if r.CPUQuota != 0 {
		cpu.Quota = &r.CPUQuota
	}
	if cpu != (specs.LinuxCPU{}) {
		res.CPU = &cpu
	}
	if r.PidsLimit != nil {
		limit := *r.PidsLimit
		if limit <= 0 {
			limit = -1
		}
		res.Pids = &specs.LinuxPids{Limit: &limit}
	}
	return res, nil
}

// cpus is how many processors a guest needs for the limits; 0 means no limit.
func cpus(r *container.Resources) float64 {
	switch {
	case r.NanoCPUs > 0:
		return float64(r.NanoCPUs) / 1e9
	case r.CPUQuota > 0:
		period := r.CPUPeriod
		if period == 0 {
			period = 100000
		}
		return float64(r.CPUQuota) / float64(period)
	}
	return 0
}
