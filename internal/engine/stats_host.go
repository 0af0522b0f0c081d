package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/abode-run/abode/internal/procfs"
)

// hostUse is what processes of the host use.
type hostUse struct {
	memory uint64 // bytes, PSS
	cpu    uint64 // nanoseconds
}

// useOf sums up processes. One that has ended counts nothing.
func useOf(pids []int) (u hostUse) {
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/", pid)
		if b, err := os.ReadFile(dir + "smaps_rollup"); err == nil {
			u.memory += pss(string(b))
		}
		if b, err := os.ReadFile(dir + "stat"); err == nil {
			u.cpu += cpuTime(b)
		}
	}
	return u
}

// pss reads /proc/PID/smaps_rollup.
func pss(rollup string) uint64 {
	for line := range strings.Lines(rollup) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" && f[2] == "kB" {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// cpuTime reads /proc/PID/stat.
func cpuTime(stat []byte) uint64 {
	f := procfs.Stat(stat)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseUint(f[11], 10, 64)
	system, _ := strconv.ParseUint(f[12], 10, 64)
	return (user + system) * (1e9 / procfs.UserHZ)
}
