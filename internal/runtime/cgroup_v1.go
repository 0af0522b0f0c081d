package runtime

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/abode-run/abode/internal/agent"
)

func (c *cgroup) applyV1(r *specs.LinuxResources) error {
	if err := c.memoryV1(r.Memory); err != nil {
		return err
	}
	if cpu := r.CPU; cpu != nil {
		set := []struct {
			controller, file string
			value            string
		}{}
		add := func(controller, file, value string) {
			set = append(set, struct{ controller, file, value string }{controller, file, value})
		}
		if cpu.Shares != nil && *cpu.Shares > 0 {
			add("cpu", "cpu.shares", fmt.Sprint(*cpu.Shares))
		}
		if cpu.Period != nil && *cpu.Period > 0 {
			add("cpu", "cpu.cfs_period_us", fmt.Sprint(*cpu.Period))
		}
		if cpu.Quota != nil && *cpu.Quota != 0 {
			add("cpu", "cpu.cfs_quota_us", fmt.Sprint(*cpu.Quota))
		}
		if cpu.Cpus != "" {
			add("cpuset", "cpuset.cpus", cpu.Cpus)
		}
		if cpu.Mems != "" {
			add("cpuset", "cpuset.mems", cpu.Mems)
		}
		for _, s := range set {
			if err := c.write(s.controller, s.file, s.value); err != nil {
				return err
			}
		}
	}
	if err := c.blockV1(r.BlockIO); err != nil {
		return err
	}
	if r.Pids != nil {
		if err := c.write("pids", "pids.max", pidsMax(r.Pids)); err != nil {
			return err
		}
	}
	return nil
}

func pidsMax(p *specs.LinuxPids) string {
	if p.Limit == nil || *p.Limit <= 0 {
		return "max"
	}
	return strconv.FormatInt(*p.Limit, 10)
}

// memoryV1 sets limits in the order that keeps memory ≤ memory and swap at
// every moment.
func (c *cgroup) memoryV1(m *specs.LinuxMemory) error {
	if m == nil {
		return nil
	}
	limit := func() error {
		if m.Limit == nil || *m.Limit == 0 {
			return nil
		}
		return c.write("memory", "memory.limit_in_bytes", fmt.Sprint(*m.Limit))
	}
	swap := func() error {
		if m.Swap == nil || *m.Swap == 0 {
			return nil
		}
		return c.write("memory", "memory.memsw.limit_in_bytes", fmt.Sprint(*m.Swap))
	}
	steps := []func() error{limit, swap}
	now := c.number("memory", "memory.memsw.limit_in_bytes")
	if m.Swap != nil && (*m.Swap < 0 || uint64(*m.Swap) > now) {
		steps = []func() error{swap, limit}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		if err := c.write("memory", "memory.soft_limit_in_bytes", fmt.Sprint(*m.Reservation)); err != nil {
			return err
		}
	}
	if m.Swappiness != nil {
		if err := c.write("memory", "memory.swappiness", fmt.Sprint(*m.Swappiness)); err != nil {
			return err
		}
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		return c.write("memory", "memory.oom_control", "1")
	}
	return nil
}

// deviceRules are docker's: making any node, using the harmless ones.
var deviceRules = []string{
	"c *:* m", "b *:* m",
	"c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
	"c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm",
}

// devices restricts the use of devices to the default ones, the container's
// own and what its rules say.
func (c *cgroup) devices(linux *specs.Linux) error {
	if c.h.v2 != "" {
		rules, err := deviceProgram(linux)
		if err != nil {
			return errorf(agent.ClassInvalid, "%w", err)
		}
		return attachDevices(c.dirs[""], rules)
	}
	if _, ok := c.dirs["devices"]; !ok {
		return nil
	}
	if err := c.write("devices", "devices.deny", "a"); err != nil {
		return err
	}
	for _, r := range deviceRules {
		if err := c.write("devices", "devices.allow", r); err != nil {
			return err
		}
	}
	for _, d := range linux.Devices {
		if d.Type == "p" {
			continue
		}
		kind := strings.Replace(d.Type, "u", "c", 1)
		if err := c.write("devices", "devices.allow", fmt.Sprintf("%s %d:%d rwm", kind, d.Major, d.Minor)); err != nil {
			return err
		}
	}
	if linux.Resources == nil {
		return nil
	}
	for _, r := range linux.Resources.Devices {
		all := r.Type == "" || r.Type == "a"
		if all && !r.Allow {
			continue // where this began
		}
		file, rule := "devices.deny", "a"
		if r.Allow {
			file = "devices.allow"
		}
		if !all {
			access := r.Access
			if access == "" {
				access = "rwm"
			}
			rule = fmt.Sprintf("%s %s:%s %s", r.Type, wildcard(r.Major), wildcard(r.Minor), access)
		}
		if err := c.write("devices", file, rule); err != nil {
			return err
		}
	}
	return nil
}

func wildcard(n *int64) string {
	if n == nil || *n < 0 {
		return "*"
	}
	return strconv.FormatInt(*n, 10)
}
