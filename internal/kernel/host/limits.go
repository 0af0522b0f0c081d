package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/abode-run/abode/internal/kernel"
)

// limits are the host's.
var limits = sync.OnceValue(func() kernel.Limits {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return kernel.Limits{}
	}
	return limitsOf(string(b))
})

// limitsOf looks where mountinfo says that cgroups are (proc_pid_mountinfo(5)).
func limitsOf(mountinfo string) (l kernel.Limits) {
	has := func(parts ...string) bool {
		found, _ := filepath.Glob(filepath.Join(parts...))
		return len(found) > 0
	}
	unified := ""
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		f, of := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(of) < 3 {
			continue
		}
		dir, controllers := f[4], strings.Split(of[2], ",")
		switch {
		case of[0] == "cgroup2":
			unified = dir
		case of[0] != "cgroup":
		case slices.Contains(controllers, "memory"):
			l.Swappiness = has(dir, "memory.swappiness")
			l.OOMKillDisable = has(dir, "memory.oom_control")
		case slices.Contains(controllers, "blkio"):
			l.IOWeight, l.IOWeightDevice = has(dir, "blkio.weight"), has(dir, "blkio.weight_device")
			l.IOThrottle = has(dir, "blkio.throttle.read_bps_device")
		}
	}
	if b, err := os.ReadFile(filepath.Join(unified, "cgroup.controllers")); err == nil && slices.Contains(strings.Fields(string(b)), "io") {
		l.IOThrottle = true
		// Not in the root, and only with a scheduler or a cost model for it.
		l.IOWeightDevice = has(unified, "*", "io.bfq.weight")
		l.IOWeight = l.IOWeightDevice || has(unified, "*", "io.weight")
	}
	return l
}
