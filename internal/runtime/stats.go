package runtime

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/abode-run/abode/internal/agent"
	"github.com/abode-run/abode/internal/procfs"
)

// oomKilled says whether the kernel has killed a process of the cgroup for memory.
func (c *cgroup) oomKilled() bool {
	if c.h.v2 != "" {
		return c.field("", "memory.events", "oom_kill") > 0
	}
	return c.field("memory", "memory.oom_control", "oom_kill") > 0
}

// Stats reads a container's counters.
func (r *Runtime) Stats(id string) (agent.StatsResponse, error) {
	c, err := r.get(id)
	if err != nil {
		return agent.StatsResponse{}, err
	}
	s := agent.StatsResponse{Read: time.Now(), OnlineCPUs: uint32(runtime.NumCPU()), SystemCPU: systemCPU()}
	if c.cgroup.h.v2 != "" {
		c.cgroup.statsV2(&s)
	} else {
		c.cgroup.statsV1(&s)
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		total := uint64(info.Totalram) * uint64(info.Unit)
		if s.MemoryLimit == 0 || s.MemoryLimit > total {
			s.MemoryLimit = total
		}
	}
	if c.joinFlags&unix.CLONE_NEWNET != 0 && c.main.running() {
		s.Networks = networkStats(c.main.pid)
	}
	return s, nil
}

func (c *cgroup) statsV1(s *agent.StatsResponse) {
	s.CPUTotal = c.number("cpuacct", "cpuacct.usage")
	s.CPUUser = c.field("cpuacct", "cpuacct.stat", "user") * (1e9 / procfs.UserHZ)
	s.CPUSystem = c.field("cpuacct", "cpuacct.stat", "system") * (1e9 / procfs.UserHZ)
	s.Memory = c.number("memory", "memory.usage_in_bytes")
	s.MemoryCache = c.field("memory", "memory.stat", "total_inactive_file")
	s.MemoryLimit = c.number("memory", "memory.limit_in_bytes")
	s.PIDs = c.number("pids", "pids.current")
	s.PIDsLimit = c.number("pids", "pids.max")
	for line := range strings.Lines(c.read("blkio", "blkio.throttle.io_service_bytes")) {
		if f := strings.Fields(line); len(f) == 3 {
			n, _ := strconv.ParseUint(f[2], 10, 64)
			switch f[1] {
			case "Read":
				s.BlockRead += n
			case "Write":
				s.BlockWrite += n
			}
		}
	}
}

func (c *cgroup) statsV2(s *agent.StatsResponse) {
	s.CPUTotal = c.field("", "cpu.stat", "usage_usec") * 1000
	s.CPUUser = c.field("", "cpu.stat", "user_usec") * 1000
	s.CPUSystem = c.field("", "cpu.stat", "system_usec") * 1000
	s.Memory = c.number("", "memory.current")
	s.MemoryCache = c.field("", "memory.stat", "inactive_file")
	s.MemoryLimit = c.number("", "memory.max")
	s.PIDs = c.number("", "pids.current")
	s.PIDsLimit = c.number("", "pids.max")
	for line := range strings.Lines(c.read("", "io.stat")) {
		for f := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(f, "=")
			n, _ := strconv.ParseUint(value, 10, 64)
			switch key {
			case "rbytes":
				s.BlockRead += n
			case "wbytes":
				s.BlockWrite += n
			}
		}
	}
}

// systemCPU is the time that all CPUs have spent in all modes, idle too.
func systemCPU() uint64 {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	var sum uint64
	for i, f := range strings.Fields(line) {
		if i == 0 || i > 8 { // guest time is in user time already
			continue
		}
		n, _ := strconv.ParseUint(f, 10, 64)
		sum += n
	}
	return sum * (1e9 / procfs.UserHZ)
}

// networkStats reads the interfaces of a process's network namespace.
func networkStats(pid int) map[string]agent.NetworkStats {
	b, err := os.ReadFile(procPath(pid, "net/dev"))
	if err != nil {
		return nil
	}
	stats := map[string]agent.NetworkStats{}
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if name = strings.TrimSpace(name); !ok || name == "lo" || len(f) < 16 {
			continue
		}
		n := func(i int) uint64 {
			v, _ := strconv.ParseUint(f[i], 10, 64)
			return v
		}
		stats[name] = agent.NetworkStats{
			RxBytes: n(0), RxPackets: n(1), RxErrors: n(2), RxDropped: n(3),
			TxBytes: n(8), TxPackets: n(9), TxErrors: n(10), TxDropped: n(11),
		}
	}
	return stats
}
