package runtime

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func (c *cgroup) applyV2(r *specs.LinuxResources) error {
	type setting struct{ file, value string }
	var set []setting
	if m := r.Memory; m != nil {
		if m.Limit != nil && *m.Limit != 0 {
			set = append(set, setting{"memory.max", orMax(*m.Limit)})
		}
		if m.Swap != nil && *m.Swap != 0 {
			swap := int64(-1)
			if *m.Swap > 0 {
				// v1 and Docker count memory in, v2 does not.
				limit := int64(0)
				if m.Limit != nil {
					limit = max(*m.Limit, 0)
				} else if n := c.number("", "memory.max"); n > 0 {
					limit = int64(n)
				}
				swap = max(*m.Swap-limit, 0)
			}
			set = append(set, setting{"memory.swap.max", orMax(swap)})
		}
		if m.Reservation != nil && *m.Reservation != 0 {
			set = append(set, setting{"memory.low", orMax(*m.Reservation)})
		}
	}
	if cpu := r.CPU; cpu != nil {
		if cpu.Shares != nil && *cpu.Shares > 0 {
			set = append(set, setting{"cpu.weight", fmt.Sprint(weight(*cpu.Shares))})
		}
		if quota, period := cpu.Quota, cpu.Period; quota != nil && *quota != 0 || period != nil && *period != 0 {
			now := strings.Fields(c.read("", "cpu.max"))
			if len(now) != 2 {
				now = []string{"max", "100000"}
			}
			if quota != nil && *quota != 0 {
				now[0] = orMax(*quota)
			}
			if period != nil && *period != 0 {
				now[1] = fmt.Sprint(*period)
			}
			set = append(set, setting{"cpu.max", strings.Join(now, " ")})
		}
		if cpu.Cpus != "" {
			set = append(set, setting{"cpuset.cpus", cpu.Cpus})
		}
		if cpu.Mems != "" {
			set = append(set, setting{"cpuset.mems", cpu.Mems})
		}
	}
	if err := c.blockV2(r.BlockIO); err != nil {
		return err
	}
	if r.Pids != nil {
		set = append(set, setting{"pids.max", pidsMax(r.Pids)})
	}
	for _, s := range set {
		if err := c.write("", s.file, s.value); err != nil {
			return err
		}
	}
	return nil
}

// weight turns v1's shares (2 to 262144) into v2's weight (1 to 10000), as all
// runtimes do: github.com/opencontainers/runtime-spec, config-linux.md.
func weight(shares uint64) uint64 {
	shares = min(max(shares, 2), 262144)
	return 1 + (shares-2)*9999/262142
}

func orMax(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}
